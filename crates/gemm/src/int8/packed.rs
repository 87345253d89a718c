//! The right operand, rearranged once for many products.

use kernform_simd::prefetch;
use kernform_tensor::MatrixRef;

use crate::{GemmError, PANEL};

#[cfg(feature = "alloc")]
use kernform_tensor::Memory;

/// Values of `k` that stand next to each other for a column.
pub(crate) const GROUP: usize = 4;
/// Bytes of a group of all columns of a panel: one cache line.
pub(crate) const LINE: usize = PANEL * GROUP;
/// The largest `k`: up to there, every sum of products of bytes fits an `i32`.
pub const MAX_DEPTH: usize = (i32::MAX / (128 * 128)) as usize;

/// The right operand of [`gemm_i8`](super::gemm_i8) in the layout that its kernels read: the same for every level and
/// machine.
///
/// `[k, n]` is cut into panels of [`PANEL`](crate::PANEL) columns. A panel begins with the sum of each of its columns,
/// as 32-bit integers with the lowest byte first; then come its groups of four rows, in each of which a column's four
/// bytes stand together, since that is what one lane of a dot-product instruction multiplies. `k` and the last panel are
/// filled with zeros. So with `groups = k.div_ceil(4)`, element `(i, j)` is at
/// `(j / 16 * (1 + groups) + 1 + i / 4) * 64 + j % 16 * 4 + i % 4`, and packed weights can be written to a file, mapped,
/// or read from flash ([`PackedI8::from_slice`]). Products are fastest where the data begin at a multiple of 64 bytes;
/// [`PackedI8::pack`] allocates so.
///
/// The sums serve instructions that multiply signed by unsigned bytes: activations become unsigned by adding 128, and
/// 128 times the sum is taken off again.
#[derive(Clone, Debug)]
pub struct PackedI8<'a> {
    k: usize,
    n: usize,
    data: Storage<'a>,
}

#[derive(Clone, Debug)]
enum Storage<'a> {
    Borrowed(&'a [i8]),
    #[cfg(feature = "alloc")]
    Owned(Memory),
}

impl<'a> PackedI8<'a> {
    /// Bytes of a packed `[k, n]` operand.
    ///
    /// # Errors
    /// [`GemmError::Depth`] where `k` is larger than [`MAX_DEPTH`], [`GemmError::TooLarge`] where the length does not
    /// fit `usize`.
    pub const fn packed_len(k: usize, n: usize) -> Result<usize, GemmError> {
        if k > MAX_DEPTH {
            return Err(GemmError::Depth { most: MAX_DEPTH, found: k });
        }
        match n.div_ceil(PANEL).checked_mul(panel_len(k)) {
            Some(len) => Ok(len),
            None => Err(GemmError::TooLarge),
        }
    }

    /// Data packed before, of a `[k, n]` operand.
    ///
    /// The sums of the columns are taken as they are: data that [`PackedI8::has_right_sums`] refuses give products that
    /// differ from level to level, and nothing worse.
    ///
    /// # Errors
    /// [`GemmError::PackedLength`] where the length is not [`PackedI8::packed_len`], and the errors of that.
    pub const fn from_slice(k: usize, n: usize, data: &'a [i8]) -> Result<Self, GemmError> {
        match Self::packed_len(k, n) {
            Ok(needed) if needed == data.len() => Ok(PackedI8 { k, n, data: Storage::Borrowed(data) }),
            Ok(needed) => Err(GemmError::PackedLength { needed, found: data.len() }),
            Err(error) => Err(error),
        }
    }

    /// Packs `b`, of any strides, into memory of the caller, of which it takes the first [`PackedI8::packed_len`] bytes.
    ///
    /// # Errors
    /// [`GemmError::PackedLength`] where there are fewer, and the errors of [`PackedI8::packed_len`].
    pub fn pack_into(b: MatrixRef<'_, i8>, into: &'a mut [i8]) -> Result<Self, GemmError> {
        let (k, n) = (b.rows(), b.cols());
        let needed = Self::packed_len(k, n)?;
        let found = into.len();
        let into = into.get_mut(..needed).ok_or(GemmError::PackedLength { needed, found })?;
        pack(b.transpose(), None, into);
        Ok(PackedI8 { k, n, data: Storage::Borrowed(into) })
    }

    /// The shape `(k, n)` of the operand.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.k, self.n)
    }

    /// The packed bytes, as [`PackedI8::from_slice`] takes them.
    #[must_use]
    pub fn as_slice(&self) -> &[i8] {
        match &self.data {
            Storage::Borrowed(data) => data,
            #[cfg(feature = "alloc")]
            Storage::Owned(memory) => memory.as_slice(),
        }
    }

    /// Element `(row, col)`, or a 0 that fills up the last group or panel.
    #[cfg(feature = "alloc")]
    pub(super) fn get(&self, row: usize, col: usize) -> i8 {
        let line = col / PANEL * panel_len(self.k) + (1 + row / GROUP) * LINE;
        self.as_slice()[line + col % PANEL * GROUP + row % GROUP]
    }

    /// Whether the sums that stand before each panel are those of its columns. Reads all of the data: a check for bytes
    /// from a place that is not trusted.
    #[must_use]
    pub fn has_right_sums(&self) -> bool {
        self.as_slice().chunks_exact(panel_len(self.k)).all(|panel| {
            let (sums, groups) = panel.split_at(LINE);
            (0..PANEL)
                .all(|j| sum_of_column(groups, j).to_le_bytes().map(u8::cast_signed) == sums[j * GROUP..][..GROUP])
        })
    }
}

#[cfg(feature = "alloc")]
impl PackedI8<'static> {
    /// Packs `b`, of any strides, into memory of its own. For PyTorch weights `[out, in]` give the transposed view.
    ///
    /// # Errors
    /// [`GemmError::OutOfMemory`], and the errors of [`PackedI8::packed_len`].
    pub fn pack(b: MatrixRef<'_, i8>) -> Result<Self, GemmError> {
        let (k, n) = (b.rows(), b.cols());
        let bytes = Self::packed_len(k, n)?;
        let mut memory = Memory::zeroed(bytes).ok_or(GemmError::OutOfMemory { elements: bytes })?;
        pack(b.transpose(), None, memory.as_mut_slice());
        Ok(PackedI8 { k, n, data: Storage::Owned(memory) })
    }

    /// Packs some rows of `rows`, `[any, k]`, as the columns of an operand `[k, chosen.len()]`: of PyTorch weights `[out, in]`
    /// those of some outputs, as a lexical shortlist chooses them. It lies in `memory` where that is large enough: of an
    /// operand that is no longer needed ([`PackedI8::into_memory`]), or [`Memory::default`].
    ///
    /// # Errors
    /// [`GemmError::NoSuchRow`], [`GemmError::OutOfMemory`], and the errors of [`PackedI8::packed_len`].
    pub fn pack_rows(rows: MatrixRef<'_, i8>, chosen: &[u32], memory: Memory) -> Result<Self, GemmError> {
        let (k, n) = (rows.cols(), chosen.len());
        if let Some(row) = chosen.iter().find(|row| **row as usize >= rows.rows()) {
            return Err(GemmError::NoSuchRow { row: *row as usize, rows: rows.rows() });
        }
        let bytes = Self::packed_len(k, n)?;
        let mut memory = memory.resized(bytes).ok_or(GemmError::OutOfMemory { elements: bytes })?;
        pack(rows, Some(chosen), memory.as_mut_slice());
        Ok(PackedI8 { k, n, data: Storage::Owned(memory) })
    }

    /// The memory of an operand that is no longer needed; none where it is the caller's.
    #[must_use]
    pub fn into_memory(self) -> Memory {
        match self.data {
            Storage::Borrowed(_) => Memory::default(),
            Storage::Owned(memory) => memory,
        }
    }
}

/// Bytes of a panel of `k` rows.
pub(crate) const fn panel_len(k: usize) -> usize {
    (1 + k.div_ceil(GROUP)) * LINE
}

/// The sums of columns from `col` on, as they stand in packed data.
#[inline(always)]
pub(super) fn packed_sums(data: &[i8], k: usize, mut col: usize, mut sums: &mut [i32]) {
    while !sums.is_empty() {
        let (now, later) = sums.split_at_mut((PANEL - col % PANEL).min(sums.len()));
        let (bytes, _) = data[col / PANEL * panel_len(k) + col % PANEL * GROUP..].as_chunks();
        for (sum, bytes) in now.iter_mut().zip(bytes) {
            *sum = i32::from_le_bytes(bytes.map(i8::cast_unsigned));
        }
        col += now.len();
        sums = later;
    }
}

/// The sum of column `j` of a panel.
fn sum_of_column(groups: &[i8], j: usize) -> i32 {
    groups.chunks_exact(LINE).flat_map(|line| &line[j * GROUP..][..GROUP]).map(|value| i32::from(*value)).sum()
}

/// Packs columns, each a row of `columns`, `[any, k]`: all of them, or those that are chosen and exist.
fn pack(columns: MatrixRef<'_, i8>, chosen: Option<&[u32]>, into: &mut [i8]) {
    let k = columns.cols();
    for (panel, into) in into.chunks_exact_mut(panel_len(k)).enumerate() {
        let chosen = |j: usize| match (chosen, panel * PANEL + j) {
            (Some(chosen), column) => chosen.get(column).map(|row| *row as usize),
            (None, column) => Some(column),
        };
        let (sums, groups) = into.split_at_mut(LINE);
        if columns.rows_are_contiguous() {
            // Chosen rows may lie anywhere: those of the next panel are on their way while this one is packed.
            let next = (PANEL..2 * PANEL).filter_map(chosen).filter_map(|row| columns.row(row));
            next.for_each(|row| prefetch(&row[..row.len().min(LINES * GROUP)]));
            let column = |j: usize| chosen(j).and_then(|row| columns.row(row)).unwrap_or_default();
            pack_contiguous(column, groups);
            // 128 bytes never exceed 16 bits.
            let sum = |part: &[i8]| i32::from(part.iter().map(|byte| i16::from(*byte)).sum::<i16>());
            write_sums(sums, |j| column(j).chunks(128).map(sum).sum());
        } else {
            pack_strided(columns, chosen, groups);
            write_sums(sums, |j| sum_of_column(groups, j));
        }
    }
}

fn write_sums(to: &mut [i8], sum: impl Fn(usize) -> i32) {
    for (j, to) in to.chunks_exact_mut(GROUP).enumerate() {
        to.copy_from_slice(&sum(j).to_le_bytes().map(u8::cast_signed));
    }
}

/// Lines that a column is written to at once: they stay in the first-level cache until all columns are there.
const LINES: usize = 64;

/// Packs a panel of columns whose bytes stand next to each other.
fn pack_contiguous<'c>(column: impl Fn(usize) -> &'c [i8], groups: &mut [i8]) {
    for (block, lines) in groups.chunks_mut(LINES * LINE).enumerate() {
        let lines = lines.as_chunks_mut::<GROUP>().0.as_chunks_mut::<PANEL>().0;
        for j in 0..PANEL {
            let (fours, rest) = column(j).get(block * LINES * GROUP..).unwrap_or_default().as_chunks::<GROUP>();
            for (line, four) in lines.iter_mut().zip(fours) {
                line[j] = *four;
            }
            for line in lines.iter_mut().skip(fours.len()) {
                line[j] = [0; GROUP];
            }
            if let Some(line) = lines.get_mut(fours.len()) {
                line[j][..rest.len()].copy_from_slice(rest);
            }
        }
    }
}

fn pack_strided(columns: MatrixRef<'_, i8>, chosen: impl Fn(usize) -> Option<usize>, groups: &mut [i8]) {
    for (group, line) in groups.chunks_exact_mut(LINE).enumerate() {
        for (j, four) in line.chunks_exact_mut(GROUP).enumerate() {
            for (i, value) in (group * GROUP..).zip(four) {
                *value = chosen(j).and_then(|row| columns.get(row, i)).copied().unwrap_or(0);
            }
        }
    }
}
