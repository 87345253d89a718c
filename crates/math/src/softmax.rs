//! Softmax and its relatives, and the reductions, on slices.

use kernform_simd::{Isa, Kernel, Pair, REDUCTION_LANES, Simd};

use crate::vector::{exp_nonpositive, log, map, map_in_place};
use crate::{Rows, ShapeError, vector};

/// The most rows in a group: each step is done for the whole group, so that the core has the next row's work to do while
/// it waits for a row's maximum or sum. The bits are those of the rows one by one.
const GROUP: usize = 4;
/// The most elements in a group of more than one row: they and their results are half of a first-level cache of 32 KiB.
const GROUP_ELEMENTS: usize = 2048;

/// The number of rows in a group.
fn group_of(width: usize) -> usize {
    (GROUP_ELEMENTS / width.max(1)).clamp(1, GROUP)
}

/// What is subtracted before the exponential: the largest element, or 0 where that is -infinity, so that -infinity minus
/// it is -infinity and not NaN.
#[inline(always)]
fn shift_of<S: Simd>(s: S, row: &[f32]) -> f32 {
    let max = vector::max(s, row);
    if max == f32::NEG_INFINITY { 0.0 } else { max }
}

/// `e^(x - shift)` for each `x` of `source`, or of `row` itself where there is none, to `row`, and their sum.
#[inline(always)]
fn exponentials<S: Simd>(s: S, source: Option<&[f32]>, row: &mut [f32], shift: f32) -> f32 {
    let shift = s.splat(shift);
    let mut lanes = s.lanes(0.0);
    let (blocks, tail) = row.as_chunks_mut::<REDUCTION_LANES>();
    let (sources, source_tail) = match source {
        Some(source) => source.as_chunks::<REDUCTION_LANES>(),
        None => (&[] as &[_], &[] as &[_]),
    };
    let mut sources = sources.iter();
    for block in blocks {
        let source = sources.next();
        for (i, lane) in lanes.as_mut().iter_mut().enumerate() {
            let at = i * S::LANES;
            let x = s.load(&source.unwrap_or(block)[at..]);
            let e = exp_nonpositive(s, s.sub(x, shift));
            s.store(e, &mut block[at..]);
            *lane = s.add(*lane, e);
        }
    }
    let mut sources = source_tail.chunks(S::LANES);
    for (lane, x) in lanes.as_mut().iter_mut().zip(tail.chunks_mut(S::LANES)) {
        let e = exp_nonpositive(s, s.sub(s.load_or(sources.next().unwrap_or(x), f32::NEG_INFINITY), shift));
        s.store_partial(e, x);
        *lane = s.add(*lane, e);
    }
    s.fold(lanes, |a, b| s.add(a, b))
}

/// The sum of `e^(x - shift)`.
#[inline(always)]
fn sum_of_exponentials<S: Simd>(s: S, row: &[f32], shift: f32) -> f32 {
    let shift = s.splat(shift);
    let mut lanes = s.lanes(0.0);
    let (blocks, tail) = row.as_chunks::<REDUCTION_LANES>();
    for block in blocks {
        for (lane, x) in lanes.as_mut().iter_mut().zip(block.chunks_exact(S::LANES)) {
            *lane = s.add(*lane, exp_nonpositive(s, s.sub(s.load(x), shift)));
        }
    }
    for (lane, x) in lanes.as_mut().iter_mut().zip(tail.chunks(S::LANES)) {
        *lane = s.add(*lane, exp_nonpositive(s, s.sub(s.load_or(x, f32::NEG_INFINITY), shift)));
    }
    s.fold(lanes, |a, b| s.add(a, b))
}

/// The logarithm of one number.
#[inline(always)]
fn log_of<S: Simd>(s: S, x: f32) -> f32 {
    s.fold_vector(log(s, s.splat(x)), |a, _| a)
}

/// What is done to each row: to `out`, from a source with rows of its own or, where there is none, in place.
struct OfRows<'a> {
    source: Option<(&'a [f32], Rows)>,
    out: &'a mut [f32],
    rows: Rows,
}

impl OfRows<'_> {
    #[inline(always)]
    fn source(&self, i: usize) -> Option<&[f32]> {
        self.source.map(|(x, rows)| &x[rows.start(i)..][..rows.width])
    }

    /// Row `i` before anything is written to it.
    #[inline(always)]
    fn input(&self, i: usize) -> &[f32] {
        self.source(i).unwrap_or(&self.out[self.rows.start(i)..][..self.rows.width])
    }

    /// Where row `i` comes from, if from elsewhere, and where it goes.
    #[inline(always)]
    fn both(&mut self, i: usize) -> (Option<&[f32]>, &mut [f32]) {
        let source = self.source.map(|(x, rows)| &x[rows.start(i)..][..rows.width]);
        (source, &mut self.out[self.rows.start(i)..][..self.rows.width])
    }
}

struct Softmax<'a>(OfRows<'a>);

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Softmax(mut all) = self;
        let Rows { count, width, .. } = all.rows;
        let group = group_of(width);
        let mut first = 0;
        while first < count {
            let rows = first..count.min(first + group);
            let (mut shifts, mut scales) = ([0.0; GROUP], [0.0; GROUP]);
            for (i, shift) in rows.clone().zip(&mut shifts) {
                *shift = shift_of(s, all.input(i));
            }
            for ((i, shift), scale) in rows.clone().zip(shifts).zip(&mut scales) {
                let (source, row) = all.both(i);
                let sum = exponentials(Pair(s), source, row, shift);
                *scale = if sum == 0.0 { 0.0 } else { 1.0 / sum };
            }
            for (i, scale) in rows.zip(scales) {
                let scale = s.splat(scale);
                map_in_place(s, all.both(i).1, |e| s.mul(e, scale));
            }
            first += group;
        }
    }
}

struct LogSoftmax<'a>(OfRows<'a>);

impl Kernel for LogSoftmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let LogSoftmax(mut all) = self;
        let Rows { count, width, .. } = all.rows;
        let group = group_of(width);
        let mut first = 0;
        while first < count {
            let rows = first..count.min(first + group);
            let (mut shifts, mut logs) = ([0.0; GROUP], [0.0; GROUP]);
            for (i, shift) in rows.clone().zip(&mut shifts) {
                *shift = shift_of(s, all.input(i));
            }
            for ((i, shift), log) in rows.clone().zip(shifts).zip(&mut logs) {
                *log = sum_of_exponentials(Pair(s), all.input(i), shift);
            }
            for log in logs.iter_mut().take(rows.len()) {
                let log_of_sum = log_of(s, *log);
                *log = if log_of_sum == f32::NEG_INFINITY { 0.0 } else { log_of_sum };
            }
            for ((i, shift), log) in rows.zip(shifts).zip(logs) {
                let (shift, log) = (s.splat(shift), s.splat(log));
                let shifted = |x| s.sub(s.sub(x, shift), log);
                match all.both(i) {
                    (Some(source), row) => map(s, source, row, shifted),
                    (None, row) => map_in_place(s, row, shifted),
                }
            }
            first += group;
        }
    }
}

struct LogSumExp<'a>(&'a [f32], Rows, &'a mut [f32]);

impl Kernel for LogSumExp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let LogSumExp(x, rows, out) = self;
        for (i, out) in out.iter_mut().enumerate() {
            let row = if rows.width == 0 { &[] } else { &x[rows.start(i)..][..rows.width] };
            let shift = shift_of(s, row);
            *out = shift + log_of(s, sum_of_exponentials(Pair(s), row, shift));
        }
    }
}

/// Softmax of each row `[rows.count, rows.width]`, in place: `e^(x - max) / sum(e^(x - max))`.
///
/// The relative error of a weight is at most `u (2 d + width / 64 + 10)`, with `u = 2^-24` and `d` the distance of the
/// smallest element from the largest, whose rounding the exponential magnifies; weights below about `2^-126` of the
/// largest are 0. A row of nothing but -infinity gives zeros; NaN or +infinity in a row makes all of the row NaN.
/// Elements between the rows are not touched.
///
/// # Errors
/// [`ShapeError`] where rows overlap or reach beyond `x`.
pub fn softmax_in_place(isa: Isa, x: &mut [f32], rows: Rows) -> Result<(), ShapeError> {
    rows.check("x", x.len())?;
    if rows.width > 0 {
        isa.dispatch(Softmax(OfRows { source: None, out: x, rows }));
    }
    Ok(())
}

/// [`softmax_in_place`] of a copy: reads `rows` of `x`, writes dense rows to `out`.
///
/// # Errors
/// [`ShapeError`] where rows overlap or reach beyond `x`, or `out` is not `[rows.count, rows.width]`.
pub fn softmax(isa: Isa, x: &[f32], rows: Rows, out: &mut [f32]) -> Result<(), ShapeError> {
    let dense = check_dense(x, rows, out)?;
    if rows.width > 0 {
        isa.dispatch(Softmax(OfRows { source: Some((x, rows)), out, rows: dense }));
    }
    Ok(())
}

/// The logarithm of the softmax of each row, in place: `(x - max) - log(sum(e^(x - max)))`.
///
/// The error is at most 1.5 ULP of the result, 1 ULP of `x - max`, 2 ULP of the logarithm and the relative error that
/// [`softmax_in_place`] states. A row of nothing but -infinity stays as it is; NaN or +infinity in a row makes all of the row NaN.
///
/// # Errors
/// [`ShapeError`] where rows overlap or reach beyond `x`.
pub fn log_softmax_in_place(isa: Isa, x: &mut [f32], rows: Rows) -> Result<(), ShapeError> {
    rows.check("x", x.len())?;
    if rows.width > 0 {
        isa.dispatch(LogSoftmax(OfRows { source: None, out: x, rows }));
    }
    Ok(())
}

/// [`log_softmax_in_place`] of a copy: reads `rows` of `x`, writes dense rows to `out`.
///
/// # Errors
/// [`ShapeError`] where rows overlap or reach beyond `x`, or `out` is not `[rows.count, rows.width]`.
pub fn log_softmax(isa: Isa, x: &[f32], rows: Rows, out: &mut [f32]) -> Result<(), ShapeError> {
    let dense = check_dense(x, rows, out)?;
    if rows.width > 0 {
        isa.dispatch(LogSoftmax(OfRows { source: Some((x, rows)), out, rows: dense }));
    }
    Ok(())
}

/// `log(sum(e^x))` of each row; -infinity for a row that is empty or nothing but -infinity, NaN for a row with NaN or
/// +infinity.
///
/// # Errors
/// [`ShapeError`] where rows overlap or reach beyond `x`, or `out` does not have one element a row.
pub fn log_sum_exp(isa: Isa, x: &[f32], rows: Rows, out: &mut [f32]) -> Result<(), ShapeError> {
    rows.check("x", x.len())?;
    if out.len() != rows.count {
        return Err(ShapeError::Length { operand: "out", expected: rows.count, actual: out.len() });
    }
    isa.dispatch(LogSumExp(x, rows, out));
    Ok(())
}

/// The shape of dense results of checked rows.
fn check_dense(x: &[f32], rows: Rows, out: &[f32]) -> Result<Rows, ShapeError> {
    rows.check("x", x.len())?;
    let expected = rows.count.saturating_mul(rows.width);
    if out.len() != expected {
        return Err(ShapeError::Length { operand: "out", expected, actual: out.len() });
    }
    Ok(Rows::dense(rows.count, rows.width))
}

struct Sum<'a>(&'a [f32]);

impl Kernel for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        vector::sum(s, self.0)
    }
}

struct Max<'a>(&'a [f32]);

impl Kernel for Max<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        vector::max(s, self.0)
    }
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl Kernel for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        vector::dot(s, self.0, self.1)
    }
}

/// The sum of `x`, 0 for an empty one; the error is at most `gamma(6 + len / 64)` times the sum of the magnitudes.
pub fn sum(isa: Isa, x: &[f32]) -> f32 {
    isa.dispatch(Sum(x))
}

/// The largest element of `x`, -infinity for an empty one; NaN is passed over.
pub fn max(isa: Isa, x: &[f32]) -> f32 {
    isa.dispatch(Max(x))
}

/// The sum of the products of `x` and `y`; the error is at most `gamma(8 + len / 64)` times the sum of their magnitudes.
///
/// # Errors
/// [`ShapeError::Length`] where `y` is not as long as `x`.
pub fn dot(isa: Isa, x: &[f32], y: &[f32]) -> Result<f32, ShapeError> {
    if x.len() != y.len() {
        return Err(ShapeError::Length { operand: "y", expected: x.len(), actual: y.len() });
    }
    Ok(isa.dispatch(Dot(x, y)))
}
