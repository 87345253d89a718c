//! Attention, in the engine's order of sums.

// Loops of constant length over arrays of one length, which stay in registers; iterators over several of them do not.
#![allow(clippy::needless_range_loop)]

use kernform_attention::{Heads, KEY_TILE, Rows, RowsMut, Segment};
use kernform_simd::{Isa, Kernel, Simd};
use kernform_tensor::Arena;

use super::{exp, exp_of_one};
use crate::error::ModelError;
use crate::session::Cache;

/// Scratch for [`attend`] and [`attend_cached`] over at most `tokens` keys.
pub(in super::super) const fn attend_scratch_len(heads: Heads, tokens: usize) -> usize {
    let width = heads.query_heads.saturating_mul(heads.head_dim);
    tokens.next_multiple_of(KEY_TILE).saturating_mul(width.saturating_add(ABREAST))
}

/// Self-attention in each segment.
pub(in super::super) fn attend(
    isa: Isa,
    heads: Heads,
    (q, k, v): (Rows<'_>, Rows<'_>, Rows<'_>),
    segments: &[Segment],
    out: RowsMut<'_>,
    scratch: &mut [f32],
) -> Result<(), ModelError> {
    for segment in segments {
        let (start, tokens) = (segment.key.start, segment.key.len());
        let padded = tokens.next_multiple_of(KEY_TILE);
        let mut arena = Arena::new(scratch);
        let (keys, weights) = (arena.take(padded * heads.query_heads * heads.head_dim)?, arena.take(padded * ABREAST)?);
        keys.fill(0.0);
        for (head, keys) in keys.chunks_exact_mut((padded * heads.head_dim).max(1)).enumerate() {
            for token in 0..tokens {
                let tile = &mut keys[token / KEY_TILE * KEY_TILE * heads.head_dim + token % KEY_TILE..];
                let key = &k.data[(start + token) * k.stride + head * heads.head_dim..][..heads.head_dim];
                for (to, x) in tile.iter_mut().step_by(KEY_TILE).zip(key) {
                    *to = *x;
                }
            }
        }
        let after = |rows: Rows<'_>| start * rows.stride;
        let source = Source::Segment { keys, values: Rows::new(&v.data[after(v)..], v.stride) };
        let q = Rows::new(&q.data[after(q)..], q.stride);
        let out = RowsMut::new(&mut out.data[start * out.stride..], out.stride);
        run(isa, Attend { heads, source, tokens, q, queries: tokens, out, weights });
    }
    Ok(())
}

/// One query a row, over the keys and values of its source.
pub(in super::super) fn attend_cached(
    isa: Isa,
    heads: Heads,
    q: Rows<'_>,
    (cache, slots): (&Cache<'_>, &[usize]),
    out: RowsMut<'_>,
    scratch: &mut [f32],
) -> Result<(), ModelError> {
    for (row, slot) in slots.iter().copied().enumerate() {
        let tokens = cache.len(slot);
        let weights = Arena::new(scratch).take(tokens.next_multiple_of(KEY_TILE) * ABREAST)?;
        let q = Rows::new(&q.data[row * q.stride..], q.stride);
        let out = RowsMut::new(&mut out.data[row * out.stride..], out.stride);
        run(isa, Attend { heads, source: Source::Slot(cache, slot), tokens, q, queries: 1, out, weights });
    }
    Ok(())
}

/// Runs the kernel, which is compiled once for all that call it.
#[inline(never)]
fn run(isa: Isa, attend: Attend<'_, '_, '_>) {
    isa.dispatch(attend);
}

/// Where keys and values are.
#[derive(Clone, Copy)]
enum Source<'a, 'c> {
    /// Keys as tiles `[head_dim, KEY_TILE]`, those of a head after the other.
    Segment {
        keys: &'a [f32],
        values: Rows<'a>,
    },
    Slot(&'a Cache<'c>, usize),
}

struct Attend<'a, 'c, 'o> {
    heads: Heads,
    source: Source<'a, 'c>,
    tokens: usize,
    q: Rows<'a>,
    queries: usize,
    out: RowsMut<'o>,
    weights: &'o mut [f32],
}

impl Kernel for Attend<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (head_dim, heads, tokens) = (self.heads.head_dim, self.heads.query_heads, self.tokens);
        let (tile_len, tiles) = (head_dim * KEY_TILE, tokens.div_ceil(KEY_TILE));
        // Four queries of a head, or four heads of the only query.
        let (across, along) = if self.queries == 1 { (1, heads) } else { (heads, self.queries) };
        for first in 0..across * along.div_ceil(ABREAST) {
            let (head, first) = (first / along.div_ceil(ABREAST), first % along.div_ceil(ABREAST) * ABREAST);
            let count = ABREAST.min(along - first);
            // What is left over is computed beside itself.
            let jobs: [_; ABREAST] = core::array::from_fn(|i| {
                let i = first + i.min(count - 1);
                if self.queries == 1 { (i, 0) } else { (head, i) }
            });
            let four = Abreast {
                q: jobs.map(|(head, query)| &self.q.data[query * self.q.stride + head * head_dim..][..head_dim]),
                tokens,
                is_one_head: self.queries > 1,
                in_fours: self.queries > 1 && count == ABREAST,
            };
            let keys = |i: usize, tile: usize| match self.source {
                Source::Segment { keys, .. } => &keys[(jobs[i].0 * tiles + tile) * tile_len..][..tile_len],
                Source::Slot(cache, slot) => cache.tile(slot, jobs[i].0, tile).unwrap_or_default().0,
            };
            four.weigh(s, keys, self.weights);
            let values = |i: usize, tile: usize| match self.source {
                Source::Segment { values, .. } => {
                    Rows::new(&values.data[tile * KEY_TILE * values.stride + jobs[i].0 * head_dim..], values.stride)
                }
                Source::Slot(cache, slot) => {
                    Rows::new(cache.tile(slot, jobs[i].0, tile).unwrap_or_default().1, head_dim)
                }
            };
            let places = jobs.map(|(head, query)| query * self.out.stride + head * head_dim);
            four.mix(s, values, self.weights, places, self.out.data);
        }
    }
}

/// Queries or heads that are computed side by side, as each chain waits for its own additions alone.
const ABREAST: usize = 4;

/// Vectors of keys or columns that each of them is computed for at once: two where they fit the registers.
const fn most_vectors<S: Simd>() -> usize {
    if S::LANES >= 8 || cfg!(target_arch = "aarch64") { 2 } else { 1 }
}

/// Queries of one head each, over as many keys.
struct Abreast<'q> {
    q: [&'q [f32]; ABREAST],
    tokens: usize,
    /// Whether all have the same keys and values, which are then loaded once.
    is_one_head: bool,
    /// Whether they are four queries that the engine multiplies together.
    in_fours: bool,
}

// `SHARED` is `is_one_head` where it decides what is compiled.
impl Abreast<'_> {
    /// The weights of the keys, `[ABREAST, tokens]`, rows filled up to whole tiles; `keys` gives tiles `[head_dim, KEY_TILE]`.
    #[inline(always)]
    fn weigh<'t, S: Simd>(&self, s: S, keys: impl Fn(usize, usize) -> &'t [f32], weights: &mut [f32]) {
        let (head_dim, stride) = (self.q[0].len(), weights.len() / ABREAST);
        let scale = 1.0 / libm::sqrtf(head_dim as f32);
        let vectors = self.tokens.div_ceil(S::LANES);
        for first in (0..vectors).step_by(most_vectors::<S>()) {
            let key = first * S::LANES;
            match (self.is_one_head, most_vectors::<S>().min(vectors - first)) {
                (true, 2) => self.scores::<S, true, 2>(s, key, &keys, scale, weights),
                (true, _) => self.scores::<S, true, 1>(s, key, &keys, scale, weights),
                (false, 2) => self.scores::<S, false, 2>(s, key, &keys, scale, weights),
                (false, _) => self.scores::<S, false, 1>(s, key, &keys, scale, weights),
            }
        }
        if self.in_fours {
            for (i, (weights, q)) in weights.chunks_exact_mut(stride.max(1)).zip(self.q).enumerate() {
                // The keys that are left over from groups of four: four chains, then what is left of the elements.
                let first = self.tokens / 4 * 4;
                for (token, weight) in weights[..self.tokens].iter_mut().enumerate().skip(first) {
                    let key = keys(i, token / KEY_TILE).iter().skip(token % KEY_TILE).step_by(KEY_TILE);
                    *weight = in_four_chains(q, key) * scale;
                }
            }
        }
        softmax(s, weights, self.tokens);
    }

    /// The scores of as many vectors of keys, from key `first` on.
    #[inline(always)]
    fn scores<'t, S: Simd, const SHARED: bool, const VECTORS: usize>(
        &self,
        s: S,
        first: usize,
        keys: impl Fn(usize, usize) -> &'t [f32],
        scale: f32,
        weights: &mut [f32],
    ) {
        let (head_dim, stride) = (self.q[0].len(), weights.len() / ABREAST);
        let q = self.q.map(|q| &q[..head_dim]);
        let tiles: [[&[[f32; KEY_TILE]]; VECTORS]; ABREAST] = core::array::from_fn(|i| {
            core::array::from_fn(|v| {
                let tile = keys(if SHARED { 0 } else { i }, (first + v * S::LANES) / KEY_TILE);
                &tile.as_chunks().0[..head_dim]
            })
        });
        let mut sums = [[s.splat(0.0); VECTORS]; ABREAST];
        for d in 0..head_dim {
            for i in 0..ABREAST {
                let q = s.splat(q[i][d]);
                for v in 0..VECTORS {
                    let tile = tiles[if SHARED { 0 } else { i }][v];
                    let keys = s.load(&tile[d][(first + v * S::LANES) % KEY_TILE..]);
                    sums[i][v] = s.add(sums[i][v], s.mul(q, keys));
                }
            }
        }
        for i in 0..ABREAST {
            for v in 0..VECTORS {
                s.store(s.mul(sums[i][v], s.splat(scale)), &mut weights[i * stride + first + v * S::LANES..]);
            }
        }
    }

    /// The mixed values, to their places in `out`, of the rows that `values` gives for each tile.
    #[inline(always)]
    fn mix<'t, S: Simd>(
        &self,
        s: S,
        values: impl Fn(usize, usize) -> Rows<'t>,
        weights: &[f32],
        places: [usize; ABREAST],
        out: &mut [f32],
    ) {
        let head_dim = self.q[0].len();
        let mut column = 0;
        while column < head_dim {
            let vectors = most_vectors::<S>().min((head_dim - column) / S::LANES).max(1);
            match (self.is_one_head, vectors) {
                (true, 2) => self.mix_columns::<S, true, 2>(s, column, &values, weights, places, out),
                (true, _) => self.mix_columns::<S, true, 1>(s, column, &values, weights, places, out),
                (false, 2) => self.mix_columns::<S, false, 2>(s, column, &values, weights, places, out),
                (false, _) => self.mix_columns::<S, false, 1>(s, column, &values, weights, places, out),
            }
            column += vectors * S::LANES;
        }
    }

    /// As many vectors of the mixed values from `column` on; a single one may reach beyond the last.
    #[inline(always)]
    fn mix_columns<'t, S: Simd, const SHARED: bool, const VECTORS: usize>(
        &self,
        s: S,
        column: usize,
        values: impl Fn(usize, usize) -> Rows<'t>,
        weights: &[f32],
        places: [usize; ABREAST],
        out: &mut [f32],
    ) {
        let (head_dim, stride) = (self.q[0].len(), weights.len() / ABREAST);
        let count = if VECTORS == 1 { S::LANES.min(head_dim - column) } else { VECTORS * S::LANES };
        let mut sums = [[s.splat(0.0); VECTORS]; ABREAST];
        for first in (0..self.tokens).step_by(KEY_TILE) {
            let tiles: [Rows<'_>; ABREAST] =
                core::array::from_fn(|i| values(if SHARED { 0 } else { i }, first / KEY_TILE));
            for token in 0..KEY_TILE.min(self.tokens - first) {
                for i in 0..ABREAST {
                    let tile = tiles[if SHARED { 0 } else { i }];
                    let row = &tile.data[token * tile.stride + column..][..count];
                    let weight = s.splat(weights[i * stride + first + token]);
                    for v in 0..VECTORS {
                        let is_whole = count == VECTORS * S::LANES;
                        let value = if is_whole { s.load(&row[v * S::LANES..]) } else { s.load_or(row, 0.0) };
                        sums[i][v] = s.add(sums[i][v], s.mul(weight, value));
                    }
                }
            }
        }
        for i in 0..ABREAST {
            for v in 0..VECTORS {
                s.store_partial(sums[i][v], &mut out[places[i] + column..][..count][v * S::LANES..]);
            }
        }
    }
}

/// A product of vectors in four chains.
#[inline(always)]
fn in_four_chains<'k>(q: &[f32], mut key: impl Iterator<Item = &'k f32>) -> f32 {
    let fours = q.chunks_exact(4);
    let rest = fours.remainder();
    let mut chains = [0.0; 4];
    for four in fours {
        for (chain, q) in chains.iter_mut().zip(four) {
            *chain += q * key.next().unwrap_or(&0.0);
        }
    }
    let sum = (chains[3] + chains[2]) + (chains[1] + chains[0]);
    rest.iter().zip(key).fold(sum, |sum, (q, key)| sum + q * key)
}

/// Makes weights of the first `count` scores of each row, `[ABREAST, any]`; there is room for whole vectors.
///
/// A multiple of four is summed in four chains, with the exponential of vectors; any other number in one.
#[inline(always)]
pub(super) fn softmax<S: Simd>(s: S, scores: &mut [f32], count: usize) {
    let stride = scores.len() / ABREAST;
    let whole = count.next_multiple_of(S::LANES);
    for i in 0..ABREAST {
        let scores = &mut scores[i * stride..][..whole];
        let mut largest = s.splat(f32::NEG_INFINITY);
        for scores in scores[..count].chunks(S::LANES) {
            largest = s.max(s.load_or(scores, f32::NEG_INFINITY), largest);
        }
        let largest = s.fold_vector(largest, |a, b| s.max(a, b));
        if count.is_multiple_of(4) {
            for scores in scores.chunks_exact_mut(S::LANES) {
                s.store(exp(s, s.sub(s.load(scores), s.splat(largest))), scores);
            }
        } else {
            scores[..count].iter_mut().for_each(|x| *x = exp_of_one(*x - largest));
        }
    }
    // The rows side by side, as each chain waits for its own additions alone.
    let mut sums = [0.0; ABREAST];
    if count.is_multiple_of(4) {
        let mut chains = [[0.0; 4]; ABREAST];
        for first in (0..count).step_by(4) {
            for i in 0..ABREAST {
                for (chain, x) in chains[i].iter_mut().zip(&scores[i * stride + first..][..4]) {
                    *chain += x;
                }
            }
        }
        sums = chains.map(|chains| chains.iter().fold(0.0, |sum, chain| sum + chain));
    } else {
        for first in 0..count {
            for i in 0..ABREAST {
                sums[i] += scores[i * stride + first];
            }
        }
    }
    for i in 0..ABREAST {
        for scores in scores[i * stride..][..whole].chunks_exact_mut(S::LANES) {
            s.store(s.div(s.load(scores), s.splat(sums[i])), scores);
        }
    }
}
