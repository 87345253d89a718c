//! x86 with the dot product of bytes, which takes unsigned bytes from A.
//!
//! A's bytes have 128 added; the sums begin at -128 times the sums of B's columns, which takes that off again. Sums wrap
//! on the way and are right at the end, since the instruction wraps too.

use core::arch::x86_64::*;

use super::{Dot, Format, Kernels, TileArgs, Widths, compiled_with, multiply, tiles};

pub(super) static ZMM: Kernels = Kernels {
    format: Format::Unsigned,
    max_rows: 12,
    widths: |rows| match rows {
        1 => Widths::new(16, 8, 1),
        2..=6 => Widths::new(16, 4, 2),
        _ => Widths::new(16, 2, 2),
    },
    tile: tiles!(Zmm; 1: 1 2 3 4 5 6 7 8; 2: 1 2 3 4; 3: 1 2 3 4; 4: 1 2 3 4; 5: 1 2 3 4; 6: 1 2 3 4;
        7: 1 2; 8: 1 2; 9: 1 2; 10: 1 2; 11: 1 2; 12: 1 2;),
};

/// 512-bit vectors, AVX512_VNNI.
struct Zmm;

impl Dot for Zmm {
    type Sums = __m512i;
    type A = __m512i;
    type B = __m512i;

    const COLS: usize = 16;
    const FORMAT: Format = Format::Unsigned;
    const UNROLL: usize = 4;

    #[inline(always)]
    unsafe fn begin(sums: *const i8) -> __m512i {
        // SAFETY: 16 sums, by the caller's word.
        unsafe { _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32::<7>(_mm512_loadu_si512(sums.cast()))) }
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
        // SAFETY: the CPU has the instruction, by the caller's word.
        unsafe { _mm512_dpbusd_epi32(sums, a, b) }
    }
    #[inline(always)]
    unsafe fn store(sums: __m512i, out: *mut i32) {
        // SAFETY: room for 16 sums, by the caller's word.
        unsafe { _mm512_storeu_si512(out.cast(), sums) }
    }
    compiled_with!("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni");
}

/// 256-bit vectors: one source for the two encodings of the instruction.
macro_rules! ymm {
    ($name:ident, $kernels:ident, $dot:ident, $features:literal, $doc:literal) => {
        #[doc = $doc]
        struct $name;

        pub(super) static $kernels: Kernels = Kernels {
            format: Format::Unsigned,
            max_rows: 6,
            widths: |rows| match rows {
                1 => Widths::new(16, 4, 2),
                2 => Widths::new(16, 3, 2),
                3 => Widths::new(16, 2, 4),
                _ => Widths::new(16, 1, 4),
            },
    tile: tiles!($name; 1: 2 4 6 8; 2: 2 4 6; 3: 2 4; 4: 2; 5: 2; 6: 2;),
        };

        impl Dot for $name {
            type Sums = __m256i;
            type A = __m256i;
            type B = __m256i;

            const COLS: usize = 8;
            const FORMAT: Format = Format::Unsigned;
            const UNROLL: usize = 4;

            #[inline(always)]
            unsafe fn begin(sums: *const i8) -> __m256i {
                // SAFETY: eight sums, by the caller's word.
                unsafe {
                    let sums = _mm256_loadu_si256(sums.cast());
                    _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32::<7>(sums))
                }
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
                // SAFETY: the CPU has the instruction, by the caller's word.
                unsafe { $dot(sums, a, b) }
            }
            #[inline(always)]
            unsafe fn store(sums: __m256i, out: *mut i32) {
                // SAFETY: room for eight sums, by the caller's word.
                unsafe { _mm256_storeu_si256(out.cast(), sums) }
            }
            compiled_with!($features);
        }
    };
}

ymm!(AvxVnni, YMM, _mm256_dpbusd_avx_epi32, "avx2,fma,avxvnni", "256-bit vectors, AVX-VNNI.");
#[cfg(test)]
ymm!(
    Evex,
    YMM_EVEX,
    _mm256_dpbusd_epi32,
    "avx2,fma,avx512f,avx512vl,avx512vnni",
    "256-bit vectors, AVX512_VNNI: the stand-in for AVX-VNNI on CPUs that have no other."
);

#[cfg(test)]
mod tests {
    use super::super::{MAX_TILE, TileArgs};
    use super::YMM_EVEX;
    use crate::int8::packed::{PackedI8, panel_len};
    use kernform_simd::{Isa, Level};
    use kernform_tensor::MatrixRef;
    use std::vec::Vec;

    /// Every tile of the 256-bit form against plain sums. AVX-VNNI runs the same source where no CPU of these tests may
    /// have it.
    #[test]
    fn tiles_of_256_bits_are_exact() {
        if Isa::new(Level::Avx512Vnni).is_err() {
            std::eprintln!("NOT RUN: this CPU has no AVX512_VNNI");
            return;
        }
        let k = 37;
        let value = |i: usize| (i * 131 % 255) as i32 - 128;
        let b: Vec<i8> = (0..k * 128).map(|i| value(i + 7) as i8).collect();
        let packed = PackedI8::pack(MatrixRef::new(&b, k, 128).expect("of its own length")).expect("memory");
        let stride = 128;
        // The zeros behind the row's end meet zeros of B.
        let a: Vec<u8> = (0..6 * stride).map(|i| if i % stride < k { (value(i) + 128) as u8 } else { 0 }).collect();
        for rows in 1..=YMM_EVEX.max_rows {
            let widths = (YMM_EVEX.widths)(rows);
            for wide in (1..=widths.in_registers).map(|units| units * widths.unit) {
                let cols = wide * widths.passes;
                let mut out = [0; MAX_TILE];
                let args = TileArgs {
                    groups: k.div_ceil(4),
                    passes: widths.passes,
                    a: a.as_ptr(),
                    a_stride: stride,
                    b: packed.as_slice().as_ptr(),
                    panel_stride: panel_len(k),
                    out: out.as_mut_ptr(),
                };
                // SAFETY: A has six rows, B 128 columns, and the CPU has the instructions.
                unsafe { (YMM_EVEX.tile)(rows, wide)(&args) };
                for (at, sum) in out[..rows * cols].iter().enumerate() {
                    let (i, j) = (at / cols, at % cols);
                    let expected: i32 =
                        (0..k).map(|p| (i32::from(a[i * stride + p]) - 128) * i32::from(b[p * 128 + j])).sum();
                    assert_eq!(*sum, expected, "{rows} x {cols}, element ({i}, {j})");
                }
            }
        }
    }
}
