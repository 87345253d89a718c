//! What can be wrong with a model, its configuration or its inputs.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::config::Family;

/// Why a model cannot be loaded or run.
#[derive(Debug)]
#[non_exhaustive]
pub enum ModelError {
    /// A model file or its configuration cannot be read.
    Format(kernform_formats::Error),
    /// The configuration is of a family that is not known.
    UnknownFamily {
        /// Its `model_type`.
        name: String,
        /// The families that can be run here.
        known: &'static [Family],
    },
    /// An answer was asked for that only a head gives, and the model has none, or none for that.
    NoHead,
    /// A value of the configuration cannot be used.
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A tensor has another shape than the configuration asks for.
    TensorShape {
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A multiplier of quantised weights or inputs is no factor that can be used, or not that of the other maps of one input.
    Multiplier {
        /// The tensor.
        tensor: String,
        /// Its multiplier.
        value: f32,
    },
    /// A token id is not in the vocabulary.
    Token {
        /// The id.
        token: u32,
        /// The size of the vocabulary.
        vocab_size: usize,
    },
    /// A token type that the model does not have.
    TokenType {
        /// The type.
        token_type: u32,
        /// How many types there are.
        types: usize,
    },
    /// A sequence has more tokens than the model has positions, or the plan has room for.
    TooLong {
        /// Tokens of the sequence.
        tokens: usize,
        /// Most tokens.
        limit: usize,
    },
    /// A sequence without tokens.
    EmptySequence,
    /// A slot that the plan does not have, or that holds nothing yet.
    Slot {
        /// The slot.
        slot: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More rows, sequences or tokens at once than the plan has room for, or a plan without room.
    Capacity {
        /// What there is too much of.
        what: &'static str,
        /// How many were asked for.
        asked: usize,
        /// How many there is room for.
        limit: usize,
    },
    /// A buffer, input or mask of the wrong length.
    Length {
        /// Which.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length it must have.
        expected: usize,
    },
    /// A shape that does not fit in memory or its buffer.
    Shape(kernform_tensor::ShapeError),
    /// A scratch buffer that is too short.
    Scratch(kernform_tensor::ArenaError),
    /// An error of the matrix product.
    Gemm(kernform_gemm::GemmError),
    /// An error of a normalisation.
    Norm(kernform_norm::ShapeError),
    /// An error of the attention.
    Attention(kernform_attention::AttentionError),
    /// An error of the embeddings.
    Embedding(kernform_attention::EmbeddingError),
    /// An error of the position tables.
    Position(kernform_attention::positions::PositionError),
    /// An error of the rotary positions.
    Rope(kernform_attention::rope::RopeError),
    /// An error of the search.
    Search(kernform_decode::Error),
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => error.fmt(f),
            Self::UnknownFamily { name, known } => {
                write!(f, "model_type {name:?} is not a family that can be run here; the families are ")?;
                known.iter().enumerate().try_for_each(|(i, family)| {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    f.write_str(family.name())
                })
            }
            Self::NoHead => f.write_str("the model has no head that could answer this"),
            Self::Config { key, problem } => write!(f, "config.json: {key}: {problem}"),
            Self::TensorShape { name, found, expected } => {
                write!(f, "tensor {name} has shape {found:?}; the configuration asks for {expected:?}")
            }
            Self::Multiplier { tensor, value } => write!(
                f,
                "tensor {tensor}: its multiplier is {value}; it must be a normal number above 0, the same for maps of one input"
            ),
            Self::Token { token, vocab_size } => {
                write!(f, "token id {token} is not in the vocabulary; ids are 0 to {}", vocab_size.saturating_sub(1))
            }
            Self::TokenType { token_type, types } => {
                write!(f, "token type {token_type} is not known; types are 0 to {}", types.saturating_sub(1))
            }
            Self::TooLong { tokens, limit } => {
                write!(f, "a sequence of {tokens} tokens is too long; the longest is {limit}")
            }
            Self::EmptySequence => f.write_str("a sequence has no tokens; it needs at least one"),
            Self::Slot { slot, problem } => write!(f, "slot {slot} {problem}"),
            Self::Capacity { what, asked, limit } => write!(f, "{asked} {what} asked for; there is room for {limit}"),
            Self::Length { what, found, expected } => {
                write!(f, "{what} has {found} elements; it must have {expected}")
            }
            Self::Shape(error) => error.fmt(f),
            Self::Scratch(error) => error.fmt(f),
            Self::Gemm(error) => error.fmt(f),
            Self::Norm(error) => error.fmt(f),
            Self::Attention(error) => error.fmt(f),
            Self::Embedding(error) => error.fmt(f),
            Self::Position(error) => error.fmt(f),
            Self::Rope(error) => error.fmt(f),
            Self::Search(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ModelError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Format(error) => Some(error),
            Self::Shape(error) => Some(error),
            Self::Scratch(error) => Some(error),
            Self::Gemm(error) => Some(error),
            Self::Norm(error) => Some(error),
            Self::Attention(error) => Some(error),
            Self::Embedding(error) => Some(error),
            Self::Position(error) => Some(error),
            Self::Rope(error) => Some(error),
            Self::Search(error) => Some(error),
            _ => None,
        }
    }
}

/// Wraps the errors of the crates below.
macro_rules! wraps {
    ($($variant:ident($error:ty)),* $(,)?) => {$(
        impl From<$error> for ModelError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

wraps!(
    Format(kernform_formats::Error),
    Shape(kernform_tensor::ShapeError),
    Scratch(kernform_tensor::ArenaError),
    Gemm(kernform_gemm::GemmError),
    Norm(kernform_norm::ShapeError),
    Attention(kernform_attention::AttentionError),
    Embedding(kernform_attention::EmbeddingError),
    Position(kernform_attention::positions::PositionError),
    Rope(kernform_attention::rope::RopeError),
    Search(kernform_decode::Error),
);
