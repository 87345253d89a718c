#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bits;
mod bounds;
mod effort;
mod guarded;
mod levels;
pub mod strategies;

pub use bits::{assert_same_bits, first_difference, same_bits};
pub use bounds::{UNIT_ROUNDOFF, gamma, ulp_error, ulp_of};
pub use effort::{up_to, with_at_most};
pub use guarded::Guarded;
pub use levels::force;

// The macro names these through the crate, so that its users need no dependency of their own.
#[doc(hidden)]
pub use kernform_simd::{Isa, Level};
