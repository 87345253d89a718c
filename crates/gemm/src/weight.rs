//! The element types of the right operand.

use kernform_simd::{Isa, Simd};
use kernform_tensor::{Element, ToF32, bf16, f16};

use crate::driver::{ComputePart, Part, Product};

/// An element type of weights: `f32`, or 16 bits that are widened in registers on their way into the product.
///
/// Widening is exact, so the product is the one of the widened weights, to the bit.
pub trait Weight: Element + ToF32 + sealed::Load {}

pub(crate) mod sealed {
    use kernform_simd::{Isa, Simd};

    use crate::driver::{Part, Product};
    use crate::kernels::SweepFn;

    /// What the kernels do with elements of a type.
    pub trait Load: Sized {
        /// [`Simd::LANES`] elements as floats.
        ///
        /// # Safety
        /// `from` must be readable for as many elements.
        unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F32;

        /// Computes one part of a product, on the level of `isa`. A function of its own for each type, so that the kernels
        /// are compiled in this crate and not again in each that multiplies.
        fn compute(isa: Isa, product: &Product<'_, Self>, part: &mut Part<'_>);

        /// The sweep of tiles that a level has for this type alone; see [`sweep_fn`](crate::tiles::sweep_fn).
        #[inline(always)]
        fn own_sweep<S: Simd>(_rows: usize, _cols: usize) -> Option<SweepFn<S, Self>> {
            None
        }

        /// Packs a whole panel whose columns, `stride` apart in `from`, are contiguous, and says so; or does nothing.
        #[inline(always)]
        fn transpose_panel<S: Simd>(_: S, _from: &[Self], _stride: usize, _into: &mut [Self]) -> bool {
            false
        }
    }
}

impl Weight for f32 {}

impl sealed::Load for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::F32 {
        // SAFETY: the caller's word.
        unsafe { s.load_ptr(from) }
    }

    #[inline(never)]
    fn compute(isa: Isa, product: &Product<'_, Self>, part: &mut Part<'_>) {
        isa.dispatch(ComputePart { product, part });
    }

    #[cfg(kernform_vfma)]
    #[inline(always)]
    fn own_sweep<S: Simd>(rows: usize, cols: usize) -> Option<crate::kernels::SweepFn<S, f32>> {
        (S::LEVEL == kernform_simd::Level::Scalar).then(|| crate::vfma::sweep_fn(rows, cols))
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn transpose_panel<S: Simd>(_: S, from: &[f32], stride: usize, into: &mut [f32]) -> bool {
        use kernform_simd::Level;
        if !matches!(S::LEVEL, Level::Avx2 | Level::Avx512) {
            return false;
        }
        // SAFETY: the token `S` proves AVX2.
        unsafe { crate::pack::avx::transpose_panel(from, stride, into) };
        true
    }
}

impl Weight for f16 {}

impl sealed::Load for f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f16) -> S::F32 {
        // SAFETY: the caller's word; the type is its bits.
        unsafe { s.load_f16_ptr(from.cast()) }
    }

    #[inline(never)]
    fn compute(isa: Isa, product: &Product<'_, Self>, part: &mut Part<'_>) {
        isa.dispatch(ComputePart { product, part });
    }
}

impl Weight for bf16 {}

impl sealed::Load for bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const bf16) -> S::F32 {
        // SAFETY: the caller's word; the type is its bits.
        unsafe { s.load_bf16_ptr(from.cast()) }
    }

    #[inline(never)]
    fn compute(isa: Isa, product: &Product<'_, Self>, part: &mut Part<'_>) {
        isa.dispatch(ComputePart { product, part });
    }
}
