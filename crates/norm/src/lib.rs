#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod functions;
mod kernel;
mod parameters;
pub mod reference;

pub use functions::{
    add_layer_norm, add_layer_norm_in_place, add_rms_norm, add_rms_norm_in_place, layer_norm, layer_norm_in_place,
    rms_norm, rms_norm_in_place,
};
pub use kernform_math::{Rows, ShapeError};
pub use parameters::{LayerNorm, RmsNorm};
