//! Some query rows over one block of keys: the arithmetic of attention, the same for prefill and decode.
//!
//! Keys stand in tiles, element `d` of all keys of a tile side by side, so that vector lanes run over keys while scores
//! are made; values stand key by key, so that lanes run over elements while they are added up. Both products hold a
//! rectangle of `rows x vectors` in registers, and what one of them leaves for the other, the block's weights, stays in
//! the nearest cache.

// Loops of constant length over arrays of one length, which become straight code; iterators over several of them do not.
#![allow(clippy::needless_range_loop)]

use core::ops::Range;

use kernform_simd::Simd;

use crate::exponential::{exp2_nonpositive, exp2_nonpositive_of};
use crate::reference::{KEY_BLOCK, KEY_TILE};
use crate::scores::RowTerms;

/// Tiles of a block.
pub(crate) const TILES: usize = KEY_BLOCK / KEY_TILE;

/// The most rows that are worked on at once.
pub(crate) const MAX_ROWS: usize = 8;

/// The keys and values of a block, tile by tile; tiles that no row sees may be empty.
#[derive(Clone, Copy)]
pub(crate) struct KeyBlock<'a> {
    /// `[head_dim][KEY_TILE]`.
    pub(crate) keys: [&'a [f32]; TILES],
    /// `[KEY_TILE][head_dim]`; as many as there are keys.
    pub(crate) values: [&'a [f32]; TILES],
}

impl KeyBlock<'_> {
    pub(crate) const EMPTY: KeyBlock<'static> = KeyBlock { keys: [&[]; TILES], values: [&[]; TILES] };
}

/// The running softmax of some rows: maxima and lanes of the denominators.
pub(crate) struct State<'a> {
    pub(crate) m: &'a mut [f32],
    pub(crate) l: &'a mut [[f32; KEY_TILE]],
}

/// `R` rows of queries and what they see of the block.
pub(crate) struct RowBlock<'a, const R: usize> {
    /// Already times the scale.
    pub(crate) query: [&'a [f32]; R],
    /// Where each row's output begins.
    pub(crate) out: [usize; R],
    /// The places in the block that each row sees.
    pub(crate) seen: [(usize, usize); R],
}

/// Adds the block to the rows' softmax and output.
#[inline(always)]
pub(crate) fn attend_block<S: Simd, const R: usize>(
    s: S,
    block: &KeyBlock<'_>,
    rows: &RowBlock<'_, R>,
    terms: Option<&[RowTerms<'_>; R]>,
    state: State<'_>,
    out: &mut [f32],
    weights: &mut [[f32; KEY_BLOCK]],
) {
    let (mut least, mut most) = (KEY_BLOCK, 0);
    // Where each row that sees anything sees the key.
    let (mut common_start, mut common_end) = (0, KEY_BLOCK);
    for (start, end) in rows.seen {
        if start < end {
            (least, most) = (least.min(start), most.max(end));
            (common_start, common_end) = (common_start.max(start), common_end.min(end));
        }
    }
    if least >= most {
        return;
    }
    let Some(weights) = weights.first_chunk_mut::<R>() else { return };
    scores(s, block, &rows.query, least / S::LANES..most.div_ceil(S::LANES), weights);
    if let Some(terms) = terms {
        for r in 0..R {
            terms[r].apply(s, &mut weights[r], rows.seen[r].0, rows.seen[r].1);
        }
    }
    let corrections = weigh(s, &rows.seen, state, weights);
    let common = common_start.min(common_end)..common_end.max(common_start.min(common_end));
    let (head_dim, seen) = (rows.query[0].len(), &rows.seen);
    let values = Values {
        block,
        head_dim,
        out: &rows.out,
        seen,
        corrections,
        weights,
        all: least..most,
        common,
        is_first: false,
    };
    values.add_all(s, out);
}

/// Scores of whole vectors of keys.
#[inline(always)]
fn scores<S: Simd, const R: usize>(
    s: S,
    block: &KeyBlock<'_>,
    query: &[&[f32]; R],
    vectors: Range<usize>,
    weights: &mut [[f32; KEY_BLOCK]; R],
) {
    let mut at = vectors.start;
    if R == 1 {
        while at + 8 <= vectors.end {
            chains::<S, R, 8>(s, block, query, at, weights);
            at += 8;
        }
    }
    if R < MAX_ROWS / 2 {
        while at + 4 <= vectors.end {
            chains::<S, R, 4>(s, block, query, at, weights);
            at += 4;
        }
    }
    while at + 2 <= vectors.end {
        chains::<S, R, 2>(s, block, query, at, weights);
        at += 2;
    }
    if at < vectors.end {
        chains::<S, R, 1>(s, block, query, at, weights);
    }
}

/// Scores of `V` vectors of keys from vector `at` on.
#[inline(always)]
fn chains<S: Simd, const R: usize, const V: usize>(
    s: S,
    block: &KeyBlock<'_>,
    query: &[&[f32]; R],
    at: usize,
    weights: &mut [[f32; KEY_BLOCK]; R],
) {
    let head_dim = query[0].len();
    let mut keys: [&[[f32; KEY_TILE]]; V] = [&[]; V];
    let mut lane = [0; V];
    for v in 0..V {
        let place = (at + v) * S::LANES;
        keys[v] = &block.keys[place / KEY_TILE].as_chunks().0[..head_dim];
        lane[v] = place % KEY_TILE;
    }
    let mut rows: [&[f32]; R] = [&[]; R];
    for r in 0..R {
        rows[r] = &query[r][..head_dim];
    }
    let mut sums = [[s.splat(0.0); V]; R];
    for d in 0..head_dim {
        let mut k = [s.splat(0.0); V];
        for v in 0..V {
            k[v] = s.load(&keys[v][d][lane[v]..]);
        }
        for r in 0..R {
            let q = s.splat(rows[r][d]);
            for v in 0..V {
                sums[r][v] = s.mul_add(q, k[v], sums[r][v]);
            }
        }
    }
    for r in 0..R {
        let weights = &mut weights[r][at * S::LANES..][..V * S::LANES];
        for v in 0..V {
            s.store(sums[r][v], &mut weights[v * S::LANES..]);
        }
    }
}

/// Turns the scores that each row sees into weights, and raises its maximum and denominator; returns what the row's
/// output is to be multiplied by.
#[inline(always)]
fn weigh<S: Simd, const R: usize>(
    s: S,
    seen: &[(usize, usize); R],
    state: State<'_>,
    weights: &mut [[f32; KEY_BLOCK]; R],
) -> [f32; KEY_TILE] {
    let State { m, l } = state;
    let (Some(m), Some(l)) = (m.first_chunk_mut::<R>(), l.first_chunk_mut::<R>()) else { return [0.0; KEY_TILE] };
    let mut maxima = [None; R];
    for r in 0..R {
        maxima[r] = match seen[r] {
            (0, KEY_BLOCK) => Some(maximum::<S>(s, &weights[r])),
            (start, end) if start < end => {
                mask_edges(s, start, end, &mut weights[r]);
                let vectors = start / S::LANES * S::LANES..end.next_multiple_of(S::LANES);
                Some(maximum::<S>(s, &weights[r][vectors]))
            }
            _ => None,
        };
    }
    let Raised { reference, factors } = raise(s, m, &maxima);
    for r in 0..R {
        let (reference, factor) = (s.splat(reference[r]), s.splat(factors[r]));
        match seen[r] {
            (0, KEY_BLOCK) => {
                // The lanes of the denominator are as many as a tile has keys.
                let parts = KEY_TILE / S::LANES;
                let mut sums = [s.splat(0.0); KEY_TILE];
                for (at, group) in weights[r].chunks_exact_mut(AT_ONCE * S::LANES).enumerate() {
                    let mut t = [reference; AT_ONCE];
                    for (v, t) in t.iter_mut().enumerate() {
                        *t = s.sub(s.load(&group[v * S::LANES..]), reference);
                    }
                    for (v, p) in exp2_nonpositive_of(s, t).into_iter().enumerate() {
                        s.store(p, &mut group[v * S::LANES..]);
                        let part = (at * AT_ONCE + v) % parts;
                        sums[part] = s.add(sums[part], p);
                    }
                }
                for (part, sum) in sums.iter().enumerate().take(parts) {
                    let lanes = &mut l[r][part * S::LANES..];
                    s.store(s.mul_add(s.load(lanes), factor, *sum), lanes);
                }
            }
            (start, end) if start < end => weigh_some(s, start, end, reference, factor, &mut weights[r], &mut l[r]),
            _ => {}
        }
    }
    factors
}

/// What a block's maxima make of the softmax of some rows.
#[derive(Default)]
pub(crate) struct Raised {
    /// What is subtracted from a row's scores: its maximum, or 0 where that is minus infinity.
    pub(crate) reference: [f32; KEY_TILE],
    /// What a row's denominator and output are to be multiplied by.
    pub(crate) factors: [f32; KEY_TILE],
}

/// Raises the running maxima of rows to those of a block; rows that see nothing of it have none.
#[inline(always)]
pub(crate) fn raise<S: Simd, const R: usize>(s: S, m: &mut [f32; R], block: &[Option<f32>; R]) -> Raised {
    let mut before = [0.0f32; KEY_TILE];
    let mut raised = Raised::default();
    for r in 0..R {
        let Some(block) = block[r] else { continue };
        let most = if m[r] > block { m[r] } else { block };
        (before[r], raised.reference[r]) = (m[r], if most == f32::NEG_INFINITY { 0.0 } else { most });
        m[r] = most;
    }
    // All at once, where they fit a vector.
    for at in (0..R).step_by(S::LANES) {
        let difference = s.sub(s.load(&before[at..]), s.load(&raised.reference[at..]));
        s.store(exp2_nonpositive(s, difference), &mut raised.factors[at..]);
    }
    raised
}

/// Vectors whose powers are taken at once.
const AT_ONCE: usize = 4;

/// The largest of whole vectors of scores.
#[inline(always)]
fn maximum<S: Simd>(s: S, scores: &[f32]) -> f32 {
    let mut raised = s.splat(f32::NEG_INFINITY);
    for part in scores.chunks_exact(S::LANES) {
        raised = s.max(raised, s.load(part));
    }
    s.fold_vector(raised, |a, b| s.max(a, b))
}

/// Minus infinity to the lanes before `start` and from `end` on, in the vectors of these places.
#[inline(always)]
fn mask_edges<S: Simd>(s: S, start: usize, end: usize, scores: &mut [f32; KEY_BLOCK]) {
    let numbers = lane_numbers(s);
    for v in [start / S::LANES, (end - 1) / S::LANES] {
        let (first, part) = (v * S::LANES, &mut scores[v * S::LANES..][..S::LANES]);
        let behind = s.le(s.splat(start.saturating_sub(first) as f32), numbers);
        let is_seen = s.mask_and(behind, s.lt(numbers, s.splat((end - first) as f32)));
        s.store(s.select(is_seen, s.load(part), s.splat(f32::NEG_INFINITY)), part);
    }
}

/// The weights of a row that sees a part of the block.
#[inline(always)]
fn weigh_some<S: Simd>(
    s: S,
    start: usize,
    end: usize,
    reference: S::F32,
    factor: S::F32,
    weights: &mut [f32; KEY_BLOCK],
    l: &mut [f32; KEY_TILE],
) {
    // Vectors of the same lanes go together.
    let parts = KEY_TILE / S::LANES;
    let end = end.next_multiple_of(S::LANES);
    for part in 0..parts {
        let first = start / KEY_TILE * KEY_TILE + part * S::LANES;
        let first = if first + S::LANES > start { first } else { first + KEY_TILE };
        let mut sum = s.splat(0.0);
        for weights in weights[first.min(end)..end].chunks_exact_mut(S::LANES).step_by(parts) {
            let weight = exp2_nonpositive(s, s.sub(s.load(weights), reference));
            s.store(weight, weights);
            sum = s.add(sum, weight);
        }
        let lanes = &mut l[part * S::LANES..];
        s.store(s.mul_add(s.load(lanes), factor, sum), lanes);
    }
}

/// The weighted values of a block.
pub(crate) struct Values<'a, const R: usize> {
    pub(crate) block: &'a KeyBlock<'a>,
    pub(crate) head_dim: usize,
    /// Where each row's output begins.
    pub(crate) out: &'a [usize; R],
    /// The places in the block that each row sees.
    pub(crate) seen: &'a [(usize, usize); R],
    /// What each row's output is multiplied by before.
    pub(crate) corrections: [f32; KEY_TILE],
    pub(crate) weights: &'a [[f32; KEY_BLOCK]; R],
    /// Places that some row sees.
    pub(crate) all: Range<usize>,
    /// Places that every row sees that sees any.
    pub(crate) common: Range<usize>,
    /// Whether nothing was added before; then the output may hold anything.
    pub(crate) is_first: bool,
}

impl<const R: usize> Values<'_, R> {
    /// Adds them to the rows' outputs.
    #[inline(always)]
    pub(crate) fn add_all<S: Simd>(&self, s: S, out: &mut [f32]) {
        let head_dim = self.head_dim;
        let mut d = 0;
        if R < MAX_ROWS / 2 {
            while d + 4 * S::LANES <= head_dim {
                self.add::<S, 4, false>(s, d, out);
                d += 4 * S::LANES;
            }
        }
        while d + 2 * S::LANES <= head_dim {
            self.add::<S, 2, false>(s, d, out);
            d += 2 * S::LANES;
        }
        if d + S::LANES <= head_dim {
            self.add::<S, 1, false>(s, d, out);
            d += S::LANES;
        }
        if d < head_dim {
            self.add::<S, 1, true>(s, d, out);
        }
    }

    /// Adds elements `d .. d + V * LANES`; where it is `PARTIAL`, the last elements of a head, fewer than a vector.
    #[inline(always)]
    fn add<S: Simd, const V: usize, const PARTIAL: bool>(&self, s: S, d: usize, out: &mut [f32]) {
        let head_dim = self.head_dim;
        let width = if PARTIAL { head_dim - d } else { V * S::LANES };
        let mut sums = [[s.splat(0.0); V]; R];
        // Places that only some rows see, those that all see, and again some.
        let parts = [self.all.start..self.common.start, self.common.clone(), self.common.end..self.all.end];
        for (number, places) in parts.into_iter().enumerate() {
            for tile in places.start / KEY_TILE..places.end.div_ceil(KEY_TILE) {
                let first = tile * KEY_TILE;
                let (start, end) = (places.start.max(first) - first, (places.end - first).min(KEY_TILE));
                let values = self.block.values[tile];
                let mut weights = [&[0.0; KEY_TILE]; R];
                for r in 0..R {
                    weights[r] = &self.weights[r].as_chunks().0[tile];
                }
                for i in start..end {
                    let value = &values[i * head_dim + d..][..width];
                    let mut x = [s.splat(0.0); V];
                    for v in 0..V {
                        x[v] = if PARTIAL { s.load_or(value, 0.0) } else { s.load(&value[v * S::LANES..]) };
                    }
                    if number == 1 {
                        for r in 0..R {
                            let p = s.splat(weights[r][i]);
                            for v in 0..V {
                                sums[r][v] = s.mul_add(p, x[v], sums[r][v]);
                            }
                        }
                    } else {
                        let seen = self.seen;
                        for r in 0..R {
                            if seen[r].0 <= first + i && first + i < seen[r].1 {
                                let p = s.splat(weights[r][i]);
                                for v in 0..V {
                                    sums[r][v] = s.mul_add(p, x[v], sums[r][v]);
                                }
                            }
                        }
                    }
                }
            }
        }
        for r in 0..R {
            if self.seen[r].0 >= self.seen[r].1 {
                continue;
            }
            let correction = s.splat(self.corrections[r]);
            let out = &mut out[self.out[r] + d..][..width];
            for v in 0..V {
                if PARTIAL {
                    s.store_partial(s.mul_add(s.load_or(out, 0.0), correction, sums[r][v]), out);
                } else if self.is_first {
                    s.store(s.mul_add(s.splat(0.0), correction, sums[r][v]), &mut out[v * S::LANES..]);
                } else {
                    let part = &mut out[v * S::LANES..][..S::LANES];
                    s.store(s.mul_add(s.load(part), correction, sums[r][v]), part);
                }
            }
        }
    }
}

/// Divides rows of the output by their denominators.
#[inline(always)]
pub(crate) fn finish<S: Simd>(s: S, lanes: &[f32; KEY_TILE], out: &mut [f32]) {
    let l = fold_lanes(s, lanes);
    if l == 0.0 {
        return out.fill(0.0);
    }
    let reciprocal = s.splat(1.0 / l);
    kernform_math::vector::map_in_place(s, out, |out| s.mul(out, reciprocal));
}

/// The sum of the denominator's lanes, by halves.
#[inline(always)]
pub(crate) fn fold_lanes<S: Simd>(s: S, lanes: &[f32; KEY_TILE]) -> f32 {
    let mut sums = [s.splat(0.0); KEY_TILE];
    let mut half = KEY_TILE / S::LANES;
    for (sum, lanes) in sums.iter_mut().zip(lanes.chunks_exact(S::LANES)) {
        *sum = s.load(lanes);
    }
    while half > 1 {
        half /= 2;
        for i in 0..half {
            sums[i] = s.add(sums[i], sums[i + half]);
        }
    }
    s.fold_vector(sums[0], |a, b| s.add(a, b))
}

/// 0, 1, 2, … over the lanes.
#[inline(always)]
pub(crate) fn lane_numbers<S: Simd>(s: S) -> S::F32 {
    let mut numbers = [0.0; KEY_TILE];
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = i as f32;
    }
    s.load(&numbers)
}
