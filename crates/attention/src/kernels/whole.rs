//! Rows that see all of a block, group after group: the exponentials of one group among the products of the next.
//!
//! A product keeps the units busy that multiply, and leaves those idle that add, compare and shift; softmax is the other
//! way round. So while the scores of a group of rows are made, those of the group before become weights, and the two
//! together take little longer than the product alone. The order of operations of each row is the one of
//! [`super::block`].

// Loops of constant length over arrays of one length, which become straight code; iterators over several of them do not.
#![allow(clippy::needless_range_loop)]

use kernform_simd::Simd;

use super::block::{KeyBlock, MAX_ROWS, Raised, State, TILES, Values, raise};
use crate::exponential::exp2_nonpositive;
use crate::reference::{KEY_BLOCK, KEY_TILE};

/// Rows of a group.
pub(crate) const ROWS: usize = MAX_ROWS;

/// Tiles of keys whose scores are made at once.
const AT_ONCE: usize = 2;

/// Scores of a group of rows.
type Scores = [[f32; KEY_BLOCK]; ROWS];

/// Some rows that see all of a block.
pub(crate) struct Groups<'a> {
    pub(crate) block: &'a KeyBlock<'a>,
    pub(crate) head_dim: usize,
    /// The scaled queries, one after another.
    pub(crate) queries: &'a [f32],
    /// Where the output of each row begins.
    pub(crate) places: &'a [usize],
    /// Whether it is the rows' first block, so that their outputs hold anything.
    pub(crate) is_first: bool,
}

impl Groups<'_> {
    /// Whether the vectors are those that this is for: as wide as a tile of keys, and many.
    pub(crate) const fn are_for<S: Simd>() -> bool {
        S::LANES == KEY_TILE && S::REGISTERS >= 32
    }

    /// Adds the block to softmax and output of as many rows as are whole groups; returns how many these are: none where
    /// the size of a head is none of those that models have. It is a constant, so that elements of eight queries are
    /// found with one pointer. Only where groups [`are_for`](Self::are_for) the vectors.
    ///
    /// `weights` is memory for two groups; with less, nothing is done.
    #[inline(always)]
    pub(crate) fn attend<S: Simd>(
        &self,
        s: S,
        state: State<'_>,
        out: &mut [f32],
        weights: &mut [[f32; KEY_BLOCK]],
    ) -> usize {
        match self.head_dim {
            32 => self.attend_of::<S, 32>(s, state, out, weights),
            64 => self.attend_of::<S, 64>(s, state, out, weights),
            128 => self.attend_of::<S, 128>(s, state, out, weights),
            _ => 0,
        }
    }

    /// [`Groups::attend`] for heads of `D` elements.
    #[inline(always)]
    fn attend_of<S: Simd, const D: usize>(
        &self,
        s: S,
        state: State<'_>,
        out: &mut [f32],
        weights: &mut [[f32; KEY_BLOCK]],
    ) -> usize {
        let [this, next, ..] = weights.as_chunks_mut::<ROWS>().0 else { return 0 };
        let (mut this, mut next) = (this, next);
        let (m, l) = (state.m.as_chunks_mut::<ROWS>().0, state.l.as_chunks_mut::<ROWS>().0);
        let groups = self.queries.as_chunks::<D>().0.as_chunks::<ROWS>().0;
        let places = self.places.as_chunks::<ROWS>().0;
        let mut keys: [&[[f32; KEY_TILE]; D]; TILES] = [&[[0.0; KEY_TILE]; D]; TILES];
        for (keys, tile) in keys.iter_mut().zip(&self.block.keys) {
            let Some(tile) = tile.as_chunks().0.first_chunk() else { return 0 };
            *keys = tile;
        }
        let Some(first) = groups.first() else { return 0 };
        let mut softmax = Softmax::new(s);
        scores::<S, D, false>(s, &keys, first, this, next, &mut softmax);
        softmax.raise(s, &mut m[0]);
        for g in 0..groups.len() {
            let factors = softmax.raised.factors;
            if let Some(group) = groups.get(g + 1) {
                scores::<S, D, true>(s, &keys, group, next, this, &mut softmax);
            } else {
                softmax.weigh(s, this);
            }
            for r in 0..ROWS {
                let lanes = &mut l[g][r];
                s.store(s.mul_add(s.load(lanes), s.splat(factors[r]), softmax.sums[r]), lanes);
            }
            // Before the product, for which nothing has to wait for it.
            if let Some(m) = m[..groups.len()].get_mut(g + 1) {
                softmax.raise(s, m);
            }
            let values = Values {
                block: self.block,
                head_dim: D,
                out: &places[g],
                seen: &[(0, KEY_BLOCK); ROWS],
                corrections: factors,
                weights: this,
                all: 0..KEY_BLOCK,
                common: 0..KEY_BLOCK,
                is_first: self.is_first,
            };
            values.add_all(s, out);
            core::mem::swap(&mut this, &mut next);
        }
        groups.len() * ROWS
    }
}

/// Scores of a group, and their maxima lane by lane; meanwhile, with `POWERS`, the scores of the group before become
/// weights.
#[inline(always)]
fn scores<S: Simd, const D: usize, const POWERS: bool>(
    s: S,
    keys: &[&[[f32; KEY_TILE]; D]; TILES],
    queries: &[[f32; D]; ROWS],
    scores: &mut Scores,
    before: &mut Scores,
    softmax: &mut Softmax<S>,
) {
    // Elements of a head between two exponentials.
    let step = D / KEY_TILE;
    for part in 0..TILES / AT_ONCE {
        let keys: [&[[f32; KEY_TILE]; D]; AT_ONCE] = [keys[part * AT_ONCE], keys[part * AT_ONCE + 1]];
        let mut sums = [[s.splat(0.0); AT_ONCE]; ROWS];
        for i in 0..AT_ONCE {
            let row = part * AT_ONCE + i;
            let reference = s.splat(softmax.raised.reference[row]);
            let mut sum = s.splat(0.0);
            for tile in 0..TILES {
                for d in 0..step {
                    let d = (i * TILES + tile) * step + d;
                    let mut k = [s.splat(0.0); AT_ONCE];
                    for v in 0..AT_ONCE {
                        k[v] = s.load(&keys[v][d]);
                    }
                    for r in 0..ROWS {
                        let q = s.splat(queries[r][d]);
                        for v in 0..AT_ONCE {
                            sums[r][v] = s.mul_add(q, k[v], sums[r][v]);
                        }
                    }
                }
                if POWERS {
                    let weights = &mut before[row][tile * KEY_TILE..][..KEY_TILE];
                    let weight = exp2_nonpositive(s, s.sub(s.load(weights), reference));
                    s.store(weight, weights);
                    sum = s.add(sum, weight);
                }
            }
            if POWERS {
                softmax.sums[row] = sum;
            }
        }
        for r in 0..ROWS {
            let mut maximum = if part == 0 { s.splat(f32::NEG_INFINITY) } else { softmax.maxima[r] };
            for v in 0..AT_ONCE {
                maximum = s.max(maximum, sums[r][v]);
                s.store(sums[r][v], &mut scores[r][(part * AT_ONCE + v) * KEY_TILE..]);
            }
            softmax.maxima[r] = maximum;
        }
    }
}

/// The softmax of a group over a block.
struct Softmax<S: Simd> {
    /// The largest scores, lane by lane.
    maxima: [S::F32; ROWS],
    raised: Raised,
    /// The lanes of the block's denominators.
    sums: [S::F32; ROWS],
}

impl<S: Simd> Softmax<S> {
    #[inline(always)]
    fn new(s: S) -> Self {
        Self { maxima: [s.splat(0.0); ROWS], raised: Raised::default(), sums: [s.splat(0.0); ROWS] }
    }

    /// Raises running maxima to those of the scores.
    #[inline(always)]
    fn raise(&mut self, s: S, m: &mut [f32; ROWS]) {
        let mut block = [None; ROWS];
        for r in 0..ROWS {
            block[r] = Some(s.fold_vector(self.maxima[r], |a, b| s.max(a, b)));
        }
        self.raised = raise(s, m, &block);
    }

    /// Makes weights of scores.
    #[inline(always)]
    fn weigh(&mut self, s: S, scores: &mut Scores) {
        for r in 0..ROWS {
            let reference = s.splat(self.raised.reference[r]);
            self.sums[r] = s.splat(0.0);
            for weights in scores[r].as_chunks_mut::<KEY_TILE>().0 {
                let weight = exp2_nonpositive(s, s.sub(s.load(weights), reference));
                s.store(weight, weights);
                self.sums[r] = s.add(self.sums[r], weight);
            }
        }
    }
}
