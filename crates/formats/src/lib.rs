#![doc = include_str!("../README.md")]
#![no_std]
// Only `map` allows unsafe code: a memory map cannot be had without.
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "alloc")]
mod bytes;
#[cfg(feature = "alloc")]
mod error;
#[cfg(feature = "std")]
mod folder;
#[cfg(feature = "alloc")]
mod json;
#[cfg(feature = "std")]
mod map;
#[cfg(feature = "alloc")]
pub mod marian;
#[cfg(feature = "alloc")]
pub mod safetensors;
#[cfg(feature = "alloc")]
mod sentence;
#[cfg(feature = "alloc")]
mod source;
#[cfg(feature = "alloc")]
mod view;

#[cfg(feature = "alloc")]
pub use error::{Error, ErrorKind};
#[cfg(feature = "std")]
pub use folder::{Loading, ModelFolder, WeightsFile};
#[cfg(feature = "alloc")]
pub use json::{Json, MAX_JSON_LEN, MAX_JSON_VALUES};
pub use kernform_tensor::DType;
#[cfg(feature = "std")]
pub use map::ModelBytes;
#[cfg(feature = "alloc")]
pub use marian::{LexicalShortlist, MarianFile};
#[cfg(feature = "alloc")]
pub use safetensors::SafetensorsFile;
#[cfg(feature = "alloc")]
pub use sentence::{Pooling, SentenceConfig};
#[cfg(feature = "alloc")]
pub use source::ModelSource;
#[cfg(feature = "alloc")]
pub use view::TensorView;
