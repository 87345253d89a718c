//! Cortex-M4 and M7: two 16-bit products an instruction, added to a sum of 32 bits (SMLAD of Armv7E-M).
//!
//! SXTB16 widens every other byte of a word: the even ones, or after a rotation the odd ones. The sum cannot overflow, for
//! [`MAX_DEPTH`](crate::int8::MAX_DEPTH) bounds it, so the flag that the instruction has for that is never set.

use core::arch::asm;

use super::{Dot, Format, Kernels, TileArgs, Widths, compiled_with, multiply, tiles};

pub(super) static DSP: Kernels = Kernels {
    format: Format::Signed,
    max_rows: 2,
    widths: |rows| match rows {
        1 => Widths::new(4, 1, 8),
        _ => Widths::new(2, 1, 16),
    },
    tile: tiles!(Smlad; 1: 2 4; 2: 2;),
};

/// Four bytes as two pairs of 16-bit integers: the even ones and the odd ones.
#[derive(Clone, Copy)]
struct Pairs {
    even: u32,
    odd: u32,
}

impl Pairs {
    /// # Safety
    /// Four bytes must be readable.
    #[inline(always)]
    unsafe fn load(bytes: *const i8) -> Pairs {
        let (even, odd): (u32, u32);
        // SAFETY: readable by the caller's word; the instructions read and write only the named registers.
        unsafe {
            let word = bytes.cast::<u32>().read_unaligned();
            asm!(
                "sxtb16 {even}, {word}", "sxtb16 {odd}, {word}, ror #8",
                word = in(reg) word, even = out(reg) even, odd = lateout(reg) odd,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        Pairs { even, odd }
    }
}

struct Smlad;

impl Dot for Smlad {
    type Sums = i32;
    type A = Pairs;
    type B = Pairs;

    const COLS: usize = 1;
    const FORMAT: Format = Format::Signed;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn begin(_: *const i8) -> i32 {
        0
    }
    #[inline(always)]
    unsafe fn load_a(a: *const u8) -> Pairs {
        // SAFETY: four bytes, by the caller's word.
        unsafe { Pairs::load(a.cast()) }
    }
    #[inline(always)]
    unsafe fn load_b(b: *const i8) -> Pairs {
        // SAFETY: four bytes, by the caller's word.
        unsafe { Pairs::load(b) }
    }
    #[inline(always)]
    unsafe fn dot(mut sums: i32, a: Pairs, b: Pairs) -> i32 {
        // SAFETY: the instructions read and write only the named registers.
        unsafe {
            asm!(
                "smlad {sums}, {a_even}, {b_even}, {sums}", "smlad {sums}, {a_odd}, {b_odd}, {sums}",
                sums = inout(reg) sums, a_even = in(reg) a.even, a_odd = in(reg) a.odd, b_even = in(reg) b.even,
                b_odd = in(reg) b.odd, options(pure, nomem, nostack, preserves_flags)
            );
        }
        sums
    }
    #[inline(always)]
    unsafe fn store(sums: i32, out: *mut i32) {
        // SAFETY: room for a sum, by the caller's word.
        unsafe { out.write(sums) }
    }
    compiled_with!();
}
