//! The one kernel: rows are taken in groups and each step is done for the whole group.
//!
//! The two folds, the square root and the division of a row are a long chain that depends on all of the row. A step
//! over several rows gives the core the next row's work to do meanwhile, and the last step loads the parameters once for
//! the group. The bits are those of the rows one by one.

use kernform_math::{Rows, vector};
use kernform_simd::{Kernel, REDUCTION_LANES, Simd};

use crate::parameters::Parameters;

/// The rows in a full group.
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

/// What a row is shifted and scaled by.
#[derive(Clone, Copy)]
struct Moments {
    mean: f32,
    scale: f32,
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
            let mut moments = [Moments { mean: 0.0, scale: 0.0 }; GROUP];
            for (row, moments) in rows.clone().zip(&mut moments) {
                // The mean, or the sum of the squares where none is subtracted.
                moments.mean = self.begin_row(s, row) / width as f32;
            }
            for (row, moments) in rows.clone().zip(&mut moments) {
                let variance = if self.parameters.centered {
                    squares(s, self.row(row), moments.mean) / width as f32
                } else {
                    core::mem::take(&mut moments.mean)
                };
                moments.scale = variance + self.parameters.epsilon;
            }
            for moments in moments.iter_mut().take(rows.len()) {
                let scale = s.div(s.splat(1.0), s.sqrt(s.splat(moments.scale)));
                moments.scale = s.fold_vector(scale, |a, _| a);
            }
            if rows.len() == GROUP {
                self.finish::<S, GROUP>(s, first, moments);
            } else {
                for (row, moments) in rows.zip(moments) {
                    self.finish::<S, 1>(s, row, [moments]);
                }
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

    /// Writes `R` rows from `first` on.
    #[inline(always)]
    fn finish<S: Simd, const R: usize>(&mut self, s: S, first: usize, moments: [Moments; R]) {
        let Normalize { parameters, rows, .. } = *self;
        let Rows { width, .. } = rows;
        let moments = moments.map(|m| [s.splat(m.mean), s.splat(m.scale)]);
        let start = rows.start(first);
        match (&mut self.out, &mut self.x) {
            (None, Source::Exclusive(x)) => {
                let targets = cut_mut::<R>(&mut x[start..], rows.stride, width);
                write::<S, R>(s, &parameters, &[], targets, moments);
            }
            (Some((out, stride)), x) => {
                let x: &[f32] = match x {
                    Source::Shared(x) => x,
                    Source::Exclusive(x) => x,
                };
                let sources = core::array::from_fn(|r| &x[rows.start(first + r)..][..width]);
                let targets = cut_mut::<R>(&mut out[first * *stride..], *stride, width);
                write::<S, R>(s, &parameters, &[sources], targets, moments);
            }
            // Nothing to write to.
            (None, Source::Shared(_)) => {}
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
fn squares<S: Simd>(s: S, row: &[f32], mean: f32) -> f32 {
    let mut lanes = s.lanes(0.0);
    let center = s.splat(mean);
    // The tail is filled with the mean, which adds the square of 0; where that is not so, the result is NaN anyway.
    vector::accumulate(s, &mut lanes, row, mean, |lane, x| {
        let deviation = s.sub(x, center);
        s.mul_add(deviation, deviation, lane)
    });
    s.fold(lanes, |a, b| s.add(a, b))
}

/// The parameters of one vector.
#[derive(Clone, Copy)]
struct Columns<V> {
    weight: V,
    bias: Option<V>,
}

impl<V: Copy> Columns<V> {
    /// Loads them by `load`.
    #[inline(always)]
    fn of<S: Simd<F32 = V>>(s: S, p: &Parameters<'_>, weight: V, bias: Option<V>) -> Self {
        let weight = if p.weight_offset == 0.0 { weight } else { s.add(weight, s.splat(p.weight_offset)) };
        Columns { weight, bias }
    }

    #[inline(always)]
    fn apply<S: Simd<F32 = V>>(self, s: S, x: V, [mean, scale]: [V; 2]) -> V {
        let normalized = s.mul(s.sub(x, mean), scale);
        match self.bias {
            Some(bias) => s.mul_add(normalized, self.weight, bias),
            None => s.mul(normalized, self.weight),
        }
    }
}

/// Writes `R` rows from `sources`, which holds their slices or, for rows in place, nothing.
#[inline(always)]
fn write<S: Simd, const R: usize>(
    s: S,
    p: &Parameters<'_>,
    sources: &[[&[f32]; R]],
    mut targets: [&mut [f32]; R],
    moments: [[S::F32; 2]; R],
) {
    let sources = sources.first();
    let blocks = p.weight.len() / REDUCTION_LANES;
    for block in 0..blocks {
        let at = block * REDUCTION_LANES;
        // One check for all vectors of a block.
        let weight: &[f32] = &p.weight[at..][..REDUCTION_LANES];
        let bias = p.bias.map(|bias| &bias[at..][..REDUCTION_LANES]);
        let rows: [&mut [f32]; R] = targets.each_mut().map(|row| &mut row[at..][..REDUCTION_LANES]);
        let from = sources.map(|rows| rows.map(|row| &row[at..][..REDUCTION_LANES]));
        for at in (0..REDUCTION_LANES).step_by(S::LANES) {
            let columns = Columns::of(s, p, s.load(&weight[at..]), bias.map(|bias| s.load(&bias[at..])));
            for r in 0..R {
                let x = s.load(&from.map_or(&*rows[r], |from| from[r])[at..]);
                s.store(columns.apply(s, x, moments[r]), &mut rows[r][at..]);
            }
        }
    }
    let mut at = blocks * REDUCTION_LANES;
    while at < p.weight.len() {
        let bias = p.bias.map(|bias| s.load_or(&bias[at..], 0.0));
        let columns = Columns::of(s, p, s.load_or(&p.weight[at..], 0.0), bias);
        for r in 0..R {
            let x = s.load_or(&sources.map_or(&*targets[r], |rows| rows[r])[at..], 0.0);
            s.store_partial(columns.apply(s, x, moments[r]), &mut targets[r][at..]);
        }
        at += S::LANES;
    }
}
