//! The two arithmetic classes, and the one operation in which they differ.

use num_traits::Float;

/// The arithmetic class of a level: how `a * b + c` is rounded.
///
/// Results are equal to the bit inside a class, on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// One rounding: hardware with a fused multiply-add (x86-64-v3, AArch64, Cortex-M4F/M7), or its emulation.
    Fused,
    /// Two roundings, after the product and after the sum: SSE2-only x86, WebAssembly SIMD.
    Unfused,
}

impl core::fmt::Display for Class {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Class::Fused => "fused",
            Class::Unfused => "unfused",
        })
    }
}

/// A [`Class`] as a type, over which the scalar references are generic.
///
/// The references are generic over the float type too, so that one source gives the expected bits (in `f32`) and the
/// truth of the bound tests (in `f64`).
pub trait Arithmetic: Copy + core::fmt::Debug + Send + Sync + 'static {
    /// The class that this type stands for.
    const CLASS: Class;

    /// `a * b + c`, rounded as the class says.
    fn mul_add<T: Float>(a: T, b: T, c: T) -> T;
}

/// The fused class: [`Arithmetic::mul_add`] rounds once.
#[derive(Clone, Copy, Debug)]
pub struct Fused;

/// The unfused class: [`Arithmetic::mul_add`] rounds the product and then the sum.
#[derive(Clone, Copy, Debug)]
pub struct Unfused;

impl Arithmetic for Fused {
    const CLASS: Class = Class::Fused;

    #[inline(always)]
    fn mul_add<T: Float>(a: T, b: T, c: T) -> T {
        a.mul_add(b, c)
    }
}

impl Arithmetic for Unfused {
    const CLASS: Class = Class::Unfused;

    #[inline(always)]
    fn mul_add<T: Float>(a: T, b: T, c: T) -> T {
        a * b + c
    }
}
