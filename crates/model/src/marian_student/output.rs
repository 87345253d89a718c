//! The output over the words that a translation may use.

use alloc::vec::Vec;

use kernform_gemm::int8::{
    PackedI8, Rows as Inputs, SaturatingI8, Scale, gemm_i8, gemm_i8_saturating, gemm_i8_scratch_len,
};
use kernform_gemm::{Epilogue, Layout, Operand, PackedB, gemm, gemm_scratch_len};
use kernform_tensor::{MatrixMut, MatrixRef, Memory, Parallel};

use super::table::{Rows, Table};
use crate::error::ModelError;
use crate::layers::Context;

/// The rows of some words, packed, with their biases.
pub(super) struct Output {
    pub(super) words: Vec<u32>,
    bias: Vec<f32>,
    weights: Weights,
}

enum Weights {
    F32(PackedB<'static>),
    I8(PackedI8<'static>),
    /// With the factor of the sums.
    Saturating(SaturatingI8<'static>, f32),
}

impl Weights {
    fn into_memory(self) -> Memory {
        match self {
            Self::F32(_) => Memory::default(),
            Self::I8(packed) => packed.into_memory(),
            Self::Saturating(weights, _) => weights.into_packed().into_memory(),
        }
    }
}

impl Output {
    /// Gathers the rows of `words`, in the memory of an output that is no longer needed.
    pub(super) fn new(table: &Table, width: usize, words: Vec<u32>, before: Option<Self>) -> Result<Self, ModelError> {
        let vocab_size = table.bias.len();
        if let Some(token) = words.iter().find(|word| **word as usize >= vocab_size) {
            return Err(ModelError::Token { token: *token, vocab_size });
        }
        let bias = words.iter().map(|word| table.bias[*word as usize]).collect();
        let weights = match &table.rows {
            Rows::F32(rows) => {
                let mut chosen = Vec::with_capacity(words.len() * width);
                for word in &words {
                    let start = *word as usize * width;
                    chosen.extend_from_slice(rows.get(start..start + width).unwrap_or_default());
                }
                Weights::F32(PackedB::pack(MatrixRef::new(&chosen, words.len(), width)?.transpose())?)
            }
            Rows::I8 { bytes, saturating, .. } => {
                let memory = before.map_or_else(Memory::default, |before| before.weights.into_memory());
                let packed = PackedI8::pack_rows(MatrixRef::new(bytes.as_slice(), vocab_size, width)?, &words, memory)?;
                match saturating {
                    Some(factor) => Weights::Saturating(SaturatingI8::new(packed), *factor),
                    None => Weights::I8(packed),
                }
            }
        };
        Ok(Self { words, bias, weights })
    }

    /// Scratch for `rows` rows over at most `words` words.
    pub(super) fn scratch_len(table: &Table, width: usize, rows: usize, words: usize, threads: usize) -> usize {
        match &table.rows {
            Rows::F32(_) => gemm_scratch_len(threads, rows, words, width, Layout::RowMajor, Layout::Packed),
            Rows::I8 { .. } => gemm_i8_scratch_len(threads, rows, words, width),
        }
    }

    /// The logits `[rows, words]` of states `[rows, width]`.
    pub(super) fn apply<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        table: &Table,
        states: &[f32],
        width: usize,
        logits: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), ModelError> {
        let rows = states.len() / width.max(1);
        let a = MatrixRef::new(states, rows, width)?;
        let c = MatrixMut::new(logits, rows, self.words.len())?;
        let epilogue = Epilogue::bias(Some(&self.bias));
        match (&self.weights, &table.rows) {
            (Weights::F32(weights), _) => {
                gemm(context.isa, context.parallel, a, Operand::Packed(weights), c, &epilogue, scratch)?;
            }
            (Weights::Saturating(weights, factor), Rows::I8 { input_multiplier, .. }) => {
                let (a, factor) = ((a, *input_multiplier), Scale::One(*factor));
                let then = (epilogue.bias, false, None);
                gemm_i8_saturating(context.isa, context.parallel, a, weights, factor, c, then, scratch)?;
            }
            (Weights::I8(weights), Rows::I8 { scale, input_multiplier, .. }) => {
                let inputs = Inputs::Static { values: a, multiplier: *input_multiplier, scale: 1.0 / input_multiplier };
                let scale = Scale::One(*scale);
                gemm_i8(context.isa, context.parallel, inputs, weights, scale, c, &epilogue, scratch)?;
            }
            // Outputs are made of the table that they are used with.
            (Weights::I8(_) | Weights::Saturating(..), Rows::F32(_)) => {}
        }
        Ok(())
    }
}
