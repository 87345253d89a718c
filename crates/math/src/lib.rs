#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod activation;
mod coefficients;
mod elementwise;
mod error;
pub mod reference;
mod rows;
mod softmax;
pub mod vector;

pub use activation::Activation;
pub use elementwise::{
    activate, activate_in_place, add, erf, erf_in_place, exp, exp_in_place, gelu_erf, gelu_erf_in_place, gelu_tanh,
    gelu_tanh_in_place, log, log_in_place, relu, relu_in_place, scale_add, sigmoid, sigmoid_in_place, silu,
    silu_in_place, tanh, tanh_in_place,
};
pub use error::ShapeError;
pub use rows::Rows;
pub use softmax::{dot, log_softmax, log_softmax_in_place, log_sum_exp, max, softmax, softmax_in_place, sum};
