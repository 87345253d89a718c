//! 128-bit vectors of the `wide` crate, compiled for the target's baseline (SSE2, NEON, simd128, or plain arrays).

use bytemuck::cast;
use wide::{f32x4, i32x4};

use super::half;
use crate::{Arithmetic, Class, Kernel, Level, Simd};

/// The class of the baseline: fused only where `wide` is compiled to a fused multiply-add.
#[cfg(any(
    all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse2", target_feature = "fma"),
    all(target_arch = "aarch64", target_feature = "neon")
))]
type PortableClass = crate::Fused;
/// The class of the baseline: fused only where `wide` is compiled to a fused multiply-add.
#[cfg(not(any(
    all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse2", target_feature = "fma"),
    all(target_arch = "aarch64", target_feature = "neon")
)))]
type PortableClass = crate::Unfused;

pub(crate) const CLASS: Class = <PortableClass as Arithmetic>::CLASS;

/// Whether `wide` compiles to vector instructions here.
pub(crate) const HAS_HARDWARE_VECTORS: bool = cfg!(any(
    target_feature = "sse2",
    all(target_arch = "aarch64", target_feature = "neon"),
    all(target_arch = "wasm32", target_feature = "simd128")
));

/// The portable level: no detection, no intrinsics of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable(());

impl Portable {
    /// The token; every CPU has the level.
    pub const fn new() -> Self {
        Portable(())
    }
}

const SIGN: i32 = i32::MIN;

#[inline(always)]
fn int(a: f32x4) -> i32x4 {
    cast(a)
}

#[inline(always)]
fn float(a: i32x4) -> f32x4 {
    cast(a)
}

impl Simd for Portable {
    type F32 = f32x4;
    type I32 = i32x4;
    /// All bits of a lane set or clear.
    type Mask = f32x4;
    type Lanes = [f32x4; 16];
    type Class = PortableClass;

    const LANES: usize = 4;
    const REGISTERS: usize = 16;
    const LEVEL: Level = Level::Portable;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> f32x4 {
        f32x4::splat(value)
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> f32x4 {
        f32x4::new([from[0], from[1], from[2], from[3]])
    }
    #[inline(always)]
    fn store(self, vector: f32x4, to: &mut [f32]) {
        to[..4].copy_from_slice(vector.as_array());
    }
    #[inline(always)]
    fn load_or(self, from: &[f32], fill: f32) -> f32x4 {
        let mut lanes = [fill; 4];
        for (lane, value) in lanes.iter_mut().zip(from) {
            *lane = *value;
        }
        f32x4::new(lanes)
    }
    #[inline(always)]
    fn store_partial(self, vector: f32x4, to: &mut [f32]) {
        for (to, lane) in to.iter_mut().zip(vector.to_array()) {
            *to = lane;
        }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, from: *const f32) -> f32x4 {
        // SAFETY: readable for four elements by the caller's word; arrays of f32 have the alignment of f32.
        f32x4::new(unsafe { from.cast::<[f32; 4]>().read() })
    }
    #[inline(always)]
    unsafe fn store_ptr(self, vector: f32x4, to: *mut f32) {
        // SAFETY: writable for four elements by the caller's word; arrays of f32 have the alignment of f32.
        unsafe { to.cast::<[f32; 4]>().write(vector.to_array()) }
    }
    #[inline(always)]
    unsafe fn load_f16_ptr(self, from: *const u16) -> f32x4 {
        // SAFETY: readable for four elements by the caller's word; arrays of u16 have the alignment of u16.
        let bits = i32x4::new(unsafe { from.cast::<[u16; 4]>().read() }.map(i32::from));
        let magnitude = (bits & i32x4::splat(0x7fff)) << 13;
        let sign = (bits & i32x4::splat(0x8000)) << 16;
        // As in `half::widen_f16`.
        let finite = float(magnitude) * f32x4::splat(half::TWO_TO_112);
        let special = float(magnitude | i32x4::splat(half::INFINITY));
        let is_finite: i32x4 = magnitude.simd_lt(i32x4::splat(half::LEAST_SPECIAL));
        float(int(self.select(float(is_finite), finite, special)) | sign)
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr(self, from: *const u16) -> f32x4 {
        // SAFETY: readable for four elements by the caller's word; arrays of u16 have the alignment of u16.
        float(i32x4::new(unsafe { from.cast::<[u16; 4]>().read() }.map(i32::from)) << 16)
    }
    #[inline(always)]
    fn add(self, a: f32x4, b: f32x4) -> f32x4 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32x4, b: f32x4) -> f32x4 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32x4, b: f32x4) -> f32x4 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32x4, b: f32x4) -> f32x4 {
        a / b
    }
    #[inline(always)]
    fn sqrt(self, a: f32x4) -> f32x4 {
        if HAS_HARDWARE_VECTORS { a.sqrt() } else { f32x4::new(a.to_array().map(super::scalar::sqrt)) }
    }
    #[inline(always)]
    fn mul_add(self, a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn abs(self, a: f32x4) -> f32x4 {
        float(int(a) & i32x4::splat(!SIGN))
    }
    #[inline(always)]
    fn neg(self, a: f32x4) -> f32x4 {
        float(int(a) ^ i32x4::splat(SIGN))
    }
    #[inline(always)]
    fn max(self, a: f32x4, b: f32x4) -> f32x4 {
        self.select(b.simd_lt(a), a, b)
    }
    #[inline(always)]
    fn min(self, a: f32x4, b: f32x4) -> f32x4 {
        self.select(a.simd_lt(b), a, b)
    }
    #[inline(always)]
    fn copysign(self, a: f32x4, b: f32x4) -> f32x4 {
        float((int(a) & i32x4::splat(!SIGN)) | (int(b) & i32x4::splat(SIGN)))
    }
    #[inline(always)]
    fn lt(self, a: f32x4, b: f32x4) -> f32x4 {
        a.simd_lt(b)
    }
    #[inline(always)]
    fn le(self, a: f32x4, b: f32x4) -> f32x4 {
        a.simd_le(b)
    }
    #[inline(always)]
    fn eq(self, a: f32x4, b: f32x4) -> f32x4 {
        a.simd_eq(b)
    }
    #[inline(always)]
    fn mask_and(self, a: f32x4, b: f32x4) -> f32x4 {
        float(int(a) & int(b))
    }
    #[inline(always)]
    fn mask_or(self, a: f32x4, b: f32x4) -> f32x4 {
        float(int(a) | int(b))
    }
    #[inline(always)]
    fn mask_not(self, mask: f32x4) -> f32x4 {
        float(!int(mask))
    }
    #[inline(always)]
    fn any(self, mask: f32x4) -> bool {
        mask.any()
    }
    #[inline(always)]
    fn select(self, mask: f32x4, yes: f32x4, no: f32x4) -> f32x4 {
        let mask = int(mask);
        float((int(yes) & mask) | (int(no) & !mask))
    }
    #[inline(always)]
    fn bits(self, a: f32x4) -> i32x4 {
        int(a)
    }
    #[inline(always)]
    fn float_of_bits(self, a: i32x4) -> f32x4 {
        float(a)
    }
    #[inline(always)]
    fn splat_i32(self, value: i32) -> i32x4 {
        i32x4::splat(value)
    }
    #[inline(always)]
    fn add_i32(self, a: i32x4, b: i32x4) -> i32x4 {
        a + b
    }
    #[inline(always)]
    fn sub_i32(self, a: i32x4, b: i32x4) -> i32x4 {
        a - b
    }
    #[inline(always)]
    fn float_of_i32(self, a: i32x4) -> f32x4 {
        a.round_float()
    }
    #[inline(always)]
    fn store_low_bytes(self, a: i32x4, to: &mut [i8]) {
        // Bits above the lowest eight fall away on purpose.
        to[..4].copy_from_slice(&a.to_array().map(|lane| lane as i8));
    }
    #[inline(always)]
    fn shl_i32<const BITS: i32>(self, a: i32x4) -> i32x4 {
        a << BITS
    }
    #[inline(always)]
    fn shr_i32<const BITS: i32>(self, a: i32x4) -> i32x4 {
        a >> BITS
    }
    #[inline(always)]
    fn lanes(self, value: f32) -> [f32x4; 16] {
        [f32x4::splat(value); 16]
    }
    #[inline(always)]
    fn fold_vector(self, a: f32x4, op: impl Fn(f32x4, f32x4) -> f32x4) -> f32 {
        let [_, _, c, d] = a.to_array();
        let a = op(a, f32x4::new([c, d, c, d]));
        let second = a.to_array()[1];
        op(a, f32x4::splat(second)).to_array()[0]
    }
}
