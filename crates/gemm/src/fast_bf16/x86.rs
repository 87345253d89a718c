//! The tiles of AVX512_BF16: 14 rows by two vectors of sums, as in `f32`, two steps of `k` an instruction.

use core::arch::x86_64::*;
use core::mem::transmute;

use kernform_simd::Avx512Bf16;
use kernform_tensor::MatrixMut;

use super::{Line, TILE_ROWS};
use crate::PANEL;

/// Lines from the one that is multiplied to the one that is fetched.
const AHEAD: usize = 64;

/// Rounds `row` to pairs, whose bits `into` gets; what `row` is too short for is 0.
pub(super) fn pack_row(_: Avx512Bf16, row: &[f32], into: &mut [f32]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn run(row: &[f32], into: &mut [f32]) {
        let mut rest = row;
        for into in into.chunks_mut(PANEL / 2) {
            let count = rest.len().min(2 * into.len());
            let (values, after) = rest.split_at(count);
            rest = after;
            let (some, words) = ((1u32 << count) - 1, (1u32 << into.len()) - 1);
            // SAFETY: masked, so only `count` floats are read.
            let values = unsafe { _mm512_maskz_loadu_ps(some as __mmask16, values.as_ptr()) };
            // SAFETY: both types are 32 bytes of bits.
            let rounded: __m256i = unsafe { transmute(_mm512_cvtneps_pbh(values)) };
            // SAFETY: masked, so only `into.len()` words are written.
            unsafe { _mm256_mask_storeu_epi32(into.as_mut_ptr().cast(), words as __mmask8, rounded) };
        }
    }
    // SAFETY: the token proves the instructions.
    unsafe { run(row, into) };
}

/// Adds to `height` rows of C from `row` on, at column `col`, what the rows of `a` and one or two panels multiply to.
pub(super) fn multiply(
    _: Avx512Bf16,
    right: &[&[Line]],
    col: usize,
    (row, height): (usize, usize),
    c: &mut MatrixMut<'_, f32>,
    (a, a_stride): (&[f32], usize),
) {
    let strips = height.div_ceil(TILE_ROWS);
    let (each, taller) = (height / strips, height % strips);
    let width = (c.cols() - col).min(right.len() * PANEL);
    let in_place = c.col_stride() == 1 && width == right.len() * PANEL;
    let mut done = 0;
    for strip in 0..strips {
        let rows = each + usize::from(strip < taller);
        let a = (&a[done * a_stride..(done + rows) * a_stride], a_stride);
        if in_place {
            let (start, stride) = ((row + done) * c.row_stride() + col, c.row_stride());
            let c = &mut c.as_mut_slice()[start..][..(rows - 1) * stride + width];
            tile(rows, right, a, c, stride);
        } else {
            let stride = right.len() * PANEL;
            let mut edge = [0.0; TILE_ROWS * 2 * PANEL];
            for (i, edge) in edge.chunks_exact_mut(stride).enumerate().take(rows) {
                for (j, edge) in edge[..width].iter_mut().enumerate() {
                    *edge = c.get(row + done + i, col + j).copied().unwrap_or_default();
                }
            }
            tile(rows, right, a, &mut edge, stride);
            for (i, edge) in edge.chunks_exact(stride).enumerate().take(rows) {
                for (j, edge) in edge[..width].iter().enumerate() {
                    if let Some(c) = c.get_mut(row + done + i, col + j) {
                        *c = *edge;
                    }
                }
            }
        }
        done += rows;
    }
}

/// One tile of `rows` rows, for which `a` and `c` have room.
fn tile(rows: usize, right: &[&[Line]], a: (&[f32], usize), c: &mut [f32], stride: usize) {
    macro_rules! choose {
        ($($rows:literal)+) => {
            match (rows, right) {
                $(
                    // SAFETY: whoever came here has the token; the lengths are checked inside.
                    ($rows, [first]) => unsafe { run::<$rows, 1>([first], a, c, stride) },
                    // SAFETY: as above.
                    ($rows, [first, second]) => unsafe { run::<$rows, 2>([first, second], a, c, stride) },
                )+
                _ => unreachable!("no tile of {rows} rows and {} panels", right.len()),
            }
        };
    }
    choose!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn run<const R: usize, const V: usize>(
    right: [&[Line]; V],
    (a, a_stride): (&[f32], usize),
    c: &mut [f32],
    stride: usize,
) {
    let pairs = right[0].len();
    assert!(right.iter().all(|lines| lines.len() == pairs) && pairs <= a_stride);
    assert!(a.len() >= R * a_stride && c.len() >= (R - 1) * stride + V * PANEL);
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    for (i, sums) in sums.iter_mut().enumerate() {
        for (v, sums) in sums.iter_mut().enumerate() {
            // SAFETY: a vector inside `c`, by its length.
            *sums = unsafe { _mm512_loadu_ps(c.as_ptr().add(i * stride + v * PANEL)) };
        }
    }
    for step in 0..pairs {
        let mut b = [_mm512_setzero_si512(); V];
        for (b, lines) in b.iter_mut().zip(right) {
            // SAFETY: a line of 64 bytes, aligned as its type says; `step` is below the lengths of all panels.
            *b = unsafe {
                _mm_prefetch::<_MM_HINT_T1>(lines.as_ptr().wrapping_add(step + AHEAD).cast());
                _mm512_load_si512((&raw const (*lines.as_ptr().add(step)).0).cast())
            };
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `a` has `R` rows of `a_stride` words, and `step` is less.
            let a = unsafe { _mm512_set1_epi32(a.as_ptr().cast::<i32>().add(i * a_stride + step).read()) };
            for (sum, b) in sums.iter_mut().zip(b) {
                // SAFETY: all three types are 64 bytes of bits.
                *sum = unsafe {
                    let (a, b) = (transmute::<__m512i, __m512bh>(a), transmute::<__m512i, __m512bh>(b));
                    _mm512_dpbf16_ps(*sum, a, b)
                };
            }
        }
    }
    for (i, sums) in sums.into_iter().enumerate() {
        for (v, sums) in sums.into_iter().enumerate() {
            // SAFETY: as for the loads.
            unsafe { _mm512_storeu_ps(c.as_mut_ptr().add(i * stride + v * PANEL), sums) };
        }
    }
}
