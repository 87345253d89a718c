//! What the commands share that run an encoder on texts: the folder, the source of the texts, and the threads.
//!
//! One thread reads, some compute, and the main one writes in the order of the input. All that waits anywhere is bounded, so
//! that the input may be without end, and nothing waits for more input, so that a slow one is answered promptly.

mod answer;
mod classify;
mod embed;
mod engine;
mod feed;
mod fill;
mod fingerprint;
mod index;
mod loaded;
mod npy;
mod prepare;
mod probabilities;
mod similar;
mod tag;

pub(crate) use answer::{AnswerArgs, run as answer};
pub(crate) use classify::{ClassifyArgs, run as classify};
pub(crate) use embed::{EmbedArgs, run as embed};
pub(crate) use fill::{FillArgs, run as fill};
pub(crate) use similar::{SimilarArgs, run as similar};
pub(crate) use tag::{TagArgs, run as tag};
