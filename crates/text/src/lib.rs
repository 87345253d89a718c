#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
#[cfg(feature = "html")]
pub mod html;
mod sentences;
pub mod spm;
#[cfg(feature = "tokenizer-json")]
mod tokenizer_json;
mod words;

pub use error::TextError;
pub use sentences::{Sentence, sentences};
pub use spm::SentencePiece;
#[cfg(feature = "tokenizer-json")]
pub use tokenizer_json::{Encoding, TokenizerJson};
pub use words::words;
