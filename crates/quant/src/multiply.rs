//! The public functions: check, cut into parts, run the tiles.

use core::ops::Range;

use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, Parallel, split_ranges};

use crate::activations::GROUP;
use crate::kernels::{Job, MAX_ROWS, Tile, TileArgs, Vector, dispatch};
use crate::layout::{PANEL, panel_bytes};
use crate::{Activations, PackedWeights, QuantError};

/// Parts into which a product is cut at most.
const MAX_PARTS: usize = 64;
/// Multiply-adds below which another thread is not worth waking.
const WORK_PER_PART: usize = 1 << 20;
/// Bytes of activations that stay in a second-level cache while panels pass.
const ROWS_BYTES: usize = 512 << 10;

/// `c = bias + a w`, for A `[m, k]` and weights `[n, k]`; C is `[m, n]`.
///
/// The rows of A are quantised into `memory` ([`Activations::quantize`], which products with the same A can share by
/// calling [`multiply_quantized`]) and multiplied. The result has the bits of [`reference::multiply`] in the class of
/// `isa`, whatever the level, the threads, the other rows and the strides of C. `k = 0` leaves the bias or 0.
///
/// Against exact arithmetic on the decoded weights, an element is off by what quantising A costs, at most half a step of
/// each block's scale times the sum of the block's weights, and by the roundings of the chain: with `b` blocks, at most
/// `gamma_(b + 3)` (`gamma_(2 b + 3)` in formats with minima) times the sum of the magnitudes of its links. NaN and
/// infinities, in scales or in A, make NaN or infinities.
///
/// Nothing is allocated; `memory` has [`Activations::words_len`] words, whatever they hold.
///
/// [`reference::multiply`]: crate::reference::multiply
///
/// # Errors
/// [`QuantError`] where shapes do not fit, the rows of A are no slices, or the memory is too short; C is as it was then.
pub fn multiply(
    isa: Isa,
    parallel: &impl Parallel,
    a: MatrixRef<'_, f32>,
    weights: &PackedWeights<'_>,
    c: MatrixMut<'_, f32>,
    bias: Option<&[f32]>,
    memory: &mut [i32],
) -> Result<(), QuantError> {
    check_shapes((a.rows(), a.cols()), weights.shape(), (c.rows(), c.cols()), bias.map(<[f32]>::len))?;
    let a = Activations::quantize(isa, weights.format().activation(), a, memory)?;
    multiply_quantized(isa, parallel, &a, weights, c, bias)
}

/// [`multiply`] of rows that are quantised already.
///
/// # Errors
/// [`QuantError`] where shapes do not fit or the rows were quantised for other weights; C is as it was then.
pub fn multiply_quantized(
    isa: Isa,
    parallel: &impl Parallel,
    a: &Activations<'_>,
    weights: &PackedWeights<'_>,
    mut c: MatrixMut<'_, f32>,
    bias: Option<&[f32]>,
) -> Result<(), QuantError> {
    let ((m, k), (n, _)) = (a.shape(), weights.shape());
    check_shapes((m, k), weights.shape(), (c.rows(), c.cols()), bias.map(<[f32]>::len))?;
    let (found, needed) = (a.format().block_len(), weights.format().activation().block_len());
    if found != needed {
        return Err(QuantError::ActivationFormat { found, needed });
    }
    if m == 0 || n == 0 {
        return Ok(());
    }
    let (row_stride, col_stride, len) = (c.row_stride(), c.col_stride(), c.as_mut_slice().len());
    let c = Output { data: c.as_mut_slice().as_mut_ptr(), row_stride, col_stride, len };
    let product = Product { a, weights, bias, c };
    let work = m.saturating_mul(n).saturating_mul(k);
    let count = parallel.threads().min(work / WORK_PER_PART).clamp(1, MAX_PARTS);
    if count == 1 {
        compute(isa, Part { product, columns: 0..n });
        return Ok(());
    }
    let mut parts: [Range<usize>; MAX_PARTS] = [const { 0..0 }; MAX_PARTS];
    let mut used = 0;
    for range in split_ranges(n, count, PANEL) {
        parts[used] = range;
        used += 1;
    }
    parallel.for_each(&mut parts[..used], |_, columns| compute(isa, Part { product, columns: columns.clone() }));
    Ok(())
}

/// Checks the shapes of A, the weights, C and the bias against each other.
pub(crate) fn check_shapes(
    (m, a_cols): (usize, usize),
    (n, k): (usize, usize),
    found: (usize, usize),
    bias: Option<usize>,
) -> Result<(), QuantError> {
    if a_cols != k {
        return Err(QuantError::InnerDimension { a_cols, k });
    }
    if found != (m, n) {
        return Err(QuantError::OutputShape { needed: (m, n), found });
    }
    match bias {
        Some(found) if found != n => Err(QuantError::BiasLength { needed: n, found }),
        _ => Ok(()),
    }
}

/// A product whose shapes were checked.
#[derive(Clone, Copy)]
struct Product<'a> {
    a: &'a Activations<'a>,
    weights: &'a PackedWeights<'a>,
    bias: Option<&'a [f32]>,
    c: Output,
}

/// C, written by several threads at different places.
#[derive(Clone, Copy)]
struct Output {
    data: *mut f32,
    row_stride: usize,
    col_stride: usize,
    /// Elements from `data` on.
    len: usize,
}

// SAFETY: the parts of a product write different columns (`MatrixMut` keeps elements apart).
unsafe impl Sync for Output {}
// SAFETY: as above.
unsafe impl Send for Output {}

/// The columns of C that one thread computes; they begin with a panel.
struct Part<'a> {
    product: Product<'a>,
    columns: Range<usize>,
}

/// Not generic, so that the kernels are compiled here and not once more in every crate that multiplies.
fn compute(isa: Isa, part: Part<'_>) {
    dispatch(isa, part);
}

impl Job for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self, v: V) {
        let (c, (m, _)) = (self.product.c, self.product.a.shape());
        // What is written without a check, checked once.
        let last = (m - 1) * c.row_stride + (self.columns.end - 1) * c.col_stride;
        assert!(last < c.len, "a part reaches beyond C");
        let row_bytes = self.product.a.row_words() * size_of::<i32>();
        let chunk = (ROWS_BYTES / row_bytes.max(1)).max(MAX_ROWS);
        // Chunks of nearly equal length, each a whole number of groups.
        let chunk = m.div_ceil(m.div_ceil(chunk)).next_multiple_of(GROUP);
        for row in (0..m).step_by(chunk) {
            let rows = row..m.min(row + chunk);
            let mut column = self.columns.start;
            while column < self.columns.end {
                let left = self.columns.end - column;
                // A row alone is bound by memory, which several streams fill better than one.
                let tile = V::panels(self.product.weights.format()).filter(|tile| rows.len() == 1 && tile.cols <= left);
                let columns = column..column + tile.as_ref().map_or(PANEL, |tile| tile.cols).min(left);
                column = columns.end;
                self.product.panel(v, tile, rows.clone(), columns);
            }
        }
    }
}

/// Columns of the widest tile.
const MAX_COLS: usize = 4 * PANEL;
/// Where chains without a bias begin.
static ZEROS: [f32; MAX_COLS] = [0.0; MAX_COLS];

impl Product<'_> {
    /// Some rows of one panel, or of those that a tile for several takes; `rows` begin with a group.
    #[inline(always)]
    fn panel<V: Vector>(&self, v: V, wide: Option<Tile<V>>, rows: Range<usize>, columns: Range<usize>) {
        let format = self.weights.format();
        let (_, k) = self.a.shape();
        let blocks = k / format.block_len();
        if rows.len() == 1 && columns.len().is_multiple_of(PANEL) && self.c.col_stride == 1 {
            return self.row(v, wide, rows.start, columns);
        }
        let mut init = [0.0; MAX_COLS];
        if let Some(bias) = self.bias.and_then(|bias| bias.get(columns.clone())) {
            init[..bias.len()].copy_from_slice(bias);
        }
        let (panel, panel_stride) = self.panels(columns.clone());
        let out_stride = columns.len().next_multiple_of(PANEL);
        let init = &init[..out_stride];
        let words = self.a.format().words();
        let mut row = rows.start;
        while row < rows.end {
            let left = rows.end - row;
            let (first_row, width) = self.a.place(row);
            let fits = |height: &&usize| match width {
                GROUP => **height <= left && height.is_multiple_of(GROUP),
                _ => **height <= left.min(GROUP - 1),
            };
            let height = V::HEIGHTS.iter().rev().find(fits).copied().unwrap_or(1);
            let of_panel;
            let tile = match &wide {
                Some(tile) => tile,
                None => {
                    of_panel = V::tile(format, height);
                    &of_panel
                }
            };
            let group = self.a.groups(row - first_row, tile.rows.max(width));
            let mut out = [0.0; MAX_ROWS * PANEL];
            let out = &mut out[..tile.rows * out_stride];
            for column in (0..columns.len()).step_by(tile.cols) {
                let args = TileArgs {
                    blocks,
                    panel,
                    panel_stride,
                    column,
                    rows: group.as_ptr(),
                    first_row,
                    width,
                    group_stride: width * blocks * words,
                    init: init.as_ptr(),
                    out: out.as_mut_ptr(),
                    out_stride,
                };
                // SAFETY: `PackedWeights` holds these panels, `Activations` the records of these rows; `init` has the
                // columns of the widest tile, and `out` those of the largest for its rows.
                unsafe { (tile.run)(v, &args) };
            }
            self.store(row, columns.clone(), out);
            row += tile.rows;
        }
    }

    /// The panels of these columns, checked, and the bytes of each.
    #[inline(always)]
    fn panels(&self, columns: Range<usize>) -> (*const u8, usize) {
        let format = self.weights.format();
        let stride = panel_bytes(format, self.a.shape().1 / format.block_len()).unwrap_or(0);
        let (first, last) = (columns.start / PANEL * stride, columns.end.div_ceil(PANEL) * stride);
        (self.weights.as_slice()[first..last].as_ptr(), stride)
    }

    /// [`Product::panel`] for a row that stands alone, whole panels and elements of C that stand next to each other. The fewer
    /// other lines come between those of the weights, the faster these come from memory: nothing is copied. Not inlined, since
    /// many rows take 1 % longer beside it.
    #[inline(never)]
    fn row<V: Vector>(&self, v: V, wide: Option<Tile<V>>, row: usize, columns: Range<usize>) {
        let format = self.weights.format();
        let (panel, panel_stride) = self.panels(columns.clone());
        let init = match self.bias.and_then(|bias| bias.get(columns.clone())) {
            Some(bias) => bias,
            None => &ZEROS[..columns.len()],
        };
        let (first_row, width) = self.a.place(row);
        let record = self.a.groups(row - first_row, width);
        let tile = wide.unwrap_or_else(|| V::tile(format, 1));
        let out = self.c.data.wrapping_add(row * self.c.row_stride + columns.start);
        for column in (0..columns.len()).step_by(tile.cols) {
            let args = TileArgs {
                blocks: self.a.shape().1 / format.block_len(),
                panel,
                panel_stride,
                column,
                rows: record.as_ptr(),
                first_row,
                width,
                group_stride: record.len(),
                init: init.as_ptr(),
                out,
                out_stride: self.c.row_stride,
            };
            // SAFETY: `PackedWeights` holds these panels, `Activations` the record of the row; `init` has the columns, and so
            // has C, where only this thread touches them.
            unsafe { (tile.run)(v, &args) };
        }
    }

    /// Copies a tile into C.
    #[inline(always)]
    fn store(&self, row: usize, columns: Range<usize>, tile: &[f32]) {
        let c = &self.c;
        let stride = columns.len().next_multiple_of(PANEL);
        for (r, tile) in tile.chunks_exact(stride).enumerate() {
            let to = c.data.wrapping_add((row + r) * c.row_stride + columns.start * c.col_stride);
            if c.col_stride == 1 && columns.len() == PANEL {
                // SAFETY: these elements lie inside C, and only this thread touches them.
                unsafe { core::ptr::copy_nonoverlapping(tile.as_ptr(), to, PANEL) };
                continue;
            }
            for (j, value) in tile[..columns.len()].iter().enumerate() {
                // SAFETY: as above.
                unsafe { to.wrapping_add(j * c.col_stride).write(*value) };
            }
        }
    }
}
