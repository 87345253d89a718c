//! Embedding look-up: rows of a table by token id, scaled, with positions added.

use core::fmt;

use kernform_simd::{Isa, Kernel, Simd};

/// Why an embedding cannot be looked up; nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmbeddingError {
    /// A token id that the vocabulary does not have.
    Token {
        /// Where in the list of ids.
        index: usize,
        /// The id.
        id: u32,
        /// Rows of the table.
        vocabulary: usize,
    },
    /// A position that the table of positions does not have.
    Position {
        /// Where in the list of ids.
        index: usize,
        /// The position, offset included.
        position: usize,
        /// Rows of the table of positions.
        rows: usize,
    },
    /// The width of a row is 0, or a table is no whole number of rows.
    Table {
        /// Elements of the table.
        len: usize,
        /// Elements of a row.
        width: usize,
    },
    /// A list or the output has the wrong length.
    Length {
        /// The length that it must have.
        needed: usize,
        /// The length that it has.
        len: usize,
    },
    /// A size does not fit the address space.
    Overflow,
}

impl fmt::Display for EmbeddingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Token { index, id, vocabulary } => {
                write!(f, "token {index} has the id {id}, the vocabulary ends at {vocabulary}")
            }
            Self::Position { index, position, rows } => {
                write!(f, "token {index} is at position {position}, the table of positions ends at {rows}")
            }
            Self::Table { len, width } => {
                write!(f, "a table of {len} elements is no whole number of rows of {width}")
            }
            Self::Length { needed, len } => write!(f, "a list or the output must have {needed} elements, not {len}"),
            Self::Overflow => f.write_str("a size does not fit the address space"),
        }
    }
}

impl core::error::Error for EmbeddingError {}

/// `out[t] = table[ids[t]] * scale + positions[position(t)]`, one product and one sum an element, in this order.
struct LookUp<'a, P> {
    table: &'a [f32],
    width: usize,
    ids: &'a [u32],
    scale: f32,
    positions: Option<&'a [f32]>,
    position: P,
    out: &'a mut [f32],
}

impl<P: Fn(usize) -> usize> LookUp<'_, P> {
    fn check(&self) -> Result<(), EmbeddingError> {
        let rows = |table: &[f32]| {
            if self.width == 0 || !table.len().is_multiple_of(self.width) {
                return Err(EmbeddingError::Table { len: table.len(), width: self.width });
            }
            Ok(table.len() / self.width)
        };
        let vocabulary = rows(self.table)?;
        for (index, &id) in self.ids.iter().enumerate() {
            if usize::try_from(id).map_or(true, |id| id >= vocabulary) {
                return Err(EmbeddingError::Token { index, id, vocabulary });
            }
        }
        if let Some(positions) = self.positions {
            let rows = rows(positions)?;
            for index in 0..self.ids.len() {
                let position = (self.position)(index);
                if position >= rows {
                    return Err(EmbeddingError::Position { index, position, rows });
                }
            }
        }
        let needed = self.ids.len().checked_mul(self.width).ok_or(EmbeddingError::Overflow)?;
        if self.out.len() != needed {
            return Err(EmbeddingError::Length { needed, len: self.out.len() });
        }
        Ok(())
    }
}

impl<P: Fn(usize) -> usize> Kernel for LookUp<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let scale = s.splat(self.scale);
        for (index, (&id, out)) in self.ids.iter().zip(self.out.chunks_exact_mut(self.width)).enumerate() {
            let row = &self.table[id as usize * self.width..][..self.width];
            let Some(positions) = self.positions else {
                for (row, out) in row.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
                    s.store_partial(s.mul(s.load_or(row, 0.0), scale), out);
                }
                continue;
            };
            let added = &positions[(self.position)(index) * self.width..][..self.width];
            let parts = row.chunks(S::LANES).zip(added.chunks(S::LANES)).zip(out.chunks_mut(S::LANES));
            for ((row, added), out) in parts {
                let scaled = s.mul(s.load_or(row, 0.0), scale);
                s.store_partial(s.add(scaled, s.load_or(added, 0.0)), out);
            }
        }
    }
}

/// Rows of `table` (`[vocabulary, width]`) by token id, times `scale`, into `out` (`[ids, width]`).
///
/// Each element is one product, correctly rounded; a scale of 1 copies.
///
/// # Errors
/// [`EmbeddingError`] for an id outside the vocabulary or lengths that do not fit; nothing is written then.
pub fn embed(
    isa: Isa,
    table: &[f32],
    width: usize,
    ids: &[u32],
    scale: f32,
    out: &mut [f32],
) -> Result<(), EmbeddingError> {
    let look_up = LookUp { table, width, ids, scale, positions: None, position: |_| 0, out };
    look_up.check()?;
    isa.dispatch(look_up);
    Ok(())
}

/// [`embed`], plus for token `t` row `at[t] + offset` of `positions` (`[rows, width]`).
///
/// The order is `table * scale` and then the sum, each rounded once. Learned positions of BART begin at an `offset`
/// of 2; sinusoidal tables come from [`crate::positions`].
///
/// # Errors
/// [`EmbeddingError`] for an id or a position outside its table or lengths that do not fit; nothing is written then.
pub fn embed_at(
    isa: Isa,
    table: &[f32],
    width: usize,
    ids: &[u32],
    scale: f32,
    positions: &[f32],
    at: &[usize],
    offset: usize,
    out: &mut [f32],
) -> Result<(), EmbeddingError> {
    if at.len() != ids.len() {
        return Err(EmbeddingError::Length { needed: ids.len(), len: at.len() });
    }
    let position = |index: usize| at[index].saturating_add(offset);
    let look_up = LookUp { table, width, ids, scale, positions: Some(positions), position, out };
    look_up.check()?;
    isa.dispatch(look_up);
    Ok(())
}
