//! What can be wrong with the operands.

use core::fmt;

/// Operands whose lengths or shapes do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeError {
    /// An operand is not as long as it must be.
    Length {
        /// The operand.
        operand: &'static str,
        /// The length that it must have.
        expected: usize,
        /// The length that it has.
        actual: usize,
    },
    /// Rows overlap.
    Stride {
        /// The distance from one row to the next.
        stride: usize,
        /// The length of a row.
        width: usize,
    },
    /// The rows reach beyond the end of an operand.
    TooShort {
        /// The operand.
        operand: &'static str,
        /// The rows as described.
        rows: crate::Rows,
        /// The length of the operand.
        len: usize,
    },
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShapeError::Length { operand, expected, actual } => {
                write!(f, "{operand} has {actual} elements, but must have {expected}")
            }
            ShapeError::Stride { stride, width } => {
                write!(f, "rows of {width} elements overlap at a stride of {stride}; it must be at least {width}")
            }
            ShapeError::TooShort { operand, rows, len } => write!(
                f,
                "{operand} has {len} elements, too few for {} rows of {} at a stride of {}",
                rows.count, rows.width, rows.stride
            ),
        }
    }
}

impl core::error::Error for ShapeError {}
