//! The table of tokens: embeddings of source and target, and the weights of the output.

use alloc::vec::Vec;

use kernform_attention::positions::{SinusoidalLayout, sinusoidal};
use kernform_tensor::Memory;

use super::engine;
use crate::error::ModelError;

/// Positions that there are sines and cosines of.
pub(super) const MOST_POSITIONS: usize = 1024;

/// Rows of tokens, rows of positions, and the biases of the output.
pub(super) struct Table {
    pub(super) rows: Rows,
    width: usize,
    /// What token rows are multiplied by before their position is added: the square root of the width.
    scale: f32,
    /// `[MOST_POSITIONS, width]`.
    positions: Vec<f32>,
    /// Of the output, one for each token.
    pub(super) bias: Vec<f32>,
}

/// `[vocabulary, width]`.
pub(super) enum Rows {
    F32(Vec<f32>),
    I8 {
        bytes: Memory,
        /// What bytes are multiplied by.
        scale: f32,
        /// What inputs of the output are multiplied by before they are rounded to bytes.
        input_multiplier: f32,
        /// What sums of the output are multiplied by, where it is a product whose pairs saturate.
        saturating: Option<f32>,
    },
}

impl Table {
    pub(super) fn new(rows: Rows, width: usize, bias: Vec<f32>, as_engine: bool) -> Result<Self, ModelError> {
        let mut positions = alloc::vec![0.0; MOST_POSITIONS * width];
        if as_engine {
            engine::positions(width, &mut positions);
        } else {
            sinusoidal(SinusoidalLayout::Fairseq { padding: None }, width, 0, &mut positions)?;
        }
        Ok(Self { rows, width, scale: libm::sqrt(width as f64) as f32, positions, bias })
    }

    pub(super) fn memory(&self) -> usize {
        let rows = match &self.rows {
            Rows::F32(rows) => size_of_val(rows.as_slice()),
            Rows::I8 { bytes, .. } => bytes.as_bytes().len(),
        };
        rows + size_of_val(self.positions.as_slice()) + size_of_val(self.bias.as_slice())
    }

    /// Writes the embedding of a token at a position; `None` is what stands before the first target token.
    ///
    /// Product and sum are rounded each, so the bits are the same in every class.
    pub(super) fn embed(&self, token: Option<u32>, position: usize, out: &mut [f32]) -> Result<(), ModelError> {
        let place = |row: usize| row * self.width..(row + 1) * self.width;
        let too_long = ModelError::TooLong { tokens: position.saturating_add(1), limit: MOST_POSITIONS };
        let positions = self.positions.get(place(position.min(MOST_POSITIONS))).ok_or(too_long)?;
        let Some(token) = token else {
            out.copy_from_slice(positions);
            return Ok(());
        };
        let vocab_size = self.bias.len();
        let row = place((token as usize).min(vocab_size));
        let unknown = ModelError::Token { token, vocab_size };
        match &self.rows {
            Rows::F32(rows) => {
                let row = rows.get(row).ok_or(unknown)?;
                for ((out, value), position) in out.iter_mut().zip(row).zip(positions) {
                    *out = value * self.scale + position;
                }
            }
            Rows::I8 { bytes, scale, .. } => {
                let row = bytes.as_slice::<i8>().get(row).ok_or(unknown)?;
                for ((out, byte), position) in out.iter_mut().zip(row).zip(positions) {
                    *out = f32::from(*byte) * scale * self.scale + position;
                }
            }
        }
        Ok(())
    }
}
