//! 128-bit vectors of the `wide` crate, compiled for the target's baseline.

use bytemuck::cast;
use wide::{i8x16, i16x8, i16x16, i32x4};

use super::{Dot, Format, Kernels, TileArgs, Widths, compiled_with, multiply, tiles};

pub(super) static PORTABLE: Kernels = Kernels {
    format: Format::Wide,
    max_rows: 2,
    widths: |rows| match rows {
        1 => Widths::new(16, 1, 2),
        _ => Widths::new(8, 1, 4),
    },
    tile: tiles!(Portable; 1: 2 4; 2: 2;),
};

/// Two columns a vector, and two vectors together, as that is how they are widened.
struct Portable;

impl Dot for Portable {
    /// A column's four products give two sums, which are added at the end.
    type Sums = [i32x4; 2];
    type A = i16x8;
    type B = [i16x8; 2];

    const COLS: usize = 4;
    const FORMAT: Format = Format::Wide;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> [i32x4; 2] {
        [i32x4::splat(0); 2]
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> i16x8 {
        // SAFETY: four 16-bit integers, by the caller's word.
        cast([unsafe { a.cast::<u64>().read_unaligned() }; 2])
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> [i16x8; 2] {
        // SAFETY: a quarter of a line, by the caller's word.
        cast(i16x16::from_i8x16(i8x16::new(unsafe { b.cast::<[i8; 16]>().read() })))
    }
    #[inline(always)]
    unsafe fn dot([low, high]: [i32x4; 2], a: i16x8, b: [i16x8; 2]) -> [i32x4; 2] {
        [low + a.dot(b[0]), high + a.dot(b[1])]
    }
    #[inline(always)]
    unsafe fn store(sums: [i32x4; 2], out: *mut i32) {
        let pairs = sums.map(i32x4::to_array).map(|[a, b, c, d]| [a.wrapping_add(b), c.wrapping_add(d)]);
        // SAFETY: room for four sums, by the caller's word.
        unsafe { out.cast::<[[i32; 2]; 2]>().write(pairs) }
    }
    compiled_with!();
}
