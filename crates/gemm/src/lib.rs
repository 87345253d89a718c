#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod blocking;
mod driver;
mod epilogue;
mod error;
#[cfg(feature = "alloc")]
pub mod fast_bf16;
pub mod int8;
mod kernels;
mod multiply;
mod pack;
mod packed;
pub mod reference;
mod tiles;
#[cfg(kernform_vfma)]
mod vfma;
mod way;
mod weight;

pub use epilogue::Epilogue;
pub use error::GemmError;
pub use kernform_math::Activation;
pub use multiply::{Layout, Operand, gemm, gemm_scratch_len};
pub use packed::{PANEL, PackedB};
pub use weight::Weight;
