//! Unsigned by signed bytes, neighbouring products added in 16 bits that saturate, and these sums in 32 bits.
//!
//! That is what `VPMADDUBSW` and `VPMADDWD` do one after the other, and what intgemm does with them (Marian, Bergamot). It is
//! no exact product and stands beside the others for models whose answers are to be those of that engine.

#[cfg(target_arch = "aarch64")]
use core::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

use super::{Dot, Format, Kernels, TileArgs, Widths, compiled_with, multiply, tiles};

/// For levels without a form of their own.
pub(super) static PLAIN: Kernels = Kernels {
    format: Format::Shifted,
    max_rows: 2,
    widths: |rows| match rows {
        1 => Widths::new(16, 1, 2),
        _ => Widths::new(8, 1, 4),
    },
    tile: tiles!(Plain; 1: 2 4; 2: 2;),
};

#[cfg(target_arch = "x86_64")]
pub(super) static YMM: Kernels = Kernels {
    format: Format::Shifted,
    max_rows: 6,
    widths: |rows| match rows {
        1 => Widths::new(16, 3, 2),
        2 => Widths::new(16, 2, 4),
        _ => Widths::new(16, 1, 4),
    },
    tile: tiles!(Ymm; 1: 2 4 6; 2: 2 4; 3: 2; 4: 2; 5: 2; 6: 2;),
};

#[cfg(target_arch = "x86_64")]
pub(super) static ZMM: Kernels = Kernels {
    format: Format::Shifted,
    max_rows: 12,
    widths: |rows| match rows {
        1 => Widths::new(16, 4, 2),
        2..=6 => Widths::new(16, 4, 2),
        _ => Widths::new(16, 2, 2),
    },
    tile: tiles!(Zmm; 1: 1 2 3 4; 2: 1 2 3 4; 3: 1 2 3 4; 4: 1 2 3 4; 5: 1 2 3 4; 6: 1 2 3 4;
        7: 1 2; 8: 1 2; 9: 1 2; 10: 1 2; 11: 1 2; 12: 1 2;),
};

#[cfg(target_arch = "aarch64")]
pub(super) static NEON: Kernels = Kernels {
    format: Format::Shifted,
    max_rows: 4,
    widths: |rows| match rows {
        1 => Widths::new(16, 2, 4),
        2 => Widths::new(16, 1, 4),
        _ => Widths::new(8, 1, 8),
    },
    tile: tiles!(Neon; 1: 4 8; 2: 4; 3: 2; 4: 2;),
};

/// Four columns, one after the other.
struct Plain;

impl Dot for Plain {
    type Sums = [i32; 4];
    type A = [u8; 4];
    type B = [[i8; 4]; 4];

    const COLS: usize = 4;
    const FORMAT: Format = Format::Shifted;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> [i32; 4] {
        [0; 4]
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> [u8; 4] {
        // SAFETY: four bytes, by the caller's word.
        unsafe { a.cast::<[u8; 4]>().read() }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> [[i8; 4]; 4] {
        // SAFETY: a quarter of a line, by the caller's word.
        unsafe { b.cast::<[[i8; 4]; 4]>().read() }
    }
    #[inline(always)]
    unsafe fn dot(mut sums: [i32; 4], a: [u8; 4], b: [[i8; 4]; 4]) -> [i32; 4] {
        // The product of an unsigned and a signed byte always fits 16 bits.
        let a = a.map(i16::from);
        for (sum, b) in sums.iter_mut().zip(b) {
            let b = b.map(i16::from);
            let pairs = [(a[0] * b[0]).saturating_add(a[1] * b[1]), (a[2] * b[2]).saturating_add(a[3] * b[3])];
            *sum += i32::from(pairs[0]) + i32::from(pairs[1]);
        }
        sums
    }
    #[inline(always)]
    unsafe fn store(sums: [i32; 4], out: *mut i32) {
        // SAFETY: room for four sums, by the caller's word.
        unsafe { out.cast::<[i32; 4]>().write(sums) }
    }
    compiled_with!();
}

/// 256-bit vectors, AVX2.
#[cfg(target_arch = "x86_64")]
struct Ymm;

#[cfg(target_arch = "x86_64")]
impl Dot for Ymm {
    type Sums = __m256i;
    type A = __m256i;
    type B = __m256i;

    const COLS: usize = 8;
    const FORMAT: Format = Format::Shifted;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> __m256i {
        // SAFETY: the CPU has the instruction, by the caller's word.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> __m256i {
        // SAFETY: four bytes, by the caller's word.
        unsafe { _mm256_set1_epi32(a.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> __m256i {
        // SAFETY: half a line, by the caller's word.
        unsafe { _mm256_loadu_si256(b.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the CPU has the instructions, by the caller's word.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1))) }
    }
    #[inline(always)]
    unsafe fn store(sums: __m256i, out: *mut i32) {
        // SAFETY: room for eight sums, by the caller's word.
        unsafe { _mm256_storeu_si256(out.cast(), sums) }
    }
    compiled_with!("avx2,fma");
}

/// 512-bit vectors, AVX-512 BW.
#[cfg(target_arch = "x86_64")]
struct Zmm;

#[cfg(target_arch = "x86_64")]
impl Dot for Zmm {
    type Sums = __m512i;
    type A = __m512i;
    type B = __m512i;

    const COLS: usize = 16;
    const FORMAT: Format = Format::Shifted;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> __m512i {
        // SAFETY: the CPU has the instruction, by the caller's word.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> __m512i {
        // SAFETY: four bytes, by the caller's word.
        unsafe { _mm512_set1_epi32(a.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> __m512i {
        // SAFETY: a line, by the caller's word.
        unsafe { _mm512_loadu_si512(b.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the CPU has the instructions, by the caller's word.
        unsafe { _mm512_add_epi32(sums, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), _mm512_set1_epi16(1))) }
    }
    #[inline(always)]
    unsafe fn store(sums: __m512i, out: *mut i32) {
        // SAFETY: room for 16 sums, by the caller's word.
        unsafe { _mm512_storeu_si512(out.cast(), sums) }
    }
    compiled_with!("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq");
}

/// Advanced SIMD.
#[cfg(target_arch = "aarch64")]
struct Neon;

#[cfg(target_arch = "aarch64")]
impl Dot for Neon {
    type Sums = int32x4_t;
    /// Widened, twice the four.
    type A = int16x8_t;
    type B = int8x16_t;

    const COLS: usize = 4;
    const FORMAT: Format = Format::Shifted;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> int32x4_t {
        // SAFETY: the CPU has the instruction, by the caller's word.
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> int16x8_t {
        // SAFETY: four bytes, by the caller's word.
        unsafe { vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(a.cast::<u32>().read_unaligned())))) }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> int8x16_t {
        // SAFETY: a quarter of a line, by the caller's word.
        unsafe { vld1q_s8(b) }
    }
    #[inline(always)]
    unsafe fn dot(sums: int32x4_t, a: int16x8_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: the CPU has the instructions, by the caller's word.
        unsafe {
            let low = vmulq_s16(a, vmovl_s8(vget_low_s8(b)));
            let high = vmulq_s16(a, vmovl_high_s8(b));
            vpadalq_s16(sums, vqaddq_s16(vuzp1q_s16(low, high), vuzp2q_s16(low, high)))
        }
    }
    #[inline(always)]
    unsafe fn store(sums: int32x4_t, out: *mut i32) {
        // SAFETY: room for four sums, by the caller's word.
        unsafe { vst1q_s32(out, sums) }
    }
    compiled_with!("neon");
}
