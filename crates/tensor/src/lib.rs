#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod arena;
mod cast;
mod convert;
mod dtype;
mod error;
mod matrix;
mod matrix_mut;
#[cfg(feature = "alloc")]
mod memory;
pub mod parallel;
mod shape;
#[cfg(feature = "alloc")]
mod tensor;
mod tensor_ref;

pub use arena::{ALIGNMENT, Arena, ArenaError, ScratchPlan, rounded};
pub use bytemuck::Pod;
pub use cast::{CastError, as_bytes, cast_slice, cast_slice_mut};
pub use convert::{LengthMismatch, ToF32, convert_to_f32};
pub use dtype::{DType, Element};
pub use error::ShapeError;
pub use half::{bf16, f16};
pub use matrix::MatrixRef;
pub use matrix_mut::MatrixMut;
#[cfg(feature = "alloc")]
pub use memory::Memory;
pub use parallel::{Parallel, Serial, split_ranges};
pub use shape::{MAX_RANK, Shape};
#[cfg(feature = "alloc")]
pub use tensor::Tensor;
pub use tensor_ref::TensorRef;
