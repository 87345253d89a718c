#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "attention")]
pub use kernform_attention as attention;
#[cfg(feature = "decode")]
pub use kernform_decode as decode;
#[cfg(feature = "formats")]
pub use kernform_formats as formats;
#[cfg(feature = "gemm")]
pub use kernform_gemm as gemm;
#[cfg(feature = "math")]
pub use kernform_math as math;
#[cfg(feature = "model")]
pub use kernform_model as model;
#[cfg(feature = "norm")]
pub use kernform_norm as norm;
#[cfg(feature = "quant")]
pub use kernform_quant as quant;
pub use kernform_simd as simd;
pub use kernform_tensor as tensor;
#[cfg(feature = "translate")]
pub use kernform_translate as translate;

pub use kernform_simd::{Class, Isa, Level};
