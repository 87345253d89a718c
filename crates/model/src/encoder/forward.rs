//! A full pass over a padded batch, as a check against other engines, and the embedding of a few sequences.

use alloc::vec::Vec;

use kernform_attention::Segment;
use kernform_formats::Pooling;
use kernform_tensor::{Arena, Parallel};

use super::config::Task;
use super::head::HeadInput;
use super::model::EncoderModel;
use super::packed::{EncoderLimits, EncoderPlan, EncoderSession, PackedInputs};
use super::pooling::pool;
use crate::error::ModelError;
use crate::layers::Activations;

/// A padded batch for [`EncoderModel::forward`], with the names of Hugging Face's arguments.
#[derive(Clone, Copy, Debug)]
pub struct EncoderInputs<'i> {
    /// Sequences.
    pub batch: usize,
    /// `[batch, tokens]`.
    pub input_ids: &'i [u32],
    /// `[batch, tokens]`: `false` for padding; `None` where there is none.
    pub attention_mask: Option<&'i [bool]>,
    /// `[batch, tokens]`; `None` where all are 0.
    pub token_type_ids: Option<&'i [u32]>,
}

impl<'i> EncoderInputs<'i> {
    /// One sequence, without padding, of token type 0.
    #[must_use]
    pub const fn sequence(input_ids: &'i [u32]) -> Self {
        Self { batch: 1, input_ids, attention_mask: None, token_type_ids: None }
    }
}

/// What [`EncoderModel::forward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderOutputs {
    /// `[batch, tokens, width]`.
    pub last_hidden_state: Vec<f32>,
    /// What the head gives, where there is one: `[batch, outputs]` or `[batch, tokens, outputs]`.
    pub head: Option<Vec<f32>>,
}

/// An output under the name that transformers gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedOutput {
    /// The name.
    pub name: &'static str,
    /// The shape.
    pub dims: Vec<usize>,
    /// The elements.
    pub data: Vec<f32>,
}

impl EncoderModel {
    /// That a sequence has tokens, and no more than the model has positions.
    pub(crate) fn check_len(&self, tokens: usize) -> Result<(), ModelError> {
        if tokens == 0 {
            return Err(ModelError::EmptySequence);
        }
        let limit = self.max_tokens();
        if tokens > limit { Err(ModelError::TooLong { tokens, limit }) } else { Ok(()) }
    }

    /// Runs a padded batch. Padding is computed too, as queries, and never seen as keys; the other tokens have the bits
    /// that they have without it.
    ///
    /// # Errors
    /// Inputs of the wrong length, ids outside the vocabulary, sequences with more tokens than positions.
    pub fn forward<P: Parallel>(&self, parallel: &P, inputs: &EncoderInputs<'_>) -> Result<EncoderOutputs, ModelError> {
        let (ids, batch) = (inputs.input_ids, inputs.batch);
        let len = match ids.len().checked_div(batch) {
            Some(len) if len * batch == ids.len() => len,
            _ => {
                let expected = ids.len().next_multiple_of(batch.max(1));
                return Err(ModelError::Length { what: "input_ids", found: ids.len(), expected });
            }
        };
        self.check_len(len)?;
        let mask = ("attention_mask", inputs.attention_mask.map(<[bool]>::len));
        let types = ("token_type_ids", inputs.token_type_ids.map(<[u32]>::len));
        for (what, found) in [mask, types] {
            if let Some(found) = found.filter(|found| *found != ids.len()) {
                return Err(ModelError::Length { what, found, expected: ids.len() });
            }
        }
        let segments: Vec<_> = (0..batch).map(|i| Segment::of(i * len..(i + 1) * len)).collect();
        let context = self.context(parallel);
        let mut buffer = alloc::vec![0.0; self.work_len(ids.len(), parallel)?];
        let mut a = Activations::cut(Arena::aligned(&mut buffer), ids.len(), self.widths())?;
        let (types, present) = (inputs.token_type_ids, inputs.attention_mask);
        self.states(&context, &mut a, ids, types, &segments, present, &mut Vec::new())?;
        let last_hidden_state = a.x.to_vec();
        let Some(head) = &self.parts.head else { return Ok(EncoderOutputs { last_hidden_state, head: None }) };

        let width = self.config().width;
        let pooled = |pooling: Pooling| {
            let mut pooled = alloc::vec![0.0; batch * width];
            for (row, out) in pooled.chunks_exact_mut(width).enumerate() {
                // Padding counts for nothing; where it is not at the end, the rest moves together.
                let kept: Vec<f32> = last_hidden_state[row * len * width..(row + 1) * len * width]
                    .chunks_exact(width)
                    .zip(row * len..)
                    .filter(|(_, token)| pooling == Pooling::Cls || present.is_none_or(|present| present[*token]))
                    .flat_map(|(state, _)| state.iter().copied())
                    .collect();
                if !kept.is_empty() {
                    pool(pooling, self.isa, &kept, out)?;
                }
            }
            Ok::<_, ModelError>(pooled)
        };
        let x = match head.input {
            HeadInput::Every => None,
            HeadInput::First => Some(pooled(Pooling::Cls)?),
            HeadInput::Mean => Some(pooled(Pooling::Mean)?),
        };
        let x = x.as_deref().unwrap_or(&last_hidden_state);
        let rows = x.len() / width;
        let mut out = alloc::vec![0.0; rows * head.outputs(width)];
        head.apply(&context, x, rows, a.projected, &mut out, a.scratch)?;
        Ok(EncoderOutputs { last_hidden_state, head: Some(out) })
    }

    /// The outputs under the names that the model's architecture gives them in transformers.
    pub fn named(&self, outputs: EncoderOutputs, batch: usize) -> Vec<NamedOutput> {
        let (width, task) = (self.config().width, self.config().task);
        let EncoderOutputs { last_hidden_state, head } = outputs;
        let tokens = last_hidden_state.len() / width / batch.max(1);
        let named = |name, dims: &[usize], data| NamedOutput { name, dims: dims.to_vec(), data };
        let mut all = Vec::new();
        match (task, head) {
            (Task::States, head) => {
                all.push(named("last_hidden_state", &[batch, tokens, width], last_hidden_state));
                all.extend(head.map(|pooled| named("pooler_output", &[batch, width], pooled)));
            }
            (Task::QuestionAnswering, Some(logits)) => {
                for (name, place) in [("start_logits", 0), ("end_logits", 1)] {
                    let part = logits.chunks_exact(2).map(|pair| pair[place]).collect();
                    all.push(named(name, &[batch, tokens], part));
                }
            }
            (Task::SequenceClassification, Some(logits)) => {
                all.push(named("logits", &[batch, logits.len() / batch.max(1)], logits));
            }
            (_, Some(logits)) => {
                let outputs = logits.len() / (batch * tokens).max(1);
                all.push(named("logits", &[batch, tokens, outputs], logits));
            }
            (_, None) => {}
        }
        all
    }

    /// One vector for each of a few sequences, `[sequences, width]`; `unit` makes their lengths 1.
    ///
    /// # Errors
    /// As [`EncoderSession::run`].
    pub fn embed<P: Parallel>(
        &self,
        parallel: &P,
        sequences: &[&[u32]],
        pooling: Pooling,
        unit: bool,
    ) -> Result<Vec<f32>, ModelError> {
        let input_ids = sequences.concat();
        let lengths: Vec<_> = sequences.iter().map(|sequence| sequence.len()).collect();
        let limits = EncoderLimits { sequences: lengths.len(), tokens: input_ids.len() };
        let plan = EncoderPlan::new(self, limits, parallel)?;
        let mut buffer = alloc::vec![0.0; plan.scratch_len()];
        let mut session = EncoderSession::new(self, &plan, &mut buffer)?;
        session.run(parallel, &PackedInputs { input_ids: &input_ids, token_type_ids: None, lengths: &lengths })?;
        let mut out = alloc::vec![0.0; lengths.len() * self.config().width];
        session.pool(pooling, unit, &mut out)?;
        Ok(out)
    }
}
