//! Which keys a query sees, and what is added to its scores.

use core::ops::Range;

use crate::{AttentionError, Heads, Operand, ScoreTerms, Segment};

/// Which keys each query sees, and what is done to its scores. The parts combine: a key is seen when every part lets it
/// through.
///
/// Keys that `causal`, `window` or `keys` removes are *absent*: whatever their keys and values hold, it changes no bit.
/// Those that `keys` removes do not even count as places of the list that [`crate::reference`] cuts into blocks. A bias of
/// minus infinity gives a key the weight 0, but the key stays in the list: its value is multiplied by 0, so infinity or
/// NaN there shows.
///
/// Query `i` of a segment with `nq` queries and `nk` keys stands at the key `i + nk - nq`: the last query at the last
/// key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mask<'a> {
    /// A query sees no keys behind the one at which it stands.
    pub causal: bool,
    /// A query sees only keys that are fewer than so many tokens away from the one at which it stands, on either side.
    pub window: Option<usize>,
    /// Padding among the keys.
    pub keys: KeptKeys<'a>,
    /// What is done to the scores.
    pub terms: ScoreTerms<'a>,
}

impl Mask<'_> {
    /// Every query sees every key of its segment.
    pub const NONE: Mask<'static> = Mask { causal: false, window: None, keys: KeptKeys::All, terms: ScoreTerms::NONE };
    /// Every query sees the keys up to its own place.
    pub const CAUSAL: Mask<'static> = Mask { causal: true, ..Mask::NONE };
}

/// Padding among the keys: which of them are there at all.
#[derive(Clone, Copy, Debug, Default)]
pub enum KeptKeys<'a> {
    /// All.
    #[default]
    All,
    /// One entry for each row of keys, by its token index: `true` where it is a real token.
    Flags(&'a [bool]),
    /// One entry for each segment: how many of its keys, from the first on, are real tokens.
    Lengths(&'a [usize]),
}

/// Numbers added to the scores: element `[segment, head, query, key]` is
/// `data[segment * segment_stride + head * head_stride + query * query_stride + key * key_stride]`.
///
/// Query and key count from their segment's first; a stride of 0 repeats one value over that axis. Finite numbers,
/// infinities and NaN are all legal; minus infinity makes a weight exactly 0. Beyond `f32::MAX / log2(e)`, about 2.36e38, a
/// number counts as infinite.
#[derive(Clone, Copy, Debug)]
pub struct Bias<'a> {
    /// The storage.
    pub data: &'a [f32],
    /// Elements from one segment to the next.
    pub segment_stride: usize,
    /// Elements from one query head to the next.
    pub head_stride: usize,
    /// Elements from one query to the next.
    pub query_stride: usize,
    /// Elements from one key to the next.
    pub key_stride: usize,
}

impl<'a> Bias<'a> {
    /// One contiguous `[heads, queries, keys]` bias, the same for every segment.
    #[must_use]
    pub const fn per_head(data: &'a [f32], queries: usize, keys: usize) -> Self {
        let head_stride = queries.saturating_mul(keys);
        Self { data, segment_stride: 0, head_stride, query_stride: keys, key_stride: 1 }
    }

    /// One contiguous `[queries, keys]` bias, the same for every segment and head.
    #[must_use]
    pub const fn shared(data: &'a [f32], keys: usize) -> Self {
        Self { data, segment_stride: 0, head_stride: 0, query_stride: keys, key_stride: 1 }
    }

    /// Checks that the element of the last index of each axis is there; lengths of 0 reach nothing.
    pub(crate) fn check(
        &self,
        segments: usize,
        heads: usize,
        queries: usize,
        keys: usize,
    ) -> Result<(), AttentionError> {
        let axes = [
            (segments, self.segment_stride),
            (heads, self.head_stride),
            (queries, self.query_stride),
            (keys, self.key_stride),
        ];
        let mut needed = 1usize;
        for (len, stride) in axes {
            let Some(last) = len.checked_sub(1) else { return Ok(()) };
            let reach = last.checked_mul(stride).and_then(|reach| reach.checked_add(needed));
            needed = reach.ok_or(AttentionError::Overflow)?;
        }
        if needed > self.data.len() {
            return Err(AttentionError::TooShort { operand: Operand::Bias, needed, len: self.data.len() });
        }
        Ok(())
    }

    /// The bias of the first key for one query.
    #[inline(always)]
    pub(crate) fn offset(&self, segment: usize, head: usize, query: usize) -> usize {
        segment * self.segment_stride + head * self.head_stride + query * self.query_stride
    }

    /// The bias of one query and key.
    #[inline(always)]
    pub(crate) fn at(&self, segment: usize, head: usize, query: usize, key: usize) -> f32 {
        self.data[self.offset(segment, head, query) + key * self.key_stride]
    }
}

impl Mask<'_> {
    /// Checks the mask against the segments, whose ranges are known to be in order.
    pub(crate) fn check(&self, heads: Heads, segments: &[Segment]) -> Result<(), AttentionError> {
        let last_key = segments.iter().map(|segment| segment.key.end).max().unwrap_or(0);
        match self.keys {
            KeptKeys::All => {}
            KeptKeys::Flags(kept) if kept.len() < last_key => {
                return Err(AttentionError::KeyMaskLength { needed: last_key, len: kept.len() });
            }
            KeptKeys::Flags(_) => {}
            KeptKeys::Lengths(lengths) => {
                if lengths.len() != segments.len() {
                    return Err(AttentionError::KeyMaskLength { needed: segments.len(), len: lengths.len() });
                }
                for (index, (&kept, segment)) in lengths.iter().zip(segments).enumerate() {
                    if kept > segment.key.len() {
                        return Err(AttentionError::KeptLength { index, kept, keys: segment.key.len() });
                    }
                }
            }
        }
        for (index, segment) in segments.iter().enumerate() {
            self.terms.check(index + 1, heads.query_heads, segment.query.len(), segment.key.len())?;
        }
        Ok(())
    }

    /// Whether key `index` of a segment is a real token.
    #[inline(always)]
    pub(crate) fn keeps(&self, number: usize, segment: &Segment, index: usize) -> bool {
        match self.keys {
            KeptKeys::All => true,
            KeptKeys::Flags(kept) => kept[segment.key.start + index],
            KeptKeys::Lengths(lengths) => index < lengths[number],
        }
    }

    /// The keys of its segment, by index, among which query `index` sees all that are real tokens.
    #[inline(always)]
    pub(crate) fn sees(&self, number: usize, segment: &Segment, index: usize) -> Range<usize> {
        let keys = match self.keys {
            KeptKeys::Lengths(lengths) => lengths[number],
            _ => segment.key.len(),
        };
        let (queries, all) = (segment.query.len(), segment.key.len());
        // The query stands at `index + all - queries`, which may lie before the first key.
        let behind = index.saturating_add(1).saturating_add(all);
        let mut range = 0..keys;
        if self.causal {
            range.end = keys.min(behind.saturating_sub(queries));
        }
        if let Some(window) = self.window {
            range.start = behind.saturating_sub(queries.saturating_add(window));
            let end = index.saturating_add(all).saturating_add(window).saturating_sub(queries);
            range.end = range.end.min(end);
        }
        range.start.min(range.end)..range.end
    }
}
