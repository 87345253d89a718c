//! The loops around the micro-kernels.
//!
//! C is cut into parts for threads. Inside a part, a block of A that fits the second-level cache is brought into the
//! order of the kernels, quantised where it comes as floats; then panels of B pass through the first-level cache, each
//! multiplied with all strips of the block. `k` is never cut: a tile's sums are finished when it leaves the registers.

use core::ops::Range;

use kernform_simd::{Kernel, Simd};

use super::finish::Finish;
use super::kernels::{Format, Kernels, MAX_COLS, MAX_TILE, TileArgs, Widths};
use super::multiply::{Rows, Scale};
use super::packed::{GROUP, LINE, panel_len};
use super::quantize::{CHUNK, row_factors, row_to_bytes};
use crate::driver::Output;
use crate::{Epilogue, PANEL};

/// Bytes of a block of A: half of a second-level cache.
const BLOCK: usize = 240 << 10;
/// Most rows of a block.
const BLOCK_ROWS: usize = 256;
/// Fewest rows of a block, where they are long: those of the tallest tile.
const LEAST_ROWS: usize = 12;
/// Bytes between rows of packed A, so that they do not fall into the same cache sets.
const A_PAD: usize = 64;

/// A product whose shapes were checked.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) k: usize,
    pub(super) rows: Rows<'a>,
    pub(super) b: &'a [i8],
    pub(super) sink: Sink<'a>,
    pub(super) kernels: &'static Kernels,
}

/// What becomes of the sums.
#[derive(Clone, Copy)]
pub(super) enum Sink<'a> {
    /// They are scaled and finished.
    Floats {
        c: Output,
        col_scale: Scale<'a>,
        epilogue: Epilogue<'a>,
        /// Whether the sums are those of shifted bytes of A; then the scaled sum is rounded before the bias is added, and
        /// the activation is ReLU or none.
        is_shifted: bool,
    },
    /// They are written as they are; the place is one of `i32`.
    Integers { c: Output },
}

/// The elements of C that one thread computes, and its scratch.
pub(super) struct Part<'s> {
    pub(super) rows: Range<usize>,
    pub(super) cols: Range<usize>,
    pub(super) scratch: &'s mut [f32],
}

/// Bytes from a row of packed A to the next.
const fn a_stride(k: usize, format: Format) -> usize {
    k.next_multiple_of(64) * format.bytes() + A_PAD
}

/// Floats of scratch a part: for the scales of a block's rows and for the block, in the widest format.
pub(super) const fn part_scratch(m: usize, k: usize) -> usize {
    let stride = a_stride(k, Format::Wide);
    let all = m.saturating_mul(stride);
    let least = LEAST_ROWS * stride;
    let most = if least > BLOCK { least } else { BLOCK };
    let block = if all < most { all } else { most };
    let scales = if m < BLOCK_ROWS { m } else { BLOCK_ROWS };
    scales.next_multiple_of(16) + block / size_of::<f32>() + PANEL
}

/// Computes one part of a product.
pub(super) struct ComputePart<'a, 's> {
    pub(super) product: &'a Product<'a>,
    pub(super) part: &'a mut Part<'s>,
}

impl Kernel for ComputePart<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (p, rows, cols) = (self.product, self.part.rows.clone(), self.part.cols.clone());
        let (Sink::Floats { c, .. } | Sink::Integers { c }) = &p.sink;
        c.check(rows.end, cols.end);
        let stride = a_stride(p.k, p.kernels.format);
        let most = (BLOCK / stride).clamp(LEAST_ROWS, BLOCK_ROWS);
        let blocks = rows.len().div_ceil(most);
        let block_rows = rows.len().div_ceil(blocks);
        let (scales, a) = self.part.scratch.split_at_mut(block_rows.next_multiple_of(16));
        let skip = a.as_ptr().align_offset(LINE).min(a.len());
        let a: &mut [u8] = bytes_of(&mut a[skip..]);
        let (mut tile, mut finish) = ([0; MAX_TILE], Finish::new(&p.sink));
        for row in rows.clone().step_by(block_rows) {
            let block = Block { p, stride, row, rows: block_rows.min(rows.end - row), cols: cols.clone() };
            finish.fetch(cols.start);
            block.pack(s, scales, a);
            block.multiply(s, &scales[..block.rows], &a[..block.rows * stride], &mut tile, &mut finish);
        }
    }
}

/// A slice of floats as bytes.
fn bytes_of(floats: &mut [f32]) -> &mut [u8] {
    // SAFETY: every byte of a float is initialised, every byte is a float's, and `u8` has no alignment.
    unsafe { core::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), size_of_val(floats)) }
}

/// One block of rows.
struct Block<'a> {
    p: &'a Product<'a>,
    stride: usize,
    row: usize,
    rows: usize,
    cols: Range<usize>,
}

impl Block<'_> {
    /// Brings A into the format of the kernels and notes the scales of its rows.
    #[inline(always)]
    fn pack<S: Simd>(&self, s: S, scales: &mut [f32], a: &mut [u8]) {
        let (k, format) = (self.p.k, self.p.kernels.format);
        let rows = a[..self.rows * self.stride].chunks_exact_mut(self.stride).enumerate();
        for ((i, into), scale) in rows.zip(&mut scales[..self.rows]) {
            let i = self.row + i;
            let multiplier;
            match self.p.rows {
                Rows::Quantized { values, scale: given } => {
                    *scale = given.get(i);
                    pack_bytes(values.row(i), format, into, |j| values.get(i, j).copied().unwrap_or(0));
                    fill(into, k, format);
                    continue;
                }
                Rows::Dynamic(values) => (multiplier, *scale) = row_factors(s, values, i),
                Rows::Static { multiplier: given, scale: factor, .. } => (multiplier, *scale) = (given, factor),
            }
            let (Rows::Dynamic(values) | Rows::Static { values, .. }) = self.p.rows else { continue };
            let mut chunk = [0; CHUNK];
            let shift = if format == Format::Unsigned { 128 } else { 0 };
            for from in (0..k).step_by(CHUNK) {
                let count = CHUNK.min(k - from);
                let into = &mut into[from * format.bytes()..];
                if format == Format::Wide {
                    row_to_bytes(s, values, (i, from), multiplier, shift, &mut chunk[..count]);
                    widen(&chunk[..count], into);
                } else {
                    row_to_bytes(s, values, (i, from), multiplier, shift, signed(&mut into[..count]));
                }
            }
            fill(into, k, format);
        }
    }

    /// Multiplies the block, which is all of `a`, with all columns of the part.
    #[inline(always)]
    fn multiply<S: Simd>(&self, s: S, scales: &[f32], a: &[u8], tile: &mut [i32; MAX_TILE], finish: &mut Finish<'_>) {
        let kernels = self.p.kernels;
        let strips = self.rows.div_ceil(kernels.max_rows);
        let (least_rows, taller) = (self.rows / strips, self.rows % strips);
        let Widths { unit, in_registers, passes } = (kernels.widths)(self.rows.div_ceil(strips));
        let mut units = self.cols.len().div_ceil(unit);
        let mut groups = units.div_ceil(in_registers);
        let mut col = self.cols.start;
        while groups > 0 {
            let wide = units.div_ceil(groups);
            // The groups that are as wide as this one.
            let alike = if units.is_multiple_of(groups) { groups } else { units % groups };
            let passes = alike.min(passes);
            groups -= passes;
            units -= passes * wide;
            let width = passes * wide * unit;
            let valid = width.min(self.cols.end - col);
            let multiply = [(kernels.tile)(least_rows, wide * unit), (kernels.tile)(least_rows + 1, wide * unit)];
            // What the kernels read and write without a check, checked once for these columns.
            assert!(self.rows.div_ceil(strips) * width <= MAX_TILE && width <= MAX_COLS, "a tile is too large");
            let panel_stride = panel_len(self.p.k);
            let panels = &self.p.b[..(col + width).div_ceil(PANEL) * panel_stride];
            let b = panels[col / PANEL * panel_stride + col % PANEL * GROUP..].as_ptr();
            finish.take(self.p, col, width, valid);
            let mut row = 0;
            for strip in 0..strips {
                let is_taller = strip < taller;
                let rows = least_rows + usize::from(is_taller);
                let args = TileArgs {
                    groups: self.p.k.div_ceil(GROUP),
                    passes,
                    a: a[row * self.stride..].as_ptr(),
                    a_stride: self.stride,
                    b,
                    panel_stride,
                    out: tile.as_mut_ptr(),
                };
                // SAFETY: `rows` rows of A, filled up to whole groups, lie there; B is packed in whole panels, of which
                // the tile needs no more than there are; `tile` has room for the largest one. The kernels are those of
                // the level that dispatch has proved.
                unsafe { multiply[usize::from(is_taller)](&args) };
                finish.run(s, self.row + row, &scales[row..row + rows], tile);
                row += rows;
            }
            col += valid;
        }
    }
}

/// The same bytes with a sign.
fn signed(bytes: &mut [u8]) -> &mut [i8] {
    // SAFETY: `i8` has the size and alignment of `u8`, and both take every value.
    unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// Writes the bytes of a row in the format, from the row itself where its elements stand next to each other.
#[inline(always)]
fn pack_bytes(row: Option<&[i8]>, format: Format, into: &mut [u8], get: impl Fn(usize) -> i8) {
    match (row, format) {
        (Some(row), Format::Wide) => widen(row, into),
        (Some(row), Format::Signed) => signed(into)[..row.len()].copy_from_slice(row),
        (Some(row), Format::Unsigned) => {
            for (into, value) in into.iter_mut().zip(row) {
                *into = value.cast_unsigned() ^ 0x80;
            }
        }
        (None, Format::Wide) => {
            for (j, into) in into.chunks_exact_mut(2).enumerate() {
                into.copy_from_slice(&i16::from(get(j)).to_ne_bytes());
            }
        }
        (None, _) => {
            let flip = if format == Format::Unsigned { 0x80 } else { 0 };
            for (j, into) in into.iter_mut().enumerate() {
                *into = get(j).cast_unsigned() ^ flip;
            }
        }
    }
}

/// Bytes to 16-bit integers.
#[inline(always)]
fn widen(from: &[i8], into: &mut [u8]) {
    for (into, value) in into.chunks_exact_mut(2).zip(from) {
        into.copy_from_slice(&i16::from(*value).to_ne_bytes());
    }
}

/// Sets what stands behind the row's elements: B has zeros there, but sums of its columns are only taken off for
/// elements that are there.
#[inline(always)]
fn fill(into: &mut [u8], k: usize, format: Format) {
    into[k * format.bytes()..].fill(0);
}
