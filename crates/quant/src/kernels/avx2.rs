//! AVX2, with AVX-VNNI where `VNNI` says so: 8 lanes, half a panel.

use core::arch::x86_64::*;

use super::{Job, Tile, Vector, choose_panels, choose_tile, memory, operations};
use crate::Format;
use crate::format::IQ4_TABLE;

/// Proof of AVX2, FMA and F16C, and of AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>(());

impl<const VNNI: bool> Avx2<VNNI> {
    /// # Safety
    /// The CPU must have what the type says.
    pub(super) const unsafe fn new() -> Self {
        Avx2(())
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn run<J: Job>(v: Avx2<false>, job: J) -> J::Output {
    job.run(v)
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn run_vnni<J: Job>(v: Avx2<true>, job: J) -> J::Output {
    job.run(v)
}

/// Sums of a dot product on their way: of pairs in 16 bits as long as they fit there, and in 32.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    narrow: __m256i,
    sum: __m256i,
}

/// How many sums of two products fit 16 bits.
const fn fitting(max: u8) -> usize {
    if max > 63 { 1 } else { i16::MAX as usize / (2 * 127 * max as usize) }
}

#[inline(always)]
fn count(bits: u32) -> __m128i {
    // SAFETY: SSE2 is in the baseline.
    unsafe { _mm_cvtsi32_si128(bits.cast_signed()) }
}

impl<const VNNI: bool> Vector for Avx2<VNNI> {
    type Bytes = __m256i;
    type Ints = __m256i;
    type Floats = __m256;
    type Step = i32;
    type Dot = Sums;

    const LANES: usize = 8;
    const SIGNED: bool = !VNNI;
    const HEIGHTS: &[usize] = &[1, 4];

    #[inline(always)]
    fn vectorize<J: Job>(self, job: J) -> J::Output {
        // SAFETY: the token exists only after detection.
        unsafe { if VNNI { run_vnni(Avx2(()), job) } else { run(Avx2(()), job) } }
    }

    fn tile(format: Format, rows: usize) -> Tile<Self> {
        choose_tile!(Self, format, rows; 4: 1, 1: 2)
    }

    fn panels(format: Format) -> Option<Tile<Self>> {
        choose_panels!(Self, format, 4)
    }

    operations! {
        and(a: __m256i, mask: u8) -> __m256i = _mm256_and_si256(a, _mm256_set1_epi8(mask.cast_signed()));
        merge(low: __m256i, high: __m256i, mask: u8) -> __m256i = _mm256_or_si256(
            low, _mm256_and_si256(high, _mm256_set1_epi8(mask.cast_signed())));
        shr(a: __m256i, bits: u32) -> __m256i = _mm256_srl_epi16(a, count(bits));
        shl(a: __m256i, bits: u32) -> __m256i = _mm256_sll_epi16(a, count(bits));
        splat_int(value: i32) -> __m256i = _mm256_set1_epi32(value);
        add_int(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        mul_int(a: __m256i, b: __m256i) -> __m256i = _mm256_mullo_epi32(a, b);
        shl_int(a: __m256i, bits: u32) -> __m256i = _mm256_sll_epi32(a, count(bits));
        nibbles(a: __m256i, bits: u32) -> __m256i = _mm256_and_si256(
            _mm256_srl_epi16(a, count(bits)), _mm256_set1_epi16(15));
        to_floats(a: __m256i) -> __m256 = _mm256_cvtepi32_ps(a);
        splat(value: f32) -> __m256 = _mm256_set1_ps(value);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        mul_add(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
    }

    memory! {
        load_bytes(from: *const u8) -> __m256i = _mm256_loadu_si256(from.cast());
        load_half(from: *const u8) -> __m256 = _mm256_cvtph_ps(_mm_loadu_si128(from.cast()));
        load_float(from: *const u8) -> __m256 = _mm256_loadu_ps(from.cast());
        store(a: __m256, to: *mut f32) = _mm256_storeu_ps(to, a);
    }

    #[inline(always)]
    fn touch(self, from: *const u8, lines: usize) {
        super::touch(from, lines);
    }
    #[inline(always)]
    unsafe fn load_pairs(self, from: *const u8, signed: bool) -> __m256i {
        // SAFETY: the token exists only after detection, and the caller vouches for 16 bytes.
        unsafe {
            let bytes = _mm_loadu_si128(from.cast());
            if signed { _mm256_cvtepi8_epi16(bytes) } else { _mm256_cvtepu8_epi16(bytes) }
        }
    }
    #[inline(always)]
    fn full(self, a: __m256i) -> __m256i {
        // SAFETY: the token exists only after detection.
        unsafe { if VNNI { a } else { _mm256_xor_si256(a, _mm256_set1_epi8(i8::MIN)) } }
    }
    #[inline(always)]
    fn lookup(self, a: __m256i) -> __m256i {
        // SAFETY: the token exists only after detection.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(IQ4_TABLE.as_ptr().cast()));
            let values = _mm256_shuffle_epi8(table, a);
            if VNNI { _mm256_xor_si256(values, _mm256_set1_epi8(i8::MIN)) } else { values }
        }
    }
    #[inline(always)]
    fn half(self, a: __m256i, upper: bool) -> __m256i {
        // SAFETY: the token exists only after detection.
        unsafe { _mm256_srai_epi32::<16>(if upper { a } else { _mm256_slli_epi32::<16>(a) }) }
    }

    #[inline(always)]
    unsafe fn load_step(self, words: *const i32, at: usize) -> i32 {
        // SAFETY: the caller vouches for the word.
        unsafe { *words.add(at) }
    }
    #[inline(always)]
    fn begin(self, sum: __m256i) -> Sums {
        // SAFETY: the token exists only after detection.
        Sums { narrow: unsafe { _mm256_setzero_si256() }, sum }
    }
    #[inline(always)]
    fn end(self, dot: Sums) -> __m256i {
        dot.sum
    }

    /// `vpdpbusd` saturates nowhere. `vpmaddubsw` saturates at 2^15: two products of a code up to 63 with a byte up to 127
    /// stay at 16,002. Signed codes of eight bits give their sign to the other byte, which is -127 at least and so can
    /// take it; their magnitude is 128 at most, and two products stay at 32,512.
    #[inline(always)]
    fn dot<const MAX: u8>(self, mut dot: Sums, codes: __m256i, a: i32, left: usize) -> Sums {
        // SAFETY: the token exists only after detection.
        unsafe {
            let a = _mm256_set1_epi32(a);
            if VNNI {
                dot.sum = _mm256_dpbusd_avx_epi32(dot.sum, codes, a);
                return dot;
            }
            let pairs = if MAX <= 63 {
                _mm256_maddubs_epi16(codes, a)
            } else {
                _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(a, codes))
            };
            dot.narrow = _mm256_add_epi16(dot.narrow, pairs);
            if left.is_multiple_of(fitting(MAX)) {
                dot.sum = _mm256_add_epi32(dot.sum, _mm256_madd_epi16(dot.narrow, _mm256_set1_epi16(1)));
                dot.narrow = _mm256_setzero_si256();
            }
            dot
        }
    }
    #[inline(always)]
    fn dot_pairs(self, acc: __m256i, pairs: __m256i, a: i32) -> __m256i {
        // SAFETY: the token exists only after detection.
        unsafe {
            let a = _mm256_set1_epi32(a);
            if VNNI {
                return _mm256_dpwssd_avx_epi32(acc, pairs, a);
            }
            _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, a))
        }
    }
}
