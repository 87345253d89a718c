#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "alloc")]
mod beam;
#[cfg(feature = "alloc")]
mod config;
mod error;
#[cfg(feature = "alloc")]
mod generate;
#[cfg(feature = "alloc")]
mod greedy;
#[cfg(feature = "alloc")]
mod log_softmax;
mod order;
pub mod processors;
#[cfg(feature = "alloc")]
mod rules;
#[cfg(feature = "alloc")]
mod search;
mod select;

#[cfg(feature = "alloc")]
pub use beam::BeamSearch;
#[cfg(feature = "alloc")]
pub use config::{DEFAULT_MEMORY_LIMIT, DEFAULT_NEW_TOKENS, EarlyStopping, GenerationConfig};
pub use error::Error;
#[cfg(feature = "alloc")]
pub use generate::{GenerateError, Generated, StepModel, generate, generate_from_start};
#[cfg(feature = "alloc")]
pub use greedy::GreedySearch;
#[cfg(feature = "alloc")]
pub use search::{Hypothesis, Search, Status};
pub use select::{Candidate, TopK, argmax};
