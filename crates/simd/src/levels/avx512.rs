//! 512-bit vectors: AVX-512 F, BW, VL and DQ.

use core::arch::x86_64::*;

use super::{avx2::intrinsics, x86_detect};
use crate::{Fused, Kernel, Level, Simd};

/// Proof of AVX-512 F, BW, VL and DQ, and of the AVX2 level.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx512 {
    /// The token, where the CPU and its operating system have the level.
    #[inline]
    pub fn new() -> Option<Self> {
        x86_detect::has_avx512().then_some(Avx512(()))
    }

    /// The token without detection.
    ///
    /// # Safety
    /// The CPU must have AVX-512 F, BW, VL and DQ and the AVX2 level, and the operating system must save the ZMM and mask registers.
    #[inline(always)]
    pub const unsafe fn new_unchecked() -> Self {
        Avx512(())
    }
}

/// A mask of the first `len` lanes, all lanes where there are 16 or more.
#[inline(always)]
fn first(len: usize) -> __mmask16 {
    // Bits above the sixteenth fall away on purpose.
    ((1u32 << len.min(16)) - 1) as __mmask16
}

impl Simd for Avx512 {
    type F32 = __m512;
    type I32 = __m512i;
    type Mask = __mmask16;
    type Lanes = [__m512; 4];
    type Class = Fused;

    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    const LEVEL: Level = Level::Avx512;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")]
        fn run<K: Kernel>(token: Avx512, kernel: K) -> K::Output {
            kernel.run(token)
        }
        // SAFETY: the token exists only after detection.
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> __m512 {
        let from = &from[..16];
        // SAFETY: sixteen elements by the line above.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, vector: __m512, to: &mut [f32]) {
        let to = &mut to[..16];
        // SAFETY: sixteen elements by the line above.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), vector) }
    }
    #[inline(always)]
    fn load_or(self, from: &[f32], fill: f32) -> __m512 {
        // SAFETY: a masked load reads no lane whose mask is clear, and the mask has one lane for each element there is.
        unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first(from.len()), from.as_ptr()) }
    }
    #[inline(always)]
    fn store_partial(self, vector: __m512, to: &mut [f32]) {
        // SAFETY: a masked store writes no lane whose mask is clear, and the mask has one lane for each element there is.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first(to.len()), vector) }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, from: *const f32) -> __m512 {
        // SAFETY: readable for sixteen elements by the caller's word.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, vector: __m512, to: *mut f32) {
        // SAFETY: writable for sixteen elements by the caller's word.
        unsafe { _mm512_storeu_ps(to, vector) }
    }

    #[inline(always)]
    unsafe fn load_f16_ptr(self, from: *const u16) -> __m512 {
        // SAFETY: readable for sixteen elements by the caller's word; the token exists only after detection.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr(self, from: *const u16) -> __m512 {
        // SAFETY: readable for sixteen elements by the caller's word; the token exists only after detection.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }

    intrinsics! {
        splat(value: f32) -> __m512 = _mm512_set1_ps(value);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        sqrt(a: __m512) -> __m512 = _mm512_sqrt_ps(a);
        mul_add(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        abs(a: __m512) -> __m512 = _mm512_andnot_ps(_mm512_set1_ps(-0.0), a);
        neg(a: __m512) -> __m512 = _mm512_xor_ps(_mm512_set1_ps(-0.0), a);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        copysign(a: __m512, b: __m512) -> __m512 = _mm512_or_ps(
            _mm512_andnot_ps(_mm512_set1_ps(-0.0), a), _mm512_and_ps(_mm512_set1_ps(-0.0), b));
        lt(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        le(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b);
        eq(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        mask_and(a: __mmask16, b: __mmask16) -> __mmask16 = _kand_mask16(a, b);
        mask_or(a: __mmask16, b: __mmask16) -> __mmask16 = _kor_mask16(a, b);
        mask_not(mask: __mmask16) -> __mmask16 = _knot_mask16(mask);
        any(mask: __mmask16) -> bool = _kortestz_mask16_u8(mask, mask) == 0;
        select(mask: __mmask16, yes: __m512, no: __m512) -> __m512 = _mm512_mask_blend_ps(mask, no, yes);
        bits(a: __m512) -> __m512i = _mm512_castps_si512(a);
        float_of_bits(a: __m512i) -> __m512 = _mm512_castsi512_ps(a);
        splat_i32(value: i32) -> __m512i = _mm512_set1_epi32(value);
        add_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        sub_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_sub_epi32(a, b);
        float_of_i32(a: __m512i) -> __m512 = _mm512_cvtepi32_ps(a);
        lanes(value: f32) -> [__m512; 4] = [_mm512_set1_ps(value); 4];
    }

    #[inline(always)]
    fn store_low_bytes(self, a: __m512i, to: &mut [i8]) {
        let to = &mut to[..16];
        // SAFETY: the token exists only after detection; sixteen bytes by the line above.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(a)) }
    }
    #[inline(always)]
    fn shl_i32<const BITS: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token exists only after detection.
        unsafe { _mm512_sll_epi32(a, _mm_cvtsi32_si128(BITS)) }
    }
    #[inline(always)]
    fn shr_i32<const BITS: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token exists only after detection.
        unsafe { _mm512_sra_epi32(a, _mm_cvtsi32_si128(BITS)) }
    }
    #[inline(always)]
    fn fold_vector(self, a: __m512, op: impl Fn(__m512, __m512) -> __m512) -> f32 {
        // SAFETY: the token exists only after detection.
        unsafe {
            let a = op(a, _mm512_shuffle_f32x4::<0b01_00_11_10>(a, a));
            let a = op(a, _mm512_shuffle_f32x4::<0b10_11_00_01>(a, a));
            let a = op(a, _mm512_permute_ps::<0b01_00_11_10>(a));
            let a = op(a, _mm512_permute_ps::<0b10_11_00_01>(a));
            _mm512_cvtss_f32(a)
        }
    }
    #[inline(always)]
    fn transpose(self, vectors: &mut [__m512]) {
        let vectors = &mut vectors[..16];
        // SAFETY: the token exists only after detection.
        unsafe {
            // Within each quarter of 128 bits: four vectors become the columns of their four quarters.
            for four in vectors.chunks_exact_mut(4) {
                let (a, b) = (_mm512_unpacklo_ps(four[0], four[1]), _mm512_unpackhi_ps(four[0], four[1]));
                let (c, d) = (_mm512_unpacklo_ps(four[2], four[3]), _mm512_unpackhi_ps(four[2], four[3]));
                let (a, b, c, d) = (_mm512_castps_pd(a), _mm512_castps_pd(b), _mm512_castps_pd(c), _mm512_castps_pd(d));
                four[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
                four[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
                four[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
                four[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
            }
            // Then the quarters themselves.
            for i in 0..4 {
                let (a, b, c, d) = (vectors[i], vectors[4 + i], vectors[8 + i], vectors[12 + i]);
                let even_ab = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                let odd_ab = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                let even_cd = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
                let odd_cd = _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d);
                vectors[i] = _mm512_shuffle_f32x4::<0b10_00_10_00>(even_ab, even_cd);
                vectors[4 + i] = _mm512_shuffle_f32x4::<0b10_00_10_00>(odd_ab, odd_cd);
                vectors[8 + i] = _mm512_shuffle_f32x4::<0b11_01_11_01>(even_ab, even_cd);
                vectors[12 + i] = _mm512_shuffle_f32x4::<0b11_01_11_01>(odd_ab, odd_cd);
            }
        }
    }
}
