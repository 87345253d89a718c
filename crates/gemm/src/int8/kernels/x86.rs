//! x86 without the dot product of bytes: 16-bit products, summed in pairs to 32 bits, which cannot overflow.
//!
//! `VPMADDUBSW` would multiply bytes, but its 16-bit sums saturate. Here A is widened beforehand and B on the way from
//! memory. A column's four products give two sums, which are added at the end.

use core::arch::x86_64::*;

use super::{Dot, Format, Kernels, TileArgs, Widths, compiled_with, multiply, tiles};

pub(super) static AVX2: Kernels = Kernels {
    format: Format::Wide,
    max_rows: 6,
    widths: |rows| match rows {
        1 => Widths::new(16, 2, 4),
        2 | 3 => Widths::new(16, 1, 8),
        _ => Widths::new(8, 1, 8),
    },
    tile: tiles!(Ymm; 1: 1 2 4; 2: 1 2; 3: 1 2; 4: 1; 5: 1; 6: 1;),
};

pub(super) static AVX512: Kernels = Kernels {
    format: Format::Wide,
    max_rows: 12,
    widths: |rows| match rows {
        1 => Widths::new(16, 4, 2),
        2 | 3 => Widths::new(16, 3, 2),
        4..=6 => Widths::new(16, 2, 4),
        _ => Widths::new(16, 1, 4),
    },
    tile: tiles!(Zmm; 1: 1 2 3 4; 2: 1 2 3; 3: 1 2 3; 4: 1 2; 5: 1 2; 6: 1 2; 7: 1; 8: 1; 9: 1; 10: 1; 11: 1; 12: 1;),
};

/// 256-bit vectors, AVX2; two of them hold the sums of eight columns.
struct Ymm;

impl Dot for Ymm {
    type Sums = [__m256i; 2];
    type A = __m256i;
    type B = [__m256i; 2];

    const COLS: usize = 8;
    const FORMAT: Format = Format::Wide;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> [__m256i; 2] {
        // SAFETY: the CPU has the instruction, by the caller's word.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> __m256i {
        // SAFETY: four 16-bit integers, by the caller's word.
        unsafe { _mm256_set1_epi64x(a.cast::<i64>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> [__m256i; 2] {
        // SAFETY: half a line, by the caller's word.
        unsafe {
            [_mm256_cvtepi8_epi16(_mm_loadu_si128(b.cast())), _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(16).cast()))]
        }
    }
    #[inline(always)]
    unsafe fn dot(sums: [__m256i; 2], a: __m256i, b: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the CPU has the instructions, by the caller's word.
        unsafe {
            [
                _mm256_add_epi32(sums[0], _mm256_madd_epi16(a, b[0])),
                _mm256_add_epi32(sums[1], _mm256_madd_epi16(a, b[1])),
            ]
        }
    }
    #[inline(always)]
    unsafe fn store(sums: [__m256i; 2], out: *mut i32) {
        // SAFETY: room for eight sums, by the caller's word.
        unsafe {
            // Columns 0 1 4 5 and 2 3 6 7: exchange the middle pairs.
            let pairs = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(sums[0], sums[1]));
            _mm256_storeu_si256(out.cast(), pairs);
        }
    }
    compiled_with!("avx2,fma");
}

/// 512-bit vectors, AVX-512 BW; two of them hold the sums of a panel.
struct Zmm;

impl Dot for Zmm {
    type Sums = [__m512i; 2];
    type A = __m512i;
    type B = [__m512i; 2];

    const COLS: usize = 16;
    const FORMAT: Format = Format::Wide;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> [__m512i; 2] {
        // SAFETY: the CPU has the instruction, by the caller's word.
        unsafe { [_mm512_setzero_si512(); 2] }
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> __m512i {
        // SAFETY: four 16-bit integers, by the caller's word.
        unsafe { _mm512_set1_epi64(a.cast::<i64>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> [__m512i; 2] {
        // SAFETY: a line, by the caller's word.
        unsafe {
            [
                _mm512_cvtepi8_epi16(_mm256_loadu_si256(b.cast())),
                _mm512_cvtepi8_epi16(_mm256_loadu_si256(b.add(32).cast())),
            ]
        }
    }
    #[inline(always)]
    unsafe fn dot(sums: [__m512i; 2], a: __m512i, b: [__m512i; 2]) -> [__m512i; 2] {
        // SAFETY: the CPU has the instructions, by the caller's word.
        unsafe {
            [
                _mm512_add_epi32(sums[0], _mm512_madd_epi16(a, b[0])),
                _mm512_add_epi32(sums[1], _mm512_madd_epi16(a, b[1])),
            ]
        }
    }
    #[inline(always)]
    unsafe fn store(sums: [__m512i; 2], out: *mut i32) {
        // SAFETY: room for 16 sums, by the caller's word.
        unsafe {
            // The even lanes of one vector beside those of the other, and the odd ones.
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            let first = _mm512_permutex2var_epi32(sums[0], even, sums[1]);
            let second = _mm512_permutex2var_epi32(sums[0], odd, sums[1]);
            _mm512_storeu_si512(out.cast(), _mm512_add_epi32(first, second));
        }
    }
    compiled_with!("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq");
}
