//! One query a row over cached keys and values: vector lanes run over keys for the scores, over elements for the values.
//!
//! The cache holds keys by tiles in which element `d` of all keys is one run of memory, so a score is a chain of
//! broadcast query element times key vector. A few heads are worked on at once: their chains are independent, which
//! hides the latency of one.

use core::ops::Range;

use kernform_simd::Simd;

use crate::Bias;
use crate::cache::{HeadView, KEY_TILE};
use crate::cached::Step;
use crate::reference::KEY_BLOCK;

/// Heads worked on at once.
const HEADS: usize = 4;

/// Elements of scratch memory for one tile: a block of weights a head.
pub(crate) const SCRATCH_LEN: usize = HEADS * KEY_BLOCK;

/// Attention of `rows`; `out` begins at the first of them.
#[inline(always)]
pub(crate) fn run<S: Simd>(s: S, step: &Step<'_>, rows: Range<usize>, out: &mut [f32], scratch: &mut [f32]) {
    let heads = step.heads;
    let end = rows.end;
    for (row, i) in rows.zip(0..) {
        // Slots lie apart, and short sequences end before the hardware has seen a pattern.
        if row + 1 < end {
            step.cache.prefetch(step.slots[row + 1], step.keys(row + 1));
        }
        let out = &mut out[i * step.out_stride..][..heads.query_width()];
        let query = step.query.part(row, 0, heads.query_width());
        let keys = step.keys(row);
        let mut head = 0;
        while head + HEADS <= heads.query_heads {
            if keys > 0 && keys <= S::LANES {
                attend_few::<S, HEADS, 1>(s, step, row, head, keys, query, out, scratch);
            } else if keys > 0 && keys <= KEY_TILE.min(2 * S::LANES) {
                attend_few::<S, HEADS, 2>(s, step, row, head, keys, query, out, scratch);
            } else {
                attend_heads::<S, HEADS>(s, step, row, head, query, out, scratch);
            }
            head += HEADS;
        }
        while head < heads.query_heads {
            attend_heads::<S, 1>(s, step, row, head, query, out, scratch);
            head += 1;
        }
    }
}

/// Attention of heads `first .. first + H` of one row over at most `V` vectors of keys, all in the first tile.
///
/// The same operations as [`attend_heads`], with everything between the scores and the weights in registers: this is
/// what a small model spends its steps in.
#[inline(always)]
fn attend_few<S: Simd, const H: usize, const V: usize>(
    s: S,
    step: &Step<'_>,
    row: usize,
    first: usize,
    keys: usize,
    query: &[f32],
    out: &mut [f32],
    scratch: &mut [f32],
) {
    let head_dim = step.heads.head_dim;
    let group = step.heads.group();
    let mut queries: [&[f32]; H] = [&[]; H];
    let mut tiles: [&[[f32; KEY_TILE]]; H] = [&[]; H];
    let mut values = [HeadView::EMPTY; H];
    for h in 0..H {
        queries[h] = &query[(first + h) * head_dim..][..head_dim];
        let view = step.cache.head(step.slots[row], (first + h) / group);
        tiles[h] = &view.keys(0)[..head_dim];
        values[h] = view;
    }
    let mut scores = [[s.splat(0.0); V]; H];
    for d in 0..head_dim {
        for h in 0..H {
            let q = s.splat(queries[h][d]);
            for v in 0..V {
                scores[h][v] = s.mul_add(q, s.load(&tiles[h][d][v * S::LANES..]), scores[h][v]);
            }
        }
    }

    let (scale, numbers) = (s.splat(step.scale), lane_numbers(s));
    let mut references = [s.splat(0.0); H];
    for h in 0..H {
        let mut raised = s.splat(f32::NEG_INFINITY);
        for (v, sum) in scores[h].iter_mut().enumerate() {
            let lane = v * S::LANES;
            let mut score = s.mul(*sum, scale);
            if let Some(bias) = step.visible.bias {
                score = s.add(score, biases(s, bias, row, first + h, lane, keys));
            }
            let is_there = s.lt(numbers, s.splat((keys - lane.min(keys)) as f32));
            *sum = s.select(is_there, score, s.splat(f32::NEG_INFINITY));
            raised = s.max(raised, *sum);
        }
        let m = s.fold_vector(raised, |a, b| s.max(a, b));
        references[h] = s.splat(if m == f32::NEG_INFINITY { 0.0 } else { m });
    }
    let weights = &mut scratch[..H * KEY_TILE];
    for h in 0..H {
        for v in 0..V {
            let weight = kernform_math::vector::exp(s, s.sub(scores[h][v], references[h]));
            s.store(weight, &mut weights[h * KEY_TILE + v * S::LANES..]);
        }
    }
    for h in 0..H {
        let block = Values {
            values: values[h],
            first_tile: 0,
            weights: &weights[h * KEY_TILE..][..keys],
            correction: s.splat(0.0),
            before: s.splat(0.0),
            is_first: true,
            is_last: true,
            head_dim,
        };
        block.add_to(s, &mut out[(first + h) * head_dim..][..head_dim]);
    }
}

/// The biases of one vector of keys from `start` on; lanes behind the last key are 0.
#[inline(always)]
fn biases<S: Simd>(s: S, bias: Bias<'_>, row: usize, head: usize, start: usize, keys: usize) -> S::F32 {
    let mut added = [0.0; KEY_TILE];
    for (added, key) in added.iter_mut().zip(start..keys) {
        *added = bias.at(0, head, row, key);
    }
    s.load(&added)
}

/// Attention of heads `first .. first + H` of one row.
#[inline(always)]
fn attend_heads<S: Simd, const H: usize>(
    s: S,
    step: &Step<'_>,
    row: usize,
    first: usize,
    query: &[f32],
    out: &mut [f32],
    scratch: &mut [f32],
) {
    let head_dim = step.heads.head_dim;
    let group = step.heads.group();
    let total = step.keys(row);
    let mut queries: [&[f32]; H] = [&[]; H];
    let mut views = [HeadView::EMPTY; H];
    for h in 0..H {
        queries[h] = &query[(first + h) * head_dim..][..head_dim];
        views[h] = step.cache.head(step.slots[row], (first + h) / group);
    }
    let out = &mut out[first * head_dim..][..H * head_dim];
    if total == 0 {
        out.fill(0.0);
        return;
    }

    let mut m = [f32::NEG_INFINITY; H];
    let mut l = [0.0; H];
    let mut start = 0;
    while start < total {
        let len = KEY_BLOCK.min(total - start);
        let (is_first, is_last) = (start == 0, start + len == total);
        let raised = scores::<S, H>(s, step, row, first, queries, views, start..start + len, m, scratch);
        for h in 0..H {
            let weights = &mut scratch[h * KEY_BLOCK..][..len.next_multiple_of(KEY_TILE)];
            let none = raised[h] == f32::NEG_INFINITY;
            let reference = s.splat(if none { 0.0 } else { raised[h] });
            for part in weights.chunks_exact_mut(S::LANES) {
                s.store(kernform_math::vector::exp(s, s.sub(s.load(part), reference)), part);
            }
            let correction =
                if is_first { s.splat(0.0) } else { kernform_math::vector::exp(s, s.sub(s.splat(m[h]), reference)) };
            let block = Values {
                values: views[h],
                first_tile: start / KEY_TILE,
                weights: &weights[..len],
                correction,
                before: s.splat(l[h]),
                is_first,
                is_last,
                head_dim,
            };
            l[h] = block.add_to(s, &mut out[h * head_dim..][..head_dim]);
            m[h] = raised[h];
        }
        start += len;
    }
}

/// Scores of a block of keys, minus infinity behind its end, and the maxima raised by them.
#[inline(always)]
fn scores<S: Simd, const H: usize>(
    s: S,
    step: &Step<'_>,
    row: usize,
    first: usize,
    queries: [&[f32]; H],
    views: [HeadView<'_>; H],
    keys: Range<usize>,
    m: [f32; H],
    scratch: &mut [f32],
) -> [f32; H] {
    let head_dim = step.heads.head_dim;
    let scale = s.splat(step.scale);
    let mut maxima = [s.splat(f32::NEG_INFINITY); H];
    let numbers = lane_numbers(s);
    for start in keys.clone().step_by(KEY_TILE) {
        let len = KEY_TILE.min(keys.end - start);
        let mut tiles: [&[[f32; KEY_TILE]]; H] = [&[]; H];
        for h in 0..H {
            tiles[h] = &views[h].keys(start / KEY_TILE)[..head_dim];
        }
        for lane in (0..KEY_TILE).step_by(S::LANES) {
            let place = start - keys.start + lane;
            if lane >= len {
                for h in 0..H {
                    s.store(s.splat(f32::NEG_INFINITY), &mut scratch[h * KEY_BLOCK + place..]);
                }
                continue;
            }
            let mut sums = [s.splat(0.0); H];
            for d in 0..head_dim {
                for h in 0..H {
                    let q = s.splat(queries[h][d]);
                    sums[h] = s.mul_add(q, s.load(&tiles[h][d][lane..]), sums[h]);
                }
            }
            let is_there = s.lt(numbers, s.splat((len - lane) as f32));
            for h in 0..H {
                let mut score = s.mul(sums[h], scale);
                if let Some(bias) = step.visible.bias {
                    score = s.add(score, biases(s, bias, row, first + h, start + lane, start + len));
                }
                let score = s.select(is_there, score, s.splat(f32::NEG_INFINITY));
                maxima[h] = s.max(maxima[h], score);
                s.store(score, &mut scratch[h * KEY_BLOCK + place..]);
            }
        }
    }
    let mut raised = m;
    for h in 0..H {
        let block = s.fold_vector(maxima[h], |a, b| s.max(a, b));
        raised[h] = if raised[h] > block { raised[h] } else { block };
    }
    raised
}

/// 0, 1, 2, … over the lanes.
#[inline(always)]
fn lane_numbers<S: Simd>(s: S) -> S::F32 {
    let mut numbers = [0.0; KEY_TILE];
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = i as f32;
    }
    s.load(&numbers)
}

/// The values of a block of keys of one head and their weights.
struct Values<'a, S: Simd> {
    values: HeadView<'a>,
    /// The tile in which the block begins.
    first_tile: usize,
    weights: &'a [f32],
    correction: S::F32,
    /// The denominator before this block.
    before: S::F32,
    is_first: bool,
    is_last: bool,
    head_dim: usize,
}

impl<S: Simd> Values<'_, S> {
    /// Adds the block to the output and, if it is the last, divides; returns the denominator.
    #[inline(always)]
    fn add_to(&self, s: S, out: &mut [f32]) -> f32 {
        // Each part computes the denominator anew: it hides behind the other chains, and costs less than a pass alone.
        let mut l = self.before;
        let mut d = 0;
        while d + 4 * S::LANES <= self.head_dim {
            l = self.columns::<4>(s, d, out);
            d += 4 * S::LANES;
        }
        while d + S::LANES <= self.head_dim {
            l = self.columns::<1>(s, d, out);
            d += S::LANES;
        }
        if d < self.head_dim {
            l = self.last_columns(s, d, out);
        }
        if self.is_last {
            return 0.0;
        }
        s.fold_vector(l, |a, _| a)
    }

    /// Elements `d .. d + V * LANES`.
    #[inline(always)]
    fn columns<const V: usize>(&self, s: S, d: usize, out: &mut [f32]) -> S::F32 {
        let mut sums = [s.splat(0.0); V];
        let mut l = s.splat(0.0);
        for (weights, tile) in self.weights.chunks(KEY_TILE).zip(self.first_tile..) {
            for (weight, value) in weights.iter().zip(self.values.values(tile).chunks_exact(self.head_dim)) {
                let p = s.splat(*weight);
                let value = &value[d..][..V * S::LANES];
                l = s.add(l, p);
                for v in 0..V {
                    sums[v] = s.mul_add(p, s.load(&value[v * S::LANES..]), sums[v]);
                }
            }
        }
        let l = self.denominator(s, l);
        for (sum, out) in sums.into_iter().zip(out[d..].chunks_exact_mut(S::LANES)) {
            s.store(self.joined(s, sum, s.load(out), l), out);
        }
        l
    }

    /// The elements from `d` on, fewer than a vector.
    #[inline(always)]
    fn last_columns(&self, s: S, d: usize, out: &mut [f32]) -> S::F32 {
        let mut sum = s.splat(0.0);
        let mut l = s.splat(0.0);
        for (weights, tile) in self.weights.chunks(KEY_TILE).zip(self.first_tile..) {
            for (weight, value) in weights.iter().zip(self.values.values(tile).chunks_exact(self.head_dim)) {
                let p = s.splat(*weight);
                l = s.add(l, p);
                sum = s.mul_add(p, s.load_or(&value[d..], 0.0), sum);
            }
        }
        let l = self.denominator(s, l);
        let out = &mut out[d..];
        s.store_partial(self.joined(s, sum, s.load_or(out, 0.0), l), out);
        l
    }

    #[inline(always)]
    fn denominator(&self, s: S, sum: S::F32) -> S::F32 {
        if self.is_first { sum } else { s.mul_add(self.before, self.correction, sum) }
    }

    #[inline(always)]
    fn joined(&self, s: S, sum: S::F32, before: S::F32, l: S::F32) -> S::F32 {
        let sum = if self.is_first { sum } else { s.mul_add(before, self.correction, sum) };
        if !self.is_last {
            return sum;
        }
        let scaled = s.mul(sum, s.div(s.splat(1.0), l));
        s.select(s.eq(l, s.splat(0.0)), s.splat(0.0), scaled)
    }
}
