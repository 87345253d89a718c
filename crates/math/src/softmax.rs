//! Softmax and its relatives, and the reductions, on slices.

use kernform_simd::{Isa, Kernel, REDUCTION_LANES, Simd};

use crate::vector::{exp_nonpositive, log, map_in_place};
use crate::{Rows, ShapeError, vector};

/// What is subtracted before the exponential: the largest element, or 0 where that is -infinity, so that -infinity minus
/// it is -infinity and not NaN.
#[inline(always)]
fn shift_of<S: Simd>(s: S, row: &[f32]) -> f32 {
    let max = vector::max(s, row);
    if max == f32::NEG_INFINITY { 0.0 } else { max }
}

/// `e^(x - shift)` for each `x` of `source`, or of `row` itself where there is none, and their sum.
///
/// A source is copied block by block here, because copying it as a whole can cost more than all the rest.
#[inline(always)]
fn exponentials<S: Simd>(s: S, source: Option<&[f32]>, row: &mut [f32], shift: f32) -> f32 {
    let mut sources = source.unwrap_or_default().chunks(REDUCTION_LANES);
    let shift = s.splat(shift);
    let mut lanes = s.lanes(0.0);
    let mut blocks = row.chunks_exact_mut(REDUCTION_LANES);
    for block in &mut blocks {
        if let Some(source) = sources.next() {
            block.copy_from_slice(source);
        }
        for (lane, x) in lanes.as_mut().iter_mut().zip(block.chunks_exact_mut(S::LANES)) {
            let e = exp_nonpositive(s, s.sub(s.load(x), shift));
            s.store(e, x);
            *lane = s.add(*lane, e);
        }
    }
    let tail = blocks.into_remainder();
    if let Some(source) = sources.next() {
        tail.copy_from_slice(source);
    }
    for (lane, x) in lanes.as_mut().iter_mut().zip(tail.chunks_mut(S::LANES)) {
        let e = exp_nonpositive(s, s.sub(s.load_or(x, f32::NEG_INFINITY), shift));
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
    let mut blocks = row.chunks_exact(REDUCTION_LANES);
    for block in &mut blocks {
        for (lane, x) in lanes.as_mut().iter_mut().zip(block.chunks_exact(S::LANES)) {
            *lane = s.add(*lane, exp_nonpositive(s, s.sub(s.load(x), shift)));
        }
    }
    for (lane, x) in lanes.as_mut().iter_mut().zip(blocks.remainder().chunks(S::LANES)) {
        *lane = s.add(*lane, exp_nonpositive(s, s.sub(s.load_or(x, f32::NEG_INFINITY), shift)));
    }
    s.fold(lanes, |a, b| s.add(a, b))
}

#[inline(always)]
fn softmax_row<S: Simd>(s: S, source: Option<&[f32]>, row: &mut [f32]) {
    let shift = shift_of(s, source.unwrap_or(row));
    let sum = exponentials(s, source, row, shift);
    let scale = s.splat(if sum == 0.0 { 0.0 } else { 1.0 / sum });
    map_in_place(s, row, |e| s.mul(e, scale));
}

/// The shift and the logarithm of the sum of the shifted exponentials.
#[inline(always)]
fn shift_and_log<S: Simd>(s: S, row: &[f32]) -> (f32, f32) {
    let shift = shift_of(s, row);
    let sum = sum_of_exponentials(s, row, shift);
    (shift, s.fold_vector(log(s, s.splat(sum)), |a, _| a))
}

#[inline(always)]
fn log_softmax_row<S: Simd>(s: S, row: &mut [f32]) {
    let (shift, log) = shift_and_log(s, row);
    let log = s.splat(if log == f32::NEG_INFINITY { 0.0 } else { log });
    map_in_place(s, row, |x| s.sub(s.sub(x, s.splat(shift)), log));
}

/// The source with its rows, or none for in place, then the results.
struct Softmax<'a>(Option<(&'a [f32], Rows)>, &'a mut [f32], Rows);

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Softmax(source, out, rows) = self;
        for i in 0..rows.count {
            let source = source.map(|(x, rows)| &x[rows.start(i)..][..rows.width]);
            softmax_row(s, source, &mut out[rows.start(i)..][..rows.width]);
        }
    }
}

struct LogSoftmax<'a>(&'a mut [f32], Rows);

impl Kernel for LogSoftmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let LogSoftmax(x, rows) = self;
        for i in 0..rows.count {
            log_softmax_row(s, &mut x[rows.start(i)..][..rows.width]);
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
            let (shift, log) = shift_and_log(s, row);
            *out = shift + log;
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
        isa.dispatch(Softmax(None, x, rows));
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
        isa.dispatch(Softmax(Some((x, rows)), out, dense));
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
        isa.dispatch(LogSoftmax(x, rows));
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
        for (i, out) in out.chunks_exact_mut(rows.width).enumerate() {
            out.copy_from_slice(&x[rows.start(i)..][..rows.width]);
        }
    }
    log_softmax_in_place(isa, out, dense)
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
