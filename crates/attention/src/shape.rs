//! Heads, rows of tokens, and the segments of a batch.

use core::ops::Range;

use crate::{AttentionError, Operand};

/// The heads of an attention layer.
///
/// Query head `h` uses key-value head `h / (query_heads / kv_heads)`: multi-head attention has as many of both,
/// grouped-query attention (Ainslie et al. 2023) fewer key-value heads, multi-query attention one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heads {
    /// Heads of the queries and of the output; a multiple of `kv_heads`.
    pub query_heads: usize,
    /// Heads of the keys and values.
    pub kv_heads: usize,
    /// Elements of one head of one token.
    pub head_dim: usize,
}

impl Heads {
    /// As many key-value heads as query heads.
    #[must_use]
    pub const fn new(heads: usize, head_dim: usize) -> Self {
        Self { query_heads: heads, kv_heads: heads, head_dim }
    }

    /// Query heads that share one key-value head.
    pub(crate) const fn group(self) -> usize {
        match self.query_heads.checked_div(self.kv_heads) {
            Some(group) => group,
            None => 0,
        }
    }

    pub(crate) fn check(self) -> Result<(), AttentionError> {
        let divides =
            if self.kv_heads == 0 { self.query_heads == 0 } else { self.query_heads.is_multiple_of(self.kv_heads) };
        if !divides {
            return Err(AttentionError::Heads { query_heads: self.query_heads, kv_heads: self.kv_heads });
        }
        let widest = self.query_heads.max(self.kv_heads);
        widest.checked_mul(self.head_dim).map(|_| ()).ok_or(AttentionError::Overflow)
    }

    /// Elements of one token of the queries or the output; [`Heads::check`] has passed.
    pub(crate) const fn query_width(self) -> usize {
        self.query_heads * self.head_dim
    }

    /// Elements of one token of the keys or the values; [`Heads::check`] has passed.
    pub(crate) const fn kv_width(self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// Rows of tokens to read: element `d` of head `h` of token `t` is `data[t * stride + h * head_dim + d]`.
///
/// The queries, keys and values of a fused projection are three such views of one buffer, each beginning at its own
/// first element, with the stride of the whole row.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The storage, from the first token's first element on.
    pub data: &'a [f32],
    /// Elements from one token to the next; 0 repeats one row.
    pub stride: usize,
}

impl<'a> Rows<'a> {
    /// A view of `data` with `stride` elements from one token to the next.
    #[must_use]
    pub const fn new(data: &'a [f32], stride: usize) -> Self {
        Self { data, stride }
    }

    /// Checks that `tokens` rows of `width` elements are there.
    pub(crate) fn check(&self, operand: Operand, tokens: usize, width: usize) -> Result<(), AttentionError> {
        check_reach(operand, self.data.len(), self.stride, tokens, width)
    }

    /// `width` elements of row `token` from `column` on.
    #[inline(always)]
    pub(crate) fn part(&self, token: usize, column: usize, width: usize) -> &'a [f32] {
        &self.data[token * self.stride + column..][..width]
    }
}

/// Rows of tokens to write, laid out as [`Rows`]; the stride is at least the row's width.
#[derive(Debug)]
pub struct RowsMut<'a> {
    /// The storage, from the first token's first element on.
    pub data: &'a mut [f32],
    /// Elements from one token to the next.
    pub stride: usize,
}

impl<'a> RowsMut<'a> {
    /// A view of `data` with `stride` elements from one token to the next.
    #[must_use]
    pub const fn new(data: &'a mut [f32], stride: usize) -> Self {
        Self { data, stride }
    }

    pub(crate) fn check(&self, tokens: usize, width: usize) -> Result<(), AttentionError> {
        if tokens > 1 && self.stride < width {
            return Err(AttentionError::OutputStride { stride: self.stride, width });
        }
        check_reach(Operand::Output, self.data.len(), self.stride, tokens, width)
    }

    /// The storage of these rows, from the first's first element to the last's last; `check` has passed for them.
    pub(crate) fn range(&mut self, rows: Range<usize>, width: usize) -> &mut [f32] {
        if rows.is_empty() {
            return &mut [];
        }
        &mut self.data[rows.start * self.stride..(rows.end - 1) * self.stride + width]
    }
}

fn check_reach(operand: Operand, len: usize, stride: usize, tokens: usize, width: usize) -> Result<(), AttentionError> {
    let Some(last) = tokens.checked_sub(1) else { return Ok(()) };
    let needed = last.checked_mul(stride).and_then(|start| start.checked_add(width)).ok_or(AttentionError::Overflow)?;
    if needed > len { Err(AttentionError::TooShort { operand, needed, len }) } else { Ok(()) }
}

/// One sequence of a ragged batch: its queries attend to its keys and to no others.
///
/// Ranges are token indices into the queries' and the keys' rows, so sequences of different lengths follow each other
/// without padding. Query ranges ascend and do not overlap; key ranges are free.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// The tokens whose queries these are, and whose output rows are written.
    pub query: Range<usize>,
    /// The tokens whose keys and values they attend to.
    pub key: Range<usize>,
}

impl Segment {
    /// Self-attention of `tokens`.
    #[must_use]
    pub const fn of(tokens: Range<usize>) -> Self {
        Self { query: tokens.start..tokens.end, key: tokens }
    }
}
