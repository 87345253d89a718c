//! AVX-512, with VNNI where `VNNI` says so: 16 lanes, a panel.

use core::arch::x86_64::*;

use super::{Job, Tile, Vector, choose_panels, choose_tile, memory, operations};
use crate::Format;
use crate::format::IQ4_TABLE;

/// Proof of AVX-512 F, BW, VL and DQ, and of AVX512_VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const VNNI: bool>(());

impl<const VNNI: bool> Avx512<VNNI> {
    /// # Safety
    /// The CPU must have what the type says.
    pub(super) const unsafe fn new() -> Self {
        Avx512(())
    }
}

/// The table of the non-linear formats with 128 added.
const TABLE: [u8; 16] = {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        table[i] = IQ4_TABLE[i].cast_unsigned() ^ 0x80;
        i += 1;
    }
    table
};

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")]
fn run<J: Job>(v: Avx512<false>, job: J) -> J::Output {
    job.run(v)
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn run_vnni<J: Job>(v: Avx512<true>, job: J) -> J::Output {
    job.run(v)
}

#[inline(always)]
fn count(bits: u32) -> __m128i {
    // SAFETY: SSE2 is in the baseline.
    unsafe { _mm_cvtsi32_si128(bits.cast_signed()) }
}

impl<const VNNI: bool> Vector for Avx512<VNNI> {
    type Bytes = __m512i;
    type Ints = __m512i;
    type Floats = __m512;
    type Step = i32;
    type Dot = __m512i;

    const LANES: usize = 16;
    const SIGNED: bool = false;
    const HEIGHTS: &[usize] = if VNNI { &[1, 2, 4, 8, 12] } else { &[1, 4, 12] };

    #[inline(always)]
    fn vectorize<J: Job>(self, job: J) -> J::Output {
        // SAFETY: the token exists only after detection.
        unsafe { if VNNI { run_vnni(Avx512(()), job) } else { run(Avx512(()), job) } }
    }

    fn tile(format: Format, rows: usize) -> Tile<Self> {
        if VNNI {
            choose_tile!(Self, format, rows; 12: 1, 1: 1, 2: 1, 4: 1, 8: 1)
        } else {
            choose_tile!(Self, format, rows; 12: 1, 1: 1, 4: 1)
        }
    }

    fn panels(format: Format) -> Option<Tile<Self>> {
        if VNNI { choose_panels!(Self, format, 4) } else { None }
    }

    operations! {
        and(a: __m512i, mask: u8) -> __m512i = _mm512_and_si512(a, _mm512_set1_epi8(mask.cast_signed()));
        merge(low: __m512i, high: __m512i, mask: u8) -> __m512i = _mm512_or_si512(
            low, _mm512_and_si512(high, _mm512_set1_epi8(mask.cast_signed())));
        shr(a: __m512i, bits: u32) -> __m512i = _mm512_srl_epi16(a, count(bits));
        shl(a: __m512i, bits: u32) -> __m512i = _mm512_sll_epi16(a, count(bits));
        lookup(a: __m512i) -> __m512i = _mm512_shuffle_epi8(
            _mm512_broadcast_i32x4(_mm_loadu_si128(TABLE.as_ptr().cast())), a);
        splat_int(value: i32) -> __m512i = _mm512_set1_epi32(value);
        add_int(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        mul_int(a: __m512i, b: __m512i) -> __m512i = _mm512_mullo_epi32(a, b);
        shl_int(a: __m512i, bits: u32) -> __m512i = _mm512_sll_epi32(a, count(bits));
        nibbles(a: __m512i, bits: u32) -> __m512i = _mm512_and_si512(
            _mm512_srl_epi16(a, count(bits)), _mm512_set1_epi16(15));
        to_floats(a: __m512i) -> __m512 = _mm512_cvtepi32_ps(a);
        splat(value: f32) -> __m512 = _mm512_set1_ps(value);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        mul_add(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
    }

    memory! {
        load_bytes(from: *const u8) -> __m512i = _mm512_loadu_si512(from.cast());
        load_half(from: *const u8) -> __m512 = _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()));
        load_float(from: *const u8) -> __m512 = _mm512_loadu_ps(from.cast());
        store(a: __m512, to: *mut f32) = _mm512_storeu_ps(to, a);
    }

    #[inline(always)]
    fn touch(self, from: *const u8, lines: usize) {
        super::touch(from, lines);
    }
    #[inline(always)]
    unsafe fn load_pairs(self, from: *const u8, signed: bool) -> __m512i {
        // SAFETY: the token exists only after detection, and the caller vouches for 32 bytes.
        unsafe {
            let bytes = _mm256_loadu_si256(from.cast());
            if signed { _mm512_cvtepi8_epi16(bytes) } else { _mm512_cvtepu8_epi16(bytes) }
        }
    }
    #[inline(always)]
    fn full(self, a: __m512i) -> __m512i {
        a
    }
    #[inline(always)]
    fn half(self, a: __m512i, upper: bool) -> __m512i {
        // SAFETY: the token exists only after detection.
        unsafe { _mm512_srai_epi32::<16>(if upper { a } else { _mm512_slli_epi32::<16>(a) }) }
    }

    #[inline(always)]
    unsafe fn load_step(self, words: *const i32, at: usize) -> i32 {
        // SAFETY: the caller vouches for the word.
        unsafe { *words.add(at) }
    }
    #[inline(always)]
    fn begin(self, sum: __m512i) -> __m512i {
        sum
    }
    #[inline(always)]
    fn end(self, dot: __m512i) -> __m512i {
        dot
    }

    /// `vpdpbusd` adds four products of an unsigned and a signed byte in 32 bits and saturates nowhere. Without it:
    /// `vpmaddubsw` saturates at 2^15, and two products of a code up to 63 with a byte up to 127 stay at 16,002; codes of
    /// eight bits are widened instead.
    #[inline(always)]
    fn dot<const MAX: u8>(self, acc: __m512i, codes: __m512i, a: i32, _: usize) -> __m512i {
        // SAFETY: the token exists only after detection.
        unsafe {
            let a = _mm512_set1_epi32(a);
            if VNNI {
                return _mm512_dpbusd_epi32(acc, codes, a);
            }
            if MAX <= 63 {
                let pairs = _mm512_maddubs_epi16(codes, a);
                return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
            }
            let even = _mm512_and_si512(codes, _mm512_set1_epi16(255));
            let odd = _mm512_srli_epi16::<8>(codes);
            let a_even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(a));
            let a_odd = _mm512_srai_epi16::<8>(a);
            let acc = _mm512_add_epi32(acc, _mm512_madd_epi16(even, a_even));
            _mm512_add_epi32(acc, _mm512_madd_epi16(odd, a_odd))
        }
    }
    #[inline(always)]
    fn dot_pairs(self, acc: __m512i, pairs: __m512i, a: i32) -> __m512i {
        // SAFETY: the token exists only after detection.
        unsafe {
            let a = _mm512_set1_epi32(a);
            if VNNI {
                return _mm512_dpwssd_epi32(acc, pairs, a);
            }
            _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, a))
        }
    }
}
