//! A mutable matrix with any strides that keep its elements apart.

use crate::matrix::{check_part, check_reach};
use crate::{MatrixRef, ShapeError};
use core::fmt;

/// Whether two of the `rows` x `cols` elements share an offset.
///
/// `i * rs + j * cs` repeats exactly when some `|di| < rows`, `|dj| < cols`, not both 0, give `di * rs = dj * cs`;
/// the smallest such pair is `(cs / g, rs / g)` with `g` the greatest common divisor.
fn self_overlap(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> bool {
    if rows == 0 || cols == 0 {
        return false;
    }
    if (rows > 1 && row_stride == 0) || (cols > 1 && col_stride == 0) {
        return true;
    }
    if rows == 1 || cols == 1 {
        return false;
    }
    let divisor = greatest_common_divisor(row_stride, col_stride);
    col_stride / divisor < rows && row_stride / divisor < cols
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Mutable `rows` x `cols` matrix; element `(i, j)` is `data[i * row_stride + j * col_stride]`.
///
/// Every element's offset is below the length of [`as_slice`](Self::as_slice), and different elements have different
/// offsets: the constructors check both, and kernels may rely on it. Zero rows or columns are legal.
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> MatrixMut<'a, T> {
    /// A row-major matrix at the start of `data`, which may be longer than `rows * cols`.
    ///
    /// # Errors
    /// [`ShapeError`] when `data` is too short or the size overflows.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self, ShapeError> {
        Self::with_strides(data, rows, cols, cols, 1)
    }

    /// A matrix at any strides, in elements, that give each element a place of its own.
    ///
    /// # Errors
    /// [`ShapeError`] when an element would lie outside `data`, two elements would overlap, or an offset overflows.
    pub fn with_strides(
        data: &'a mut [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self, ShapeError> {
        check_reach(data.len(), rows, cols, row_stride, col_stride)?;
        if self_overlap(rows, cols, row_stride, col_stride) {
            return Err(ShapeError::SelfOverlap { rows, cols, row_stride, col_stride });
        }
        Ok(Self { data, rows, cols, row_stride, col_stride })
    }

    /// A row-major view of exactly `rows * cols` elements, checked by the caller.
    #[cfg(feature = "alloc")]
    pub(crate) fn row_major(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        debug_assert_eq!(rows.checked_mul(cols), Some(data.len()));
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// Number of rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row to the next.
    #[must_use]
    pub const fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Elements from one column to the next.
    #[must_use]
    pub const fn col_stride(&self) -> usize {
        self.col_stride
    }

    /// Whether the matrix has no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0 || self.cols == 0
    }

    /// The storage; element `(0, 0)` is its first.
    #[must_use]
    pub const fn as_slice(&self) -> &[T] {
        self.data
    }

    /// The storage, mutable; element `(0, 0)` is its first.
    #[must_use]
    pub const fn as_mut_slice(&mut self) -> &mut [T] {
        self.data
    }

    /// The storage for as long as it was lent.
    #[must_use]
    pub const fn into_slice(self) -> &'a mut [T] {
        self.data
    }

    /// The matrix to read.
    #[must_use]
    pub fn as_ref(&self) -> MatrixRef<'_, T> {
        MatrixRef::checked(self.data, self.rows, self.cols, self.row_stride, self.col_stride)
    }

    /// The same matrix lent on for a shorter time.
    #[must_use]
    pub const fn reborrow(&mut self) -> MatrixMut<'_, T> {
        MatrixMut {
            data: self.data,
            rows: self.rows,
            cols: self.cols,
            row_stride: self.row_stride,
            col_stride: self.col_stride,
        }
    }

    /// Element `(i, j)`, or `None` outside the matrix.
    #[must_use]
    pub fn get(&self, i: usize, j: usize) -> Option<&T> {
        if i < self.rows && j < self.cols { self.data.get(i * self.row_stride + j * self.col_stride) } else { None }
    }

    /// Element `(i, j)`, mutable, or `None` outside the matrix.
    #[must_use]
    pub fn get_mut(&mut self, i: usize, j: usize) -> Option<&mut T> {
        if i < self.rows && j < self.cols { self.data.get_mut(i * self.row_stride + j * self.col_stride) } else { None }
    }

    /// Whether each row's elements stand next to each other.
    #[must_use]
    pub const fn rows_are_contiguous(&self) -> bool {
        self.col_stride == 1 || self.cols <= 1
    }

    /// Row `i` as a slice, where it exists and its elements stand next to each other.
    #[must_use]
    pub fn row(&self, i: usize) -> Option<&[T]> {
        self.as_ref().row(i)
    }

    /// Row `i` as a mutable slice, where it exists and its elements stand next to each other.
    #[must_use]
    pub fn row_mut(&mut self, i: usize) -> Option<&mut [T]> {
        if i >= self.rows || !self.rows_are_contiguous() {
            return None;
        }
        if self.cols == 0 {
            return Some(&mut []);
        }
        self.data.get_mut(i * self.row_stride..)?.get_mut(..self.cols)
    }

    /// The same elements with rows and columns exchanged; nothing moves.
    #[must_use]
    pub const fn transpose(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }

    /// The `rows` x `cols` part whose first element is `(row, col)`.
    ///
    /// # Errors
    /// [`ShapeError`] when the part reaches beyond the matrix.
    pub fn block(self, row: usize, rows: usize, col: usize, cols: usize) -> Result<Self, ShapeError> {
        check_part(row, rows, self.rows)?;
        check_part(col, cols, self.cols)?;
        // An empty part may begin past the last element, where an offset could overflow.
        let start = if rows == 0 || cols == 0 { 0 } else { row * self.row_stride + col * self.col_stride };
        let data = self.data.get_mut(start..).unwrap_or_default();
        Ok(Self { data, rows, cols, row_stride: self.row_stride, col_stride: self.col_stride })
    }

    /// The rows before `row` and those from it on, as two matrices that can be written at once.
    ///
    /// # Errors
    /// [`ShapeError::Interleaved`] when one row begins before the one above it ends (a column-major matrix, for
    /// instance), [`ShapeError::OutOfBounds`] when there are fewer than `row` rows.
    pub fn split_at_row(self, row: usize) -> Result<(Self, Self), ShapeError> {
        check_part(row, 0, self.rows)?;
        let (rows, cols, row_stride, col_stride) = (self.rows, self.cols, self.row_stride, self.col_stride);
        let part = |data, rows| Self { data, rows, cols, row_stride, col_stride };
        if row == 0 || cols == 0 {
            return Ok((part(&mut [], row), part(self.data, rows - row)));
        }
        if row == rows {
            return Ok((part(self.data, row), part(&mut [], 0)));
        }
        // Rows `row - 1` and `row` both exist, so neither product overflows.
        if (cols - 1) * col_stride >= row_stride {
            return Err(ShapeError::Interleaved { row_stride, col_stride });
        }
        let (above, below) = self.data.split_at_mut(row * row_stride);
        Ok((part(above, row), part(below, rows - row)))
    }

    /// The columns before `col` and those from it on; the counterpart of [`split_at_row`](Self::split_at_row).
    ///
    /// # Errors
    /// [`ShapeError::Interleaved`] when one column begins before the one before it ends (a row-major matrix, for
    /// instance), [`ShapeError::OutOfBounds`] when there are fewer than `col` columns.
    pub fn split_at_col(self, col: usize) -> Result<(Self, Self), ShapeError> {
        let (left, right) = self.transpose().split_at_row(col)?;
        Ok((left.transpose(), right.transpose()))
    }
}

impl<T: Copy> MatrixMut<'_, T> {
    /// Sets every element; the storage between elements is left alone.
    pub fn fill(&mut self, value: T) {
        for i in 0..self.rows {
            if let Some(row) = self.row_mut(i) {
                row.fill(value);
                continue;
            }
            for j in 0..self.cols {
                if let Some(element) = self.get_mut(i, j) {
                    *element = value;
                }
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for MatrixMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatrixMut")
            .field("rows", &self.rows)
            .field("cols", &self.cols)
            .field("row_stride", &self.row_stride)
            .field("col_stride", &self.col_stride)
            .field("storage_len", &self.data.len())
            .finish()
    }
}
