//! The defined operations and their order, in plain scalar Rust.
//!
//! Every function here gives the bits of its namesake in the crate, on every level of class `A`.

mod elementwise;
mod rows;

pub use elementwise::{activate, erf, exp, exp_nonpositive, gelu_erf, gelu_tanh, log, relu, sigmoid, silu, tanh};
pub use rows::{dot, log_softmax, log_sum_exp, max, softmax, sum};
