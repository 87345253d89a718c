//! A borrowed row-major tensor.

use crate::matrix::check_part;
use crate::{MatrixRef, Shape, ShapeError};

/// A row-major tensor in someone else's memory: as many elements as its shape says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorRef<'a, T> {
    shape: Shape,
    data: &'a [T],
}

impl<'a, T> TensorRef<'a, T> {
    /// A view of all of `data`.
    ///
    /// # Errors
    /// [`ShapeError`] when `data` has not as many elements as the shape, or there is no such shape.
    pub fn new(dims: &[usize], data: &'a [T]) -> Result<Self, ShapeError> {
        Self::from_shape(Shape::new(dims)?, data)
    }

    /// A view of all of `data` in a shape made before.
    ///
    /// # Errors
    /// [`ShapeError::LengthMismatch`] when `data` has not as many elements as the shape.
    pub fn from_shape(shape: Shape, data: &'a [T]) -> Result<Self, ShapeError> {
        if data.len() == shape.len() {
            Ok(Self { shape, data })
        } else {
            Err(ShapeError::LengthMismatch { needed: shape.len(), len: data.len() })
        }
    }

    /// A view whose length was checked by the caller.
    #[cfg(feature = "alloc")]
    pub(crate) fn checked(shape: Shape, data: &'a [T]) -> Self {
        debug_assert_eq!(shape.len(), data.len());
        Self { shape, data }
    }

    /// The shape.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The lengths of the dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The elements in row-major order.
    #[must_use]
    pub const fn as_slice(&self) -> &'a [T] {
        self.data
    }

    /// The matrix in which the last dimension is the row and all others are counted together.
    #[must_use]
    pub fn matrix(&self) -> MatrixRef<'a, T> {
        let (rows, cols) = self.shape.as_matrix();
        MatrixRef::checked(self.data, rows, cols, cols, 1)
    }

    /// Entry `i` of the outermost dimension, one dimension less.
    ///
    /// # Errors
    /// [`ShapeError::OutOfBounds`] when there is no such entry; a scalar has none.
    pub fn index(&self, i: usize) -> Result<Self, ShapeError> {
        let (&count, inner) = self.dims().split_first().ok_or(ShapeError::OutOfBounds { end: 1, len: 0 })?;
        check_part(i, 1, count)?;
        let shape = Shape::new(inner)?;
        let len = shape.len();
        let data = self.data.get(i * len..(i + 1) * len).unwrap_or_default();
        Self::from_shape(shape, data)
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// [`ShapeError`] when the number of elements differs or there is no such shape.
    pub fn reshape(&self, dims: &[usize]) -> Result<Self, ShapeError> {
        Self::new(dims, self.data)
    }
}
