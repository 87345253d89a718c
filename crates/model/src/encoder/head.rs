//! What is put upon the states of an encoder: pooler, classifiers, the masked language model.

use kernform_math::{Activation, tanh_in_place};
use kernform_tensor::Parallel;

use crate::error::ModelError;
use crate::layers::Context;
use crate::linear::{Extra, Linear};
use crate::norm::LayerNorm;

/// Which states a head reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadInput {
    /// The first token of each sequence.
    First,
    /// The mean over the tokens of each sequence.
    Mean,
    /// Every token.
    Every,
}

/// A head: `output(norm(activation(dense(x))))`, with parts that may be missing.
pub(crate) struct Head {
    pub(crate) input: HeadInput,
    pub(crate) transform: Option<Transform>,
    pub(crate) output: Option<Linear>,
}

/// The part of a head before the output.
pub(crate) struct Transform {
    pub(crate) dense: Linear,
    pub(crate) activation: HeadActivation,
    pub(crate) norm: Option<LayerNorm>,
}

/// The activation of a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadActivation {
    Tanh,
    Plain(Activation),
}

impl Transform {
    /// `tanh(dense(x))`: BERT's pooler.
    pub(crate) const fn tanh(dense: Linear) -> Self {
        Self { dense, activation: HeadActivation::Tanh, norm: None }
    }

    fn apply<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        x: &[f32],
        out: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), ModelError> {
        let activation = match self.activation {
            HeadActivation::Tanh => Activation::Identity,
            HeadActivation::Plain(activation) => activation,
        };
        self.dense.apply(context, x, out, Extra::activation(activation), scratch)?;
        if self.activation == HeadActivation::Tanh {
            tanh_in_place(context.isa, out);
        }
        self.norm.as_ref().map_or(Ok(()), |norm| norm.apply_in_place(context.isa, out))
    }
}

impl Head {
    /// A linear map of the states.
    pub(crate) const fn linear(input: HeadInput, output: Linear) -> Self {
        Self { input, transform: None, output: Some(output) }
    }

    /// Numbers that the head gives for a row, of states `width` wide.
    pub(crate) fn outputs(&self, width: usize) -> usize {
        let transformed = self.transform.as_ref().map_or(width, |transform| transform.dense.outputs());
        self.output.as_ref().map_or(transformed, Linear::outputs)
    }

    /// The widest row between states and output.
    pub(crate) fn inner_width(&self) -> usize {
        self.transform.as_ref().map_or(0, |transform| transform.dense.outputs())
    }

    fn maps(&self) -> impl Iterator<Item = &Linear> {
        self.transform.iter().map(|transform| &transform.dense).chain(&self.output)
    }

    pub(crate) fn memory(&self) -> usize {
        self.maps().map(Linear::memory).sum()
    }

    pub(crate) fn scratch_len(&self, rows: usize, threads: usize) -> usize {
        self.maps().map(|map| map.scratch_len(rows, threads)).max().unwrap_or(0)
    }

    /// Maps rows of states; `between` is room for the transformed rows.
    pub(crate) fn apply<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        x: &[f32],
        rows: usize,
        between: &mut [f32],
        out: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), ModelError> {
        match (&self.transform, &self.output) {
            (None, None) => out.copy_from_slice(x),
            (Some(transform), None) => transform.apply(context, x, out, scratch)?,
            (None, Some(output)) => output.apply(context, x, out, Extra::default(), scratch)?,
            (Some(transform), Some(output)) => {
                let between = &mut between[..rows * transform.dense.outputs()];
                transform.apply(context, x, between, scratch)?;
                output.apply(context, between, out, Extra::default(), scratch)?;
            }
        }
        Ok(())
    }
}
