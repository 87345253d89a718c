//! What a product can be refused for.

/// Why a product, or the packing of an operand, is refused. Nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GemmError {
    /// The columns of A are not as many as the rows of B.
    InnerDimension {
        /// Columns of A.
        a_cols: usize,
        /// Rows of B.
        b_rows: usize,
    },
    /// C has not the rows of A and the columns of B.
    OutputShape {
        /// Rows and columns that C must have.
        needed: (usize, usize),
        /// Rows and columns that it has.
        found: (usize, usize),
    },
    /// The bias has not one element for each column of B.
    BiasLength {
        /// Elements that it must have.
        needed: usize,
        /// Elements that it has.
        found: usize,
    },
    /// The residual has not the shape of C.
    ResidualShape {
        /// Rows and columns that it must have.
        needed: (usize, usize),
        /// Rows and columns that it has.
        found: (usize, usize),
    },
    /// There is not one scale for each row or column.
    ScaleLength {
        /// Scales that there must be.
        needed: usize,
        /// Scales that there are.
        found: usize,
    },
    /// `k` is so large that sums of products of bytes may not fit their type.
    Depth {
        /// The largest `k`.
        most: usize,
        /// The operand's.
        found: usize,
    },
    /// The scratch is shorter than [`gemm_scratch_len`](crate::gemm_scratch_len) says.
    ScratchTooShort {
        /// Floats that it must have.
        needed: usize,
        /// Floats that it has.
        found: usize,
    },
    /// Packed data have not the length that `packed_len` of their type says.
    PackedLength {
        /// Elements that they must have.
        needed: usize,
        /// Elements that they have.
        found: usize,
    },
    /// A row is chosen to be packed that the operand has not.
    NoSuchRow {
        /// The row.
        row: usize,
        /// Rows that there are.
        rows: usize,
    },
    /// The size of the packed operand does not fit the address space.
    TooLarge,
    /// The allocator refused.
    OutOfMemory {
        /// Elements that were asked for.
        elements: usize,
    },
}

impl core::fmt::Display for GemmError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::InnerDimension { a_cols, b_rows } => {
                write!(f, "A has {a_cols} columns and B has {b_rows} rows; they must be equal")
            }
            Self::OutputShape { needed, found } => {
                write!(f, "C is {} x {}, the product is {} x {}", found.0, found.1, needed.0, needed.1)
            }
            Self::BiasLength { needed, found } => {
                write!(f, "the bias has {found} elements, it must have one for each of the {needed} columns")
            }
            Self::ResidualShape { needed, found } => {
                write!(f, "the residual is {} x {}, it must be {} x {} as C", found.0, found.1, needed.0, needed.1)
            }
            Self::ScaleLength { needed, found } => {
                write!(f, "there are {found} scales, there must be one for each of the {needed} rows or columns")
            }
            Self::Depth { most, found } => {
                write!(f, "k is {found}, and products of bytes can be summed exactly up to {most}")
            }
            Self::ScratchTooShort { needed, found } => {
                write!(f, "the scratch has {found} floats, this product needs {needed}")
            }
            Self::PackedLength { needed, found } => {
                write!(f, "the packed operand has {found} elements, its shape needs {needed}")
            }
            Self::NoSuchRow { row, rows } => write!(f, "row {row} is to be packed, and the operand has {rows}, from 0"),
            Self::TooLarge => f.write_str("the packed operand would have more elements than memory can address"),
            Self::OutOfMemory { elements } => write!(f, "no memory for {elements} packed elements"),
        }
    }
}

impl core::error::Error for GemmError {}
