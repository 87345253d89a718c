//! One tile, generic over the level, the format and its own size.

use super::formats::Codes;
use super::{Job, Tile, Vector};
use crate::activations::GROUP;
use crate::format::ActivationFormat;
use crate::layout::{HALF_BYTES, PANEL, code_bytes, float_bytes, has_pairs_of_minima, run, scale_bytes};

/// Where a tile reads and writes.
pub(crate) struct TileArgs {
    /// Blocks of `k`.
    pub(crate) blocks: usize,
    /// The first panel.
    pub(crate) panel: *const u8,
    /// Bytes from a panel to the next, where the tile has vectors of several.
    pub(crate) panel_stride: usize,
    /// The first column of the tile within the panel.
    pub(crate) column: usize,
    /// The tile's first row in the first record of its group.
    pub(crate) rows: *const i32,
    /// Rows of the group; 4 where the tile spans several.
    pub(crate) width: usize,
    /// Words from a group to the next.
    pub(crate) group_stride: usize,
    /// Where the chains begin: the columns of the panels.
    pub(crate) init: *const f32,
    /// Where they end: rows of these columns.
    pub(crate) out: *mut f32,
    /// Columns of such a row.
    pub(crate) out_stride: usize,
}

/// The tile of `ROWS` rows and `N` vectors.
pub(crate) fn new<V: Vector, C: Codes, const ROWS: usize, const N: usize>() -> Tile<V> {
    /// Each tile is a function of its own, so that the registers are shared out for its loop alone.
    unsafe fn run<V: Vector, C: Codes, const ROWS: usize, const N: usize>(v: V, args: &TileArgs) {
        v.vectorize(Multiply::<C, ROWS, N>(args, core::marker::PhantomData));
    }
    Tile { rows: ROWS, cols: N * V::LANES, run: run::<V, C, ROWS, N> }
}

struct Multiply<'a, C, const ROWS: usize, const N: usize>(&'a TileArgs, core::marker::PhantomData<C>);

/// An array of values for each row and vector.
type Grid<T, const ROWS: usize, const N: usize> = [[T; N]; ROWS];

/// Where the vectors of a tile begin in the records of one block.
#[derive(Clone, Copy)]
struct Place {
    codes: *const u8,
    scales: *const u8,
    column: usize,
    panel_stride: usize,
}

impl Place {
    /// The codes of vector `n`.
    #[inline(always)]
    fn codes<V: Vector>(self, n: usize) -> *const u8 {
        let (panel, column) = (n * V::LANES / PANEL, n * V::LANES % PANEL);
        self.codes.wrapping_add(panel * self.panel_stride + 4 * column)
    }

    /// What stands `offset` bytes into the scales of a block, `each` bytes a column, for vector `n`.
    #[inline(always)]
    fn scales<V: Vector>(self, n: usize, offset: usize, each: usize) -> *const u8 {
        let (panel, column) = (n * V::LANES / PANEL, n * V::LANES % PANEL);
        self.scales.wrapping_add(panel * self.panel_stride + offset + each * (self.column + column))
    }
}

/// The words of the tile's rows in one block.
#[derive(Clone, Copy)]
struct Rows {
    record: *const i32,
    width: usize,
    group_stride: usize,
}

impl Rows {
    /// The word `i` of row `r`.
    ///
    /// # Safety
    /// The record must have that word and row.
    #[inline(always)]
    unsafe fn word<const ROWS: usize>(self, r: usize, i: usize) -> i32 {
        // Tiles of so many rows begin and end with their groups; the compiler then sees constants.
        let (group, width) = match ROWS {
            1 => (0, self.width),
            2 | 3 => (0, ROWS),
            _ => (r / GROUP, GROUP),
        };
        // SAFETY: by the caller's word.
        unsafe { *self.record.add(group * self.group_stride + i * width + r % GROUP) }
    }
}

impl<C: Codes, const ROWS: usize, const N: usize> Job for Multiply<'_, C, ROWS, N> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self, v: V) {
        let t = self.0;
        let kind = C::FORMAT.activation();
        // SAFETY: whoever calls a tile vouches for what `TileArgs` names: `blocks` records of codes and of scales, the
        // records of all rows, a panel's columns at `init` and for each row at `out`.
        unsafe {
            let mut acc: Grid<V::Floats, ROWS, N> = [[v.splat(0.0); N]; ROWS];
            for acc in &mut acc {
                for (n, acc) in acc.iter_mut().enumerate() {
                    *acc = v.load_float(t.init.add(t.column + n * V::LANES).cast());
                }
            }
            let mut rows = Rows { record: t.rows, width: t.width, group_stride: t.group_stride };
            let width = if ROWS == 1 { t.width } else { ROWS.min(GROUP) };
            let (code_len, scale_len) = (code_bytes(C::FORMAT), scale_bytes(C::FORMAT));
            let (mut panel, mut blocks) = (t.panel, t.blocks);
            while blocks > 0 {
                let run = blocks.min(run(C::FORMAT));
                let codes = panel.add((run * scale_len).next_multiple_of(64));
                let mut place = Place {
                    codes: codes.add(4 * t.column),
                    scales: panel,
                    column: t.column,
                    panel_stride: t.panel_stride,
                };
                panel = codes.add(run * code_len);
                blocks -= run;
                for _ in 0..run {
                    match kind {
                        ActivationFormat::Q8_0 => block_32::<V, C, ROWS, N>(v, place, rows, &mut acc),
                        ActivationFormat::Q8K => block_256::<V, C, ROWS, N>(v, place, rows, &mut acc),
                    }
                    place.codes = place.codes.add(code_len);
                    place.scales = place.scales.add(scale_len);
                    rows.record = rows.record.add(kind.words() * width);
                }
            }
            for (r, acc) in acc.into_iter().enumerate() {
                for (n, acc) in acc.into_iter().enumerate() {
                    v.store(acc, t.out.add(r * t.out_stride + t.column + n * V::LANES));
                }
            }
        }
    }
}

/// What is subtracted from every code, as an exponent, in the form of the level.
#[inline(always)]
fn offset<V: Vector, C: Codes>() -> Option<u32> {
    if C::MAX == 255 && V::SIGNED { None } else { C::OFFSET }
}

/// A block of 32: one scale, one sum.
///
/// # Safety
/// The records must be readable.
#[inline(always)]
unsafe fn block_32<V: Vector, C: Codes, const ROWS: usize, const N: usize>(
    v: V,
    place: Place,
    rows: Rows,
    acc: &mut Grid<V::Floats, ROWS, N>,
) {
    // SAFETY: by the caller's word.
    unsafe {
        if C::FORMAT.has_min() {
            for n in 0..N {
                let m = v.load_half(place.scales::<V>(n, HALF_BYTES, 2));
                for (r, acc) in acc.iter_mut().enumerate() {
                    acc[n] = v.mul_add(m, v.splat(float(rows.word::<ROWS>(r, 10))), acc[n]);
                }
            }
        }
        let mut sum = [[v.splat_int(0); N]; ROWS];
        if let Some(offset) = offset::<V, C>() {
            for (r, sum) in sum.iter_mut().enumerate() {
                *sum = [v.shl_int(v.splat_int(rows.word::<ROWS>(r, 9)), offset); N];
            }
        }
        for t in 0..8 {
            steps::<V, C, ROWS, N>(v, place, 0, t, rows, &mut sum);
        }
        for n in 0..N {
            let d = v.load_half(place.scales::<V>(n, 0, 2));
            for r in 0..ROWS {
                let d = v.mul(d, v.splat(float(rows.word::<ROWS>(r, 8))));
                acc[r][n] = v.mul_add(d, v.to_floats(sum[r][n]), acc[r][n]);
            }
        }
    }
}

#[inline(always)]
fn float(bits: i32) -> f32 {
    f32::from_bits(bits.cast_unsigned())
}

/// Step `t` of part `s`, for all rows.
///
/// # Safety
/// The records must be readable.
#[inline(always)]
unsafe fn steps<V: Vector, C: Codes, const ROWS: usize, const N: usize>(
    v: V,
    place: Place,
    s: usize,
    t: usize,
    rows: Rows,
    sum: &mut Grid<V::Ints, ROWS, N>,
) {
    let steps = C::FORMAT.block_len() / C::FORMAT.subs() / 4;
    for n in 0..N {
        // SAFETY: by the caller's word.
        let step = unsafe { C::step(v, place.codes::<V>(n), s, t) };
        for (r, sum) in sum.iter_mut().enumerate() {
            // SAFETY: as above.
            let a = unsafe { rows.word::<ROWS>(r, s * steps + t) };
            // `C::MAX` cannot be a parameter of a function here; all but one branch fall away.
            sum[n] = match C::MAX {
                0..=3 => v.dot::<3>(sum[n], step, a),
                4..=7 => v.dot::<7>(sum[n], step, a),
                8..=15 => v.dot::<15>(sum[n], step, a),
                16..=31 => v.dot::<31>(sum[n], step, a),
                32..=63 => v.dot::<63>(sum[n], step, a),
                _ => v.dot::<255>(sum[n], step, a),
            };
        }
    }
}

/// A block of 256: parts with scales, and minima.
///
/// # Safety
/// The records must be readable.
#[inline(always)]
unsafe fn block_256<V: Vector, C: Codes, const ROWS: usize, const N: usize>(
    v: V,
    place: Place,
    rows: Rows,
    acc: &mut Grid<V::Floats, ROWS, N>,
) {
    let (format, subs) = (C::FORMAT, C::FORMAT.subs());
    let is_byte_pair_packed = matches!(format, crate::Format::Q2K);
    // SAFETY: by the caller's word.
    unsafe {
        let pairs = |n: usize, p: usize| place.scales::<V>(n, float_bytes(format) + p * HALF_BYTES, 2);
        let load_scales = |n: usize, p: usize| {
            let at = if has_pairs_of_minima(format) { subs / 2 + p } else { p };
            let pair = v.load_pairs(pairs(n, at), C::SIGNED_SCALES);
            if is_byte_pair_packed { v.nibbles(pair, 0) } else { pair }
        };
        let load_minima = |n: usize, p: usize| {
            let pair = v.load_pairs(pairs(n, p), false);
            if is_byte_pair_packed { v.nibbles(pair, 4) } else { pair }
        };
        // The words of the negative sums of each 16 or 32 activations.
        let sums_at = if subs == 16 { 66 } else { 74 };

        if format.has_min() {
            let mut min_sum = [[v.splat_int(0); N]; ROWS];
            for p in 0..subs / 2 {
                for n in 0..N {
                    let min = load_minima(n, p);
                    for (r, sum) in min_sum.iter_mut().enumerate() {
                        sum[n] = v.dot_pairs(sum[n], min, rows.word::<ROWS>(r, sums_at + p));
                    }
                }
            }
            for n in 0..N {
                let m = v.load_half(place.scales::<V>(n, HALF_BYTES, 2));
                for r in 0..ROWS {
                    let m = v.mul(m, v.splat(float(rows.word::<ROWS>(r, 64))));
                    acc[r][n] = v.mul_add(m, v.to_floats(min_sum[r][n]), acc[r][n]);
                }
            }
        }
        let mut sum = [[v.splat_int(0); N]; ROWS];
        if subs == 1 {
            if let Some(offset) = offset::<V, C>() {
                for (r, sum) in sum.iter_mut().enumerate() {
                    *sum = [v.shl_int(v.splat_int(rows.word::<ROWS>(r, 65)), offset); N];
                }
            }
            for t in 0..64 {
                steps::<V, C, ROWS, N>(v, place, 0, t, rows, &mut sum);
            }
        } else {
            if let Some(offset) = offset::<V, C>() {
                for p in 0..subs / 2 {
                    for n in 0..N {
                        let scale = load_scales(n, p);
                        for (r, sum) in sum.iter_mut().enumerate() {
                            sum[n] = v.dot_pairs(sum[n], scale, rows.word::<ROWS>(r, sums_at + p));
                        }
                    }
                }
                sum = sum.map(|sum| sum.map(|sum| v.shl_int(sum, offset)));
            }
            for p in 0..subs / 2 {
                for half in 0..2 {
                    let s = 2 * p + half;
                    let mut dot = [[v.splat_int(0); N]; ROWS];
                    for t in 0..64 / subs {
                        steps::<V, C, ROWS, N>(v, place, s, t, rows, &mut dot);
                    }
                    for n in 0..N {
                        let scale = v.half(load_scales(n, p), half == 1);
                        for (dot, sum) in dot.iter().zip(&mut sum) {
                            sum[n] = v.add_int(sum[n], v.mul_int(dot[n], scale));
                        }
                    }
                }
            }
        }
        for n in 0..N {
            let d = match format {
                crate::Format::Q8K => v.load_float(place.scales::<V>(n, 0, 4)),
                _ => v.load_half(place.scales::<V>(n, 0, 2)),
            };
            for r in 0..ROWS {
                let d = v.mul(d, v.splat(float(rows.word::<ROWS>(r, 64))));
                acc[r][n] = v.mul_add(d, v.to_floats(sum[r][n]), acc[r][n]);
            }
        }
    }
}
