//! AArch64: Advanced SIMD alone, with the dot product of bytes, and with the matrix product of bytes.

use core::arch::aarch64::*;
use core::arch::asm;

use super::{Dot, Format, Kernels, TileArgs, TileFn, Widths, compiled_with, multiply, tiles};
use crate::PANEL;
use crate::int8::packed::{GROUP, LINE};

pub(super) static NEON: Kernels = Kernels {
    format: Format::Signed,
    max_rows: 6,
    widths: |rows| match rows {
        1 => Widths::new(16, 2, 4),
        2 | 3 => Widths::new(16, 1, 4),
        _ => Widths::new(8, 1, 8),
    },
    tile: tiles!(Plain; 1: 2 4 8; 2: 2 4; 3: 2 4; 4: 2; 5: 2; 6: 2;),
};

pub(super) static DOTPROD: Kernels =
    Kernels { format: Format::Signed, max_rows: 6, widths: dotprod_widths, tile: dotprod_tile };

pub(super) static I8MM: Kernels = Kernels {
    format: Format::Signed,
    max_rows: 6,
    widths: |rows| match rows {
        1 => dotprod_widths(1),
        _ => Widths::new(16, 1, 1),
    },
    tile: |rows, cols| match rows {
        2 => i8mm_tile::<2>,
        3 => i8mm_tile::<3>,
        4 => i8mm_tile::<4>,
        5 => i8mm_tile::<5>,
        6 => i8mm_tile::<6>,
        // Half of the products of a single row would be thrown away.
        _ => dotprod_tile(rows, cols),
    },
};

fn dotprod_widths(rows: usize) -> Widths {
    match rows {
        1 => Widths::new(16, 4, 2),
        2 => Widths::new(16, 3, 2),
        3 => Widths::new(16, 2, 4),
        _ => Widths::new(16, 1, 4),
    }
}

fn dotprod_tile(rows: usize, cols: usize) -> TileFn {
    let choose: fn(usize, usize) -> TileFn = tiles!(Sdot; 1: 4 8 12 16; 2: 4 8 12; 3: 4 8; 4: 4; 5: 4; 6: 4;);
    choose(rows, cols)
}

/// Products of 16 bits, each pair of which is added to a sum of 32 bits. Two products of -128 and -128 would not fit 16
/// bits together, so none are summed there.
struct Plain;

impl Dot for Plain {
    /// A column's four products give two sums, which are added at the end.
    type Sums = [int32x4_t; 2];
    type A = int8x16_t;
    type B = int8x16_t;

    const COLS: usize = 4;
    const FORMAT: Format = Format::Signed;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> [int32x4_t; 2] {
        // SAFETY: the CPU has the instruction, by the caller's word.
        unsafe { [vdupq_n_s32(0); 2] }
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> int8x16_t {
        // SAFETY: four bytes, by the caller's word.
        unsafe { vreinterpretq_s8_s32(vdupq_n_s32(a.cast::<i32>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> int8x16_t {
        // SAFETY: a quarter of a line, by the caller's word.
        unsafe { vld1q_s8(b) }
    }
    #[inline(always)]
    unsafe fn dot([low, high]: [int32x4_t; 2], a: int8x16_t, b: int8x16_t) -> [int32x4_t; 2] {
        // SAFETY: the CPU has the instructions, by the caller's word.
        unsafe { [vpadalq_s16(low, vmull_s8(vget_low_s8(a), vget_low_s8(b))), vpadalq_s16(high, vmull_high_s8(a, b))] }
    }
    #[inline(always)]
    unsafe fn store([low, high]: [int32x4_t; 2], out: *mut i32) {
        // SAFETY: room for four sums, by the caller's word.
        unsafe { vst1q_s32(out, vpaddq_s32(low, high)) }
    }
    compiled_with!("neon");
}

/// FEAT_DotProd. Its intrinsics are not stable yet.
struct Sdot;

impl Dot for Sdot {
    type Sums = int32x4_t;
    type A = int8x16_t;
    type B = int8x16_t;

    const COLS: usize = 4;
    const FORMAT: Format = Format::Signed;
    const UNROLL: usize = 4;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> int32x4_t {
        // SAFETY: the CPU has the instruction, by the caller's word.
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> int8x16_t {
        // SAFETY: by the caller's word.
        unsafe { Plain::load_a(a) }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> int8x16_t {
        // SAFETY: by the caller's word.
        unsafe { Plain::load_b(b) }
    }
    #[inline(always)]
    unsafe fn dot(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: reads and writes only the named registers; the CPU has the instruction, by the caller's word.
        unsafe {
            asm!(
                ".arch_extension dotprod", "sdot {sums:v}.4s, {b:v}.16b, {a:v}.16b",
                sums = inout(vreg) sums, a = in(vreg) a, b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sums
    }
    #[inline(always)]
    unsafe fn store(sums: int32x4_t, out: *mut i32) {
        // SAFETY: room for four sums, by the caller's word.
        unsafe { vst1q_s32(out, sums) }
    }
    compiled_with!("neon,dotprod");
}

/// The 2 x 2 product of two rows and two columns over eight values of `k`, added to `sums`.
///
/// # Safety
/// The CPU must have FEAT_I8MM.
#[inline(always)]
unsafe fn smmla(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: reads and writes only the named registers; the CPU has the instruction, by the caller's word.
    unsafe {
        asm!(
            ".arch_extension i8mm", "smmla {sums:v}.4s, {a:v}.16b, {b:v}.16b",
            sums = inout(vreg) sums, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// Most pairs of rows of a tile.
const PAIRS: usize = 3;
/// Pairs of columns of a panel.
const COL_PAIRS: usize = PANEL / 2;

/// `ROWS` rows by one panel, in one pass, with FEAT_I8MM: two groups of four values of `k` become the eight of the instruction.
///
/// # Safety
/// See [`TileFn`].
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn i8mm_tile<const ROWS: usize>(t: &TileArgs) {
    let pairs = const { ROWS.div_ceil(2) };
    // SAFETY: by the caller's word, A and B are readable for all groups and columns, `out` is writable for the tile, and
    // the CPU has the instructions. A row of A has room for one group more than there are: it is filled to 64 bytes.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); COL_PAIRS]; PAIRS];
        let mut step = |a_at: usize, lines: [*const i8; 2]| {
            let mut a = [vdupq_n_s8(0); PAIRS];
            for (pair, a) in a[..pairs].iter_mut().enumerate() {
                let eight = |row: usize| vld1_s8(t.a.add(row.min(ROWS - 1) * t.a_stride + a_at).cast());
                *a = vcombine_s8(eight(2 * pair), eight(2 * pair + 1));
            }
            for quad in 0..PANEL / 4 {
                let four = |line: *const i8| vreinterpretq_s32_s8(vld1q_s8(line.add(quad * 4 * GROUP)));
                let (first, second) = (four(lines[0]), four(lines[1]));
                let b = [vzip1q_s32(first, second), vzip2q_s32(first, second)].map(|b| vreinterpretq_s8_s32(b));
                for (a, sums) in a[..pairs].iter().zip(&mut sums) {
                    for (b, sums) in b.into_iter().zip(&mut sums[2 * quad..]) {
                        *sums = smmla(*sums, *a, b);
                    }
                }
            }
        };
        let mut b = t.b.add(LINE);
        for eight in 0..t.groups / 2 {
            step(eight * 2 * GROUP, [b, b.add(LINE)]);
            b = b.add(2 * LINE);
        }
        if t.groups % 2 == 1 {
            static ZEROS: [i8; LINE] = [0; LINE];
            step((t.groups - 1) * GROUP, [b, ZEROS.as_ptr()]);
        }
        for (pair, sums) in sums[..pairs].iter().enumerate() {
            for (quad, two) in sums.chunks_exact(2).enumerate() {
                let halves = [vreinterpretq_s64_s32(two[0]), vreinterpretq_s64_s32(two[1])];
                let rows = [vzip1q_s64(halves[0], halves[1]), vzip2q_s64(halves[0], halves[1])];
                for (i, row) in rows.into_iter().enumerate() {
                    if 2 * pair + i < ROWS {
                        vst1q_s32(t.out.add((2 * pair + i) * PANEL + quad * 4), vreinterpretq_s32_s64(row));
                    }
                }
            }
        }
    }
}
