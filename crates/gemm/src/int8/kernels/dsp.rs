//! Cortex-M4 and M7: two 16-bit products an instruction, added to a sum of 32 bits (SMLAD of Armv7E-M).
//!
//! SXTB16 widens every other byte of a word: the even ones, or after a rotation the odd ones. The sum cannot overflow, for
//! [`MAX_DEPTH`](crate::int8::MAX_DEPTH) bounds it, so the flag that the instruction has for that is never set.

use core::arch::asm;

use super::{Dot, Format, Kernels, LINE, TileArgs, Widths, compiled_with, multiply, no_tile, offset};

/// Columns of a tile: with two rows, widened values of both would not fit the twelve registers that there are.
const COLS: usize = 4;

pub(super) static DSP: Kernels = Kernels {
    format: Format::Signed,
    max_rows: 1,
    widths: |_| Widths::new(COLS, 1, 8),
    tile: |rows, cols| if (rows, cols) == (1, COLS) { tile } else { no_tile },
};

/// One row of four columns, the loop in one piece: words of B in pairs, each widened where it was loaded.
///
/// # Safety
/// See [`super::TileFn`].
unsafe fn tile(t: &TileArgs) {
    // Pairs of words are only loaded from whole words; packed weights that a caller places may begin elsewhere.
    if !t.b.addr().is_multiple_of(size_of::<u32>()) || !t.a.addr().is_multiple_of(size_of::<u32>()) {
        // SAFETY: the caller's word.
        return unsafe { Smlad::tile::<1, COLS>(t) };
    }
    for pass in 0..t.passes {
        let mut sums = [0i32; COLS];
        if t.groups > 0 {
            let b = t.b.wrapping_add(offset::<Smlad>(pass * COLS, t.panel_stride) + LINE);
            // SAFETY: the loads are from `groups` words of A and as many lines of B, by the caller's word; all registers
            // that are written are named.
            unsafe {
                asm!(
                    "2:",
                    "ldr {odd}, [{a}], #4",
                    "sxtb16 {even}, {odd}",
                    "sxtb16 {odd}, {odd}, ror #8",
                    "ldrd {x}, {y}, [{b}], #8",
                    "sxtb16 {z}, {x}",
                    "smlad {s0}, {even}, {z}, {s0}",
                    "sxtb16 {x}, {x}, ror #8",
                    "smlad {s0}, {odd}, {x}, {s0}",
                    "sxtb16 {z}, {y}",
                    "smlad {s1}, {even}, {z}, {s1}",
                    "sxtb16 {y}, {y}, ror #8",
                    "smlad {s1}, {odd}, {y}, {s1}",
                    "ldrd {x}, {y}, [{b}], #56",
                    "sxtb16 {z}, {x}",
                    "smlad {s2}, {even}, {z}, {s2}",
                    "sxtb16 {x}, {x}, ror #8",
                    "smlad {s2}, {odd}, {x}, {s2}",
                    "sxtb16 {z}, {y}",
                    "smlad {s3}, {even}, {z}, {s3}",
                    "sxtb16 {y}, {y}, ror #8",
                    "smlad {s3}, {odd}, {y}, {s3}",
                    "subs {left}, #1",
                    "bne 2b",
                    a = inout(reg) t.a => _, b = inout(reg) b => _, left = inout(reg) t.groups => _,
                    s0 = inout(reg) sums[0], s1 = inout(reg) sums[1], s2 = inout(reg) sums[2], s3 = inout(reg) sums[3],
                    odd = out(reg) _, even = out(reg) _, x = out(reg) _, y = out(reg) _, z = out(reg) _,
                    options(readonly, nostack)
                );
            }
        }
        // SAFETY: room for the pass's four sums, by the caller's word.
        unsafe { t.out.add(pass * COLS).cast::<[i32; COLS]>().write(sums) };
    }
}

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
