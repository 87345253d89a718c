//! Shapes of up to six dimensions, checked once.

use crate::ShapeError;
use core::fmt;

/// Most dimensions a [`Shape`] has.
pub const MAX_RANK: usize = 6;

/// Lengths of the dimensions of a row-major tensor, outermost first; no dimension is a scalar.
///
/// The product of the dimensions that are not 0 fits `isize`, so strides and offsets never overflow.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    // Dimensions past the rank are 1.
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// A shape from the lengths of its dimensions.
    ///
    /// # Errors
    /// [`ShapeError`] for more than [`MAX_RANK`] dimensions or too many elements.
    pub fn new(dims: &[usize]) -> Result<Self, ShapeError> {
        let mut all = [1; MAX_RANK];
        all.get_mut(..dims.len()).ok_or(ShapeError::TooManyDims { rank: dims.len() })?.copy_from_slice(dims);
        let product = all.iter().filter(|&&dim| dim != 0).try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        match product {
            Some(product) if isize::try_from(product).is_ok() => Ok(Self { dims: all, rank: dims.len() }),
            _ => Err(ShapeError::Overflow),
        }
    }

    /// The lengths of the dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Number of dimensions.
    #[must_use]
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// Number of elements; 1 for a scalar.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dims.contains(&0)
    }

    /// Rows and columns of the matrix in which the last dimension is the row and all others are counted together.
    ///
    /// A scalar is 1 x 1, a vector one row.
    #[must_use]
    pub fn as_matrix(&self) -> (usize, usize) {
        match self.dims().split_last() {
            Some((&cols, outer)) => (outer.iter().product(), cols),
            None => (1, 1),
        }
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.dims()).finish()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
