//! 256-bit vectors: AVX2, FMA and F16C.

use core::arch::x86_64::*;

use super::x86_detect;
use crate::{Fused, Kernel, Level, Simd};

/// Proof of AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// The token, where the CPU and its operating system have the level.
    #[inline]
    pub fn new() -> Option<Self> {
        x86_detect::has_avx2().then_some(Avx2(()))
    }

    /// The token without detection.
    ///
    /// # Safety
    /// The CPU must have AVX2, FMA and F16C, and the operating system must save the YMM registers.
    #[inline(always)]
    pub const unsafe fn new_unchecked() -> Self {
        Avx2(())
    }
}

/// Implements operations as intrinsics of the level.
macro_rules! intrinsics {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $result {
            // SAFETY: the token exists only after detection of the level that has these instructions.
            unsafe { $body }
        }
    )*};
}

/// The first `from.len()` lanes, fewer than 8, and `fill` above them.
///
/// Not by `vmaskmovps`: AMD's manual lets it fault for lanes whose mask is clear, and QEMU's does, so that a slice at the
/// end of a page, or an empty one, could end the process.
#[inline(always)]
fn load_few(from: &[f32], fill: f32) -> __m256 {
    let (p, len) = (from.as_ptr(), from.len());
    // SAFETY: each arm reads only elements below `len`; only called with a token.
    unsafe {
        let fill = _mm256_set1_ps(fill);
        let low = match len {
            0 => return fill,
            1 => _mm_load_ss(p),
            2 => _mm_castpd_ps(_mm_load_sd(p.cast())),
            3 => _mm_movelh_ps(_mm_castpd_ps(_mm_load_sd(p.cast())), _mm_load_ss(p.add(2))),
            _ => _mm_loadu_ps(p),
        };
        let mut loaded = _mm256_castps128_ps256(low);
        if len > 4 {
            // The last four elements end at lane 8: what the lower half has too is moved out below lane 4.
            let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let moved = _mm256_add_epi32(lane, _mm256_set1_epi32(8 - len as i32));
            let last = _mm256_insertf128_ps::<1>(loaded, _mm_loadu_ps(p.add(len - 4)));
            loaded = _mm256_blend_ps::<0xf0>(loaded, _mm256_permutevar8x32_ps(last, moved));
        }
        let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let is_there = _mm256_cmpgt_epi32(_mm256_set1_epi32(len as i32), lane);
        _mm256_blendv_ps(fill, loaded, _mm256_castsi256_ps(is_there))
    }
}

impl Simd for Avx2 {
    type F32 = __m256;
    type I32 = __m256i;
    type Mask = __m256;
    type Lanes = [__m256; 8];
    type Class = Fused;

    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    const LEVEL: Level = Level::Avx2;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn run<K: Kernel>(token: Avx2, kernel: K) -> K::Output {
            kernel.run(token)
        }
        // SAFETY: the token exists only after detection.
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> __m256 {
        let from = &from[..8];
        // SAFETY: eight elements by the line above.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, vector: __m256, to: &mut [f32]) {
        let to = &mut to[..8];
        // SAFETY: eight elements by the line above.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), vector) }
    }
    #[inline(always)]
    fn load_or(self, from: &[f32], fill: f32) -> __m256 {
        match from.get(..8) {
            Some(from) => self.load(from),
            None => load_few(from, fill),
        }
    }
    #[inline(always)]
    fn store_partial(self, vector: __m256, to: &mut [f32]) {
        if let Some(to) = to.get_mut(..8) {
            return self.store(vector, to);
        }
        // A masked store is microcoded on AMD: write by halves instead.
        let mut lanes = [0.0; 8];
        self.store(vector, &mut lanes);
        let mut done = 0;
        for half in [4, 2, 1] {
            if to.len() & half != 0 {
                to[done..done + half].copy_from_slice(&lanes[done..done + half]);
                done += half;
            }
        }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, from: *const f32) -> __m256 {
        // SAFETY: readable for eight elements by the caller's word.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, vector: __m256, to: *mut f32) {
        // SAFETY: writable for eight elements by the caller's word.
        unsafe { _mm256_storeu_ps(to, vector) }
    }

    #[inline(always)]
    unsafe fn load_f16_ptr(self, from: *const u16) -> __m256 {
        // SAFETY: readable for eight elements by the caller's word; the token exists only after detection of F16C.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr(self, from: *const u16) -> __m256 {
        // SAFETY: readable for eight elements by the caller's word; the token exists only after detection.
        unsafe {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        }
    }

    intrinsics! {
        splat(value: f32) -> __m256 = _mm256_set1_ps(value);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        sqrt(a: __m256) -> __m256 = _mm256_sqrt_ps(a);
        mul_add(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        abs(a: __m256) -> __m256 = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        neg(a: __m256) -> __m256 = _mm256_xor_ps(_mm256_set1_ps(-0.0), a);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        copysign(a: __m256, b: __m256) -> __m256 = _mm256_or_ps(
            _mm256_andnot_ps(_mm256_set1_ps(-0.0), a), _mm256_and_ps(_mm256_set1_ps(-0.0), b));
        lt(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        le(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LE_OQ>(a, b);
        eq(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b);
        mask_and(a: __m256, b: __m256) -> __m256 = _mm256_and_ps(a, b);
        mask_or(a: __m256, b: __m256) -> __m256 = _mm256_or_ps(a, b);
        mask_not(mask: __m256) -> __m256 = _mm256_xor_ps(mask, _mm256_castsi256_ps(_mm256_set1_epi32(-1)));
        any(mask: __m256) -> bool = _mm256_movemask_ps(mask) != 0;
        select(mask: __m256, yes: __m256, no: __m256) -> __m256 = _mm256_blendv_ps(no, yes, mask);
        bits(a: __m256) -> __m256i = _mm256_castps_si256(a);
        float_of_bits(a: __m256i) -> __m256 = _mm256_castsi256_ps(a);
        splat_i32(value: i32) -> __m256i = _mm256_set1_epi32(value);
        add_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        sub_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_sub_epi32(a, b);
        float_of_i32(a: __m256i) -> __m256 = _mm256_cvtepi32_ps(a);
        lanes(value: f32) -> [__m256; 8] = [_mm256_set1_ps(value); 8];
    }

    #[inline(always)]
    fn store_low_bytes(self, a: __m256i, to: &mut [i8]) {
        let to = &mut to[..8];
        // SAFETY: the token exists only after detection; eight bytes by the line above.
        unsafe {
            let first_bytes = _mm256_setr_epi64x(0x0c08_0400, 0, 0x0c08_0400, 0);
            let halves = _mm256_shuffle_epi8(a, first_bytes);
            let bytes = _mm_unpacklo_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
            _mm_storel_epi64(to.as_mut_ptr().cast(), bytes);
        }
    }
    #[inline(always)]
    fn shl_i32<const BITS: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token exists only after detection.
        unsafe { _mm256_slli_epi32::<BITS>(a) }
    }
    #[inline(always)]
    fn shr_i32<const BITS: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token exists only after detection.
        unsafe { _mm256_srai_epi32::<BITS>(a) }
    }
    #[inline(always)]
    fn fold_vector(self, a: __m256, op: impl Fn(__m256, __m256) -> __m256) -> f32 {
        // SAFETY: the token exists only after detection.
        unsafe {
            let a = op(a, _mm256_permute2f128_ps::<1>(a, a));
            let a = op(a, _mm256_permute_ps::<0b01_00_11_10>(a));
            let a = op(a, _mm256_permute_ps::<0b10_11_00_01>(a));
            _mm256_cvtss_f32(a)
        }
    }
    #[inline(always)]
    fn transpose(self, vectors: &mut [__m256]) {
        let vectors = &mut vectors[..8];
        // SAFETY: the token exists only after detection.
        unsafe {
            // Within each half of 128 bits: four vectors become the columns of their two halves.
            for four in vectors.chunks_exact_mut(4) {
                let (a, b) = (_mm256_unpacklo_ps(four[0], four[1]), _mm256_unpackhi_ps(four[0], four[1]));
                let (c, d) = (_mm256_unpacklo_ps(four[2], four[3]), _mm256_unpackhi_ps(four[2], four[3]));
                let (a, b, c, d) = (_mm256_castps_pd(a), _mm256_castps_pd(b), _mm256_castps_pd(c), _mm256_castps_pd(d));
                four[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
                four[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
                four[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
                four[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
            }
            // Then the halves themselves.
            for i in 0..4 {
                let (a, b) = (vectors[i], vectors[4 + i]);
                vectors[i] = _mm256_permute2f128_ps::<0x20>(a, b);
                vectors[4 + i] = _mm256_permute2f128_ps::<0x31>(a, b);
            }
        }
    }
}

pub(crate) use intrinsics;
