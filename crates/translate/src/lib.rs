#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod folder;
pub mod html;
mod pieces;
mod translator;
mod words;
mod worker;

pub use error::TranslateError;
pub use kernform_model::StudentWeights;
pub use pieces::{Alignment, Hypothesis, Translation, Unit};
pub use translator::{Options, Translator};
pub use worker::Worker;
