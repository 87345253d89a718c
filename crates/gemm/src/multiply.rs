//! The public function: checks, cuts into parts, runs them.

use core::ops::Range;

use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, Parallel};

use crate::blocking::scratch_len;
use crate::driver::{Output, Part, Product, Source};
use crate::packed::{PANEL, PackedB};
use crate::weight::Weight;
use crate::{Epilogue, GemmError};

/// The right operand of a product, `[k, n]`, in `f32`, `f16` or `bf16`.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a, W = f32> {
    /// In memory at any strides. PyTorch weights `[out, in]` are the transposed view of their storage.
    Strided(MatrixRef<'a, W>),
    /// Packed before, for use in many products.
    Packed(&'a PackedB<'a, W>),
}

impl<W: Weight> Operand<'_, W> {
    /// The shape `(k, n)`.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        match self {
            Operand::Strided(b) => (b.rows(), b.cols()),
            Operand::Packed(b) => b.shape(),
        }
    }

    /// The layout, for [`gemm_scratch_len`].
    #[must_use]
    pub fn layout(&self) -> Layout {
        match self {
            Operand::Strided(b) => Layout::of(b),
            Operand::Packed(_) => Layout::Packed,
        }
    }
}

/// How an operand lies in memory, as far as the need for scratch depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// [`PackedB`].
    Packed,
    /// The elements of a row stand next to each other.
    RowMajor,
    /// Any other strides.
    Strided,
}

impl Layout {
    /// The layout of a matrix.
    #[must_use]
    pub const fn of<T>(matrix: &MatrixRef<'_, T>) -> Layout {
        if matrix.col_stride() == 1 { Layout::RowMajor } else { Layout::Strided }
    }
}

/// Parts into which a product is cut at most.
pub(crate) const MAX_PARTS: usize = 64;
/// Multiply-adds below which another thread is not worth waking.
const WORK_PER_PART: usize = 1 << 18;
/// Floats that aligning a piece of scratch may skip.
const ALIGN_SLACK: usize = PANEL - 1;

/// How a product is cut: `rows` x `cols` parts.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl Grid {
    /// B packed beforehand is read once a block of rows whoever does it, so rows are cut; else columns are, so that each
    /// column is packed once.
    fn new(threads: usize, m: usize, n: usize, k: usize, is_packed: bool) -> Grid {
        if threads <= 1 {
            return Grid { rows: 1, cols: 1 };
        }
        let work = m.saturating_mul(n).saturating_mul(k);
        let parts = threads.min(work / WORK_PER_PART).clamp(1, MAX_PARTS);
        let most_rows = m.div_ceil(24).max(1);
        let most_cols = n.div_ceil(4 * PANEL).max(1);
        if is_packed {
            let rows = parts.min(most_rows);
            Grid { rows, cols: (parts / rows).min(most_cols) }
        } else {
            let cols = parts.min(most_cols);
            Grid { rows: (parts / cols).min(most_rows), cols }
        }
    }

    /// The rows and columns of each part of an `m` x `n` matrix that is not empty: at most [`MAX_PARTS`], whose columns
    /// begin with a panel.
    pub(crate) fn parts(self, m: usize, n: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let (rows, cols) = (m.div_ceil(self.rows), n.div_ceil(PANEL).div_ceil(self.cols) * PANEL);
        let starts = (0..m).step_by(rows).flat_map(move |row| (0..n).step_by(cols).map(move |col| (row, col)));
        starts.map(move |(row, col)| (row..m.min(row + rows), col..n.min(col + cols)))
    }
}

/// How blocks of A get to the kernels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CopyA {
    /// The kernels read A where it lies.
    No,
    /// They could, but rows that are far apart fall into the same cache sets: copied where there is scratch.
    Wanted,
    /// The elements of a row lie apart: copied.
    Needed,
}

impl CopyA {
    /// Steps of `k` from which on it pays.
    const FROM: usize = 256;
    /// Floats from one cache line to the next of the same set in first-level caches of 64 sets of 64 bytes, which is what
    /// nearly all are.
    const SETS: usize = 4096 / size_of::<f32>();

    fn new(m: usize, n: usize, k: usize, a: Layout) -> CopyA {
        match a {
            Layout::RowMajor if k > CopyA::FROM && m >= 7 && n >= 64 => CopyA::Wanted,
            Layout::RowMajor => CopyA::No,
            _ => CopyA::Needed,
        }
    }

    /// The same where rows begin `row_stride` floats apart. The copy costs 1 to 5 %, and gains 15 to 60 % where all rows begin
    /// in the same set. Elsewhere it gains nothing: already with rows of 1028 or 1536 floats a strip and a panel of B fit.
    fn of_stride(self, row_stride: usize) -> CopyA {
        match self {
            CopyA::Wanted if !row_stride.is_multiple_of(CopyA::SETS) => CopyA::No,
            _ => self,
        }
    }
}

/// Floats of scratch with which [`gemm`] is fastest, for a product of these shapes and layouts with `threads` threads.
///
/// It never shrinks as a number grows, so that the scratch of the largest product serves smaller ones. For row-major A
/// and packed B any scratch will do, none too; more than this is never used.
#[must_use]
pub fn gemm_scratch_len(threads: usize, m: usize, n: usize, k: usize, a: Layout, b: Layout) -> usize {
    let pack_a = CopyA::new(m, n, k, a) != CopyA::No;
    threads.clamp(1, MAX_PARTS) * part_scratch(m, n, k, pack_a, b != Layout::Packed)
}

/// Floats of scratch a part.
fn part_scratch(m: usize, n: usize, k: usize, pack_a: bool, pack_b: bool) -> usize {
    match scratch_len(m, n, k, pack_a, pack_b) {
        (0, 0) => 0,
        (a, b) => a + b + ALIGN_SLACK,
    }
}

/// `c = activation(bias + a b) + residual`, for A `[m, k]`, B `[k, n]`, C `[m, n]`.
///
/// Element `c[i,j]` is one chain `acc = mul_add(a[i,k], b[k,j], acc)` over ascending `k`, begun from the bias or from 0,
/// then the activation, then the residual: the bits of [`reference::gemm`](crate::reference::gemm) in the class of `isa`,
/// whatever the level, the strides, packing and threads. `k = 0` leaves the bias or 0.
///
/// Weights of 16 bits are widened where they are used, which is exact: the product has the bits of the one with the widened
/// weights.
///
/// The error of the chain is at most `gamma_k * (|bias| + sum |a||b|)` in the fused class and `gamma_(k + 1)` times it in
/// the unfused one (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), where nothing underflows. NaN
/// and infinities go through the chain as IEEE 754 says; denormals are kept.
///
/// Nothing is allocated; `scratch` should have [`gemm_scratch_len`] floats, whatever they hold.
///
/// # Errors
/// [`GemmError`] where shapes do not fit or the scratch is too short; C is as it was then.
pub fn gemm<W: Weight>(
    isa: Isa,
    parallel: &impl Parallel,
    a: MatrixRef<'_, f32>,
    b: Operand<'_, W>,
    mut c: MatrixMut<'_, f32>,
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
) -> Result<(), GemmError> {
    let (m, k) = (a.rows(), a.cols());
    let (_, n) = b.shape();
    let residual_shape = epilogue.residual.map(|residual| (residual.rows(), residual.cols()));
    check_shapes((m, k), b.shape(), (c.rows(), c.cols()), epilogue.bias.map(<[f32]>::len), residual_shape)?;
    if m == 0 || n == 0 {
        return Ok(());
    }
    let is_packed = matches!(b, Operand::Packed(_));
    let threads = parallel.threads();
    let copy = CopyA::new(m, n, k, Layout::of(&a)).of_stride(a.row_stride());
    let scratch_for = |pack_a| part_scratch(m, n, k, pack_a, !is_packed);
    let most_parts = threads.clamp(1, MAX_PARTS);
    let pack_a = copy == CopyA::Needed || copy == CopyA::Wanted && scratch_for(true) * most_parts <= scratch.len();
    let each = scratch_for(pack_a);
    let needed = each * most_parts;
    let found = scratch.len();
    let scratch = scratch.get_mut(..needed).ok_or(GemmError::ScratchTooShort { needed, found })?;
    let product = Product {
        k,
        a,
        pack_a,
        b: match b {
            Operand::Packed(b) => Source::Packed(b.as_slice()),
            Operand::Strided(b) => Source::Strided(b),
        },
        c: Output::new(&mut c),
        bias: epilogue.bias,
        activation: epilogue.activation,
        residual: epilogue.residual,
    };
    let grid = Grid::new(threads, m, n, k, is_packed);
    if grid.rows * grid.cols == 1 {
        let mut part = Part { rows: 0..m, cols: 0..n, scratch: align(scratch) };
        W::compute(isa, &product, &mut part);
        return Ok(());
    }
    let mut rest = scratch;
    let mut parts: [Part<'_>; MAX_PARTS] = core::array::from_fn(|_| Part { rows: 0..0, cols: 0..0, scratch: &mut [] });
    let mut count = 0;
    for (rows, cols) in grid.parts(m, n) {
        let (scratch, left) = rest.split_at_mut(each);
        rest = left;
        parts[count] = Part { rows, cols, scratch: align(scratch) };
        count += 1;
    }
    parallel.for_each(&mut parts[..count], |_, part| W::compute(isa, &product, part));
    Ok(())
}

/// The scratch from its first multiple of a cache line on.
fn align(scratch: &mut [f32]) -> &mut [f32] {
    let skip = scratch.as_ptr().align_offset(PANEL * size_of::<f32>()).min(scratch.len());
    &mut scratch[skip..]
}

/// Checks the shapes of A, B, C, the bias and the residual against each other.
pub(crate) fn check_shapes(
    (m, a_cols): (usize, usize),
    (b_rows, n): (usize, usize),
    c: (usize, usize),
    bias: Option<usize>,
    residual: Option<(usize, usize)>,
) -> Result<(), GemmError> {
    if a_cols != b_rows {
        return Err(GemmError::InnerDimension { a_cols, b_rows });
    }
    if c != (m, n) {
        return Err(GemmError::OutputShape { needed: (m, n), found: c });
    }
    match bias {
        Some(found) if found != n => return Err(GemmError::BiasLength { needed: n, found }),
        _ => {}
    }
    match residual {
        Some(found) if found != (m, n) => Err(GemmError::ResidualShape { needed: (m, n), found }),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const THREADS: [usize; 9] = [0, 1, 2, 3, 5, 7, 64, 65, 1000];

    /// Shapes around the sizes of strips, panels, parts and blocks, and some that no memory has.
    pub(crate) fn extents() -> impl Iterator<Item = (usize, usize, usize)> {
        const SIZES: [usize; 18] =
            [1, 2, 13, 15, 16, 17, 23, 24, 25, 63, 64, 65, 129, 479, 513, 1000, 1537, usize::MAX >> 8];
        let pairs = SIZES.into_iter().flat_map(|m| SIZES.map(|n| (m, n)));
        pairs.flat_map(|(m, n)| [0, 1, 257, 4096, usize::MAX].map(|k| (m, n, k)))
    }

    /// The parts are not more than threads, begin with panels, and cover every element of C once.
    pub(crate) fn check_parts(grid: Grid, threads: usize, m: usize, n: usize) {
        let what = || std::format!("{m} x {n} for {threads}");
        let (mut count, mut row, mut col) = (0, 0..0, 0);
        for (rows, cols) in grid.parts(m, n) {
            count += 1;
            assert!(!rows.is_empty() && !cols.is_empty() && cols.start.is_multiple_of(PANEL), "{}", what());
            if col == 0 {
                assert_eq!(rows.start, row.end, "{}", what());
                row = rows.clone();
            }
            assert_eq!((&rows, cols.start), (&row, col), "{}", what());
            col = if cols.end == n { 0 } else { cols.end };
        }
        assert_eq!((row.end, col), (m, 0), "{}", what());
        assert!(count <= threads.clamp(1, MAX_PARTS), "{count} parts of {}", what());
    }

    #[test]
    fn parts_cover_c_once() {
        for (m, n, k) in extents() {
            for threads in THREADS {
                for is_packed in [false, true] {
                    check_parts(Grid::new(threads, m, n, k, is_packed), threads, m, n);
                }
            }
        }
    }
}
