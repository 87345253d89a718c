#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod class;
mod isa;
mod level;
mod pair;
mod prefetch;
mod vector;

mod levels {
    //! The tokens, one file a level, all with the same signature: [`crate::Simd`].
    #[cfg(target_arch = "aarch64")]
    pub(crate) mod aarch64_detect;
    #[cfg(target_arch = "x86_64")]
    pub(crate) mod avx2;
    #[cfg(target_arch = "x86_64")]
    pub(crate) mod avx512;
    pub(crate) mod half;
    #[cfg(target_arch = "aarch64")]
    pub(crate) mod neon;
    pub(crate) mod portable;
    pub(crate) mod scalar;
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    pub(crate) mod simd128;
    #[cfg(target_arch = "x86_64")]
    pub(crate) mod x86_detect;
}

pub use class::{Arithmetic, Class, Fused, Unfused};
pub use isa::{Available, Isa, cap};
pub use level::{Level, LevelError, ParseLevelError};
pub use pair::{Pair, PairLanes};
pub use prefetch::prefetch;
pub use vector::{Kernel, REDUCTION_LANES, Simd};

#[cfg(target_arch = "aarch64")]
pub use levels::neon::Neon;
pub use levels::portable::Portable;
pub use levels::scalar::Scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use levels::simd128::Simd128;
#[cfg(target_arch = "x86_64")]
pub use levels::{avx2::Avx2, avx512::Avx512, x86_detect::Avx512Bf16};
