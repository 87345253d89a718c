//! 128-bit vectors of the `wide` crate, compiled for the target's baseline.

use wide::{i16x8, i32x4};

use super::{Dot, Format, Kernels, TileArgs, Widths, compiled_with, multiply, tiles};

pub(super) static PORTABLE: Kernels = Kernels {
    format: Format::Wide,
    max_rows: 2,
    widths: |rows| match rows {
        1 => Widths::new(16, 1, 2),
        _ => Widths::new(8, 1, 4),
    },
    tile: tiles!(Portable; 1: 4 8; 2: 4;),
};

/// Two columns a vector.
struct Portable;

impl Dot for Portable {
    type Sums = i32x4;
    type A = i16x8;
    type B = i16x8;

    const COLS: usize = 2;
    const FORMAT: Format = Format::Wide;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> i32x4 {
        i32x4::splat(0)
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> i16x8 {
        // SAFETY: four 16-bit integers, by the caller's word.
        let [a, b, c, d] = unsafe { a.cast::<[i16; 4]>().read_unaligned() };
        i16x8::new([a, b, c, d, a, b, c, d])
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> i16x8 {
        // SAFETY: eight bytes, by the caller's word.
        i16x8::new(unsafe { b.cast::<[i8; 8]>().read() }.map(i16::from))
    }
    #[inline(always)]
    unsafe fn dot(sums: i32x4, a: i16x8, b: i16x8) -> i32x4 {
        sums + a.dot(b)
    }
    #[inline(always)]
    unsafe fn store(sums: i32x4, out: *mut i32) {
        let [a, b, c, d] = sums.to_array();
        // SAFETY: room for two sums, by the caller's word.
        unsafe { out.cast::<[i32; 2]>().write_unaligned([a.wrapping_add(b), c.wrapping_add(d)]) }
    }
    compiled_with!();
}
