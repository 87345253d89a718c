//! The product of int8 matrices, exact in `i32`, and its way back to floats.
//!
//! Weights are packed once ([`PackedI8`]), activations come as int8 or are quantised on the way ([`Rows`]). Every sum is
//! exact, whatever the bytes: -128 on both sides too. No instruction that saturates is used. The floats at the end have
//! one order of operations, that of [`reference::gemm_i8`].
//!
//! ```
//! use kernform_gemm::int8::{PackedI8, Rows, Scale, gemm_i8, gemm_i8_scratch_len, quantize_rows};
//! use kernform_gemm::Epilogue;
//! use kernform_simd::Isa;
//! use kernform_tensor::{MatrixMut, MatrixRef, Serial};
//!
//! let isa = Isa::best();
//! // A PyTorch weight [out, in] = [2, 3]: each output's row gets a scale of its own.
//! let weight = MatrixRef::new(&[1.0, 0.5, -1.0, 0.0, 2.0, 0.25], 2, 3)?;
//! let (mut bytes, mut scales) = ([0; 6], [0.0; 2]);
//! quantize_rows(isa, weight, MatrixMut::new(&mut bytes, 2, 3)?, &mut scales)?;
//! let packed = PackedI8::pack(MatrixRef::new(&bytes, 2, 3)?.transpose())?;
//!
//! let tokens = MatrixRef::new(&[1.0, 2.0, 3.0], 1, 3)?;
//! let (mut out, mut scratch) = ([0.0; 2], vec![0.0; gemm_i8_scratch_len(1, 1, 2, 3)]);
//! let c = MatrixMut::new(&mut out, 1, 2)?;
//! gemm_i8(isa, &Serial, Rows::Dynamic(tokens), &packed, Scale::Each(&scales), c, &Epilogue::NONE, &mut scratch)?;
//! assert!((out[0] + 1.0).abs() < 0.05 && (out[1] - 4.75).abs() < 0.05);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod driver;
mod finish;
mod kernels;
mod multiply;
mod packed;
mod quantize;
pub mod reference;
#[cfg(feature = "alloc")]
mod saturating;

pub use multiply::{Rows, Scale, gemm_i8, gemm_i8_i32, gemm_i8_scratch_len};
pub use packed::{MAX_DEPTH, PackedI8};
pub use quantize::{LEAST_MAGNITUDE, quantize_rows, quantize_with};
#[cfg(feature = "alloc")]
pub use saturating::{SaturatingI8, gemm_i8_saturating};
