//! Advanced SIMD, with the dot product of bytes and with their matrix product where the CPU has them: 4 lanes, a quarter of
//! a panel.

mod groups;
mod levels;

use core::arch::aarch64::*;
use core::marker::PhantomData;

use super::{Job, Tile, Vector, choose_tile, memory, operations};
use crate::Format;
use crate::format::IQ4_TABLE;
use levels::Products;
pub(crate) use levels::{Dotprod, I8mm, Plain};

/// Proof of Advanced SIMD, and of what `P` multiplies bytes with.
#[derive(Clone, Copy)]
pub(crate) struct Neon<P>(PhantomData<P>);

impl<P: Products> Neon<P> {
    /// # Safety
    /// The CPU must have what the type says.
    pub(super) const unsafe fn new() -> Self {
        Neon(PhantomData)
    }
}

/// A shift by a constant: the loops around it are unrolled, and one branch is left.
macro_rules! by_constant {
    ($bits:expr, $shift:ident($a:expr), $none:expr) => {
        match $bits {
            1 => $shift::<1>($a),
            2 => $shift::<2>($a),
            3 => $shift::<3>($a),
            4 => $shift::<4>($a),
            5 => $shift::<5>($a),
            6 => $shift::<6>($a),
            7 => $shift::<7>($a),
            _ => $none,
        }
    };
}

impl<P: Products> Vector for Neon<P> {
    type Bytes = uint8x16_t;
    type Ints = int32x4_t;
    type Floats = float32x4_t;
    type Step = (int8x16_t, usize);
    type Dot = P::Dot;

    const LANES: usize = 4;
    const SIGNED: bool = true;
    const HEIGHTS: &[usize] = P::HEIGHTS;

    #[inline(always)]
    fn vectorize<J: Job>(self, job: J) -> J::Output {
        P::vectorize(self, job)
    }

    fn tile(format: Format, rows: usize) -> Tile<Self> {
        match rows {
            1 => choose_tile!(Self, format, 1; 1: 4),
            _ => groups::tile(format, rows),
        }
    }

    fn panels(_: Format) -> Option<Tile<Self>> {
        None
    }

    operations! {
        and(a: uint8x16_t, mask: u8) -> uint8x16_t = vandq_u8(a, vdupq_n_u8(mask));
        merge(low: uint8x16_t, high: uint8x16_t, mask: u8) -> uint8x16_t = vbslq_u8(vdupq_n_u8(mask), high, low);
        shr(a: uint8x16_t, bits: u32) -> uint8x16_t = by_constant!(bits, vshrq_n_u8(a), a);
        shl(a: uint8x16_t, bits: u32) -> uint8x16_t = by_constant!(bits, vshlq_n_u8(a), a);
        full(a: uint8x16_t) -> uint8x16_t = veorq_u8(a, vdupq_n_u8(0x80));
        lookup(a: uint8x16_t) -> uint8x16_t = vqtbl1q_u8(vreinterpretq_u8_s8(vld1q_s8(IQ4_TABLE.as_ptr())), a);
        splat_int(value: i32) -> int32x4_t = vdupq_n_s32(value);
        add_int(a: int32x4_t, b: int32x4_t) -> int32x4_t = vaddq_s32(a, b);
        mul_int(a: int32x4_t, b: int32x4_t) -> int32x4_t = vmulq_s32(a, b);
        shl_int(a: int32x4_t, bits: u32) -> int32x4_t = by_constant!(bits, vshlq_n_s32(a), a);
        nibbles(a: int32x4_t, bits: u32) -> int32x4_t = vreinterpretq_s32_u16(vandq_u16(
            by_constant!(bits, vshrq_n_u16(vreinterpretq_u16_s32(a)), vreinterpretq_u16_s32(a)), vdupq_n_u16(15)));
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

    #[inline(always)]
    unsafe fn load_step(self, words: *const i32, at: usize) -> (int8x16_t, usize) {
        // SAFETY: the caller vouches for the four words.
        unsafe { (vld1q_s8(words.cast()), at) }
    }
    #[inline(always)]
    fn begin(self, sum: int32x4_t) -> P::Dot {
        // SAFETY: the token exists only after detection.
        unsafe { P::begin(sum) }
    }
    #[inline(always)]
    fn end(self, dot: P::Dot) -> int32x4_t {
        // SAFETY: as above.
        unsafe { P::end(dot) }
    }
    #[inline(always)]
    fn dot<const MAX: u8>(self, dot: P::Dot, codes: uint8x16_t, a: (int8x16_t, usize), left: usize) -> P::Dot {
        // SAFETY: the token exists only after detection.
        unsafe { P::dot::<MAX>(dot, codes, a, left) }
    }
    #[inline(always)]
    fn dot_pairs(self, acc: int32x4_t, pairs: int32x4_t, a: i32) -> int32x4_t {
        // SAFETY: the token exists only after detection.
        unsafe {
            let acc = vmlal_n_s16(acc, vmovn_s32(pairs), a as i16);
            vmlal_n_s16(acc, vshrn_n_s32::<16>(pairs), (a >> 16) as i16)
        }
    }
}
