//! The one error of everything that has a shape.

use core::fmt;

/// Why a shape, a view or a part of one cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeError {
    /// The number of elements, or an element's offset, does not fit into the address space.
    Overflow,
    /// The storage ends before the last element.
    TooShort {
        /// Elements that the shape and strides reach.
        needed: usize,
        /// Elements that are there.
        len: usize,
    },
    /// The storage has another number of elements than the shape says.
    LengthMismatch {
        /// Elements that the shape says.
        needed: usize,
        /// Elements that are there.
        len: usize,
    },
    /// Two elements of a mutable view would share one place in memory.
    SelfOverlap {
        /// Rows of the view.
        rows: usize,
        /// Columns of the view.
        cols: usize,
        /// Distance between rows, in elements.
        row_stride: usize,
        /// Distance between columns, in elements.
        col_stride: usize,
    },
    /// A part was asked for that reaches beyond the whole.
    OutOfBounds {
        /// First index past the part that was asked for.
        end: usize,
        /// Length of the whole in that direction.
        len: usize,
    },
    /// The rows (or columns) of a mutable view lie between each other, so that no cut of the storage parts them.
    Interleaved {
        /// Distance between rows, in elements.
        row_stride: usize,
        /// Distance between columns, in elements.
        col_stride: usize,
    },
    /// A shape of more dimensions than [`MAX_RANK`](crate::MAX_RANK).
    TooManyDims {
        /// Dimensions that were asked for.
        rank: usize,
    },
    /// The allocator refused.
    OutOfMemory {
        /// Elements that were asked for.
        elements: usize,
    },
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Overflow => f.write_str("the shape has more elements than memory can address"),
            Self::TooShort { needed, len } => {
                write!(f, "the shape reaches {needed} elements, the storage has only {len}")
            }
            Self::LengthMismatch { needed, len } => {
                write!(f, "the shape has {needed} elements, the storage must have as many and has {len}")
            }
            Self::SelfOverlap { rows, cols, row_stride, col_stride } => write!(
                f,
                "{rows} x {cols} elements at strides ({row_stride}, {col_stride}) overlap; \
                 a mutable view needs every element in a place of its own"
            ),
            Self::OutOfBounds { end, len } => {
                write!(f, "the part ends at {end}, the whole has length {len}")
            }
            Self::Interleaved { row_stride, col_stride } => write!(
                f,
                "at strides ({row_stride}, {col_stride}) the two parts lie between each other in memory; \
                 split along the direction of the larger stride"
            ),
            Self::TooManyDims { rank } => {
                write!(f, "{rank} dimensions, at most {} are supported", crate::MAX_RANK)
            }
            Self::OutOfMemory { elements } => write!(f, "no memory for {elements} elements"),
        }
    }
}

impl core::error::Error for ShapeError {}
