//! A borrowed matrix with any strides, checked once when it is made.

use crate::ShapeError;
use core::fmt;

/// One past the largest offset of a `rows` x `cols` matrix at these strides; 0 for an empty matrix.
pub(crate) fn reach(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Result<usize, ShapeError> {
    if rows == 0 || cols == 0 {
        return Ok(0);
    }
    let last_row = (rows - 1).checked_mul(row_stride).ok_or(ShapeError::Overflow)?;
    let last_col = (cols - 1).checked_mul(col_stride).ok_or(ShapeError::Overflow)?;
    let last = last_row.checked_add(last_col).ok_or(ShapeError::Overflow)?;
    last.checked_add(1).ok_or(ShapeError::Overflow)
}

pub(crate) fn check_reach(
    len: usize,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
) -> Result<(), ShapeError> {
    let needed = reach(rows, cols, row_stride, col_stride)?;
    if needed > len { Err(ShapeError::TooShort { needed, len }) } else { Ok(()) }
}

/// Checks that `from .. from + count` lies within `0 .. len`.
pub(crate) fn check_part(from: usize, count: usize, len: usize) -> Result<(), ShapeError> {
    let end = from.checked_add(count).ok_or(ShapeError::Overflow)?;
    if end > len { Err(ShapeError::OutOfBounds { end, len }) } else { Ok(()) }
}

/// Read-only `rows` x `cols` matrix; element `(i, j)` is `data[i * row_stride + j * col_stride]`.
///
/// Every element's offset is below the length of [`as_slice`](Self::as_slice): the constructors check it, and
/// kernels may rely on it. Strides may be 0 (a row or column repeated). Zero rows or columns are legal.
pub struct MatrixRef<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<T> Clone for MatrixRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for MatrixRef<'_, T> {}

impl<'a, T> MatrixRef<'a, T> {
    /// A row-major matrix at the start of `data`, which may be longer than `rows * cols`.
    ///
    /// # Errors
    /// [`ShapeError`] when `data` is too short or the size overflows.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Result<Self, ShapeError> {
        Self::with_strides(data, rows, cols, cols, 1)
    }

    /// A matrix at any strides, in elements.
    ///
    /// # Errors
    /// [`ShapeError`] when an element would lie outside `data` or an offset overflows.
    pub fn with_strides(
        data: &'a [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self, ShapeError> {
        check_reach(data.len(), rows, cols, row_stride, col_stride)?;
        Ok(Self { data, rows, cols, row_stride, col_stride })
    }

    /// A view whose parts were checked by the caller.
    pub(crate) fn checked(data: &'a [T], rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Self {
        debug_assert!(check_reach(data.len(), rows, cols, row_stride, col_stride).is_ok());
        Self { data, rows, cols, row_stride, col_stride }
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
    pub const fn as_slice(&self) -> &'a [T] {
        self.data
    }

    /// Element `(i, j)`, or `None` outside the matrix.
    #[must_use]
    pub fn get(&self, i: usize, j: usize) -> Option<&'a T> {
        if i < self.rows && j < self.cols { self.data.get(i * self.row_stride + j * self.col_stride) } else { None }
    }

    /// Whether each row's elements stand next to each other.
    #[must_use]
    pub const fn rows_are_contiguous(&self) -> bool {
        self.col_stride == 1 || self.cols <= 1
    }

    /// Row `i` as a slice, where it exists and its elements stand next to each other.
    #[must_use]
    pub fn row(&self, i: usize) -> Option<&'a [T]> {
        if i >= self.rows || !self.rows_are_contiguous() {
            return None;
        }
        if self.cols == 0 {
            return Some(&[]);
        }
        self.data.get(i * self.row_stride..)?.get(..self.cols)
    }

    /// All elements as one slice, where they stand in row-major order without gaps.
    #[must_use]
    pub fn as_contiguous(&self) -> Option<&'a [T]> {
        if self.is_empty() {
            return Some(&[]);
        }
        if self.rows_are_contiguous() && (self.row_stride == self.cols || self.rows == 1) {
            self.data.get(..self.rows * self.cols)
        } else {
            None
        }
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
    pub fn block(&self, row: usize, rows: usize, col: usize, cols: usize) -> Result<Self, ShapeError> {
        check_part(row, rows, self.rows)?;
        check_part(col, cols, self.cols)?;
        // An empty part may begin past the last element, where an offset could overflow.
        let start = if rows == 0 || cols == 0 { 0 } else { row * self.row_stride + col * self.col_stride };
        let data = self.data.get(start..).unwrap_or_default();
        Ok(Self::checked(data, rows, cols, self.row_stride, self.col_stride))
    }
}

impl<T: fmt::Debug> fmt::Debug for MatrixRef<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatrixRef")
            .field("rows", &self.rows)
            .field("cols", &self.cols)
            .field("row_stride", &self.row_stride)
            .field("col_stride", &self.col_stride)
            .field("storage_len", &self.data.len())
            .finish()
    }
}
