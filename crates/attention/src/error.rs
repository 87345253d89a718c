//! The error of everything that attends.

use core::fmt;

/// An argument, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The queries.
    Query,
    /// The keys.
    Key,
    /// The values.
    Value,
    /// The output.
    Output,
    /// The additive bias.
    Bias,
    /// The slopes of ALiBi.
    Slopes,
    /// The cache's storage.
    Storage,
    /// The cache's bookkeeping.
    Bookkeeping,
    /// The scratch memory.
    Scratch,
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Query => "the queries",
            Self::Key => "the keys",
            Self::Value => "the values",
            Self::Output => "the output",
            Self::Bias => "the bias",
            Self::Slopes => "the slopes",
            Self::Storage => "the cache's storage",
            Self::Bookkeeping => "the cache's bookkeeping",
            Self::Scratch => "the scratch memory",
        })
    }
}

/// Why an attention cannot be computed; nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttentionError {
    /// The query heads are no multiple of the key-value heads.
    Heads {
        /// Heads of the queries.
        query_heads: usize,
        /// Heads of the keys and values.
        kv_heads: usize,
    },
    /// A size or an offset does not fit the address space.
    Overflow,
    /// A slice ends too early.
    TooShort {
        /// Which one.
        operand: Operand,
        /// Elements that the shapes and strides reach.
        needed: usize,
        /// Elements that it has.
        len: usize,
    },
    /// Output rows would overlap.
    OutputStride {
        /// Elements from one row to the next.
        stride: usize,
        /// Elements of a row.
        width: usize,
    },
    /// The queries of a segment begin before those of the segment in front of it end, or a range ends before it begins.
    SegmentOrder {
        /// Index of the segment.
        segment: usize,
    },
    /// The key mask has fewer entries than there are keys (or segments, for lengths).
    KeyMaskLength {
        /// Entries that it must have.
        needed: usize,
        /// Entries that it has.
        len: usize,
    },
    /// A kept length is larger than the number of keys it is a part of.
    KeptLength {
        /// Index of the segment or of the row.
        index: usize,
        /// The length given.
        kept: usize,
        /// Keys that there are.
        keys: usize,
    },
    /// A relative bias begins at too small a distance.
    RelativeBias {
        /// How far before a query the farthest key stands.
        before: usize,
        /// Elements that stand before the one of distance 0.
        zero: usize,
    },
    /// The cache was made for other heads.
    CacheHeads {
        /// Key-value heads of the cache.
        kv_heads: usize,
        /// Head size of the cache.
        head_dim: usize,
    },
    /// The cache has no such slot.
    Slot {
        /// The slot asked for.
        slot: usize,
        /// Slots that there are.
        slots: usize,
    },
    /// A slot cannot take so many tokens.
    CacheFull {
        /// The slot.
        slot: usize,
        /// Tokens that it holds.
        len: usize,
        /// Tokens that should be added.
        added: usize,
        /// Tokens that a slot can hold.
        capacity: usize,
    },
    /// A length to truncate to is longer than the slot's.
    Truncate {
        /// The slot.
        slot: usize,
        /// Tokens that it holds.
        len: usize,
        /// Tokens that should be left.
        to: usize,
    },
    /// Two lists that belong together have different lengths.
    ListLength {
        /// Entries that are needed.
        needed: usize,
        /// Entries that are there.
        len: usize,
    },
}

impl fmt::Display for AttentionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Heads { query_heads, kv_heads } => {
                write!(f, "{query_heads} query heads cannot share {kv_heads} key-value heads: they must be a multiple")
            }
            Self::Overflow => f.write_str("a size or an offset does not fit the address space"),
            Self::TooShort { operand, needed, len } => {
                write!(f, "{operand} must have at least {needed} elements, not {len}")
            }
            Self::OutputStride { stride, width } => {
                write!(f, "output rows of {width} elements need a stride of at least as many, not {stride}")
            }
            Self::SegmentOrder { segment } => {
                write!(
                    f,
                    "segment {segment}: ranges must not be reversed, and query ranges must ascend without overlap"
                )
            }
            Self::KeyMaskLength { needed, len } => write!(f, "the key mask must have {needed} entries, not {len}"),
            Self::KeptLength { index, kept, keys } => {
                write!(f, "entry {index}: cannot keep {kept} of {keys} keys")
            }
            Self::RelativeBias { before, zero } => {
                write!(
                    f,
                    "the relative bias has {zero} elements before distance 0, but keys stand up to {before} before a query"
                )
            }
            Self::CacheHeads { kv_heads, head_dim } => {
                write!(
                    f,
                    "the cache holds {kv_heads} key-value heads of {head_dim} elements, other heads were asked for"
                )
            }
            Self::Slot { slot, slots } => write!(f, "slot {slot} does not exist, the cache has {slots}"),
            Self::CacheFull { slot, len, added, capacity } => {
                write!(f, "slot {slot} holds {len} of at most {capacity} tokens and cannot take {added} more")
            }
            Self::Truncate { slot, len, to } => write!(f, "slot {slot} holds {len} tokens, fewer than {to}"),
            Self::ListLength { needed, len } => write!(f, "the list must have {needed} entries, not {len}"),
        }
    }
}

impl core::error::Error for AttentionError {}
