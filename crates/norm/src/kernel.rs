//! The one kernel: rows are taken in groups and each step is done for the whole group.
//!
//! The two folds, the square root and the division of a row are a long chain that depends on all of the row. A step
//! over several rows gives the core the next row's work to do meanwhile; the bits are those of the rows one by one.

use kernform_math::{Rows, vector};
use kernform_simd::{Kernel, Simd};

use crate::parameters::Parameters;

/// The most rows in a group.
const GROUP: usize = 4;
/// The most elements in a group of more than one row: half of a first-level cache of 32 KiB.
const GROUP_ELEMENTS: usize = 4096;

/// The rows that are read, and may be written.
pub(crate) enum Source<'a> {
    Shared(&'a [f32]),
    Exclusive(&'a mut [f32]),
}

/// Normalises rows. All operands hold `rows.count` rows of `rows.width`, and `rows.width` is not 0.
pub(crate) struct Normalize<'a> {
    pub(crate) parameters: Parameters<'a>,
    pub(crate) x: Source<'a>,
    pub(crate) rows: Rows,
    /// Added to `x`, which must be exclusive, first; with its stride.
    pub(crate) residual: Option<(&'a [f32], usize)>,
    /// Where results go, with the stride; else to `x`, which must be exclusive.
    pub(crate) out: Option<(&'a mut [f32], usize)>,
}

impl Kernel for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Rows { count, width, .. } = self.rows;
        let group = (GROUP_ELEMENTS / width).clamp(1, GROUP);
        let mut first = 0;
        while first < count {
            let rows = first..count.min(first + group);
            let mut means = [0.0; GROUP];
            let mut scales = [s.splat(0.0); GROUP];
            for (row, mean) in rows.clone().zip(&mut means) {
                *mean = self.begin_row(s, row);
            }
            for ((row, mean), scale) in rows.clone().zip(means).zip(&mut scales) {
                *scale = scale_of(s, self.row(row), mean, self.parameters.epsilon);
            }
            for ((row, mean), scale) in rows.zip(means).zip(scales) {
                self.finish_row(s, row, s.splat(mean), scale);
            }
            first += group;
        }
    }
}

impl Normalize<'_> {
    #[inline(always)]
    fn row(&self, i: usize) -> &[f32] {
        let x: &[f32] = match &self.x {
            Source::Shared(x) => x,
            Source::Exclusive(x) => x,
        };
        &x[self.rows.start(i)..][..self.rows.width]
    }

    /// Adds the residual; the mean of the row, or 0 where none is subtracted.
    #[inline(always)]
    fn begin_row<S: Simd>(&mut self, s: S, i: usize) -> f32 {
        let width = self.rows.width;
        if let (Some((residual, stride)), Source::Exclusive(x)) = (self.residual, &mut self.x) {
            add_row(s, &mut x[self.rows.start(i)..][..width], &residual[i * stride..][..width]);
        }
        if self.parameters.centered { vector::sum(s, self.row(i)) / width as f32 } else { 0.0 }
    }

    #[inline(always)]
    fn finish_row<S: Simd>(&mut self, s: S, i: usize, mean: S::F32, scale: S::F32) {
        let Normalize { parameters, rows: Rows { width, .. }, .. } = *self;
        let start = self.rows.start(i);
        match (&mut self.out, &mut self.x) {
            (None, Source::Exclusive(x)) => write_in_place(s, &parameters, &mut x[start..][..width], mean, scale),
            (Some((out, stride)), Source::Shared(x)) => {
                write(s, &parameters, &x[start..][..width], &mut out[i * *stride..][..width], mean, scale);
            }
            (Some((out, stride)), Source::Exclusive(x)) => {
                write(s, &parameters, &x[start..][..width], &mut out[i * *stride..][..width], mean, scale);
            }
            // Nothing to write to.
            (None, Source::Shared(_)) => {}
        }
    }
}

#[inline(always)]
fn add_row<S: Simd>(s: S, x: &mut [f32], residual: &[f32]) {
    let (mut xs, mut residuals) = (x.chunks_exact_mut(S::LANES), residual.chunks_exact(S::LANES));
    for (x, residual) in (&mut xs).zip(&mut residuals) {
        s.store(s.add(s.load(x), s.load(residual)), x);
    }
    let (x, residual) = (xs.into_remainder(), residuals.remainder());
    if !x.is_empty() {
        s.store_partial(s.add(s.load_or(x, 0.0), s.load_or(residual, 0.0)), x);
    }
}

/// `1 / sqrt(sum((x - mean)^2) / width + epsilon)`.
#[inline(always)]
fn scale_of<S: Simd>(s: S, row: &[f32], mean: f32, epsilon: f32) -> S::F32 {
    let mut lanes = s.lanes(0.0);
    let center = s.splat(mean);
    // The tail is filled with the mean, which adds the square of 0; where that is not so, the result is NaN anyway.
    vector::accumulate(s, &mut lanes, row, mean, |lane, x| {
        let deviation = s.sub(x, center);
        s.mul_add(deviation, deviation, lane)
    });
    let variance = s.fold(lanes, |a, b| s.add(a, b)) / row.len() as f32;
    s.div(s.splat(1.0), s.sqrt(s.splat(variance + epsilon)))
}

/// One vector of the result.
#[inline(always)]
fn affine<S: Simd>(
    s: S,
    p: &Parameters<'_>,
    [x, mean, scale]: [S::F32; 3],
    weight: S::F32,
    bias: Option<S::F32>,
) -> S::F32 {
    let normalized = s.mul(s.sub(x, mean), scale);
    let weight = if p.weight_offset == 0.0 { weight } else { s.add(weight, s.splat(p.weight_offset)) };
    match bias {
        Some(bias) => s.mul_add(normalized, weight, bias),
        None => s.mul(normalized, weight),
    }
}

/// Cuts a slice into what whole vectors cover and the tail.
#[inline(always)]
fn cut<S: Simd>(x: &[f32]) -> (&[f32], &[f32]) {
    x.split_at(x.len() - x.len() % S::LANES)
}

#[inline(always)]
fn write<S: Simd>(s: S, p: &Parameters<'_>, x: &[f32], out: &mut [f32], mean: S::F32, scale: S::F32) {
    let (x, x_tail) = cut::<S>(x);
    let (weight, weight_tail) = cut::<S>(p.weight);
    let (out, out_tail) = out.split_at_mut(x.len());
    let vectors = x.chunks_exact(S::LANES).zip(weight.chunks_exact(S::LANES)).zip(out.chunks_exact_mut(S::LANES));
    if let Some(bias) = p.bias {
        let (bias, bias_tail) = cut::<S>(bias);
        for (((x, weight), out), bias) in vectors.zip(bias.chunks_exact(S::LANES)) {
            s.store(affine(s, p, [s.load(x), mean, scale], s.load(weight), Some(s.load(bias))), out);
        }
        if !out_tail.is_empty() {
            let bias = Some(s.load_or(bias_tail, 0.0));
            let tail = affine(s, p, [s.load_or(x_tail, 0.0), mean, scale], s.load_or(weight_tail, 0.0), bias);
            s.store_partial(tail, out_tail);
        }
    } else {
        for ((x, weight), out) in vectors {
            s.store(affine(s, p, [s.load(x), mean, scale], s.load(weight), None), out);
        }
        if !out_tail.is_empty() {
            let tail = affine(s, p, [s.load_or(x_tail, 0.0), mean, scale], s.load_or(weight_tail, 0.0), None);
            s.store_partial(tail, out_tail);
        }
    }
}

#[inline(always)]
fn write_in_place<S: Simd>(s: S, p: &Parameters<'_>, x: &mut [f32], mean: S::F32, scale: S::F32) {
    let (weight, weight_tail) = cut::<S>(p.weight);
    let (x, x_tail) = x.split_at_mut(weight.len());
    let vectors = x.chunks_exact_mut(S::LANES).zip(weight.chunks_exact(S::LANES));
    if let Some(bias) = p.bias {
        let (bias, bias_tail) = cut::<S>(bias);
        for ((x, weight), bias) in vectors.zip(bias.chunks_exact(S::LANES)) {
            s.store(affine(s, p, [s.load(x), mean, scale], s.load(weight), Some(s.load(bias))), x);
        }
        if !x_tail.is_empty() {
            let bias = Some(s.load_or(bias_tail, 0.0));
            let tail = affine(s, p, [s.load_or(x_tail, 0.0), mean, scale], s.load_or(weight_tail, 0.0), bias);
            s.store_partial(tail, x_tail);
        }
    } else {
        for (x, weight) in vectors {
            s.store(affine(s, p, [s.load(x), mean, scale], s.load(weight), None), x);
        }
        if !x_tail.is_empty() {
            let tail = affine(s, p, [s.load_or(x_tail, 0.0), mean, scale], s.load_or(weight_tail, 0.0), None);
            s.store_partial(tail, x_tail);
        }
    }
}
