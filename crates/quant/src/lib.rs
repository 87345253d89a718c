#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod activations;
mod block;
mod decode;
mod encode;
mod error;
mod format;
mod kernels;
mod layout;
mod multiply;
mod packed;
pub mod reference;

pub use activations::Activations;
pub use decode::{decode, decode_row};
pub use encode::encode;
pub use error::QuantError;
pub use format::{ActivationFormat, Format};
pub use multiply::{multiply, multiply_quantized};
pub use packed::PackedWeights;
