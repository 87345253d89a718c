//! An owned row-major tensor.

use crate::{MatrixMut, MatrixRef, Shape, ShapeError, TensorRef};
use alloc::vec::Vec;

/// A row-major tensor that owns its elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<T> {
    shape: Shape,
    data: Vec<T>,
}

impl<T> Tensor<T> {
    /// A tensor of the given elements, in row-major order.
    ///
    /// # Errors
    /// [`ShapeError`] when `data` has not as many elements as the shape, or there is no such shape.
    pub fn from_vec(dims: &[usize], data: Vec<T>) -> Result<Self, ShapeError> {
        let shape = Shape::new(dims)?;
        if data.len() == shape.len() {
            Ok(Self { shape, data })
        } else {
            Err(ShapeError::LengthMismatch { needed: shape.len(), len: data.len() })
        }
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
    pub fn as_slice(&self) -> &[T] {
        &self.data
    }

    /// The elements in row-major order, mutable.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The elements, given up.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.data
    }

    /// The whole tensor, borrowed.
    #[must_use]
    pub fn view(&self) -> TensorRef<'_, T> {
        TensorRef::checked(self.shape, &self.data)
    }

    /// The matrix in which the last dimension is the row and all others are counted together.
    #[must_use]
    pub fn matrix(&self) -> MatrixRef<'_, T> {
        self.view().matrix()
    }

    /// [`matrix`](Self::matrix), mutable.
    #[must_use]
    pub fn matrix_mut(&mut self) -> MatrixMut<'_, T> {
        let (rows, cols) = self.shape.as_matrix();
        MatrixMut::row_major(&mut self.data, rows, cols)
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// [`ShapeError`] when the number of elements differs or there is no such shape; the tensor is dropped then.
    pub fn reshape(self, dims: &[usize]) -> Result<Self, ShapeError> {
        Self::from_vec(dims, self.data)
    }
}

impl<T: Clone + Default> Tensor<T> {
    /// A tensor of zeros.
    ///
    /// # Errors
    /// [`ShapeError`] when there is no such shape or no memory for it.
    pub fn zeros(dims: &[usize]) -> Result<Self, ShapeError> {
        let shape = Shape::new(dims)?;
        let mut data = Vec::new();
        data.try_reserve_exact(shape.len()).map_err(|_| ShapeError::OutOfMemory { elements: shape.len() })?;
        data.resize(shape.len(), T::default());
        Ok(Self { shape, data })
    }
}
