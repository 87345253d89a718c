//! One query over few cached keys, several heads at once: what a small model spends its steps in.
//!
//! The same operations as [`super::block`], with everything between the scores and the weights in registers. Heads are
//! independent, and the chains of some hide the latency of one.

use kernform_simd::Simd;

use super::block::lane_numbers;
use crate::cache::HeadView;
use crate::cached::Step;
use crate::exponential::exp2_nonpositive;
use crate::reference::{KEY_BLOCK, KEY_TILE};

/// Heads worked on at once.
pub(crate) const HEADS: usize = 4;

/// The most vectors of keys.
pub(crate) const VECTORS: usize = 3;

/// Attention of heads `first .. first + HEADS` of one row over `keys` keys, from 1 to `V` vectors of them.
///
/// `query` are scaled queries of these heads, `out` their outputs.
#[inline(always)]
pub(crate) fn attend<S: Simd, const V: usize>(
    s: S,
    step: &Step<'_>,
    row: usize,
    first: usize,
    keys: usize,
    query: &[f32],
    out: &mut [f32],
    weights: &mut [[f32; KEY_BLOCK]],
) {
    let head_dim = step.heads.head_dim;
    let group = step.heads.group();
    let mut views = [HeadView::EMPTY; HEADS];
    for (h, view) in views.iter_mut().enumerate() {
        *view = step.cache.head(step.slots[row], (first + h) / group);
    }
    let mut scores = scores::<S, V>(s, head_dim, query, &views, keys);

    let numbers = lane_numbers(s);
    let lowest = s.splat(f32::NEG_INFINITY);
    let mut references = [lowest; HEADS];
    for h in 0..HEADS {
        let mut raised = lowest;
        for (v, score) in scores[h].iter_mut().enumerate() {
            let is_there = s.lt(numbers, s.splat(keys.saturating_sub(v * S::LANES) as f32));
            *score = s.select(is_there, *score, lowest);
            raised = s.max(raised, *score);
        }
        let m = s.fold_vector(raised, |a, b| s.max(a, b));
        references[h] = s.splat(if m == f32::NEG_INFINITY { 0.0 } else { m });
    }
    let mut reciprocals = [0.0; HEADS];
    for h in 0..HEADS {
        let mut sums = [s.splat(0.0); KEY_TILE];
        let parts = KEY_TILE / S::LANES;
        for v in 0..V {
            let weight = exp2_nonpositive(s, s.sub(scores[h][v], references[h]));
            s.store(weight, &mut weights[h][v * S::LANES..]);
            sums[v % parts] = s.add(sums[v % parts], weight);
        }
        let mut half = parts;
        while half > 1 {
            half /= 2;
            for i in 0..half {
                sums[i] = s.add(sums[i], sums[i + half]);
            }
        }
        reciprocals[h] = s.fold_vector(sums[0], |a, b| s.add(a, b));
    }
    for l in &mut reciprocals {
        *l = if *l == 0.0 { 0.0 } else { 1.0 / *l };
    }
    let mut d = 0;
    while d + 2 * S::LANES <= head_dim {
        values::<S, 2, false>(s, head_dim, d, &views, keys, weights, reciprocals, out);
        d += 2 * S::LANES;
    }
    if d + S::LANES <= head_dim {
        values::<S, 1, false>(s, head_dim, d, &views, keys, weights, reciprocals, out);
        d += S::LANES;
    }
    if d < head_dim {
        values::<S, 1, true>(s, head_dim, d, &views, keys, weights, reciprocals, out);
    }
}

#[inline(always)]
fn scores<S: Simd, const V: usize>(
    s: S,
    head_dim: usize,
    query: &[f32],
    views: &[HeadView<'_>; HEADS],
    keys: usize,
) -> [[S::F32; V]; HEADS] {
    let mut queries: [&[f32]; HEADS] = [&[]; HEADS];
    let mut tiles: [[&[[f32; KEY_TILE]]; V]; HEADS] = [[&[]; V]; HEADS];
    for h in 0..HEADS {
        queries[h] = &query[h * head_dim..][..head_dim];
        for (v, slot) in tiles[h].iter_mut().enumerate() {
            // A vector behind the last key may lie in a tile that is not there: any other will do.
            let tile = (v * S::LANES).min(keys - 1) / KEY_TILE;
            *slot = &views[h].keys(tile).as_chunks().0[..head_dim];
        }
    }
    let mut sums = [[s.splat(0.0); V]; HEADS];
    for d in 0..head_dim {
        for h in 0..HEADS {
            let q = s.splat(queries[h][d]);
            for v in 0..V {
                sums[h][v] = s.mul_add(q, s.load(&tiles[h][v][d][v * S::LANES % KEY_TILE..]), sums[h][v]);
            }
        }
    }
    sums
}

/// Elements `d .. d + V * LANES` of the heads' outputs; where it is `PARTIAL`, the last ones, fewer than a vector.
#[inline(always)]
fn values<S: Simd, const V: usize, const PARTIAL: bool>(
    s: S,
    head_dim: usize,
    d: usize,
    views: &[HeadView<'_>; HEADS],
    keys: usize,
    weights: &[[f32; KEY_BLOCK]],
    reciprocals: [f32; HEADS],
    out: &mut [f32],
) {
    let width = if PARTIAL { head_dim - d } else { V * S::LANES };
    let mut sums = [[s.splat(0.0); V]; HEADS];
    for first in (0..keys).step_by(KEY_TILE) {
        let count = (keys - first).min(KEY_TILE);
        let mut tiles: [&[f32]; HEADS] = [&[]; HEADS];
        let mut parts: [&[f32]; HEADS] = [&[]; HEADS];
        for h in 0..HEADS {
            tiles[h] = &views[h].values(first / KEY_TILE)[..count * head_dim];
            parts[h] = &weights[h][first..first + count];
        }
        for j in 0..count {
            for h in 0..HEADS {
                let p = s.splat(parts[h][j]);
                let value = &tiles[h][j * head_dim + d..][..width];
                for v in 0..V {
                    let x = if PARTIAL { s.load_or(value, 0.0) } else { s.load(&value[v * S::LANES..]) };
                    sums[h][v] = s.mul_add(p, x, sums[h][v]);
                }
            }
        }
    }
    for h in 0..HEADS {
        let reciprocal = s.splat(reciprocals[h]);
        let none = s.eq(reciprocal, s.splat(0.0));
        let out = &mut out[h * head_dim + d..][..width];
        for (v, sum) in sums[h].iter().enumerate() {
            // The block joins a state of 0, which makes +0 of -0.
            let scaled = s.mul(s.add(*sum, s.splat(0.0)), reciprocal);
            let result = s.select(none, s.splat(0.0), scaled);
            if PARTIAL {
                s.store_partial(result, out);
            } else {
                s.store(result, &mut out[v * S::LANES..]);
            }
        }
    }
}
