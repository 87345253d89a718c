//! Rows of activations as bytes, in the order in which the kernels read them.
//!
//! Rows stand in groups of [`GROUP`]; where their number is no multiple, the last ones stand alone, groups of one. A group of
//! width `w` is one record a block, and a record is made of words of four bytes, each kind `w` times, once a row (steps by
//! twos: the first two of each row, then the next two of each, so that 16 bytes are eight values of two rows):
//!
//! | words | what |
//! | --- | --- |
//! | `w * block / 4` | steps: four bytes of a row |
//! | `w` | the scale, an `f32` |
//! | `w` | the sum of the bytes, negative |
//! | `w` | 32: scale times sum, an `f32` |
//! | `8 w` | 256: the negative sums of each 16 bytes, two `i16` a word |
//! | `4 w` | 256: the negative sums of each 32 bytes, two `i16` a word |

use kernform_simd::{Isa, Kernel, Simd};
use kernform_tensor::MatrixRef;

use crate::format::MAX_BLOCK;
use crate::reference::ROUND;
use crate::{ActivationFormat, QuantError};

/// Rows that stand side by side.
pub(crate) const GROUP: usize = 4;

impl ActivationFormat {
    /// Words of a record for each row.
    pub(crate) const fn words(self) -> usize {
        match self {
            ActivationFormat::Q8_0 => 8 + 3,
            ActivationFormat::Q8K => 64 + 2 + 8 + 4,
        }
    }
}

/// Rows of activations, quantised: what every product with weights of the fitting formats reads.
///
/// Several products may share them (query, key and value projections of one input). The layout is that of the kernels
/// and of no level in particular.
#[derive(Clone, Copy, Debug)]
pub struct Activations<'a> {
    format: ActivationFormat,
    rows: usize,
    k: usize,
    words: &'a [i32],
}

impl<'a> Activations<'a> {
    /// Words of memory for `rows` rows of `k` values.
    ///
    /// # Errors
    /// [`QuantError::PartialBlock`] where `k` is no whole number of blocks, [`QuantError::TooLarge`].
    pub const fn words_len(format: ActivationFormat, rows: usize, k: usize) -> Result<usize, QuantError> {
        let block_len = format.block_len();
        if !k.is_multiple_of(block_len) {
            return Err(QuantError::PartialBlock { len: k, block_len });
        }
        match (k / block_len * format.words()).checked_mul(rows) {
            Some(len) => Ok(len),
            None => Err(QuantError::TooLarge),
        }
    }

    /// Quantises the rows of `a` as [`reference::quantize_block`](crate::reference::quantize_block) says, into the first
    /// [`Activations::words_len`] words of `memory`.
    ///
    /// # Errors
    /// [`QuantError::PartialBlock`], [`QuantError::MemoryTooShort`], [`QuantError::StridedRows`] where the elements of
    /// a row do not stand next to each other.
    pub fn quantize(
        isa: Isa,
        format: ActivationFormat,
        a: MatrixRef<'_, f32>,
        memory: &'a mut [i32],
    ) -> Result<Self, QuantError> {
        let (rows, k) = (a.rows(), a.cols());
        let needed = Self::words_len(format, rows, k)?;
        let found = memory.len();
        let words = memory.get_mut(..needed).ok_or(QuantError::MemoryTooShort { needed, found })?;
        if !a.rows_are_contiguous() && !a.is_empty() {
            return Err(QuantError::StridedRows { col_stride: a.col_stride() });
        }
        if needed > 0 {
            isa.dispatch(QuantizeRows { format, a, words });
        }
        Ok(Activations { format, rows, k, words })
    }

    /// The format.
    #[must_use]
    pub const fn format(&self) -> ActivationFormat {
        self.format
    }

    /// The shape `(rows, k)`.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.rows, self.k)
    }

    /// Words of a row.
    pub(crate) fn row_words(&self) -> usize {
        self.k / self.format.block_len() * self.format.words()
    }

    /// The place of `row` in its group, and the group's width.
    pub(crate) const fn place(&self, row: usize) -> (usize, usize) {
        place(self.rows, row)
    }

    /// The words of `rows` rows from `row` on, which are whole groups.
    #[inline(always)]
    pub(crate) fn groups(&self, row: usize, rows: usize) -> &'a [i32] {
        let each = self.row_words();
        &self.words[row * each..(row + rows) * each]
    }
}

/// [`Activations::place`] among so many rows.
const fn place(rows: usize, row: usize) -> (usize, usize) {
    if row < rows / GROUP * GROUP { (row % GROUP, GROUP) } else { (0, 1) }
}

struct QuantizeRows<'a, 'w> {
    format: ActivationFormat,
    a: MatrixRef<'a, f32>,
    words: &'w mut [i32],
}

impl Kernel for QuantizeRows<'_, '_> {
    type Output = ();

    /// The loops are plain: compiled for the level, they become its vectors.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        match self.format {
            ActivationFormat::Q8_0 => quantize_rows::<32>(self.format, self.a, self.words),
            ActivationFormat::Q8K => quantize_rows::<256>(self.format, self.a, self.words),
        }
    }
}

#[inline(always)]
fn quantize_rows<const BLOCK: usize>(format: ActivationFormat, a: MatrixRef<'_, f32>, words: &mut [i32]) {
    let blocks = a.cols() / BLOCK;
    for i in 0..a.rows() {
        let Some(row) = a.row(i) else { continue };
        let (at, width) = place(a.rows(), i);
        let group = &mut words[(i - at) * blocks * format.words()..];
        let records = group.chunks_exact_mut(format.words() * width);
        // Two loops, so that the compiler sees the distance of the words.
        if width == GROUP {
            quantize_row::<BLOCK>(row, records, at, GROUP);
        } else {
            quantize_row::<BLOCK>(row, records, 0, 1);
        }
    }
}

#[inline(always)]
fn quantize_row<'a, const BLOCK: usize>(
    row: &[f32],
    records: impl Iterator<Item = &'a mut [i32]>,
    at: usize,
    width: usize,
) {
    for (x, record) in row.as_chunks::<BLOCK>().0.iter().zip(records) {
        store_record(x, record, at, width);
    }
}

/// [`reference::quantize_block`](crate::reference::quantize_block), the first half: the scale, and its inverse where the bytes
/// are not 0.
#[inline(always)]
fn scale<const BLOCK: usize>(x: &[f32; BLOCK]) -> (f32, Option<f32>) {
    // The largest magnitude by its bits: integers, so that the order does not matter and NaN is the largest.
    let bits = x.iter().fold(0, |bits, x| (x.to_bits() & 0x7fff_ffff).max(bits));
    let scale = f32::from_bits(bits) / 127.0;
    if (f32::MIN_POSITIVE..f32::INFINITY).contains(&scale) {
        (scale, Some(1.0 / scale))
    } else {
        (if scale < f32::MIN_POSITIVE { 0.0 } else { scale }, None)
    }
}

/// Writes the words of row `at` of a group of `width` rows into their record.
#[inline(always)]
fn store_record<const BLOCK: usize>(x: &[f32; BLOCK], record: &mut [i32], at: usize, width: usize) {
    let (scale, inverse) = scale(x);
    let (x, inverse) = inverse.map_or((&[0.0; BLOCK], 1.0), |inverse| (x, inverse));
    let (steps, rest) = record.split_at_mut(BLOCK / 4 * width);
    let mut sums = [0; MAX_BLOCK / 16];
    // Sixteen values from floats to words, in an order that vectors can take.
    for ((x, words), sum) in x.as_chunks::<16>().0.iter().zip(steps.chunks_exact_mut(4 * width)).zip(&mut sums) {
        // The bits of `integer + ROUND` are those of ROUND plus the integer.
        let q = x.map(|x| (x * inverse + ROUND).to_bits().cast_signed() - ROUND.to_bits().cast_signed());
        *sum = -q.iter().sum::<i32>();
        let bytes = q.map(|q| q as u8);
        for (eight, words) in bytes.as_chunks::<8>().0.iter().zip(words.chunks_exact_mut(2 * width)) {
            for (step, word) in eight.as_chunks::<4>().0.iter().zip(&mut words[2 * at..2 * at + 2]) {
                *word = i32::from_le_bytes(*step);
            }
        }
    }
    let total = sums[..BLOCK / 16].iter().sum::<i32>();
    let rest = &mut rest[at..];
    rest[0] = scale.to_bits().cast_signed();
    rest[width] = total;
    if BLOCK == 32 {
        rest[2 * width] = (scale * -total as f32).to_bits().cast_signed();
        return;
    }
    let pair = |low: i32, high: i32| low & 0xffff | high << 16;
    for (p, sums) in sums.as_chunks::<2>().0.iter().enumerate() {
        rest[(2 + p) * width] = pair(sums[0], sums[1]);
    }
    for (p, sums) in sums.as_chunks::<4>().0.iter().enumerate() {
        rest[(10 + p) * width] = pair(sums[0] + sums[1], sums[2] + sums[3]);
    }
}
