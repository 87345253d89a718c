//! Advanced SIMD, with the dot product of bytes where `DOTPROD` says so: 4 lanes, a quarter of a panel.

use core::arch::aarch64::*;

use super::{Job, Tile, Vector, choose_tile, memory, operations};
use crate::Format;
use crate::format::IQ4_TABLE;

/// Proof of Advanced SIMD, and of FEAT_DotProd.
#[derive(Clone, Copy)]
pub(crate) struct Neon<const DOTPROD: bool>(());

impl<const DOTPROD: bool> Neon<DOTPROD> {
    /// # Safety
    /// The CPU must have what the type says.
    pub(super) const unsafe fn new() -> Self {
        Neon(())
    }
}

#[target_feature(enable = "neon")]
fn run<J: Job>(v: Neon<false>, job: J) -> J::Output {
    job.run(v)
}

#[target_feature(enable = "neon,dotprod")]
fn run_dotprod<J: Job>(v: Neon<true>, job: J) -> J::Output {
    job.run(v)
}

/// The four products of each lane's bytes with those of `a`, added to `acc`.
///
/// # Safety
/// The CPU must have FEAT_DotProd.
#[inline(always)]
unsafe fn sdot(mut acc: int32x4_t, codes: int8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: by the caller's word. The intrinsic is not stable; the instruction reads and writes the named registers.
    unsafe {
        core::arch::asm!(
            ".arch_extension dotprod", "sdot {acc:v}.4s, {codes:v}.16b, {a:v}.16b",
            acc = inout(vreg) acc, codes = in(vreg) codes, a = in(vreg) a,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

impl<const DOTPROD: bool> Vector for Neon<DOTPROD> {
    type Bytes = uint8x16_t;
    type Ints = int32x4_t;
    type Floats = float32x4_t;

    const LANES: usize = 4;
    const SIGNED: bool = true;
    const HEIGHTS: &[usize] = &[1, 4];

    #[inline(always)]
    fn vectorize<J: Job>(self, job: J) -> J::Output {
        // SAFETY: the token exists only after detection.
        unsafe { if DOTPROD { run_dotprod(Neon(()), job) } else { run(Neon(()), job) } }
    }

    fn tile(format: Format, rows: usize) -> Tile<Self> {
        choose_tile!(Self, format, rows; 4: 2, 1: 4)
    }

    fn panels(_: Format) -> Option<Tile<Self>> {
        None
    }

    operations! {
        and(a: uint8x16_t, mask: u8) -> uint8x16_t = vandq_u8(a, vdupq_n_u8(mask));
        or(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t = vorrq_u8(a, b);
        // A negative count shifts to the right.
        shr(a: uint8x16_t, bits: u32) -> uint8x16_t = vshlq_u8(a, vdupq_n_s8(-(bits as i8)));
        shl(a: uint8x16_t, bits: u32) -> uint8x16_t = vshlq_u8(a, vdupq_n_s8(bits as i8));
        full(a: uint8x16_t) -> uint8x16_t = veorq_u8(a, vdupq_n_u8(0x80));
        lookup(a: uint8x16_t) -> uint8x16_t = vqtbl1q_u8(vreinterpretq_u8_s8(vld1q_s8(IQ4_TABLE.as_ptr())), a);
        splat_int(value: i32) -> int32x4_t = vdupq_n_s32(value);
        add_int(a: int32x4_t, b: int32x4_t) -> int32x4_t = vaddq_s32(a, b);
        mul_int(a: int32x4_t, b: int32x4_t) -> int32x4_t = vmulq_s32(a, b);
        shl_int(a: int32x4_t, bits: u32) -> int32x4_t = vshlq_s32(a, vdupq_n_s32(bits.cast_signed()));
        nibbles(a: int32x4_t, bits: u32) -> int32x4_t = vreinterpretq_s32_u16(vandq_u16(
            vshlq_u16(vreinterpretq_u16_s32(a), vdupq_n_s16(-(bits as i16))), vdupq_n_u16(15)));
        to_floats(a: int32x4_t) -> float32x4_t = vcvtq_f32_s32(a);
        splat(value: f32) -> float32x4_t = vdupq_n_f32(value);
        mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32(c, a, b);
    }

    memory! {
        load_bytes(from: *const u8) -> uint8x16_t = vld1q_u8(from);
        load_float(from: *const u8) -> float32x4_t = vreinterpretq_f32_u8(vld1q_u8(from));
        store(a: float32x4_t, to: *mut f32) = vst1q_f32(to, a);
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u8) -> float32x4_t {
        // SAFETY: the caller vouches for 8 bytes. The intrinsic needs a type that is not stable; the instruction is in the
        // baseline and reads and writes the named registers.
        unsafe {
            let halves = vld1_u8(from);
            let floats;
            core::arch::asm!(
                "fcvtl {floats:v}.4s, {halves:v}.4h", floats = lateout(vreg) floats, halves = in(vreg) halves,
                options(pure, nomem, nostack, preserves_flags)
            );
            floats
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(self, from: *const u8, signed: bool) -> int32x4_t {
        // SAFETY: the caller vouches for 8 bytes.
        unsafe {
            let bytes = vld1_u8(from);
            if signed {
                vreinterpretq_s32_s16(vmovl_s8(vreinterpret_s8_u8(bytes)))
            } else {
                vreinterpretq_s32_u16(vmovl_u8(bytes))
            }
        }
    }
    #[inline(always)]
    fn half(self, a: int32x4_t, upper: bool) -> int32x4_t {
        // SAFETY: the token exists only after detection.
        unsafe { vshrq_n_s32::<16>(if upper { a } else { vshlq_n_s32::<16>(a) }) }
    }

    /// `sdot` adds four products of signed bytes in 32 bits. Without it, products of bytes (16,256 at most) fit 16 bits,
    /// and are added in pairs into 32.
    #[inline(always)]
    fn dot<const MAX: u8>(self, acc: int32x4_t, codes: uint8x16_t, a: i32) -> int32x4_t {
        // SAFETY: the token exists only after detection.
        unsafe {
            let codes = vreinterpretq_s8_u8(codes);
            let a = vreinterpretq_s8_s32(vdupq_n_s32(a));
            if DOTPROD {
                return sdot(acc, codes, a);
            }
            let low = vpaddlq_s16(vmull_s8(vget_low_s8(codes), vget_low_s8(a)));
            let high = vpaddlq_s16(vmull_high_s8(codes, a));
            vaddq_s32(acc, vpaddq_s32(low, high))
        }
    }
    #[inline(always)]
    fn dot_pairs(self, acc: int32x4_t, pairs: int32x4_t, a: i32) -> int32x4_t {
        // SAFETY: the token exists only after detection.
        unsafe {
            let (pairs, a) = (vreinterpretq_s16_s32(pairs), vreinterpretq_s16_s32(vdupq_n_s32(a)));
            let low = vmull_s16(vget_low_s16(pairs), vget_low_s16(a));
            vaddq_s32(acc, vpaddq_s32(low, vmull_high_s16(pairs, a)))
        }
    }
}
