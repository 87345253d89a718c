#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attend;
mod cache;
mod cached;
mod embedding;
mod error;
mod exponential;
mod mask;
mod pages;
pub mod positions;
pub mod reference;
pub mod relative;
pub mod rope;
mod scores;
mod shape;
mod stored;
mod weights;

mod kernels {
    //! The arithmetic, generic over the instruction-set level.
    pub(crate) mod block;
    pub(crate) mod pack;
    pub(crate) mod rows;
    pub(crate) mod short;
    pub(crate) mod tile;
    pub(crate) mod whole;
}

pub use attend::{attend, attend_range, attend_scratch_len};
pub use cache::KvCache;
pub use cached::{Visible, attend_cached, attend_cached_scratch_len};
pub use embedding::{EmbeddingError, embed, embed_at};
pub use error::{AttentionError, Operand};
pub use mask::{Bias, KeptKeys, Mask};
pub use reference::{KEY_BLOCK, KEY_TILE};
pub use scores::{RelativeBias, ScoreTerms};
pub use shape::{Heads, Rows, RowsMut, Segment};
pub use stored::CacheKind;
pub use weights::attention_weights;
