//! x86 without the dot product of bytes: 16-bit products, summed in pairs to 32 bits, which cannot overflow.
//!
//! `VPMADDUBSW` would multiply bytes, but its 16-bit sums saturate. Here A is widened beforehand and B on the way from
//! memory. A column's four products give two sums, which are added at the end.

use core::arch::x86_64::*;

use super::{Dot, Format, Kernels, TileArgs, compiled_with, multiply, tiles};

pub(super) static AVX2: Kernels = Kernels {
    format: Format::Wide,
    max_rows: 6,
    widths: |rows| match rows {
        1 => (16, 2),
        2 | 3 => (16, 1),
        _ => (8, 1),
    },
    tile: tiles!(Ymm; 1: 2 4 8; 2: 2 4; 3: 2 4; 4: 2; 5: 2; 6: 2;),
};

pub(super) static AVX512: Kernels = Kernels {
    format: Format::Wide,
    max_rows: 12,
    widths: |rows| match rows {
        1 => (16, 4),
        2 | 3 => (16, 3),
        4..=6 => (16, 2),
        _ => (16, 1),
    },
    tile: tiles!(Zmm; 1: 2 4 6 8; 2: 2 4 6; 3: 2 4 6; 4: 2 4; 5: 2 4; 6: 2 4;
        7: 2; 8: 2; 9: 2; 10: 2; 11: 2; 12: 2;),
};

/// 256-bit vectors, AVX2.
struct Ymm;

impl Dot for Ymm {
    type Sums = __m256i;
    type A = __m256i;
    type B = __m256i;

    const COLS: usize = 4;
    const FORMAT: Format = Format::Wide;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> __m256i {
        // SAFETY: the CPU has the instruction, by the caller's word.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> __m256i {
        // SAFETY: four 16-bit integers, by the caller's word.
        unsafe { _mm256_set1_epi64x(a.cast::<i64>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> __m256i {
        // SAFETY: a quarter of a line, by the caller's word.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(b.cast())) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the CPU has the instructions, by the caller's word.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(a, b)) }
    }
    #[inline(always)]
    unsafe fn store(sums: __m256i, out: *mut i32) {
        // SAFETY: room for four sums, by the caller's word.
        unsafe {
            let pairs = _mm_hadd_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            _mm_storeu_si128(out.cast(), pairs);
        }
    }
    compiled_with!("avx2,fma");
}

/// 512-bit vectors, AVX-512 BW.
struct Zmm;

impl Dot for Zmm {
    type Sums = __m512i;
    type A = __m512i;
    type B = __m512i;

    const COLS: usize = 8;
    const FORMAT: Format = Format::Wide;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> __m512i {
        // SAFETY: the CPU has the instruction, by the caller's word.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> __m512i {
        // SAFETY: four 16-bit integers, by the caller's word.
        unsafe { _mm512_set1_epi64(a.cast::<i64>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> __m512i {
        // SAFETY: half a line, by the caller's word.
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(b.cast())) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the CPU has the instructions, by the caller's word.
        unsafe { _mm512_add_epi32(sums, _mm512_madd_epi16(a, b)) }
    }
    #[inline(always)]
    unsafe fn store(sums: __m512i, out: *mut i32) {
        // SAFETY: room for eight sums, by the caller's word.
        unsafe {
            // The lower half of each 64-bit lane then holds the sum of both halves.
            let pairs = _mm512_add_epi32(sums, _mm512_srli_epi64::<32>(sums));
            _mm256_storeu_si256(out.cast(), _mm512_cvtepi64_epi32(pairs));
        }
    }
    compiled_with!("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq");
}
