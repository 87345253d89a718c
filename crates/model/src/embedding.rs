//! Token embeddings with their positions.

use alloc::format;
use alloc::vec::Vec;

use kernform_attention::Segment;
use kernform_attention::positions::{SinusoidalLayout, sinusoidal};
use kernform_simd::Isa;

use crate::error::ModelError;
use crate::norm::LayerNorm;
use crate::table::TokenTable;

/// A table of tokens, tables of positions and of token types, and what is done to their sum.
pub(crate) struct Embedding {
    pub(crate) width: usize,
    /// `[vocabulary, width]`.
    pub(crate) table: TokenTable,
    /// What the rows of the table are multiplied by.
    pub(crate) scale: f32,
    /// `[rows, width]`; empty where positions enter elsewhere.
    pub(crate) positions: Vec<f32>,
    pub(crate) numbering: Numbering,
    /// `[types, width]`; empty where there are none.
    pub(crate) types: Vec<f32>,
    pub(crate) token_dropout: Option<TokenDropout>,
    pub(crate) norm: Option<LayerNorm>,
}

/// Which row of the position table a token gets.
#[derive(Clone, Copy)]
pub(crate) enum Numbering {
    /// The `n`th token of a sequence the row `n + offset`.
    Index { offset: usize },
    /// fairseq's: padding tokens the row `padding`, and the `n`th of the others, counted from 1, the row `n + padding`.
    Fairseq { padding: u32 },
}

/// The scaling of ESM: masked tokens are 0, and the rest is multiplied by what training dropped over what is masked here.
#[derive(Clone, Copy)]
pub(crate) struct TokenDropout {
    pub(crate) mask_token: u32,
}

/// The share of tokens that training masked and did not replace: 15 % times 80 %.
const MASKED_IN_TRAINING: f64 = 0.15 * 0.8;

impl Embedding {
    /// A table of tokens alone.
    pub(crate) fn new(table: TokenTable, width: usize) -> Self {
        let numbering = Numbering::Index { offset: 0 };
        let (positions, types) = (Vec::new(), Vec::new());
        Self { width, table, scale: 1.0, positions, numbering, types, token_dropout: None, norm: None }
    }

    pub(crate) fn memory(&self) -> usize {
        self.table.memory() + (self.positions.len() + self.types.len()) * size_of::<f32>()
    }

    /// That all tokens are of the vocabulary.
    pub(crate) fn check(&self, ids: &[u32]) -> Result<(), ModelError> {
        let vocab_size = self.table.len() / self.width;
        match ids.iter().find(|id| **id as usize >= vocab_size) {
            Some(token) => Err(ModelError::Token { token: *token, vocab_size }),
            None => Ok(()),
        }
    }

    /// Appends the rows that the tokens of one whole sequence get to `places`.
    fn number(&self, ids: &[u32], places: &mut Vec<usize>) {
        match self.numbering {
            Numbering::Index { offset } => places.extend(offset..offset + ids.len()),
            Numbering::Fairseq { padding } => {
                let mut counted = 0;
                places.extend(ids.iter().map(|id| {
                    counted += usize::from(*id != padding);
                    padding as usize + if *id == padding { 0 } else { counted }
                }));
            }
        }
    }

    /// Embeds whole sequences of `len` tokens each, from their first position on. `places` is room for as many numbers as
    /// there are ids.
    pub(crate) fn sequences(
        &self,
        isa: Isa,
        ids: &[u32],
        len: usize,
        places: &mut Vec<usize>,
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        places.clear();
        for sequence in ids.chunks(len.max(1)) {
            self.number(sequence, places);
        }
        self.place(isa, ids, places, out)?;
        self.normalise(isa, out)
    }

    /// Embeds one token of each of several sequences, which stands behind `places[i]` others; `places` is used up.
    pub(crate) fn steps(&self, isa: Isa, ids: &[u32], places: &mut [usize], out: &mut [f32]) -> Result<(), ModelError> {
        for (place, id) in places.iter_mut().zip(ids) {
            *place = match self.numbering {
                Numbering::Index { offset } => *place + offset,
                // As in cached generation there: all tokens before this one count, whatever they are.
                Numbering::Fairseq { padding } => padding as usize + if *id == padding { 0 } else { *place + 1 },
            };
        }
        self.place(isa, ids, places, out)?;
        self.normalise(isa, out)
    }

    /// Embeds sequences one after the other, with their token types (0 where there are none given). `present` says which
    /// tokens are no padding, where there is any.
    pub(crate) fn segments(
        &self,
        isa: Isa,
        ids: &[u32],
        types: Option<&[u32]>,
        segments: &[Segment],
        present: Option<&[bool]>,
        places: &mut Vec<usize>,
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        places.clear();
        for segment in segments {
            self.number(&ids[segment.query.clone()], places);
        }
        match self.token_dropout {
            None => self.place(isa, ids, places, out)?,
            Some(dropout) => {
                self.check(ids)?;
                self.table.look_up(isa, self.width, ids, self.scale, out)?;
                for segment in segments {
                    let tokens = segment.query.clone();
                    let present = present.map(|present| &present[tokens.clone()]);
                    let rows = &mut out[tokens.start * self.width..tokens.end * self.width];
                    dropout.apply(&ids[tokens], present, self.width, rows);
                }
                if !self.positions.is_empty() {
                    self.check_places(places)?;
                    add_rows(isa, &self.positions, self.width, places.iter().copied(), out)?;
                }
            }
        }
        if !self.types.is_empty() {
            let count = self.types.len() / self.width;
            if let Some(token_type) = types.and_then(|types| types.iter().find(|id| **id as usize >= count)) {
                return Err(ModelError::TokenType { token_type: *token_type, types: count });
            }
            let types = (0..ids.len()).map(|i| types.map_or(0, |types| types[i] as usize));
            add_rows(isa, &self.types, self.width, types, out)?;
        }
        self.normalise(isa, out)
    }

    fn normalise(&self, isa: Isa, out: &mut [f32]) -> Result<(), ModelError> {
        self.norm.as_ref().map_or(Ok(()), |norm| norm.apply_in_place(isa, out))
    }

    fn check_places(&self, places: &[usize]) -> Result<(), ModelError> {
        let rows = self.positions.len() / self.width;
        match places.iter().find(|place| **place >= rows) {
            Some(place) => Err(ModelError::TooLong { tokens: place + 1, limit: rows }),
            None => Ok(()),
        }
    }

    /// Tokens and positions, summed.
    fn place(&self, isa: Isa, ids: &[u32], places: &[usize], out: &mut [f32]) -> Result<(), ModelError> {
        self.check(ids)?;
        if !self.positions.is_empty() {
            self.check_places(places)?;
        }
        self.table.look_up(isa, self.width, ids, self.scale, out)?;
        if self.positions.is_empty() {
            return Ok(());
        }
        add_rows(isa, &self.positions, self.width, places.iter().copied(), out)
    }
}

impl TokenDropout {
    /// Scales the rows of one sequence.
    fn apply(self, ids: &[u32], present: Option<&[bool]>, width: usize, rows: &mut [f32]) {
        let masked = ids.iter().filter(|id| **id == self.mask_token).count();
        let tokens = present.map_or(ids.len(), |present| present.iter().filter(|is_there| **is_there).count());
        let kept = 1.0 - masked as f32 / tokens as f32;
        for (id, row) in ids.iter().zip(rows.chunks_exact_mut(width)) {
            for x in row {
                *x = if *id == self.mask_token { 0.0 } else { *x * (1.0 - MASKED_IN_TRAINING) as f32 / kept };
            }
        }
    }
}

/// Adds the rows of `table` that `places` names to the rows of `out`; all of them are there.
fn add_rows(
    isa: Isa,
    table: &[f32],
    width: usize,
    places: impl Iterator<Item = usize>,
    out: &mut [f32],
) -> Result<(), ModelError> {
    for (place, row) in places.zip(out.chunks_exact_mut(width)) {
        kernform_math::add(isa, &table[place * width..][..width], row)?;
    }
    Ok(())
}

/// Largest table of computed positions, in elements: no file bounds it as it bounds the learned ones.
const LARGEST_TABLE: usize = 1 << 26;

/// A table of sinusoidal positions.
pub(crate) fn sinusoidal_table(layout: SinusoidalLayout, rows: usize, width: usize) -> Result<Vec<f32>, ModelError> {
    let mut table = alloc::vec![0.0; table_len(rows, width)?];
    sinusoidal(layout, width, 0, &mut table)?;
    Ok(table)
}

/// The elements of a table that no file bounds.
pub(crate) fn table_len(rows: usize, width: usize) -> Result<usize, ModelError> {
    rows.checked_mul(width).filter(|len| *len <= LARGEST_TABLE).ok_or_else(|| ModelError::Config {
        key: "max_position_embeddings",
        problem: format!(
            "a table of {rows} positions of width {width} is too large; it may have {LARGEST_TABLE} elements"
        ),
    })
}
