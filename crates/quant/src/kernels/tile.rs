//! One tile, generic over the level, the format and its own size.

use super::formats::Codes;
use super::{Job, Tile, Vector};
use crate::Format;
use crate::activations::GROUP;
use crate::format::ActivationFormat;
use crate::layout::{
    HALF_BYTES, PANEL, WORD_BYTES, code_bytes, float_bytes, has_pairs_of_minima, run, scale_bytes, words,
};

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
    /// The first record of the tile's first group.
    pub(crate) rows: *const i32,
    /// The first row within that group; 0 where the tile has several.
    pub(crate) first_row: usize,
    /// Rows of the group.
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

impl TileArgs {
    /// Calls `f` for each block with its place.
    ///
    /// # Safety
    /// The panels must have the blocks.
    #[inline(always)]
    pub(super) unsafe fn each_block<C: Codes>(&self, mut f: impl FnMut(Place)) {
        let (code_len, scale_len) = (code_bytes(C::FORMAT), scale_bytes(C::FORMAT));
        let (mut panel, mut blocks) = (self.panel, self.blocks);
        while blocks > 0 {
            let run = blocks.min(run(C::FORMAT));
            // SAFETY: inside the panel, or at its end, by the caller's word.
            unsafe {
                let codes = panel.add((run * scale_len).next_multiple_of(64));
                let mut place = Place {
                    codes: codes.add(4 * self.column),
                    scales: panel,
                    scale_lines: (run * scale_len).div_ceil(64),
                    column: self.column,
                    panel_stride: self.panel_stride,
                };
                panel = codes.add(run * code_len);
                blocks -= run;
                for _ in 0..run {
                    f(place);
                    place.codes = place.codes.add(code_len);
                    place.scales = place.scales.add(scale_len);
                    place.scale_lines = 0;
                }
            }
        }
    }
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
pub(super) struct Place {
    codes: *const u8,
    scales: *const u8,
    /// Lines of scales from there on to the codes, where these are the first of several records.
    scale_lines: usize,
    column: usize,
    panel_stride: usize,
}

impl Place {
    /// The codes of vector `n`.
    #[inline(always)]
    pub(super) fn codes<V: Vector>(self, n: usize) -> *const u8 {
        let (panel, column) = (n * V::LANES / PANEL, n * V::LANES % PANEL);
        self.codes.wrapping_add(panel * self.panel_stride + 4 * column)
    }

    /// What stands `offset` bytes into the scales of a block, `each` bytes a column, for vector `n`.
    #[inline(always)]
    pub(super) fn scales<V: Vector>(self, n: usize, offset: usize, each: usize) -> *const u8 {
        let (panel, column) = (n * V::LANES / PANEL, n * V::LANES % PANEL);
        self.scales.wrapping_add(panel * self.panel_stride + offset + each * (self.column + column))
    }

    /// Pair `p` of bytes of the parts of a block, for vector `n`.
    #[inline(always)]
    fn pair<V: Vector, C: Codes>(self, n: usize, p: usize) -> *const u8 {
        self.scales::<V>(n, float_bytes(C::FORMAT) + p * HALF_BYTES, 2)
    }
}

/// The words of the tile's rows in one block.
#[derive(Clone, Copy)]
struct Rows {
    record: *const i32,
    first: usize,
    width: usize,
    group_stride: usize,
}

impl Rows {
    /// The group of row `r`, its place there, and the group's width: constants, but for the levels whose only tile is of one
    /// row. Tiles of several rows begin and end with groups, or with rows alone.
    #[inline(always)]
    fn group<V: Vector, const ROWS: usize>(self, r: usize) -> (*const i32, usize, usize) {
        match ROWS {
            1 if V::HEIGHTS.len() == 1 => (self.record, self.first, self.width),
            1..GROUP => (self.record.wrapping_add(r * self.group_stride), 0, 1),
            _ => (self.record.wrapping_add(r / GROUP * self.group_stride), r % GROUP, GROUP),
        }
    }

    /// Four words of row `r` among which that of step `t` is, counted from step `first`, a multiple of four; and its place there.
    /// Where rows stand in groups the other words are not the row's.
    #[inline(always)]
    fn step<V: Vector, const ROWS: usize>(self, r: usize, first: usize, t: usize) -> (*const i32, usize) {
        match self.group::<V, ROWS>(r) {
            (record, _, 1) => (record.wrapping_add(first + t / 4 * 4), t % 4),
            (record, at, width) => (record.wrapping_add((first + t) / 2 * 2 * width + 2 * at + t % 2), 0),
        }
    }

    /// The word `i` of row `r`, which is no step's.
    ///
    /// # Safety
    /// The record must have that word and row.
    #[inline(always)]
    unsafe fn word<V: Vector, const ROWS: usize>(self, r: usize, i: usize) -> i32 {
        let (record, at, width) = self.group::<V, ROWS>(r);
        // SAFETY: by the caller's word.
        unsafe { *record.add(i * width + at) }
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
            let mut rows = Rows { record: t.rows, first: t.first_row, width: t.width, group_stride: t.group_stride };
            let (_, _, width) = rows.group::<V, ROWS>(0);
            t.each_block::<C>(
                #[inline(always)]
                |place| {
                    match kind {
                        ActivationFormat::Q8_0 => block_32::<V, C, ROWS, N>(v, place, rows, &mut acc),
                        ActivationFormat::Q8K => block_256::<V, C, ROWS, N>(v, place, rows, &mut acc),
                    }
                    rows.record = rows.record.add(kind.words() * width);
                    if ROWS == 1 && C::FORMAT.subs() > 1 {
                        // The next record, which a panel's weights have driven out of the first-level cache.
                        let end = t.rows.wrapping_add(t.blocks * kind.words() * width);
                        let next = if rows.record == end { t.rows } else { rows.record };
                        v.touch(next.cast(), (4 * kind.words()).div_ceil(WORD_BYTES));
                    }
                },
            );
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
pub(super) fn offset<V: Vector, C: Codes>() -> Option<u32> {
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
                    acc[n] = v.mul_add(m, v.splat(float(rows.word::<V, ROWS>(r, 10))), acc[n]);
                }
            }
        }
        let mut sum = [[v.splat_int(0); N]; ROWS];
        if let Some(offset) = offset::<V, C>() {
            for (r, sum) in sum.iter_mut().enumerate() {
                *sum = [v.shl_int(v.splat_int(rows.word::<V, ROWS>(r, 9)), offset); N];
            }
        }
        let sum = dots::<V, C, ROWS, N>(v, place, 0, rows, sum);
        for n in 0..N {
            let d = v.load_half(place.scales::<V>(n, 0, 2));
            for r in 0..ROWS {
                let d = v.mul(d, v.splat(float(rows.word::<V, ROWS>(r, 8))));
                acc[r][n] = v.mul_add(d, v.to_floats(sum[r][n]), acc[r][n]);
            }
        }
    }
}

#[inline(always)]
fn float(bits: i32) -> f32 {
    f32::from_bits(bits.cast_unsigned())
}

/// Calls `f` for both parts of a pair: no loop, for their codes stand in different bits.
#[inline(always)]
pub(super) fn both(mut f: impl FnMut(usize)) {
    f(0);
    f(1);
}

/// Calls `f` for each step of a part: no loop where a part has four or eight, for how codes are taken out depends on the step.
#[inline(always)]
fn each_step(steps: usize, mut f: impl FnMut(usize)) {
    for first in (0..steps).step_by(8) {
        f(first);
        f(first + 1);
        f(first + 2);
        f(first + 3);
        if steps > 4 {
            f(first + 4);
            f(first + 5);
            f(first + 6);
            f(first + 7);
        }
    }
}

/// `init` plus the products of part `s`, for all rows.
///
/// # Safety
/// The records must be readable.
#[inline(always)]
unsafe fn dots<V: Vector, C: Codes, const ROWS: usize, const N: usize>(
    v: V,
    place: Place,
    s: usize,
    rows: Rows,
    init: Grid<V::Ints, ROWS, N>,
) -> Grid<V::Ints, ROWS, N> {
    let steps = C::FORMAT.block_len() / C::FORMAT.subs() / 4;
    let mut dots = init.map(|init| init.map(|init| v.begin(init)));
    each_step(
        steps,
        #[inline(always)]
        |t| {
            for n in 0..N {
                // SAFETY: by the caller's word.
                let step = unsafe { C::step(v, place.codes::<V>(n), s, t) };
                for (r, dots) in dots.iter_mut().enumerate() {
                    let (words, at) = rows.step::<V, ROWS>(r, s * steps, t);
                    // SAFETY: as above.
                    let a = unsafe { v.load_step(words, at) };
                    let left = steps - 1 - t;
                    // `C::MAX` cannot be a parameter of a function here; all but one branch fall away.
                    dots[n] = match C::MAX {
                        0..=3 => v.dot::<3>(dots[n], step, a, left),
                        4..=7 => v.dot::<7>(dots[n], step, a, left),
                        8..=15 => v.dot::<15>(dots[n], step, a, left),
                        16..=31 => v.dot::<31>(dots[n], step, a, left),
                        32..=63 => v.dot::<63>(dots[n], step, a, left),
                        _ => v.dot::<255>(dots[n], step, a, left),
                    };
                }
            }
        },
    );
    dots.map(|dots| dots.map(|dot| v.end(dot)))
}

/// The scales of parts `2 p` and `2 p + 1` for vector `n`, as `i16`.
///
/// # Safety
/// The record must be readable.
#[inline(always)]
pub(super) unsafe fn scale_pair<V: Vector, C: Codes>(v: V, place: Place, n: usize, p: usize) -> V::Ints {
    let at = if has_pairs_of_minima(C::FORMAT) { C::FORMAT.subs() / 2 + p } else { p };
    // SAFETY: by the caller's word.
    let pair = unsafe { v.load_pairs(place.pair::<V, C>(n, at), C::SIGNED_SCALES) };
    if matches!(C::FORMAT, Format::Q2K) { v.nibbles(pair, 0) } else { pair }
}

/// The minima of parts `2 p` and `2 p + 1` likewise.
///
/// # Safety
/// The record must be readable.
#[inline(always)]
pub(super) unsafe fn minimum_pair<V: Vector, C: Codes>(v: V, place: Place, n: usize, p: usize) -> V::Ints {
    // SAFETY: by the caller's word.
    let pair = unsafe { v.load_pairs(place.pair::<V, C>(n, p), false) };
    if matches!(C::FORMAT, Format::Q2K) { v.nibbles(pair, 4) } else { pair }
}

/// The words of the negative sums of as many activations as a part has, 16 or 32.
pub(super) const fn sums_at(format: Format) -> usize {
    if format.subs() == 16 { 66 } else { 74 }
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
    let sums_at = sums_at(format);
    if ROWS == 1 && subs > 1 {
        v.touch(place.scales, place.scale_lines);
    }
    // SAFETY: by the caller's word.
    unsafe {
        if format.has_min() {
            let mut min_sum = [[v.splat_int(0); N]; ROWS];
            for p in 0..subs / 2 {
                for n in 0..N {
                    let min = minimum_pair::<V, C>(v, place, n, p);
                    for (r, sum) in min_sum.iter_mut().enumerate() {
                        sum[n] = v.dot_pairs(sum[n], min, rows.word::<V, ROWS>(r, sums_at + p));
                    }
                }
            }
            for n in 0..N {
                let m = v.load_half(place.scales::<V>(n, HALF_BYTES, 2));
                for r in 0..ROWS {
                    let m = v.mul(m, v.splat(float(rows.word::<V, ROWS>(r, 64))));
                    acc[r][n] = v.mul_add(m, v.to_floats(min_sum[r][n]), acc[r][n]);
                }
            }
        }
        let mut sum = [[v.splat_int(0); N]; ROWS];
        if subs == 1 {
            if let Some(offset) = offset::<V, C>() {
                for (r, sum) in sum.iter_mut().enumerate() {
                    *sum = [v.shl_int(v.splat_int(rows.word::<V, ROWS>(r, 65)), offset); N];
                }
            }
            sum = dots::<V, C, ROWS, N>(v, place, 0, rows, sum);
        } else {
            if let Some(offset) = offset::<V, C>() {
                for p in 0..subs / 2 {
                    for n in 0..N {
                        let scale = scale_pair::<V, C>(v, place, n, p);
                        for (r, sum) in sum.iter_mut().enumerate() {
                            sum[n] = v.dot_pairs(sum[n], scale, rows.word::<V, ROWS>(r, sums_at + p));
                        }
                    }
                }
                sum = sum.map(|sum| sum.map(|sum| v.shl_int(sum, offset)));
            }
            for p in 0..subs / 2 {
                if ROWS == 1 {
                    let lines = words(format) / (subs / 2);
                    v.touch(place.codes.wrapping_add(p * lines * WORD_BYTES), lines);
                }
                both(
                    #[inline(always)]
                    |half| {
                        let s = 2 * p + half;
                        let dot = dots::<V, C, ROWS, N>(v, place, s, rows, [[v.splat_int(0); N]; ROWS]);
                        for n in 0..N {
                            let scale = v.half(scale_pair::<V, C>(v, place, n, p), half == 1);
                            for (dot, sum) in dot.iter().zip(&mut sum) {
                                sum[n] = v.add_int(sum[n], v.mul_int(dot[n], scale));
                            }
                        }
                    },
                );
            }
        }
        for n in 0..N {
            let d = match format {
                Format::Q8K => v.load_float(place.scales::<V>(n, 0, 4)),
                _ => v.load_half(place.scales::<V>(n, 0, 2)),
            };
            for r in 0..ROWS {
                let d = v.mul(d, v.splat(float(rows.word::<V, ROWS>(r, 64))));
                acc[r][n] = v.mul_add(d, v.to_floats(sum[r][n]), acc[r][n]);
            }
        }
    }
}
