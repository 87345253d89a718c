//! 128-bit vectors: AArch64 Advanced SIMD.

use core::arch::aarch64::*;

use crate::{Fused, Kernel, Level, Simd};

/// Proof of Advanced SIMD.
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

impl Neon {
    /// The token; Advanced SIMD is in the baseline of every AArch64 target but the soft-float ones.
    #[inline]
    pub fn new() -> Option<Self> {
        cfg!(target_feature = "neon").then_some(Neon(()))
    }

    /// The token without detection.
    ///
    /// # Safety
    /// The CPU must have Advanced SIMD.
    #[inline(always)]
    pub const unsafe fn new_unchecked() -> Self {
        Neon(())
    }
}

/// Implements operations as intrinsics of the level.
macro_rules! intrinsics {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $result {
            // SAFETY: the token exists only where Advanced SIMD does.
            unsafe { $body }
        }
    )*};
}

impl Simd for Neon {
    type F32 = float32x4_t;
    type I32 = int32x4_t;
    type Mask = uint32x4_t;
    type Lanes = [float32x4_t; 16];
    type Class = Fused;

    const LANES: usize = 4;
    const REGISTERS: usize = 32;
    const LEVEL: Level = Level::Neon;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "neon")]
        fn run<K: Kernel>(token: Neon, kernel: K) -> K::Output {
            kernel.run(token)
        }
        // SAFETY: the token exists only where Advanced SIMD does.
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> float32x4_t {
        let from = &from[..4];
        // SAFETY: four elements by the line above.
        unsafe { vld1q_f32(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, vector: float32x4_t, to: &mut [f32]) {
        let to = &mut to[..4];
        // SAFETY: four elements by the line above.
        unsafe { vst1q_f32(to.as_mut_ptr(), vector) }
    }
    #[inline(always)]
    fn load_or(self, from: &[f32], fill: f32) -> float32x4_t {
        let mut lanes = [fill; 4];
        for (lane, value) in lanes.iter_mut().zip(from) {
            *lane = *value;
        }
        self.load(&lanes)
    }
    #[inline(always)]
    fn store_partial(self, vector: float32x4_t, to: &mut [f32]) {
        let mut lanes = [0.0; 4];
        self.store(vector, &mut lanes);
        for (to, lane) in to.iter_mut().zip(lanes) {
            *to = lane;
        }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, from: *const f32) -> float32x4_t {
        // SAFETY: readable for four elements by the caller's word.
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, vector: float32x4_t, to: *mut f32) {
        // SAFETY: writable for four elements by the caller's word.
        unsafe { vst1q_f32(to, vector) }
    }

    #[inline(always)]
    unsafe fn load_f16_ptr(self, from: *const u16) -> float32x4_t {
        let widened: float32x4_t;
        // SAFETY: readable for four elements by the caller's word. The instruction is in the baseline; its intrinsic asks
        // for a newer compiler.
        unsafe {
            let bits = vld1_u16(from);
            core::arch::asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) widened, in(vreg) bits,
                options(pure, nomem, nostack, preserves_flags));
        }
        widened
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr(self, from: *const u16) -> float32x4_t {
        // SAFETY: readable for four elements by the caller's word; the token exists only where Advanced SIMD does.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from))) }
    }

    intrinsics! {
        splat(value: f32) -> float32x4_t = vdupq_n_f32(value);
        add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        div(a: float32x4_t, b: float32x4_t) -> float32x4_t = vdivq_f32(a, b);
        sqrt(a: float32x4_t) -> float32x4_t = vsqrtq_f32(a);
        mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32(c, a, b);
        abs(a: float32x4_t) -> float32x4_t = vabsq_f32(a);
        neg(a: float32x4_t) -> float32x4_t = vnegq_f32(a);
        // Not `vmaxq`/`vminq`: they return NaN where either is NaN and order the zeros.
        max(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcgtq_f32(a, b), a, b);
        min(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcltq_f32(a, b), a, b);
        copysign(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vdupq_n_u32(0x8000_0000), b, a);
        lt(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vcltq_f32(a, b);
        le(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vcleq_f32(a, b);
        eq(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vceqq_f32(a, b);
        mask_and(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t = vandq_u32(a, b);
        mask_or(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t = vorrq_u32(a, b);
        mask_not(mask: uint32x4_t) -> uint32x4_t = vmvnq_u32(mask);
        any(mask: uint32x4_t) -> bool = vmaxvq_u32(mask) != 0;
        select(mask: uint32x4_t, yes: float32x4_t, no: float32x4_t) -> float32x4_t = vbslq_f32(mask, yes, no);
        bits(a: float32x4_t) -> int32x4_t = vreinterpretq_s32_f32(a);
        float_of_bits(a: int32x4_t) -> float32x4_t = vreinterpretq_f32_s32(a);
        splat_i32(value: i32) -> int32x4_t = vdupq_n_s32(value);
        add_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t = vaddq_s32(a, b);
        sub_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t = vsubq_s32(a, b);
        float_of_i32(a: int32x4_t) -> float32x4_t = vcvtq_f32_s32(a);
        lanes(value: f32) -> [float32x4_t; 16] = [vdupq_n_f32(value); 16];
    }

    #[inline(always)]
    fn store_low_bytes(self, a: int32x4_t, to: &mut [i8]) {
        // SAFETY: the token exists only where Advanced SIMD does.
        let word = unsafe {
            let halves = vmovn_s32(a);
            let bytes = vmovn_s16(vcombine_s16(halves, halves));
            vget_lane_s32::<0>(vreinterpret_s32_s8(bytes))
        };
        to[..4].copy_from_slice(&word.to_ne_bytes().map(u8::cast_signed));
    }
    #[inline(always)]
    fn shl_i32<const BITS: i32>(self, a: int32x4_t) -> int32x4_t {
        // SAFETY: the token exists only where Advanced SIMD does.
        unsafe { vshlq_s32(a, vdupq_n_s32(BITS)) }
    }
    #[inline(always)]
    fn shr_i32<const BITS: i32>(self, a: int32x4_t) -> int32x4_t {
        // SAFETY: the token exists only where Advanced SIMD does. A negative count shifts to the right.
        unsafe { vshlq_s32(a, vdupq_n_s32(-BITS)) }
    }
    #[inline(always)]
    fn fold_vector(self, a: float32x4_t, op: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> f32 {
        // SAFETY: the token exists only where Advanced SIMD does.
        unsafe {
            let a = op(a, vextq_f32::<2>(a, a));
            let a = op(a, vextq_f32::<1>(a, a));
            vgetq_lane_f32::<0>(a)
        }
    }
    #[inline(always)]
    fn transpose(self, vectors: &mut [float32x4_t]) {
        let vectors = &mut vectors[..4];
        // SAFETY: the token exists only where Advanced SIMD does.
        unsafe {
            let (ab, cd) = (vtrnq_f32(vectors[0], vectors[1]), vtrnq_f32(vectors[2], vectors[3]));
            vectors[0] = vcombine_f32(vget_low_f32(ab.0), vget_low_f32(cd.0));
            vectors[1] = vcombine_f32(vget_low_f32(ab.1), vget_low_f32(cd.1));
            vectors[2] = vcombine_f32(vget_high_f32(ab.0), vget_high_f32(cd.0));
            vectors[3] = vcombine_f32(vget_high_f32(ab.1), vget_high_f32(cd.1));
        }
    }
}
