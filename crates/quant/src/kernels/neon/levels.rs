//! How the levels of AArch64 multiply bytes: for one row, and for groups of rows.
//!
//! The dot products of four rows (a group of activations) and four columns are four vectors in an order that the level
//! chooses. Its instructions for bytes are not stable as intrinsics.

use core::arch::aarch64::*;
use core::arch::asm;

use super::{Neon, groups};
use crate::kernels::formats::Codes;
use crate::kernels::{Job, TileArgs};

/// The products of four rows and four columns, in the order of the level.
pub(super) type Four = [int32x4_t; 4];
/// Two steps of four columns: eight values of `k`.
pub(super) type Eight = [int8x16_t; 2];

/// The multiplication of bytes of a level.
///
/// # Safety
/// All functions: the CPU must have the level, and pointers must be readable for what is loaded.
pub(crate) trait Products: Copy + 'static {
    /// The sums of four columns of one row on their way.
    type Dot: Copy;
    /// As for [`Vector`](crate::kernels::Vector).
    const HEIGHTS: &'static [usize];

    fn vectorize<J: Job>(v: Neon<Self>, job: J) -> J::Output;
    /// [`groups::multiply`], compiled for the level.
    unsafe fn multiply<C: Codes, const GROUPS: usize>(v: Neon<Self>, args: &TileArgs);

    unsafe fn begin(sum: int32x4_t) -> Self::Dot;
    /// As for [`Vector`](crate::kernels::Vector), with four steps and which it is.
    unsafe fn dot<const MAX: u8>(dot: Self::Dot, codes: uint8x16_t, a: (int8x16_t, usize), left: usize) -> Self::Dot;
    unsafe fn end(dot: Self::Dot) -> int32x4_t;

    /// Two steps of codes as [`Products::dots`] takes them.
    unsafe fn arrange(codes: Eight) -> Eight;
    /// `init` plus the products of codes, whose magnitudes are at most `max` or those of an `i8` for 255, with a group's
    /// steps from `a` on.
    unsafe fn dots(max: u8, codes: &[Eight], a: *const i32, init: Four) -> Four;
    /// A value for each row in the level's order.
    unsafe fn of_rows(values: int32x4_t) -> Four;
    /// A value for each column in the level's order.
    unsafe fn of_columns(values: int32x4_t) -> Four;
    /// The columns of each row.
    unsafe fn by_rows(sums: Four) -> Four;
}

/// Implements what is compiled for the features.
macro_rules! compiled_with {
    ($features:literal) => {
        #[inline(always)]
        fn vectorize<J: Job>(v: Neon<Self>, job: J) -> J::Output {
            #[target_feature(enable = $features)]
            fn run<P: Products, J: Job>(v: Neon<P>, job: J) -> J::Output {
                job.run(v)
            }
            // SAFETY: the token exists only after detection.
            unsafe { run(v, job) }
        }
        #[target_feature(enable = $features)]
        unsafe fn multiply<C: Codes, const GROUPS: usize>(v: Neon<Self>, args: &TileArgs) {
            // SAFETY: by the caller's word.
            unsafe { groups::multiply::<Self, C, GROUPS>(v, args) }
        }
    };
}

/// Two steps of the four rows of a group.
///
/// # Safety
/// Eight words must be readable.
#[inline(always)]
unsafe fn load_rows(a: *const i32) -> Eight {
    // SAFETY: by the caller's word.
    unsafe { [vld1q_s8(a.cast()), vld1q_s8(a.add(4).cast())] }
}

/// The orders of the levels whose vectors are rows.
macro_rules! rows_in_order {
    () => {
        #[inline(always)]
        unsafe fn arrange(codes: Eight) -> Eight {
            codes
        }
        #[inline(always)]
        unsafe fn of_rows(values: int32x4_t) -> Four {
            // SAFETY: by the caller's word.
            unsafe {
                [
                    vdupq_laneq_s32::<0>(values),
                    vdupq_laneq_s32::<1>(values),
                    vdupq_laneq_s32::<2>(values),
                    vdupq_laneq_s32::<3>(values),
                ]
            }
        }
        #[inline(always)]
        unsafe fn of_columns(values: int32x4_t) -> Four {
            [values; 4]
        }
        #[inline(always)]
        unsafe fn by_rows(sums: Four) -> Four {
            sums
        }
    };
}

/// Advanced SIMD alone: products of 16 bits, as many of which are added there as fit, and then in pairs in 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

/// Sums of 16 and of 32 bits, two to a column, in the order of the columns.
#[derive(Clone, Copy)]
pub(crate) struct Halves {
    narrow: [int16x8_t; 2],
    wide: [int32x4_t; 2],
}

/// How many products of codes and activations (at most 127) fit 16 bits. Two of -128 and -127 do.
const fn fitting(max: u8) -> usize {
    if max == 255 { 2 } else { i16::MAX as usize / (127 * max as usize) }
}

impl Halves {
    /// # Safety
    /// The CPU must have Advanced SIMD.
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: by the caller's word.
        unsafe { Halves { narrow: [vdupq_n_s16(0); 2], wide: [vdupq_n_s32(0); 2] } }
    }

    /// # Safety
    /// The CPU must have Advanced SIMD.
    #[inline(always)]
    unsafe fn add(&mut self, codes: int8x16_t, a: int8x16_t, flush: bool) {
        // SAFETY: by the caller's word.
        unsafe {
            let [low, high] = self.narrow;
            self.narrow = [vmlal_s8(low, vget_low_s8(codes), vget_low_s8(a)), vmlal_high_s8(high, codes, a)];
            if flush {
                self.wide = [vpadalq_s16(self.wide[0], self.narrow[0]), vpadalq_s16(self.wide[1], self.narrow[1])];
                self.narrow = [vdupq_n_s16(0); 2];
            }
        }
    }

    /// # Safety
    /// The CPU must have Advanced SIMD.
    #[inline(always)]
    unsafe fn sum(self) -> int32x4_t {
        // SAFETY: by the caller's word.
        unsafe { vpaddq_s32(self.wide[0], self.wide[1]) }
    }
}

impl Products for Plain {
    type Dot = (Halves, int32x4_t);

    const HEIGHTS: &'static [usize] = &[1, 4, 8];

    compiled_with!("neon");
    rows_in_order!();

    #[inline(always)]
    unsafe fn begin(sum: int32x4_t) -> Self::Dot {
        // SAFETY: by the caller's word.
        (unsafe { Halves::new() }, sum)
    }
    #[inline(always)]
    unsafe fn dot<const MAX: u8>(
        (mut halves, sum): Self::Dot,
        codes: uint8x16_t,
        (a, at): (int8x16_t, usize),
        left: usize,
    ) -> Self::Dot {
        // SAFETY: by the caller's word.
        unsafe {
            let a = vreinterpretq_s32_s8(a);
            let a = match at {
                0 => vdupq_laneq_s32::<0>(a),
                1 => vdupq_laneq_s32::<1>(a),
                2 => vdupq_laneq_s32::<2>(a),
                _ => vdupq_laneq_s32::<3>(a),
            };
            let flush = left.is_multiple_of(fitting(MAX));
            halves.add(vreinterpretq_s8_u8(codes), vreinterpretq_s8_s32(a), flush);
        }
        (halves, sum)
    }
    #[inline(always)]
    unsafe fn end((halves, sum): Self::Dot) -> int32x4_t {
        // SAFETY: by the caller's word.
        unsafe { vaddq_s32(sum, halves.sum()) }
    }

    #[inline(always)]
    unsafe fn dots(max: u8, codes: &[Eight], a: *const i32, init: Four) -> Four {
        // SAFETY: by the caller's word.
        unsafe {
            let mut sums = [Halves::new(); 4];
            for (i, &[first, second]) in codes.iter().enumerate() {
                let flush = (codes.len() - 1 - i).is_multiple_of(fitting(max) / 2);
                let [a, b] = load_rows(a.add(8 * i)).map(|a| vreinterpretq_s32_s8(a));
                macro_rules! row {
                    ($r:literal, $a:expr, $first:literal, $second:literal) => {
                        sums[$r].add(first, vreinterpretq_s8_s32(vdupq_laneq_s32::<$first>($a)), false);
                        sums[$r].add(second, vreinterpretq_s8_s32(vdupq_laneq_s32::<$second>($a)), flush);
                    };
                }
                row!(0, a, 0, 1);
                row!(1, a, 2, 3);
                row!(2, b, 0, 1);
                row!(3, b, 2, 3);
            }
            let mut out = init;
            for (out, sums) in out.iter_mut().zip(sums) {
                *out = vaddq_s32(*out, sums.sum());
            }
            out
        }
    }
}

/// The four products of each lane's bytes with those of one lane of `a`, added to `acc`.
///
/// # Safety
/// The CPU must have FEAT_DotProd.
#[inline(always)]
unsafe fn sdot<const LANE: usize>(mut acc: int32x4_t, codes: uint8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: reads and writes only the named registers; the CPU has the instruction, by the caller's word.
    unsafe {
        asm!(
            ".arch_extension dotprod", "sdot {acc:v}.4s, {codes:v}.16b, {a:v}.4b[{lane}]",
            acc = inout(vreg) acc, codes = in(vreg) codes, a = in(vreg) a, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

/// Implements [`Products::dots`], four steps in one piece of assembly, so that what it loads is two vectors at a time and
/// takes no more registers. The rows of a group are in `x` and `y`, then in `z` and `w`.
macro_rules! dots_of_two_pairs {
    ($extension:literal, $first:literal, $second:literal) => {
        #[inline(always)]
        unsafe fn dots(_: u8, codes: &[Eight], a: *const i32, init: Four) -> Four {
            let [mut s0, mut s1, mut s2, mut s3] = init;
            macro_rules! two_pairs {
                        ($at:literal, $next:literal, $codes:expr) => {
                            if let [first, second, ..] = $codes {
                                asm!(
                                    $extension,
                                    concat!("ldp {x:q}, {y:q}, [{a}, #", $at, "]"),
                                    concat!("ldp {z:q}, {w:q}, [{a}, #", $next, "]"),
                                    $first,
                                    $second,
                                    s0 = inout(vreg) s0, s1 = inout(vreg) s1, s2 = inout(vreg) s2, s3 = inout(vreg) s3,
                                    c0 = in(vreg) first[0], c1 = in(vreg) first[1],
                                    c2 = in(vreg) second[0], c3 = in(vreg) second[1],
                                    x = out(vreg) _, y = out(vreg) _, z = out(vreg) _, w = out(vreg) _, a = in(reg) a,
                                    options(pure, readonly, nostack, preserves_flags)
                                );
                            }
                        };
                    }
            // SAFETY: reads 16 words of the group for each two pairs, and only reads and writes the named registers; the CPU
            // has the instructions, by the caller's word.
            unsafe {
                two_pairs!(0, 32, codes);
                two_pairs!(64, 96, &codes[2..]);
            }
            [s0, s1, s2, s3]
        }
    };
}

/// One row with FEAT_DotProd.
macro_rules! row_by_sdot {
    () => {
        type Dot = int32x4_t;

        #[inline(always)]
        unsafe fn begin(sum: int32x4_t) -> int32x4_t {
            sum
        }
        #[inline(always)]
        unsafe fn dot<const MAX: u8>(
            dot: int32x4_t,
            codes: uint8x16_t,
            (a, at): (int8x16_t, usize),
            _: usize,
        ) -> int32x4_t {
            // SAFETY: by the caller's word.
            unsafe {
                match at {
                    0 => sdot::<0>(dot, codes, a),
                    1 => sdot::<1>(dot, codes, a),
                    2 => sdot::<2>(dot, codes, a),
                    _ => sdot::<3>(dot, codes, a),
                }
            }
        }
        #[inline(always)]
        unsafe fn end(dot: int32x4_t) -> int32x4_t {
            dot
        }
    };
}

/// FEAT_DotProd: 16 bytes of activations are the steps of two rows, and `sdot` takes each out of its lane.
#[derive(Clone, Copy)]
pub(crate) struct Dotprod;

impl Products for Dotprod {
    const HEIGHTS: &'static [usize] = &[1, 4, 8, 16];

    compiled_with!("neon,dotprod");
    row_by_sdot!();
    rows_in_order!();
    dots_of_two_pairs!(
        ".arch_extension dotprod",
        "
        sdot {s0:v}.4s, {c0:v}.16b, {x:v}.4b[0]
        sdot {s1:v}.4s, {c0:v}.16b, {x:v}.4b[2]
        sdot {s2:v}.4s, {c0:v}.16b, {y:v}.4b[0]
        sdot {s3:v}.4s, {c0:v}.16b, {y:v}.4b[2]
        sdot {s0:v}.4s, {c1:v}.16b, {x:v}.4b[1]
        sdot {s1:v}.4s, {c1:v}.16b, {x:v}.4b[3]
        sdot {s2:v}.4s, {c1:v}.16b, {y:v}.4b[1]
        sdot {s3:v}.4s, {c1:v}.16b, {y:v}.4b[3]",
        "
        sdot {s0:v}.4s, {c2:v}.16b, {z:v}.4b[0]
        sdot {s1:v}.4s, {c2:v}.16b, {z:v}.4b[2]
        sdot {s2:v}.4s, {c2:v}.16b, {w:v}.4b[0]
        sdot {s3:v}.4s, {c2:v}.16b, {w:v}.4b[2]
        sdot {s0:v}.4s, {c3:v}.16b, {z:v}.4b[1]
        sdot {s1:v}.4s, {c3:v}.16b, {z:v}.4b[3]
        sdot {s2:v}.4s, {c3:v}.16b, {w:v}.4b[1]
        sdot {s3:v}.4s, {c3:v}.16b, {w:v}.4b[3]"
    );
}

/// FEAT_I8MM: `smmla` multiplies two rows and two columns. The order is the first two rows with the first two columns and with the
/// last two, then the last two rows so.
#[derive(Clone, Copy)]
pub(crate) struct I8mm;

impl Products for I8mm {
    const HEIGHTS: &'static [usize] = &[1, 4, 8, 16];

    compiled_with!("neon,dotprod,i8mm");
    row_by_sdot!();

    #[inline(always)]
    unsafe fn arrange(codes: Eight) -> Eight {
        // SAFETY: by the caller's word.
        unsafe {
            let [first, second] = codes.map(|codes| vreinterpretq_s32_s8(codes));
            [vzip1q_s32(first, second), vzip2q_s32(first, second)].map(|codes| vreinterpretq_s8_s32(codes))
        }
    }
    dots_of_two_pairs!(
        ".arch_extension i8mm",
        "
        smmla {s0:v}.4s, {x:v}.16b, {c0:v}.16b
        smmla {s1:v}.4s, {x:v}.16b, {c1:v}.16b
        smmla {s2:v}.4s, {y:v}.16b, {c0:v}.16b
        smmla {s3:v}.4s, {y:v}.16b, {c1:v}.16b",
        "
        smmla {s0:v}.4s, {z:v}.16b, {c2:v}.16b
        smmla {s1:v}.4s, {z:v}.16b, {c3:v}.16b
        smmla {s2:v}.4s, {w:v}.16b, {c2:v}.16b
        smmla {s3:v}.4s, {w:v}.16b, {c3:v}.16b"
    );
    #[inline(always)]
    unsafe fn of_rows(values: int32x4_t) -> Four {
        // SAFETY: by the caller's word.
        let (first, last) = unsafe { (vzip1q_s32(values, values), vzip2q_s32(values, values)) };
        [first, first, last, last]
    }
    #[inline(always)]
    unsafe fn of_columns(values: int32x4_t) -> Four {
        // SAFETY: by the caller's word.
        unsafe {
            let values = vreinterpretq_s64_s32(values);
            let [first, last] = [vdupq_laneq_s64::<0>(values), vdupq_laneq_s64::<1>(values)]
                .map(|values| vreinterpretq_s32_s64(values));
            [first, last, first, last]
        }
    }
    #[inline(always)]
    unsafe fn by_rows(sums: Four) -> Four {
        // SAFETY: by the caller's word.
        unsafe {
            let [a, b, c, d] = sums.map(|sums| vreinterpretq_s64_s32(sums));
            [vzip1q_s64(a, b), vzip2q_s64(a, b), vzip1q_s64(c, d), vzip2q_s64(c, d)]
                .map(|row| vreinterpretq_s32_s64(row))
        }
    }
}
