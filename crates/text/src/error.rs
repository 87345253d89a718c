//! What can be wrong with a tokenizer's file.

use core::fmt;

/// Why a tokenizer cannot be read or used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// The file ends too early.
    Truncated {
        /// What was being read.
        what: &'static str,
        /// The byte at which it begins.
        at: usize,
    },
    /// A field of a Protocol Buffers message has a type that its number does not have, or that there is not.
    Field {
        /// The field, or what holds it.
        what: &'static str,
        /// The byte at which it begins.
        at: usize,
        /// What it must be.
        expected: &'static str,
    },
    /// The kind of model is another than the one that is read.
    Kind {
        /// The kind's number in the file.
        found: u64,
    },
    /// The vocabulary cannot be used.
    Vocabulary {
        /// What is wrong with it.
        problem: &'static str,
        /// The piece, where it is one's fault.
        piece: Option<usize>,
    },
    /// The table of the normalisation cannot be used.
    Normaliser {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A token id is not in the vocabulary.
    Token {
        /// The id.
        id: u32,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
    /// The library for `tokenizer.json` says this.
    TokenizerJson {
        /// Its message.
        message: String,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { what, at } => write!(f, "the file ends inside {what}, which begins at byte {at}"),
            Self::Field { what, at, expected } => write!(f, "{what} at byte {at} must be {expected}"),
            Self::Kind { found } => {
                write!(f, "the SentencePiece model is of kind {found}; 1 is read, which is unigram")
            }
            Self::Vocabulary { problem, piece: Some(piece) } => write!(f, "piece {piece} of the vocabulary {problem}"),
            Self::Vocabulary { problem, piece: None } => write!(f, "the vocabulary {problem}"),
            Self::Normaliser { problem } => write!(f, "the table of the normalisation {problem}"),
            Self::Token { id, vocabulary } => {
                write!(f, "token id {id} is not in the vocabulary; ids are 0 to {}", vocabulary.saturating_sub(1))
            }
            Self::TokenizerJson { message } => f.write_str(message),
        }
    }
}

impl core::error::Error for TextError {}
