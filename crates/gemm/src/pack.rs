//! Rearranging blocks of the operands into the order in which the kernels read them.

use kernform_simd::{Kernel, Simd};
use kernform_tensor::MatrixRef;

use crate::packed::PANEL;
use crate::weight::Weight;

/// Packs all of `b` into the layout of [`PackedB`](crate::PackedB).
pub(crate) struct PackMatrix<'a, W> {
    pub(crate) b: MatrixRef<'a, W>,
    pub(crate) into: &'a mut [W],
}

impl<W: Weight> Kernel for PackMatrix<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (k, n) = (self.b.rows(), self.b.cols());
        if k == 0 {
            return;
        }
        for (panel, into) in self.into.chunks_exact_mut(k * PANEL).enumerate() {
            let col = panel * PANEL;
            pack_panel(s, self.b, 0, col, PANEL.min(n - col), into);
        }
    }
}

/// Packs `width` columns from `col` on, and as many rows from `row` on as a panel of `panel_len` elements has room for.
///
/// A function of its own, as all that packs: inside the loops around the kernel, what it computes in advance would cost the
/// products that pack nothing.
#[inline(never)]
pub(crate) fn pack_columns<S: Simd, W: Weight>(
    s: S,
    b: MatrixRef<'_, W>,
    row: usize,
    (col, width): (usize, usize),
    panel_len: usize,
    into: &mut [W],
) {
    s.vectorize(PackColumns { b, row, col, width, panel_len, into });
}

/// See [`pack_columns`].
struct PackColumns<'a, W> {
    b: MatrixRef<'a, W>,
    row: usize,
    col: usize,
    width: usize,
    panel_len: usize,
    into: &'a mut [W],
}

impl<W: Weight> Kernel for PackColumns<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { b, row, col, width, panel_len, into } = self;
        let whole = if b.col_stride() == 1 { width / PANEL } else { 0 };
        if whole > 0 {
            // Row by row: rows that are far apart are read in runs as long as can be, and fetched before they are needed.
            let data = b.as_slice();
            for i in 0..panel_len / PANEL {
                let start = (row + i) * b.row_stride() + col;
                // Of what may lie beyond the end the address alone is computed, in whatever number it becomes.
                let ahead = ROWS_AHEAD.wrapping_mul(b.row_stride());
                fetch_row(data.as_ptr().wrapping_add(start.wrapping_add(ahead)), whole);
                for (panel, from) in data[start..start + whole * PANEL].chunks_exact(PANEL).enumerate() {
                    into[panel * panel_len + i * PANEL..][..PANEL].copy_from_slice(from);
                }
            }
        }
        for panel in whole..width.div_ceil(PANEL) {
            let col = col + panel * PANEL;
            let into = &mut into[panel * panel_len..][..panel_len];
            let cols = PANEL.min(b.cols() - col);
            // What stands in the filling does not matter: whole lines are copied as long as there are any.
            let whole = if b.col_stride() == 1 { whole_rows(b, row, panel_len / PANEL, col + PANEL) } else { 0 };
            for i in 0..whole {
                into[i * PANEL..][..PANEL].copy_from_slice(&b.as_slice()[(row + i) * b.row_stride() + col..][..PANEL]);
            }
            pack_panel(s, b, row + whole, col, cols, &mut into[whole * PANEL..]);
        }
    }
}

/// Of `rows` rows from `row` on, those of which `cols` elements can be read, whether or not they are elements of `b`.
pub(crate) const fn whole_rows<W>(b: MatrixRef<'_, W>, row: usize, rows: usize, cols: usize) -> usize {
    let len = b.as_slice().len();
    let mut whole = rows;
    while whole > 0 && (row + whole - 1) * b.row_stride() + cols > len {
        whole -= 1;
    }
    whole
}

/// Copies `rows` rows from `row` on and `cols` columns from `col` on to rows of `stride` elements.
#[inline(never)]
pub(crate) fn copy_rows<W: Copy>(
    b: MatrixRef<'_, W>,
    (row, rows): (usize, usize),
    (col, cols): (usize, usize),
    stride: usize,
    into: &mut [W],
) {
    for (i, into) in into[..rows * stride].chunks_exact_mut(stride).enumerate() {
        into[..cols].copy_from_slice(&b.as_slice()[(row + i) * b.row_stride() + col..][..cols]);
    }
}

/// Rows from the one that is packed to the one that is fetched.
const ROWS_AHEAD: usize = 8;

/// Fetches `panels` times [`PANEL`] elements.
#[inline(always)]
fn fetch_row<W>(row: *const W, panels: usize) {
    #[cfg(target_arch = "x86_64")]
    for panel in 0..panels {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch touches no memory, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(panel * PANEL).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (row, panels);
}

/// Packs `cols` (1 to [`PANEL`]) columns from `col` on and the rows from `row` on, as many as `into` has room for.
#[inline(always)]
pub(crate) fn pack_panel<S: Simd, W: Weight>(
    s: S,
    b: MatrixRef<'_, W>,
    row: usize,
    col: usize,
    cols: usize,
    into: &mut [W],
) {
    let data = b.as_slice();
    let (row_stride, col_stride) = (b.row_stride(), b.col_stride());
    if col_stride == 1 && cols == PANEL {
        for (i, into) in into.chunks_exact_mut(PANEL).enumerate() {
            let start = (row + i) * row_stride + col;
            into.copy_from_slice(&data[start..start + PANEL]);
        }
        return;
    }
    if row_stride == 1 && cols == PANEL && W::transpose_panel(s, &data[row + col * col_stride..], col_stride, into) {
        return;
    }
    for (i, into) in into.chunks_exact_mut(PANEL).enumerate() {
        let start = (row + i) * row_stride + col * col_stride;
        for (j, into) in into.iter_mut().enumerate() {
            *into = if j < cols { data[start + j * col_stride] } else { W::default() };
        }
    }
}

/// Copies a block of A, `rows` x `cols` from (`row`, `col`) on, to rows of `stride` floats, for which `into` must have room.
#[inline(never)]
pub(crate) fn pack_rows(
    a: MatrixRef<'_, f32>,
    (row, rows): (usize, usize),
    (col, cols): (usize, usize),
    stride: usize,
    into: &mut [f32],
) {
    if cols == 0 {
        // The strides of an empty matrix may be anything.
        return;
    }
    let data = a.as_slice();
    let (row_stride, col_stride) = (a.row_stride(), a.col_stride());
    for (i, into) in into[..rows * stride].chunks_exact_mut(stride).enumerate() {
        let start = (row + i) * row_stride + col * col_stride;
        if col_stride == 1 {
            into[..cols].copy_from_slice(&data[start..start + cols]);
        } else {
            for (j, into) in into[..cols].iter_mut().enumerate() {
                *into = data[start + j * col_stride];
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx {
    //! Transposition in registers; plain loops take as long as a product of a dozen rows.

    use core::arch::x86_64::*;

    use crate::packed::PANEL;

    /// Packs a whole panel whose columns, `stride` apart in `from`, are contiguous.
    #[target_feature(enable = "avx")]
    pub(crate) fn transpose_panel(from: &[f32], stride: usize, into: &mut [f32]) {
        let k = into.len() / PANEL;
        let columns: [&[f32]; PANEL] = core::array::from_fn(|j| &from[j * stride..][..k]);
        let mut step = 0;
        while step + 8 <= k {
            for half in [0, 8] {
                let rows: [__m256; 8] = core::array::from_fn(|j| {
                    let column = &columns[half + j][step..step + 8];
                    // SAFETY: eight floats by the line above.
                    unsafe { _mm256_loadu_ps(column.as_ptr()) }
                });
                for (i, row) in transpose(rows).into_iter().enumerate() {
                    let into = &mut into[(step + i) * PANEL + half..][..8];
                    // SAFETY: eight floats by the line above.
                    unsafe { _mm256_storeu_ps(into.as_mut_ptr(), row) };
                }
            }
            step += 8;
        }
        for (step, into) in into.chunks_exact_mut(PANEL).enumerate().skip(step) {
            for (into, column) in into.iter_mut().zip(columns) {
                *into = column[step];
            }
        }
    }

    /// The transposed 8 x 8 matrix.
    #[inline]
    #[target_feature(enable = "avx")]
    fn transpose(r: [__m256; 8]) -> [__m256; 8] {
        let pair = |i: usize| (_mm256_unpacklo_ps(r[i], r[i + 1]), _mm256_unpackhi_ps(r[i], r[i + 1]));
        let (p0, p1, p2, p3) = (pair(0), pair(2), pair(4), pair(6));
        let four = |(al, ah): (__m256, __m256), (bl, bh): (__m256, __m256)| {
            [
                _mm256_shuffle_ps::<0x44>(al, bl),
                _mm256_shuffle_ps::<0xee>(al, bl),
                _mm256_shuffle_ps::<0x44>(ah, bh),
                _mm256_shuffle_ps::<0xee>(ah, bh),
            ]
        };
        let (upper, lower) = (four(p0, p1), four(p2, p3));
        core::array::from_fn(|i| {
            if i < 4 {
                _mm256_permute2f128_ps::<0x20>(upper[i], lower[i])
            } else {
                _mm256_permute2f128_ps::<0x31>(upper[i - 4], lower[i - 4])
            }
        })
    }
}
