//! The shape of an operand that is worked on row by row.

use crate::ShapeError;

/// `count` rows of `width` elements, `stride` elements from the start of one to the start of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The number of rows.
    pub count: usize,
    /// The number of elements in a row.
    pub width: usize,
    /// The distance between the starts of neighbouring rows; at least `width`.
    pub stride: usize,
}

impl Rows {
    /// Rows that lie one behind the other.
    pub const fn dense(count: usize, width: usize) -> Rows {
        Rows { count, width, stride: width }
    }

    /// Whether the rows lie apart from each other and inside an operand.
    ///
    /// # Errors
    /// [`ShapeError::Stride`] where rows overlap, [`ShapeError::TooShort`] where `operand`, which has `len` elements, is
    /// too short for the rows.
    pub fn check(self, operand: &'static str, len: usize) -> Result<(), ShapeError> {
        if self.count == 0 || self.width == 0 {
            return Ok(());
        }
        if self.count > 1 && self.stride < self.width {
            return Err(ShapeError::Stride { stride: self.stride, width: self.width });
        }
        let needed = (self.count - 1).checked_mul(self.stride).and_then(|start| start.checked_add(self.width));
        match needed {
            Some(needed) if needed <= len => Ok(()),
            _ => Err(ShapeError::TooShort { operand, rows: self, len }),
        }
    }

    /// The start of row `i` of checked rows.
    #[inline(always)]
    pub const fn start(self, i: usize) -> usize {
        i * self.stride
    }
}
