//! Token embeddings with their positions.

use alloc::format;
use alloc::vec::Vec;

use kernform_attention::embed_at;
use kernform_attention::positions::{SinusoidalLayout, sinusoidal};
use kernform_simd::Isa;

use crate::config::{EncoderDecoderConfig, PositionKind};
use crate::error::ModelError;
use crate::norm::LayerNorm;
use crate::weights::Weights;

/// A table of tokens, a table of positions, and what is done to their sum.
pub(crate) struct Embedding {
    width: usize,
    /// `[vocabulary, width]`.
    table: Vec<f32>,
    scale: f32,
    /// `[rows, width]`.
    positions: Vec<f32>,
    numbering: Numbering,
    norm: Option<LayerNorm>,
}

/// Which row of the position table a token gets.
#[derive(Clone, Copy)]
enum Numbering {
    /// The `n`th token of a sequence the row `n + offset`.
    Index { offset: usize },
    /// fairseq's: padding tokens the row `padding`, which is 0, and the `n`th of the others, counted from 1, the row
    /// `n + padding`.
    Fairseq { padding: u32 },
}

impl Embedding {
    pub(crate) fn load(
        weights: &Weights<'_>,
        prefix: &str,
        config: &EncoderDecoderConfig,
        vocab_size: usize,
    ) -> Result<Self, ModelError> {
        let width = config.width;
        let (positions, numbering) = positions(weights, prefix, config)?;
        let norm = config.norm_embedding.then(|| weights.norm(prefix, "layernorm_embedding", config)).transpose()?;
        let scale = if config.scale_embedding { libm::sqrt(width as f64) as f32 } else { 1.0 };
        let table = weights.embedding(prefix, config, vocab_size)?;
        Ok(Self { width, table, scale, positions, numbering, norm })
    }

    pub(crate) fn memory(&self) -> usize {
        (self.table.len() + self.positions.len()) * size_of::<f32>()
    }

    /// That all tokens are of the vocabulary.
    pub(crate) fn check(&self, ids: &[u32]) -> Result<(), ModelError> {
        let vocab_size = self.table.len() / self.width;
        match ids.iter().find(|id| **id as usize >= vocab_size) {
            Some(token) => Err(ModelError::Token { token: *token, vocab_size }),
            None => Ok(()),
        }
    }

    /// Embeds whole sequences of `len` tokens each, from their first position on. `scratch` has as many elements as `out`,
    /// `places` is room for as many numbers as there are ids.
    pub(crate) fn sequences(
        &self,
        isa: Isa,
        ids: &[u32],
        len: usize,
        places: &mut Vec<usize>,
        scratch: &mut [f32],
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        places.clear();
        for sequence in ids.chunks(len.max(1)) {
            match self.numbering {
                Numbering::Index { offset } => places.extend(offset..offset + sequence.len()),
                Numbering::Fairseq { padding } => {
                    let mut counted = 0;
                    places.extend(sequence.iter().map(|id| {
                        counted += usize::from(*id != padding);
                        padding as usize + if *id == padding { 0 } else { counted }
                    }));
                }
            }
        }
        self.place(isa, ids, places, scratch, out)
    }

    /// Embeds one token of each of several sequences, which stands behind `places[i]` others; `places` is used up.
    pub(crate) fn steps(
        &self,
        isa: Isa,
        ids: &[u32],
        places: &mut [usize],
        scratch: &mut [f32],
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        for (place, id) in places.iter_mut().zip(ids) {
            *place = match self.numbering {
                Numbering::Index { offset } => *place + offset,
                // As in cached generation there: all tokens before this one count, whatever they are.
                Numbering::Fairseq { padding } => padding as usize + if *id == padding { 0 } else { *place + 1 },
            };
        }
        self.place(isa, ids, places, scratch, out)
    }

    fn place(
        &self,
        isa: Isa,
        ids: &[u32],
        places: &[usize],
        scratch: &mut [f32],
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        self.check(ids)?;
        let rows = self.positions.len() / self.width;
        if let Some(place) = places.iter().find(|place| **place >= rows) {
            return Err(ModelError::TooLong { tokens: place + 1, limit: rows });
        }
        let sum = if self.norm.is_some() { &mut scratch[..out.len()] } else { &mut *out };
        embed_at(isa, &self.table, self.width, ids, self.scale, &self.positions, places, 0, sum)?;
        match &self.norm {
            Some(norm) => norm.apply(isa, &scratch[..out.len()], out),
            None => Ok(()),
        }
    }
}

/// The table of positions and how its rows are numbered.
fn positions(
    weights: &Weights<'_>,
    prefix: &str,
    config: &EncoderDecoderConfig,
) -> Result<(Vec<f32>, Numbering), ModelError> {
    let (width, count) = (config.width, config.max_positions);
    let table = |layout, rows: usize| {
        let mut table = alloc::vec![0.0; table_len(rows, width)?];
        sinusoidal(layout, width, 0, &mut table)?;
        Ok::<_, ModelError>(table)
    };
    match config.positions {
        PositionKind::Sinusoidal => Ok((table(SinusoidalLayout::Halves, count)?, Numbering::Index { offset: 0 })),
        PositionKind::SinusoidalFairseq => {
            let padding = config.pad_token_id.unwrap_or(1);
            let first = padding as usize + 1;
            let layout = SinusoidalLayout::Fairseq { padding: Some(padding as usize) };
            Ok((table(layout, crate::weights::sum(count, first)?)?, Numbering::Fairseq { padding }))
        }
        PositionKind::Learned { offset } => {
            let rows = crate::weights::sum(count, offset)?;
            let name = format!("{prefix}.embed_positions.weight");
            Ok((weights.tensor(&name, &[rows, width])?, Numbering::Index { offset }))
        }
    }
}

/// Largest table of computed positions, in elements: no file bounds it as it bounds the learned ones.
const LARGEST_TABLE: usize = 1 << 26;

fn table_len(rows: usize, width: usize) -> Result<usize, ModelError> {
    rows.checked_mul(width).filter(|len| *len <= LARGEST_TABLE).ok_or_else(|| ModelError::Config {
        key: "max_position_embeddings",
        problem: format!(
            "a table of {rows} positions of width {width} is too large; it may have {LARGEST_TABLE} elements"
        ),
    })
}
