//! 128-bit vectors of WebAssembly. Unfused: the fixed-width instructions have no fused multiply-add.

use core::arch::wasm32::*;

use crate::{Kernel, Level, Simd, Unfused};

/// The WebAssembly SIMD level; it exists where the module is compiled with `+simd128`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simd128(());

impl Simd128 {
    /// The token: a module with these instructions does not load where they are missing.
    pub const fn new() -> Self {
        Simd128(())
    }
}

/// Implements operations as intrinsics of the level.
macro_rules! intrinsics {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $result {
            $body
        }
    )*};
}

impl Simd for Simd128 {
    type F32 = v128;
    type I32 = v128;
    type Mask = v128;
    type Lanes = [v128; 16];
    type Class = Unfused;

    const LANES: usize = 4;
    const REGISTERS: usize = 16;
    const LEVEL: Level = Level::Simd128;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> v128 {
        let from = &from[..4];
        // SAFETY: four elements by the line above; the load needs no alignment.
        unsafe { v128_load(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, vector: v128, to: &mut [f32]) {
        let to = &mut to[..4];
        // SAFETY: four elements by the line above; the store needs no alignment.
        unsafe { v128_store(to.as_mut_ptr().cast(), vector) }
    }
    #[inline(always)]
    fn load_or(self, from: &[f32], fill: f32) -> v128 {
        let mut lanes = [fill; 4];
        for (lane, value) in lanes.iter_mut().zip(from) {
            *lane = *value;
        }
        self.load(&lanes)
    }
    #[inline(always)]
    fn store_partial(self, vector: v128, to: &mut [f32]) {
        let mut lanes = [0.0; 4];
        self.store(vector, &mut lanes);
        for (to, lane) in to.iter_mut().zip(lanes) {
            *to = lane;
        }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, from: *const f32) -> v128 {
        // SAFETY: readable for four elements by the caller's word; the load needs no alignment.
        unsafe { v128_load(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, vector: v128, to: *mut f32) {
        // SAFETY: writable for four elements by the caller's word; the store needs no alignment.
        unsafe { v128_store(to.cast(), vector) }
    }

    #[inline(always)]
    unsafe fn load_f16_ptr(self, from: *const u16) -> v128 {
        // SAFETY: readable for four elements by the caller's word; the load needs no alignment.
        let bits = unsafe { v128_load64_zero(from.cast()) };
        let bits = u32x4_extend_low_u16x8(bits);
        let magnitude = i32x4_shl(v128_and(bits, i32x4_splat(0x7fff)), 13);
        let sign = i32x4_shl(v128_and(bits, i32x4_splat(0x8000)), 16);
        // As in `half::widen_f16`.
        let finite = f32x4_mul(magnitude, f32x4_splat(super::half::TWO_TO_112));
        let special = v128_or(magnitude, i32x4_splat(super::half::INFINITY));
        let is_finite = i32x4_lt(magnitude, i32x4_splat(super::half::LEAST_SPECIAL));
        v128_or(sign, v128_bitselect(finite, special, is_finite))
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr(self, from: *const u16) -> v128 {
        // SAFETY: readable for four elements by the caller's word; the load needs no alignment.
        let bits = unsafe { v128_load64_zero(from.cast()) };
        i32x4_shl(u32x4_extend_low_u16x8(bits), 16)
    }

    intrinsics! {
        splat(value: f32) -> v128 = f32x4_splat(value);
        add(a: v128, b: v128) -> v128 = f32x4_add(a, b);
        sub(a: v128, b: v128) -> v128 = f32x4_sub(a, b);
        mul(a: v128, b: v128) -> v128 = f32x4_mul(a, b);
        div(a: v128, b: v128) -> v128 = f32x4_div(a, b);
        sqrt(a: v128) -> v128 = f32x4_sqrt(a);
        mul_add(a: v128, b: v128, c: v128) -> v128 = f32x4_add(f32x4_mul(a, b), c);
        abs(a: v128) -> v128 = f32x4_abs(a);
        neg(a: v128) -> v128 = f32x4_neg(a);
        // The "pseudo" operations return their first operand where the comparison fails, so the operands are swapped.
        max(a: v128, b: v128) -> v128 = f32x4_pmax(b, a);
        min(a: v128, b: v128) -> v128 = f32x4_pmin(b, a);
        copysign(a: v128, b: v128) -> v128 = v128_bitselect(b, a, i32x4_splat(i32::MIN));
        lt(a: v128, b: v128) -> v128 = f32x4_lt(a, b);
        le(a: v128, b: v128) -> v128 = f32x4_le(a, b);
        eq(a: v128, b: v128) -> v128 = f32x4_eq(a, b);
        mask_and(a: v128, b: v128) -> v128 = v128_and(a, b);
        mask_or(a: v128, b: v128) -> v128 = v128_or(a, b);
        mask_not(mask: v128) -> v128 = v128_not(mask);
        any(mask: v128) -> bool = v128_any_true(mask);
        select(mask: v128, yes: v128, no: v128) -> v128 = v128_bitselect(yes, no, mask);
        bits(a: v128) -> v128 = a;
        float_of_bits(a: v128) -> v128 = a;
        splat_i32(value: i32) -> v128 = i32x4_splat(value);
        add_i32(a: v128, b: v128) -> v128 = i32x4_add(a, b);
        sub_i32(a: v128, b: v128) -> v128 = i32x4_sub(a, b);
        float_of_i32(a: v128) -> v128 = f32x4_convert_i32x4(a);
        lanes(value: f32) -> [v128; 16] = [f32x4_splat(value); 16];
    }

    #[inline(always)]
    fn store_low_bytes(self, a: v128, to: &mut [i8]) {
        let bytes = i8x16_shuffle::<0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12>(a, a);
        to[..4].copy_from_slice(&i32x4_extract_lane::<0>(bytes).to_ne_bytes().map(u8::cast_signed));
    }
    #[inline(always)]
    fn shl_i32<const BITS: i32>(self, a: v128) -> v128 {
        i32x4_shl(a, BITS.cast_unsigned())
    }
    #[inline(always)]
    fn shr_i32<const BITS: i32>(self, a: v128) -> v128 {
        i32x4_shr(a, BITS.cast_unsigned())
    }
    #[inline(always)]
    fn fold_vector(self, a: v128, op: impl Fn(v128, v128) -> v128) -> f32 {
        let a = op(a, i32x4_shuffle::<2, 3, 0, 1>(a, a));
        let a = op(a, i32x4_shuffle::<1, 0, 3, 2>(a, a));
        f32x4_extract_lane::<0>(a)
    }
}
