//! The one kernel: rows are taken in groups and each step is done for the whole group.
//!
//! The two folds, the square root and the division of a row are a long chain that depends on all of the row. A step
//! over several rows gives the core the next row's work to do meanwhile, and the last step loads the parameters once for
//! two or four rows. The bits are those of the rows one by one.

use kernform_math::{Rows, vector};
use kernform_simd::{Kernel, REDUCTION_LANES, Simd};

use crate::parameters::Parameters;

/// The most rows in a group, and the least.
const GROUP: usize = 4;
const LEAST_GROUP: usize = 2;
/// The most elements in a group of more than the least: they, what was written before them and the parameters fit a
/// first-level cache of 32 KiB.
const GROUP_ELEMENTS: usize = 2048;

/// From this width on a row and its parameters alone fill that cache, and groups are full again: all comes from the next
/// cache in each step, and the parameters come once for four rows.
const WIDE: usize = 3072;

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

/// The rows of a group, and what each is shifted and scaled by.
struct Group {
    first: usize,
    len: usize,
    means: [f32; GROUP],
    scales: [f32; GROUP],
}

impl Kernel for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Rows { count, width, .. } = self.rows;
        let group = if width >= WIDE { GROUP } else { (GROUP_ELEMENTS / width).clamp(LEAST_GROUP, GROUP) };
        for first in (0..count).step_by(group) {
            let group = self.begin(s, first, group.min(count - first));
            self.finish(s, &group);
        }
    }
}

/// `op` of a few numbers, as many at a time as a vector has lanes.
#[inline(always)]
fn map_few<S: Simd>(s: S, x: &mut [f32; GROUP], op: impl Fn(S::F32) -> S::F32) {
    for x in x.chunks_mut(S::LANES) {
        s.store_partial(op(s.load_or(x, 1.0)), x);
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

    /// Adds the residual; the sum of the row, or of its squares where no mean is subtracted.
    #[inline(always)]
    fn begin_row<S: Simd>(&mut self, s: S, i: usize) -> f32 {
        let Rows { width, .. } = self.rows;
        let centered = self.parameters.centered;
        match (&mut self.x, self.residual) {
            (Source::Exclusive(x), Some((residual, stride))) => {
                let (x, residual) = (&mut x[self.rows.start(i)..][..width], &residual[i * stride..][..width]);
                if centered {
                    add_row(s, x, residual, |lane, x| s.add(lane, x))
                } else {
                    add_row(s, x, residual, |lane, x| s.mul_add(x, x, lane))
                }
            }
            _ if centered => vector::sum(s, self.row(i)),
            _ => vector::dot(s, self.row(i), self.row(i)),
        }
    }

    /// Adds the residual; the means and scales of `len` rows from `first` on.
    #[inline(always)]
    fn begin<S: Simd>(&mut self, s: S, first: usize, len: usize) -> Group {
        let width = s.splat(self.rows.width as f32);
        let epsilon = s.splat(self.parameters.epsilon);
        let (mut means, mut scales) = ([0.0; GROUP], [0.0; GROUP]);
        if self.parameters.centered {
            for (i, sum) in means.iter_mut().enumerate().take(len) {
                *sum = self.begin_row(s, first + i);
            }
            map_few(s, &mut means, |sum| s.div(sum, width));
            for (i, (squares, mean)) in scales.iter_mut().zip(means).enumerate().take(len) {
                *squares = squares_around(s, self.row(first + i), mean);
            }
        } else {
            for (i, squares) in scales.iter_mut().enumerate().take(len) {
                *squares = self.begin_row(s, first + i);
            }
        }
        map_few(s, &mut scales, |squares| s.div(s.splat(1.0), s.sqrt(s.add(s.div(squares, width), epsilon))));
        Group { first, len, means, scales }
    }

    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, group: &Group) {
        let moments = |i: usize| [s.splat(group.means[i]), s.splat(group.scales[i])];
        if group.len == GROUP {
            return self.write::<S, GROUP>(s, group.first, core::array::from_fn(moments));
        }
        for i in (0..group.len).step_by(2) {
            if i + 1 < group.len {
                self.write::<S, 2>(s, group.first + i, [moments(i), moments(i + 1)]);
            } else {
                self.write::<S, 1>(s, group.first + i, [moments(i)]);
            }
        }
    }

    /// Writes `R` rows from `first` on.
    #[inline(always)]
    fn write<S: Simd, const R: usize>(&mut self, s: S, first: usize, moments: [[S::F32; 2]; R]) {
        let Normalize { parameters, rows: Rows { width, stride, .. }, .. } = *self;
        let start = self.rows.start(first);
        let (sources, targets) = match (&mut self.out, &mut self.x) {
            (None, Source::Exclusive(x)) => (None, cut_mut::<R>(&mut x[start..], stride, width)),
            (Some((out, out_stride)), x) => {
                let x: &[f32] = match x {
                    Source::Shared(x) => x,
                    Source::Exclusive(x) => x,
                };
                let sources = core::array::from_fn(|r| &x[start + r * stride..][..width]);
                (Some(sources), cut_mut::<R>(&mut out[first * *out_stride..], *out_stride, width))
            }
            // Nothing to write to.
            (None, Source::Shared(_)) => return,
        };
        match (sources, parameters.bias) {
            (None, None) => write::<S, R, false>(s, &parameters, None, targets, moments),
            (None, Some(_)) => write::<S, R, true>(s, &parameters, None, targets, moments),
            (sources, None) => write::<S, R, false>(s, &parameters, sources, targets, moments),
            (sources, Some(_)) => write::<S, R, true>(s, &parameters, sources, targets, moments),
        }
    }
}

/// `R` rows of `width` that begin `stride` apart.
#[inline(always)]
fn cut_mut<const R: usize>(mut rest: &mut [f32], stride: usize, width: usize) -> [&mut [f32]; R] {
    core::array::from_fn(|_| {
        let whole = core::mem::take(&mut rest);
        let (row, after) = whole.split_at_mut(stride.max(width).min(whole.len()));
        rest = after;
        &mut row[..width]
    })
}

/// `x = x + residual`, and the sum of what `step` makes of it, a few operations.
#[inline(always)]
fn add_row<S: Simd>(s: S, x: &mut [f32], residual: &[f32], step: impl Fn(S::F32, S::F32) -> S::F32) -> f32 {
    let mut lanes = s.lanes(0.0);
    let ((blocks, tail), (residuals, residual_tail)) =
        (x.as_chunks_mut::<REDUCTION_LANES>(), residual.as_chunks::<REDUCTION_LANES>());
    for (block, residual) in blocks.iter_mut().zip(residuals) {
        let vectors = block.chunks_exact_mut(S::LANES).zip(residual.chunks_exact(S::LANES));
        for (lane, (x, residual)) in lanes.as_mut().iter_mut().zip(vectors) {
            let sum = s.add(s.load(x), s.load(residual));
            s.store(sum, x);
            *lane = step(*lane, sum);
        }
    }
    let vectors = tail.chunks_mut(S::LANES).zip(residual_tail.chunks(S::LANES));
    for (lane, (x, residual)) in lanes.as_mut().iter_mut().zip(vectors) {
        let sum = s.add(s.load_or(x, 0.0), s.load_or(residual, 0.0));
        s.store_partial(sum, x);
        *lane = step(*lane, sum);
    }
    s.fold(lanes, |a, b| s.add(a, b))
}

/// `sum((x - mean)^2)`.
#[inline(always)]
fn squares_around<S: Simd>(s: S, row: &[f32], mean: f32) -> f32 {
    let mut lanes = s.lanes(0.0);
    let center = s.splat(mean);
    // The tail is filled with the mean, which adds the square of 0; where that is not so, the result is NaN anyway.
    vector::accumulate(s, &mut lanes, row, mean, |lane, x| {
        let deviation = s.sub(x, center);
        s.mul_add(deviation, deviation, lane)
    });
    s.fold(lanes, |a, b| s.add(a, b))
}

/// `x` normalised, of one vector of columns; `bias` counts where there is one.
#[inline(always)]
fn affine<S: Simd, const BIASED: bool>(
    s: S,
    x: S::F32,
    [mean, scale]: [S::F32; 2],
    [weight, bias]: [S::F32; 2],
) -> S::F32 {
    let normalized = s.mul(s.sub(x, mean), scale);
    if BIASED { s.mul_add(normalized, weight, bias) } else { s.mul(normalized, weight) }
}

/// Writes `R` rows from `sources`, which holds their slices or, for rows in place, nothing.
#[inline(always)]
fn write<S: Simd, const R: usize, const BIASED: bool>(
    s: S,
    p: &Parameters<'_>,
    sources: Option<[&[f32]; R]>,
    targets: [&mut [f32]; R],
    moments: [[S::F32; 2]; R],
) {
    // Adding -0 changes nothing, not even a zero.
    let offset = s.splat(if p.weight_offset == 0.0 { -0.0 } else { p.weight_offset });
    let (weights, weight_tail) = p.weight.as_chunks::<REDUCTION_LANES>();
    let (biases, bias_tail) = p.bias.unwrap_or(p.weight).as_chunks::<REDUCTION_LANES>();
    let mut targets = targets.map(|row| row.as_chunks_mut::<REDUCTION_LANES>());
    let sources = sources.map(|rows| rows.map(|row| row.as_chunks::<REDUCTION_LANES>()));
    for (b, (weight, bias)) in weights.iter().zip(biases).enumerate() {
        // One check for all vectors of a block.
        let rows = targets.each_mut().map(|(blocks, _)| &mut blocks[b]);
        let from = sources.map(|rows| rows.map(|(blocks, _)| &blocks[b]));
        for at in (0..REDUCTION_LANES).step_by(S::LANES) {
            let columns = [s.add(s.load(&weight[at..]), offset), s.load(&bias[at..])];
            for r in 0..R {
                let x = s.load(&from.map_or(&*rows[r], |from| from[r])[at..]);
                s.store(affine::<S, BIASED>(s, x, moments[r], columns), &mut rows[r][at..]);
            }
        }
    }
    let mut at = 0;
    while at < weight_tail.len() {
        let columns = [s.add(s.load_or(&weight_tail[at..], 0.0), offset), s.load_or(&bias_tail[at..], 0.0)];
        for (r, (_, tail)) in targets.iter_mut().enumerate() {
            let x = s.load_or(&sources.map_or(&**tail, |rows| rows[r].1)[at..], 0.0);
            s.store_partial(affine::<S, BIASED>(s, x, moments[r], columns), &mut tail[at..]);
        }
        at += S::LANES;
    }
}
