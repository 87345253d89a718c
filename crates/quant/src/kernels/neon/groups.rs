//! Tiles of whole groups of rows, by one vector of columns.
//!
//! The codes of a part are taken out of their words once and stay in registers while the groups pass, each of which needs
//! four sums; what the groups keep beyond a part is one vector a row.

#![expect(
    clippy::pointers_in_nomem_asm_block,
    reason = "`settle` reads nothing, and the pointer is not what it is about"
)]

use core::arch::aarch64::*;

use super::Neon;
use super::levels::{Eight, Four, Products};
use crate::Format;
use crate::activations::GROUP;
use crate::format::ActivationFormat;
use crate::kernels::formats::{self as f, Codes};
use crate::kernels::tile::{self, Place};
use crate::kernels::{Tile, TileArgs, Vector};
use crate::layout::HALF_BYTES;

/// The tile for so many rows.
pub(super) fn tile<P: Products>(format: Format, rows: usize) -> Tile<Neon<P>> {
    macro_rules! choose {
        ($($name:ident)*) => {
            match format {
                $(Format::$name => match rows {
                    4 => new::<P, f::$name, 1>(),
                    8 => new::<P, f::$name, 2>(),
                    _ => new::<P, f::$name, 4>(),
                },)*
            }
        };
    }
    choose!(Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2K Q3K Q4K Q5K Q6K Q8K Iq4Nl Iq4Xs)
}

fn new<P: Products, C: Codes, const GROUPS: usize>() -> Tile<Neon<P>> {
    Tile { rows: GROUPS * GROUP, cols: Neon::<P>::LANES, run: P::multiply::<C, GROUPS> }
}

/// The tile, to be compiled for the level.
///
/// # Safety
/// As for every [`Tile`]: the CPU must have the level, and what `TileArgs` names must be there.
#[inline(always)]
pub(super) unsafe fn multiply<P: Products, C: Codes, const GROUPS: usize>(v: Neon<P>, args: &TileArgs) {
    // SAFETY: by the caller's word.
    unsafe {
        match C::FORMAT.activation() {
            ActivationFormat::Q8_0 => blocks_32::<P, C, GROUPS>(v, args),
            ActivationFormat::Q8K => blocks_256::<P, C, GROUPS>(v, args),
        }
    }
}

/// Calls `f` for each group: no loop, so that what is kept for each stays in registers.
#[inline(always)]
fn each_group<const GROUPS: usize>(mut f: impl FnMut(usize)) {
    f(0);
    if GROUPS > 1 {
        f(1);
    }
    if GROUPS > 2 {
        f(2);
    }
    if GROUPS > 3 {
        f(3);
    }
}

/// Makes what is read at `record` afterwards wait for `$done`, four vectors, in the eyes of the compiler: else it works at
/// several groups at once, and runs out of registers. No instruction comes of it.
macro_rules! settle {
    ($done:expr, $record:ident) => {{
        let [a, b, c, d] = $done;
        core::arch::asm!(
            "/* {0:v} {1:v} {2:v} {3:v} {4:x} */", inout(vreg) *a, inout(vreg) *b, inout(vreg) *c, inout(vreg) *d,
            inout(reg) $record, options(pure, nomem, nostack, preserves_flags)
        );
    }};
}

/// The codes of part `s`, of eight steps at most, from step `t` on, less `minus`, as the level takes them.
///
/// # Safety
/// The record must be readable.
#[inline(always)]
unsafe fn codes<P: Products, C: Codes>(v: Neon<P>, words: *const u8, s: usize, t: usize, minus: i8) -> [Eight; 4] {
    // SAFETY: by the caller's word.
    unsafe {
        let step = |t: usize| {
            let codes = vreinterpretq_s8_u8(C::step(v, words, s, t));
            if minus == 0 { codes } else { vsubq_s8(codes, vdupq_n_s8(minus)) }
        };
        let pair = |i: usize| P::arrange([step(t + 2 * i), step(t + 2 * i + 1)]);
        let none = [vdupq_n_s8(0); 2];
        if C::FORMAT.subs() == 16 { [pair(0), pair(1), none, none] } else { [pair(0), pair(1), pair(2), pair(3)] }
    }
}

/// `acc` plus each row's integers times the columns' scale and the row's.
///
/// # Safety
/// The CPU must have Advanced SIMD.
#[inline(always)]
unsafe fn scaled(acc: &mut [float32x4_t; 4], sums: Four, columns: float32x4_t, rows: float32x4_t) {
    // SAFETY: by the caller's word.
    unsafe {
        let scales = [
            vmulq_laneq_f32::<0>(columns, rows),
            vmulq_laneq_f32::<1>(columns, rows),
            vmulq_laneq_f32::<2>(columns, rows),
            vmulq_laneq_f32::<3>(columns, rows),
        ];
        for ((acc, sum), scale) in acc.iter_mut().zip(sums).zip(scales) {
            *acc = vfmaq_f32(*acc, scale, vcvtq_f32_s32(sum));
        }
    }
}

/// Blocks of 32: one scale, one sum, and the chains in registers.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn blocks_32<P: Products, C: Codes, const GROUPS: usize>(v: Neon<P>, t: &TileArgs) {
    // SAFETY: by the caller's word.
    unsafe {
        let mut acc = [[vld1q_f32(t.init.add(t.column)); 4]; GROUPS];
        let mut record = t.rows;
        t.each_block::<C>(
            #[inline(always)]
            |place: Place| {
                let codes = codes::<P, C>(v, place.codes::<Neon<P>>(0), 0, 0, 0);
                let d = v.load_half(place.scales::<Neon<P>>(0, 0, 2));
                each_group::<GROUPS>(
                    #[inline(always)]
                    |g| {
                        let acc = &mut acc[g];
                        let words = record.add(g * t.group_stride);
                        let rest = words.add(8 * GROUP);
                        if C::FORMAT.has_min() {
                            let m = v.load_half(place.scales::<Neon<P>>(0, HALF_BYTES, 2));
                            let sums = vld1q_f32(rest.add(2 * GROUP).cast());
                            acc[0] = vfmaq_laneq_f32::<0>(acc[0], m, sums);
                            acc[1] = vfmaq_laneq_f32::<1>(acc[1], m, sums);
                            acc[2] = vfmaq_laneq_f32::<2>(acc[2], m, sums);
                            acc[3] = vfmaq_laneq_f32::<3>(acc[3], m, sums);
                        }
                        let init = match tile::offset::<Neon<P>, C>() {
                            Some(offset) => P::of_rows(v.shl_int(vld1q_s32(rest.add(GROUP)), offset)),
                            None => [vdupq_n_s32(0); 4],
                        };
                        let sums = P::by_rows(P::dots(C::MAX, &codes, words, init));
                        scaled(acc, sums, d, vld1q_f32(rest.cast()));
                        settle!(acc, record);
                    },
                );
                record = record.add(C::FORMAT.activation().words() * GROUP);
            },
        );
        for (r, acc) in acc.as_flattened().iter().enumerate() {
            vst1q_f32(t.out.add(r * t.out_stride + t.column), *acc);
        }
    }
}

/// Blocks of 256: parts with scales, and minima. The chains are in memory, for the registers hold the integer sums.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn blocks_256<P: Products, C: Codes, const GROUPS: usize>(v: Neon<P>, t: &TileArgs) {
    let (format, subs) = (C::FORMAT, C::FORMAT.subs());
    let minus = tile::offset::<Neon<P>, C>().map_or(0, |offset| 1 << offset);
    // SAFETY: by the caller's word.
    unsafe {
        let zero = vdupq_n_s32(0);
        let out = |r: usize| t.out.add(r * t.out_stride + t.column);
        for r in 0..GROUPS * GROUP {
            vst1q_f32(out(r), vld1q_f32(t.init.add(t.column)));
        }
        let mut record = t.rows;
        t.each_block::<C>(
            #[inline(always)]
            |place: Place| {
                let words = place.codes::<Neon<P>>(0);
                let group = |record: *const i32, g: usize| record.add(g * t.group_stride);
                let mut sums = [[zero; 4]; GROUPS];
                if subs == 1 {
                    for eighth in 0..8 {
                        let codes = codes::<P, C>(v, words, 0, 8 * eighth, minus);
                        each_group::<GROUPS>(
                            #[inline(always)]
                            |g| {
                                sums[g] = P::dots(C::MAX, &codes, group(record, g).add(8 * GROUP * eighth), sums[g]);
                                settle!(&mut sums[g], record);
                            },
                        );
                    }
                } else {
                    for p in 0..subs / 2 {
                        let pair = tile::scale_pair::<_, C>(v, place, 0, p);
                        tile::both(
                            #[inline(always)]
                            |half| {
                                let (s, steps) = (2 * p + half, 64 / subs);
                                let scales = P::of_columns(v.half(pair, half == 1));
                                let codes = codes::<P, C>(v, words, s, 0, minus);
                                let codes = &codes[..steps / 2];
                                each_group::<GROUPS>(
                                    #[inline(always)]
                                    |g| {
                                        let a = group(record, g).add(s * steps * GROUP);
                                        let dots = P::dots(C::MAX, codes, a, [zero; 4]);
                                        for ((sum, dot), scale) in sums[g].iter_mut().zip(dots).zip(scales) {
                                            *sum = vmlaq_s32(*sum, dot, scale);
                                        }
                                        settle!(&mut sums[g], record);
                                    },
                                );
                            },
                        );
                    }
                }
                let d = match format {
                    Format::Q8K => v.load_float(place.scales::<Neon<P>>(0, 0, 4)),
                    _ => v.load_half(place.scales::<Neon<P>>(0, 0, 2)),
                };
                each_group::<GROUPS>(
                    #[inline(always)]
                    |g| {
                        let rest = group(record, g).add(64 * GROUP);
                        let scales = vld1q_f32(rest.cast());
                        let mut acc = [0, 1, 2, 3].map(|r| vld1q_f32(out(g * GROUP + r)));
                        if format.has_min() {
                            let m = v.load_half(place.scales::<Neon<P>>(0, HALF_BYTES, 2));
                            let first = rest.add((tile::sums_at(format) - 64) * GROUP);
                            scaled(&mut acc, minima::<P, C>(v, place, first), m, scales);
                        }
                        scaled(&mut acc, P::by_rows(sums[g]), d, scales);
                        for (r, acc) in acc.into_iter().enumerate() {
                            vst1q_f32(out(g * GROUP + r), acc);
                        }
                    },
                );
                record = record.add(format.activation().words() * GROUP);
            },
        );
    }
}

/// The products of the columns' minima and the negative sums of a group's activations, which begin at `words`.
///
/// # Safety
/// The records must be readable.
#[inline(always)]
unsafe fn minima<P: Products, C: Codes>(v: Neon<P>, place: Place, words: *const i32) -> Four {
    // SAFETY: by the caller's word.
    unsafe {
        let mut sums = [vdupq_n_s32(0); 4];
        for p in 0..C::FORMAT.subs() / 2 {
            let pair = tile::minimum_pair::<_, C>(v, place, 0, p);
            let (even, odd) = (vmovn_s32(pair), vshrn_n_s32::<16>(pair));
            let a = vld1q_s16(words.add(p * GROUP).cast());
            sums[0] = vmlal_laneq_s16::<1>(vmlal_laneq_s16::<0>(sums[0], even, a), odd, a);
            sums[1] = vmlal_laneq_s16::<3>(vmlal_laneq_s16::<2>(sums[1], even, a), odd, a);
            sums[2] = vmlal_laneq_s16::<5>(vmlal_laneq_s16::<4>(sums[2], even, a), odd, a);
            sums[3] = vmlal_laneq_s16::<7>(vmlal_laneq_s16::<6>(sums[3], even, a), odd, a);
        }
        sums
    }
}
