//! What is done to scores between the product and the softmax.

use kernform_simd::Simd;

use crate::kernels::block::lane_numbers;
use crate::reference::{KEY_BLOCK, KEY_TILE};
use crate::{AttentionError, Bias, Operand};

/// A bias that depends on nothing but the head and the distance between key and query: element
/// `data[head * head_stride + zero + key - query]`, with both counted as the places that causality compares.
///
/// T5's buckets are of this kind: see [`crate::relative::T5Buckets::biases`].
#[derive(Clone, Copy, Debug)]
pub struct RelativeBias<'a> {
    /// The storage.
    pub data: &'a [f32],
    /// Elements from one query head to the next.
    pub head_stride: usize,
    /// Where the element of distance 0 stands; those of the keys before the query stand before it.
    pub zero: usize,
}

impl RelativeBias<'_> {
    /// The element of a key and a query.
    #[inline(always)]
    pub(crate) fn at(&self, head: usize, key: usize, position: isize) -> f32 {
        let distance = key.cast_signed().wrapping_sub(position);
        self.data[head * self.head_stride + self.zero.wrapping_add_signed(distance)]
    }

    /// Checks that the elements of all distances from `-before` to `after` are there for each head.
    pub(crate) fn check(&self, heads: usize, before: usize, after: usize) -> Result<(), AttentionError> {
        if self.zero < before {
            return Err(AttentionError::RelativeBias { before, zero: self.zero });
        }
        let Some(last) = heads.checked_sub(1) else { return Ok(()) };
        let start = last.checked_mul(self.head_stride).and_then(|start| start.checked_add(self.zero));
        let needed =
            start.and_then(|start| start.checked_add(after)?.checked_add(1)).ok_or(AttentionError::Overflow)?;
        if needed > self.data.len() {
            return Err(AttentionError::TooShort { operand: Operand::Bias, needed, len: self.data.len() });
        }
        Ok(())
    }
}

/// What is done to scores: nothing by default. Applied in the order of the fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScoreTerms<'a> {
    /// Bends scores `s` to `cap tanh(s / cap)`.
    pub softcap: Option<f32>,
    /// Subtracts `slope * |query - key|`, one slope a query head: see [`crate::relative::alibi_slopes`].
    pub alibi: Option<&'a [f32]>,
    /// Adds a bias by distance.
    pub relative: Option<RelativeBias<'a>>,
    /// Adds a bias by segment, head, query and key.
    pub bias: Option<Bias<'a>>,
}

impl ScoreTerms<'_> {
    /// Scores stay as they are.
    pub const NONE: ScoreTerms<'static> = ScoreTerms { softcap: None, alibi: None, relative: None, bias: None };

    /// Checks the terms for `segments` segments of so many query heads, queries and keys.
    pub(crate) fn check(
        &self,
        segments: usize,
        heads: usize,
        queries: usize,
        keys: usize,
    ) -> Result<(), AttentionError> {
        if let Some(slopes) = self.alibi
            && slopes.len() < heads
        {
            return Err(AttentionError::TooShort { operand: Operand::Slopes, needed: heads, len: slopes.len() });
        }
        if queries == 0 || keys == 0 {
            return Ok(());
        }
        if let Some(relative) = self.relative {
            relative.check(heads, keys - 1, queries - 1)?;
        }
        self.bias.map_or(Ok(()), |bias| bias.check(segments, heads, queries, keys))
    }

    pub(crate) const fn is_none(&self) -> bool {
        self.softcap.is_none() && self.alibi.is_none() && self.relative.is_none() && self.bias.is_none()
    }
}

/// The keys of a block, as indices into their segment.
#[derive(Clone, Copy)]
pub(crate) enum BlockKeys<'a> {
    /// All from one on.
    From(usize),
    /// These.
    Listed(&'a [usize]),
}

impl BlockKeys<'_> {
    #[inline(always)]
    pub(crate) fn index(&self, place: usize) -> usize {
        match self {
            BlockKeys::From(first) => first + place,
            BlockKeys::Listed(keys) => keys.get(place).copied().unwrap_or_default(),
        }
    }

    /// How many of the block's first `len` places hold keys below an index.
    #[inline(always)]
    pub(crate) fn below(&self, index: usize, len: usize) -> usize {
        match self {
            BlockKeys::From(first) => index.saturating_sub(*first).min(len),
            BlockKeys::Listed(keys) => keys.partition_point(|key| *key < index),
        }
    }
}

/// The terms of one row of queries, for one block of keys.
#[derive(Clone, Copy)]
pub(crate) struct RowTerms<'a> {
    pub(crate) terms: ScoreTerms<'a>,
    pub(crate) keys: BlockKeys<'a>,
    pub(crate) segment: usize,
    pub(crate) head: usize,
    /// The query, counted from its segment's first.
    pub(crate) query: usize,
    /// The place among the keys at which the query stands.
    pub(crate) position: isize,
}

impl RowTerms<'_> {
    /// Changes the scores of the places from `start` to `end`; what happens to others in the same vectors is lost.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(&self, s: S, scores: &mut [f32; KEY_BLOCK], start: usize, end: usize) {
        if start >= end {
            return;
        }
        let log2_e = s.splat(core::f32::consts::LOG2_E);
        let first = start / S::LANES * S::LANES;
        let parts = scores[first..end.next_multiple_of(S::LANES)].chunks_exact_mut(S::LANES);
        for (place, part) in (first..).step_by(S::LANES).zip(parts) {
            let lanes = place.max(start)..end.min(place + S::LANES);
            let mut score = s.load(part);
            if let Some(cap) = self.terms.softcap {
                let cap = s.splat(cap * core::f32::consts::LOG2_E);
                score = s.mul(kernform_math::vector::tanh(s, s.div(score, cap)), cap);
            }
            if let Some(slopes) = self.terms.alibi {
                let slope = s.splat(slopes[self.head] * core::f32::consts::LOG2_E);
                score = s.mul_add(slope, s.neg(self.distances(s, place, lanes.clone())), score);
            }
            if let Some(relative) = self.terms.relative {
                let bias = self.gather(s, place, lanes.clone(), |key| relative.at(self.head, key, self.position));
                score = s.mul_add(bias, log2_e, score);
            }
            if let Some(bias) = self.terms.bias {
                let row = bias.offset(self.segment, self.head, self.query);
                let bias = match self.keys {
                    BlockKeys::From(key) if bias.key_stride == 1 && lanes.len() == S::LANES => {
                        s.load(&bias.data[row + key + place..])
                    }
                    _ => self.gather(s, place, lanes, |key| bias.data[row + key * bias.key_stride]),
                };
                score = s.mul_add(bias, log2_e, score);
            }
            s.store(score, part);
        }
    }

    /// One number for each key of the vector at `place`, 0 for those that are not in `lanes`.
    #[inline(always)]
    fn gather<S: Simd>(
        &self,
        s: S,
        place: usize,
        lanes: core::ops::Range<usize>,
        number: impl Fn(usize) -> f32,
    ) -> S::F32 {
        let mut numbers = [0.0; KEY_TILE];
        for lane in lanes {
            numbers[lane - place] = number(self.keys.index(lane));
        }
        s.load(&numbers)
    }

    /// How far the keys of the vector at `place` are from the query.
    #[inline(always)]
    fn distances<S: Simd>(&self, s: S, place: usize, lanes: core::ops::Range<usize>) -> S::F32 {
        match self.keys {
            BlockKeys::From(key) => {
                // Whole numbers of this size are exact.
                let first = (key + place).cast_signed().wrapping_sub(self.position) as f32;
                s.abs(s.add(s.splat(first), lane_numbers(s)))
            }
            BlockKeys::Listed(_) => {
                self.gather(s, place, lanes, |key| key.cast_signed().abs_diff(self.position) as f32)
            }
        }
    }
}
