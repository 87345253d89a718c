//! What a call can be refused for.

use crate::Format;

/// Why a call is refused. Nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuantError {
    /// A row is not a whole number of blocks.
    PartialBlock {
        /// Values of the row.
        len: usize,
        /// Values of a block.
        block_len: usize,
    },
    /// There are more or fewer bytes than the blocks have.
    ByteLength {
        /// Bytes that there must be.
        needed: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// The output has not one place for each value.
    OutputLength {
        /// Elements that it must have.
        needed: usize,
        /// Elements that it has.
        found: usize,
    },
    /// There is no encoder for the format.
    NoEncoder(Format),
    /// The columns of A are not as many as the values of a row of the weights.
    InnerDimension {
        /// Columns of A.
        a_cols: usize,
        /// Values of a row of the weights.
        k: usize,
    },
    /// The activations were quantised for other weights.
    ActivationFormat {
        /// Values of a block of the activations.
        found: usize,
        /// Values of a block that these weights ask for.
        needed: usize,
    },
    /// The rows of A do not stand in memory as slices.
    StridedRows {
        /// Distance of the elements of a row; must be 1.
        col_stride: usize,
    },
    /// C has not the rows of A and the columns of the weights.
    OutputShape {
        /// Rows and columns that C must have.
        needed: (usize, usize),
        /// Rows and columns that it has.
        found: (usize, usize),
    },
    /// The bias has not one element for each column of C.
    BiasLength {
        /// Elements that it must have.
        needed: usize,
        /// Elements that it has.
        found: usize,
    },
    /// A row beyond the last was asked for.
    RowIndex {
        /// The row.
        row: usize,
        /// How many there are.
        rows: usize,
    },
    /// Memory lent for scratch or for a result is too short.
    MemoryTooShort {
        /// Elements that it must have.
        needed: usize,
        /// Elements that it has.
        found: usize,
    },
    /// A size does not fit the address space.
    TooLarge,
    /// The allocator refused.
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: usize,
    },
}

impl core::fmt::Display for QuantError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::PartialBlock { len, block_len } => {
                write!(f, "a row has {len} values, it must be a whole number of blocks of {block_len}")
            }
            Self::ByteLength { needed, found } => write!(f, "there are {found} bytes, the blocks have {needed}"),
            Self::OutputLength { needed, found } => {
                write!(f, "the output has {found} elements, there are {needed} values")
            }
            Self::NoEncoder(format) => write!(f, "{format} can be decoded and multiplied, but not encoded"),
            Self::InnerDimension { a_cols, k } => {
                write!(f, "A has {a_cols} columns and a row of the weights {k} values; they must be equal")
            }
            Self::ActivationFormat { found, needed } => {
                write!(f, "the activations are in blocks of {found}, these weights need blocks of {needed}")
            }
            Self::StridedRows { col_stride } => {
                write!(f, "the elements of a row of A are {col_stride} apart, they must stand next to each other")
            }
            Self::OutputShape { needed, found } => {
                write!(f, "C is {} x {}, the product is {} x {}", found.0, found.1, needed.0, needed.1)
            }
            Self::BiasLength { needed, found } => {
                write!(f, "the bias has {found} elements, it must have one for each of the {needed} columns")
            }
            Self::RowIndex { row, rows } => write!(f, "row {row} was asked for, there are {rows}"),
            Self::MemoryTooShort { needed, found } => {
                write!(f, "the memory lent has {found} elements, {needed} are needed")
            }
            Self::TooLarge => f.write_str("the size does not fit the address space"),
            Self::OutOfMemory { bytes } => write!(f, "no memory for {bytes} bytes"),
        }
    }
}

impl core::error::Error for QuantError {}
