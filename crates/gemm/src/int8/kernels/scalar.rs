//! One column at a time: the level that every CPU has.

use super::{Dot, Format, Kernels, TileArgs, Widths, compiled_with, multiply, tiles};

pub(super) static SCALAR: Kernels = Kernels {
    format: Format::Signed,
    max_rows: 2,
    widths: |rows| match rows {
        1 => Widths::new(4, 1, 4),
        _ => Widths::new(2, 1, 8),
    },
    tile: tiles!(Scalar; 1: 2 4; 2: 2;),
};

struct Scalar;

impl Dot for Scalar {
    type Sums = i32;
    type A = [i8; 4];
    type B = [i8; 4];

    const COLS: usize = 1;
    const FORMAT: Format = Format::Signed;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> i32 {
        0
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> [i8; 4] {
        // SAFETY: four bytes, by the caller's word.
        unsafe { a.cast::<[i8; 4]>().read() }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> [i8; 4] {
        // SAFETY: four bytes, by the caller's word.
        unsafe { b.cast::<[i8; 4]>().read() }
    }
    #[inline(always)]
    unsafe fn dot(sums: i32, a: [i8; 4], b: [i8; 4]) -> i32 {
        a.iter().zip(b).fold(sums, |sums, (a, b)| sums + i32::from(*a) * i32::from(b))
    }
    #[inline(always)]
    unsafe fn store(sums: i32, out: *mut i32) {
        // SAFETY: room for a sum, by the caller's word.
        unsafe { out.write(sums) }
    }
    compiled_with!();
}
