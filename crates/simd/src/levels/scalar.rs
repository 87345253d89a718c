//! One lane at a time, in either class: the level that every CPU has.

use core::marker::PhantomData;

use crate::{Arithmetic, Fused, Kernel, Level, REDUCTION_LANES, Simd, Unfused};

/// The scalar level of class `A`.
#[derive(Clone, Copy, Debug)]
pub struct Scalar<A: ScalarArithmetic>(PhantomData<A>);

impl<A: ScalarArithmetic> Scalar<A> {
    /// The token; every CPU has the level.
    pub const fn new() -> Self {
        Scalar(PhantomData)
    }
}

impl<A: ScalarArithmetic> Default for Scalar<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// How a class multiplies and adds one `f32` on this target.
pub trait ScalarArithmetic: Arithmetic {
    /// The level of [`Scalar`] in this class.
    const LEVEL: Level;

    /// `a * b + c` in the class's rounding.
    fn mul_add_f32(a: f32, b: f32, c: f32) -> f32;
}

impl ScalarArithmetic for Fused {
    const LEVEL: Level = Level::Scalar;

    #[inline(always)]
    fn mul_add_f32(a: f32, b: f32, c: f32) -> f32 {
        hardware::mul_add(a, b, c)
    }
}

impl ScalarArithmetic for Unfused {
    const LEVEL: Level = Level::ScalarUnfused;

    #[inline(always)]
    fn mul_add_f32(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Whether the fused class runs on an instruction here, known at compile time.
pub(crate) const HAS_HARDWARE_FMA: bool = hardware::HAS_FMA;

/// The operations that `core` lacks: as instructions where the target has them, else by `libm`.
#[cfg(target_arch = "aarch64")]
mod hardware {
    use core::arch::aarch64::{vdup_n_f32, vfma_f32, vget_lane_f32};

    pub(super) const HAS_FMA: bool = true;

    #[inline(always)]
    pub(super) fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        // SAFETY: Advanced SIMD is part of the baseline of every AArch64 target that this module is compiled for.
        unsafe { vget_lane_f32::<0>(vfma_f32(vdup_n_f32(c), vdup_n_f32(a), vdup_n_f32(b))) }
    }

    #[inline(always)]
    pub(super) fn sqrt(a: f32) -> f32 {
        libm::sqrtf(a)
    }
}

// Bare-metal hard-float Arm: Cortex-M4F, M7F, M33F, M55 and Cortex-R52 all have FPv4 or later. The one family without
// a fused multiply-add (Cortex-R4F, R5F) builds with `--cfg kernform_no_vfma`.
#[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(kernform_no_vfma)))]
mod hardware {
    pub(super) const HAS_FMA: bool = true;

    // The operands go through core registers: rustc offers single-precision registers as operands only where the
    // double-precision ones exist too, which the Cortex-M4 has not.
    #[inline(always)]
    pub(super) fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        let result: u32;
        // SAFETY: reads and writes only the named registers; the instruction is in FPv4, see the module's condition.
        unsafe {
            core::arch::asm!(
                "vmov s0, {a}", "vmov s1, {b}", "vmov s2, {c}", "vfma.f32 s2, s0, s1", "vmov {result}, s2",
                a = in(reg) a.to_bits(), b = in(reg) b.to_bits(), c = in(reg) c.to_bits(), result = lateout(reg) result,
                out("s0") _, out("s1") _, out("s2") _,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        f32::from_bits(result)
    }

    #[inline(always)]
    pub(super) fn sqrt(a: f32) -> f32 {
        let result: u32;
        // SAFETY: reads and writes only the named registers; the instruction is in every VFP.
        unsafe {
            core::arch::asm!(
                "vmov s0, {a}", "vsqrt.f32 s0, s0", "vmov {result}, s0",
                a = in(reg) a.to_bits(), result = lateout(reg) result, out("s0") _,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        f32::from_bits(result)
    }
}

#[cfg(not(any(
    target_arch = "aarch64",
    all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(kernform_no_vfma))
)))]
mod hardware {
    use num_traits::Float;

    pub(super) const HAS_FMA: bool = cfg!(target_feature = "fma");

    #[inline(always)]
    pub(super) fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        Float::mul_add(a, b, c)
    }

    #[inline(always)]
    pub(super) fn sqrt(a: f32) -> f32 {
        Float::sqrt(a)
    }
}

/// The square root that all scalar levels share.
#[inline(always)]
pub(crate) fn sqrt(a: f32) -> f32 {
    hardware::sqrt(a)
}

/// What the scalar tokens share; they differ in how they multiply and add.
macro_rules! scalar_operations {
    () => {
        type F32 = f32;
        type I32 = i32;
        type Mask = bool;
        type Lanes = [f32; REDUCTION_LANES];
        const LANES: usize = 1;
        const REGISTERS: usize = 16;

        #[inline(always)]
        fn splat(self, value: f32) -> f32 {
            value
        }
        #[inline(always)]
        fn load(self, from: &[f32]) -> f32 {
            from[0]
        }
        #[inline(always)]
        fn store(self, vector: f32, to: &mut [f32]) {
            to[0] = vector;
        }
        #[inline(always)]
        fn load_or(self, from: &[f32], fill: f32) -> f32 {
            from.first().copied().unwrap_or(fill)
        }
        #[inline(always)]
        fn store_partial(self, vector: f32, to: &mut [f32]) {
            if let Some(to) = to.first_mut() {
                *to = vector;
            }
        }
        #[inline(always)]
        unsafe fn load_ptr(self, from: *const f32) -> f32 {
            // SAFETY: readable by the caller's word.
            unsafe { from.read() }
        }
        #[inline(always)]
        unsafe fn store_ptr(self, vector: f32, to: *mut f32) {
            // SAFETY: writable by the caller's word.
            unsafe { to.write(vector) }
        }
        #[inline(always)]
        unsafe fn load_f16_ptr(self, from: *const u16) -> f32 {
            // SAFETY: readable by the caller's word.
            $crate::levels::half::widen_f16(unsafe { from.read() })
        }
        #[inline(always)]
        unsafe fn load_bf16_ptr(self, from: *const u16) -> f32 {
            // SAFETY: readable by the caller's word.
            $crate::levels::half::widen_bf16(unsafe { from.read() })
        }
        #[inline(always)]
        fn add(self, a: f32, b: f32) -> f32 {
            a + b
        }
        #[inline(always)]
        fn sub(self, a: f32, b: f32) -> f32 {
            a - b
        }
        #[inline(always)]
        fn mul(self, a: f32, b: f32) -> f32 {
            a * b
        }
        #[inline(always)]
        fn div(self, a: f32, b: f32) -> f32 {
            a / b
        }
        #[inline(always)]
        fn sqrt(self, a: f32) -> f32 {
            $crate::levels::scalar::sqrt(a)
        }
        #[inline(always)]
        fn abs(self, a: f32) -> f32 {
            f32::from_bits(a.to_bits() & 0x7fff_ffff)
        }
        #[inline(always)]
        fn neg(self, a: f32) -> f32 {
            f32::from_bits(a.to_bits() ^ 0x8000_0000)
        }
        #[inline(always)]
        fn max(self, a: f32, b: f32) -> f32 {
            if a > b { a } else { b }
        }
        #[inline(always)]
        fn min(self, a: f32, b: f32) -> f32 {
            if a < b { a } else { b }
        }
        #[inline(always)]
        fn copysign(self, a: f32, b: f32) -> f32 {
            f32::from_bits((a.to_bits() & 0x7fff_ffff) | (b.to_bits() & 0x8000_0000))
        }
        #[inline(always)]
        fn lt(self, a: f32, b: f32) -> bool {
            a < b
        }
        #[inline(always)]
        fn le(self, a: f32, b: f32) -> bool {
            a <= b
        }
        #[inline(always)]
        fn eq(self, a: f32, b: f32) -> bool {
            a == b
        }
        #[inline(always)]
        fn mask_and(self, a: bool, b: bool) -> bool {
            a & b
        }
        #[inline(always)]
        fn mask_or(self, a: bool, b: bool) -> bool {
            a | b
        }
        #[inline(always)]
        fn mask_not(self, mask: bool) -> bool {
            !mask
        }
        #[inline(always)]
        fn any(self, mask: bool) -> bool {
            mask
        }
        #[inline(always)]
        fn select(self, mask: bool, yes: f32, no: f32) -> f32 {
            if mask { yes } else { no }
        }
        #[inline(always)]
        fn bits(self, a: f32) -> i32 {
            a.to_bits().cast_signed()
        }
        #[inline(always)]
        fn float_of_bits(self, a: i32) -> f32 {
            f32::from_bits(a.cast_unsigned())
        }
        #[inline(always)]
        fn splat_i32(self, value: i32) -> i32 {
            value
        }
        #[inline(always)]
        fn add_i32(self, a: i32, b: i32) -> i32 {
            a.wrapping_add(b)
        }
        #[inline(always)]
        fn sub_i32(self, a: i32, b: i32) -> i32 {
            a.wrapping_sub(b)
        }
        #[inline(always)]
        fn float_of_i32(self, a: i32) -> f32 {
            a as f32
        }
        #[inline(always)]
        fn store_low_bytes(self, a: i32, to: &mut [i8]) {
            // Bits above the lowest eight fall away on purpose.
            to[0] = a as i8;
        }
        #[inline(always)]
        fn shl_i32<const BITS: i32>(self, a: i32) -> i32 {
            a << BITS
        }
        #[inline(always)]
        fn shr_i32<const BITS: i32>(self, a: i32) -> i32 {
            a >> BITS
        }
        #[inline(always)]
        fn lanes(self, value: f32) -> [f32; REDUCTION_LANES] {
            [value; REDUCTION_LANES]
        }
        #[inline(always)]
        fn fold_vector(self, a: f32, _op: impl Fn(f32, f32) -> f32) -> f32 {
            a
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use scalar_operations;

impl<A: ScalarArithmetic> Simd for Scalar<A> {
    type Class = A;
    const LEVEL: Level = A::LEVEL;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        A::mul_add_f32(a, b, c)
    }

    scalar_operations!();
}
