//! The scalar and the portable levels: integers of their own, floats of `kernform-simd`.

use half::f16;
use kernform_simd::Simd;
use wide::{i16x8, i32x4};

use super::{Job, Tile, Vector, choose_tile};
use crate::Format;
use crate::format::IQ4_TABLE;

/// One lane: every level whose vectors have one.
#[derive(Clone, Copy)]
pub(crate) struct One<S: Simd>(pub(super) S);

/// Four lanes: every level that has no kernels of its own. Pairs of bytes are widened to 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct Four<S: Simd>(pub(super) S);

/// The float operations, which the level's token has.
macro_rules! floats {
    ($lanes:literal) => {
        type Floats = S::F32;

        #[inline(always)]
        unsafe fn load_float(self, from: *const u8) -> S::F32 {
            // SAFETY: the caller vouches for a vector of bytes. An array of bytes has no alignment to keep.
            let lanes = unsafe { from.cast::<[[u8; 4]; $lanes]>().read() };
            self.0.load(&lanes.map(f32::from_le_bytes))
        }
        #[inline(always)]
        unsafe fn load_half(self, from: *const u8) -> S::F32 {
            // SAFETY: as above.
            let lanes = unsafe { from.cast::<[[u8; 2]; $lanes]>().read() };
            self.0.load(&lanes.map(|lane| f16::from_le_bytes(lane).to_f32()))
        }
        #[inline(always)]
        unsafe fn store(self, a: S::F32, to: *mut f32) {
            // SAFETY: the caller vouches for a vector of floats.
            unsafe { self.0.store_ptr(a, to) }
        }
        #[inline(always)]
        fn splat(self, value: f32) -> S::F32 {
            self.0.splat(value)
        }
        #[inline(always)]
        fn mul(self, a: S::F32, b: S::F32) -> S::F32 {
            self.0.mul(a, b)
        }
        #[inline(always)]
        fn mul_add(self, a: S::F32, b: S::F32, c: S::F32) -> S::F32 {
            self.0.mul_add(a, b, c)
        }
    };
}

impl<S: Simd> Vector for One<S> {
    type Bytes = [u8; 4];
    type Ints = i32;
    type Step = i32;
    type Dot = i32;

    const LANES: usize = 1;
    const SIGNED: bool = true;
    const HEIGHTS: &[usize] = &[1];

    #[inline(always)]
    fn vectorize<J: Job>(self, job: J) -> J::Output {
        self.0.vectorize(super::Narrow(job))
    }

    fn tile(format: Format, _: usize) -> Tile<Self> {
        choose_tile!(Self, format, 1; 1: 1)
    }

    fn panels(_: Format) -> Option<Tile<Self>> {
        None
    }

    floats!(1);

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> [u8; 4] {
        // SAFETY: the caller vouches for four bytes.
        unsafe { from.cast::<[u8; 4]>().read() }
    }
    #[inline(always)]
    fn and(self, a: [u8; 4], mask: u8) -> [u8; 4] {
        a.map(|a| a & mask)
    }
    #[inline(always)]
    fn merge(self, low: [u8; 4], high: [u8; 4], mask: u8) -> [u8; 4] {
        (u32::from_ne_bytes(low) | u32::from_ne_bytes(self.and(high, mask))).to_ne_bytes()
    }
    #[inline(always)]
    fn shr(self, a: [u8; 4], bits: u32) -> [u8; 4] {
        a.map(|a| a >> bits)
    }
    #[inline(always)]
    fn shl(self, a: [u8; 4], bits: u32) -> [u8; 4] {
        a.map(|a| a << bits)
    }
    #[inline(always)]
    fn full(self, a: [u8; 4]) -> [u8; 4] {
        a.map(|a| a ^ 0x80)
    }
    #[inline(always)]
    fn lookup(self, a: [u8; 4]) -> [u8; 4] {
        a.map(|a| IQ4_TABLE[usize::from(a & 15)].cast_unsigned())
    }
    #[inline(always)]
    unsafe fn load_step(self, words: *const i32, at: usize) -> i32 {
        // SAFETY: the caller vouches for the word.
        unsafe { *words.add(at) }
    }
    #[inline(always)]
    fn begin(self, sum: i32) -> i32 {
        sum
    }
    #[inline(always)]
    fn end(self, dot: i32) -> i32 {
        dot
    }
    #[inline(always)]
    fn dot<const MAX: u8>(self, acc: i32, codes: [u8; 4], a: i32, _: usize) -> i32 {
        let product = |(code, a): (u8, u8)| i32::from(code.cast_signed()) * i32::from(a.cast_signed());
        codes.into_iter().zip(a.to_le_bytes()).map(product).fold(acc, |acc, product| acc + product)
    }
    #[inline(always)]
    fn dot_pairs(self, acc: i32, pairs: i32, a: i32) -> i32 {
        let low = i32::from(pairs as i16) * i32::from(a as i16);
        acc + low + (pairs >> 16) * (a >> 16)
    }
    #[inline(always)]
    fn splat_int(self, value: i32) -> i32 {
        value
    }
    #[inline(always)]
    fn add_int(self, a: i32, b: i32) -> i32 {
        a + b
    }
    #[inline(always)]
    fn mul_int(self, a: i32, b: i32) -> i32 {
        a * b
    }
    #[inline(always)]
    fn shl_int(self, a: i32, bits: u32) -> i32 {
        a << bits
    }
    #[inline(always)]
    fn half(self, a: i32, upper: bool) -> i32 {
        if upper { a >> 16 } else { i32::from(a as i16) }
    }
    #[inline(always)]
    fn nibbles(self, a: i32, bits: u32) -> i32 {
        a >> bits & 0x000f_000f
    }
    #[inline(always)]
    unsafe fn load_pairs(self, from: *const u8, signed: bool) -> i32 {
        // SAFETY: the caller vouches for two bytes.
        let [low, high] = unsafe { from.cast::<[u8; 2]>().read() };
        if signed {
            i32::from(low.cast_signed()) & 0xffff | i32::from(high.cast_signed()) << 16
        } else {
            i32::from(low) | i32::from(high) << 16
        }
    }
    #[inline(always)]
    fn to_floats(self, a: i32) -> S::F32 {
        self.0.splat(a as f32)
    }
}

/// The bytes of even places as 16 bits, without their sign.
#[inline(always)]
fn even(a: i16x8) -> i16x8 {
    a & i16x8::splat(255)
}

impl<S: Simd> Vector for Four<S> {
    type Bytes = i16x8;
    type Ints = i32x4;
    type Step = i32;
    type Dot = i32x4;

    const LANES: usize = 4;
    const SIGNED: bool = false;
    const HEIGHTS: &[usize] = &[1];

    #[inline(always)]
    fn vectorize<J: Job>(self, job: J) -> J::Output {
        self.0.vectorize(super::Narrow(job))
    }

    fn tile(format: Format, _: usize) -> Tile<Self> {
        choose_tile!(Self, format, 1; 1: 4)
    }

    fn panels(_: Format) -> Option<Tile<Self>> {
        None
    }

    floats!(4);

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> i16x8 {
        // SAFETY: the caller vouches for 16 bytes.
        let pairs = unsafe { from.cast::<[[u8; 2]; 8]>().read() };
        i16x8::new(pairs.map(i16::from_le_bytes))
    }
    #[inline(always)]
    fn and(self, a: i16x8, mask: u8) -> i16x8 {
        a & i16x8::splat(i16::from_ne_bytes([mask, mask]))
    }
    #[inline(always)]
    fn merge(self, low: i16x8, high: i16x8, mask: u8) -> i16x8 {
        low | self.and(high, mask)
    }
    // The sign that comes in from above is masked away, as are the bits that cross from byte to byte.
    #[inline(always)]
    fn shr(self, a: i16x8, bits: u32) -> i16x8 {
        a >> bits
    }
    #[inline(always)]
    fn shl(self, a: i16x8, bits: u32) -> i16x8 {
        a << bits
    }
    #[inline(always)]
    fn full(self, a: i16x8) -> i16x8 {
        a
    }
    #[inline(always)]
    fn lookup(self, a: i16x8) -> i16x8 {
        let value = |code: u8| IQ4_TABLE[usize::from(code & 15)].cast_unsigned() ^ 0x80;
        i16x8::new(a.to_array().map(|pair| i16::from_le_bytes(pair.to_le_bytes().map(value))))
    }
    #[inline(always)]
    unsafe fn load_step(self, words: *const i32, at: usize) -> i32 {
        // SAFETY: the caller vouches for the word.
        unsafe { *words.add(at) }
    }
    #[inline(always)]
    fn begin(self, sum: i32x4) -> i32x4 {
        sum
    }
    #[inline(always)]
    fn end(self, dot: i32x4) -> i32x4 {
        dot
    }
    #[inline(always)]
    fn dot<const MAX: u8>(self, acc: i32x4, codes: i16x8, a: i32, _: usize) -> i32x4 {
        let [a0, a1, a2, a3] = a.to_le_bytes().map(|a| i16::from(a.cast_signed()));
        let odd = even(codes >> 8);
        acc + even(codes).dot(i16x8::new([a0, a2, a0, a2, a0, a2, a0, a2]))
            + odd.dot(i16x8::new([a1, a3, a1, a3, a1, a3, a1, a3]))
    }
    #[inline(always)]
    fn dot_pairs(self, acc: i32x4, pairs: i32x4, a: i32) -> i32x4 {
        let (low, high) = (i32x4::splat(i32::from(a as i16)), i32x4::splat(a >> 16));
        acc + self.half(pairs, false) * low + self.half(pairs, true) * high
    }
    #[inline(always)]
    fn splat_int(self, value: i32) -> i32x4 {
        i32x4::splat(value)
    }
    #[inline(always)]
    fn add_int(self, a: i32x4, b: i32x4) -> i32x4 {
        a + b
    }
    #[inline(always)]
    fn mul_int(self, a: i32x4, b: i32x4) -> i32x4 {
        a * b
    }
    #[inline(always)]
    fn shl_int(self, a: i32x4, bits: u32) -> i32x4 {
        a << bits
    }
    #[inline(always)]
    fn half(self, a: i32x4, upper: bool) -> i32x4 {
        if upper { a >> 16 } else { a << 16 >> 16 }
    }
    #[inline(always)]
    fn nibbles(self, a: i32x4, bits: u32) -> i32x4 {
        a >> bits & i32x4::splat(0x000f_000f)
    }
    #[inline(always)]
    unsafe fn load_pairs(self, from: *const u8, signed: bool) -> i32x4 {
        // SAFETY: the caller vouches for eight bytes.
        let pairs = unsafe { from.cast::<[[u8; 2]; 4]>().read() };
        i32x4::new(pairs.map(|[low, high]| {
            if signed {
                i32::from(low.cast_signed()) & 0xffff | i32::from(high.cast_signed()) << 16
            } else {
                i32::from(low) | i32::from(high) << 16
            }
        }))
    }
    #[inline(always)]
    fn to_floats(self, a: i32x4) -> S::F32 {
        self.0.load(&a.to_array().map(|a| a as f32))
    }
}
