//! Running an encoder over sequences of unequal lengths, one after the other without padding, in one buffer that the caller
//! gives.

use alloc::vec::Vec;

use kernform_attention::Segment;
use kernform_formats::Pooling;
use kernform_tensor::{Arena, Parallel};

use super::head::HeadInput;
use super::model::EncoderModel;
use super::pooling::{normalise, pool};
use crate::error::ModelError;
use crate::layers::Activations;

/// Sequences one after the other.
#[derive(Clone, Copy, Debug)]
pub struct PackedInputs<'i> {
    /// The token ids of all sequences.
    pub input_ids: &'i [u32],
    /// The type of each token; `None` where all are 0.
    pub token_type_ids: Option<&'i [u32]>,
    /// Tokens of each sequence, at least 1; their sum is the number of ids.
    pub lengths: &'i [usize],
}

/// What a session has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderLimits {
    /// Sequences of a batch.
    pub sequences: usize,
    /// Tokens of a batch.
    pub tokens: usize,
}

/// A layout of one buffer that holds all an [`EncoderSession`] works with.
#[derive(Clone, Copy, Debug)]
pub struct EncoderPlan {
    limits: EncoderLimits,
    total: usize,
}

impl EncoderPlan {
    /// The layout for `limits`, for the threads of `parallel`.
    ///
    /// # Errors
    /// Limits of 0, or more memory than can be addressed.
    pub fn new(model: &EncoderModel, limits: EncoderLimits, parallel: &impl Parallel) -> Result<Self, ModelError> {
        for (what, asked) in [("sequences", limits.sequences), ("tokens", limits.tokens)] {
            if asked == 0 {
                return Err(ModelError::Capacity { what, asked, limit: 0 });
            }
        }
        Ok(Self { limits, total: model.work_len(limits.tokens, parallel)? })
    }

    /// Elements of the buffer that [`EncoderSession::new`] takes.
    pub fn scratch_len(&self) -> usize {
        self.total
    }
}

/// An encoder with a place to work. Once it exists nothing is allocated.
///
/// What a sequence gives depends on its own tokens alone: not on the others of its batch, their order, or the threads.
pub struct EncoderSession<'a> {
    model: &'a EncoderModel,
    limits: EncoderLimits,
    work: &'a mut [f32],
    /// The sequences of the batch that ran last.
    segments: Vec<Segment>,
    places: Vec<usize>,
}

impl<'a> EncoderSession<'a> {
    /// A session in `buffer`, which has at least [`EncoderPlan::scratch_len`] elements.
    ///
    /// # Errors
    /// A buffer that is too short.
    pub fn new(model: &'a EncoderModel, plan: &EncoderPlan, buffer: &'a mut [f32]) -> Result<Self, ModelError> {
        let work = Arena::new(buffer).take(plan.total)?;
        let limits = plan.limits;
        let segments = Vec::with_capacity(limits.sequences);
        Ok(Self { model, limits, work, segments, places: Vec::with_capacity(limits.tokens) })
    }

    /// What the session has room for.
    pub fn limits(&self) -> EncoderLimits {
        self.limits
    }

    /// Runs a batch; [`EncoderSession::states`] and what follows it there tell what it gave.
    ///
    /// # Errors
    /// More sequences or tokens than there is room for, an empty sequence or one with more tokens than the model has
    /// positions, ids or types that the model does not have, lengths that do not fit.
    pub fn run<P: Parallel>(&mut self, parallel: &P, inputs: &PackedInputs<'_>) -> Result<(), ModelError> {
        self.segments.clear();
        self.check(inputs)?;
        let mut start = 0;
        for len in inputs.lengths {
            self.segments.push(Segment::of(start..start + len));
            start += len;
        }
        let done = self.run_segments(parallel, inputs);
        if done.is_err() {
            self.segments.clear();
        }
        done
    }

    fn check(&self, inputs: &PackedInputs<'_>) -> Result<(), ModelError> {
        let (ids, lengths, limits) = (inputs.input_ids, inputs.lengths, self.limits);
        let fits = [("sequences", lengths.len(), limits.sequences), ("tokens", ids.len(), limits.tokens)];
        if let Some((what, asked, limit)) = fits.into_iter().find(|(_, asked, limit)| asked > limit) {
            return Err(ModelError::Capacity { what, asked, limit });
        }
        let mut sum = 0usize;
        for len in lengths {
            self.model.check_len(*len)?;
            sum = sum.saturating_add(*len);
        }
        if sum != ids.len() {
            return Err(ModelError::Length { what: "the token ids", found: ids.len(), expected: sum });
        }
        match inputs.token_type_ids {
            Some(types) if types.len() != ids.len() => {
                Err(ModelError::Length { what: "the token types", found: types.len(), expected: ids.len() })
            }
            _ => Ok(()),
        }
    }

    fn run_segments<P: Parallel>(&mut self, parallel: &P, inputs: &PackedInputs<'_>) -> Result<(), ModelError> {
        let (ids, types) = (inputs.input_ids, inputs.token_type_ids);
        let context = self.model.context(parallel);
        let mut a = Activations::cut(Arena::aligned(self.work), ids.len(), self.model.widths())?;
        let first = a.x.as_ptr();
        self.model.states(&context, &mut a, ids, types, &self.segments, None, &mut self.places)?;
        if a.x.as_ptr() != first {
            a.y.copy_from_slice(a.x);
        }
        Ok(())
    }

    /// Tokens of the batch that ran last.
    fn tokens(&self) -> usize {
        self.segments.last().map_or(0, |segment| segment.query.end)
    }

    /// The last hidden states of the batch that ran last: `[tokens, width]`.
    ///
    /// # Errors
    /// None after a batch that ran.
    pub fn states(&mut self) -> Result<&[f32], ModelError> {
        let tokens = self.tokens();
        Ok(Activations::cut(Arena::aligned(self.work), tokens, self.model.widths())?.x)
    }

    /// One vector for each sequence of the batch that ran last: `[sequences, width]`; `unit` makes their lengths 1.
    ///
    /// # Errors
    /// An output of another length.
    pub fn pool(&mut self, pooling: Pooling, unit: bool, out: &mut [f32]) -> Result<(), ModelError> {
        let (isa, width) = (self.model.isa, self.model.config().width);
        check_out(out, self.segments.len() * width)?;
        let (tokens, widths) = (self.tokens(), self.model.widths());
        let a = Activations::cut(Arena::aligned(self.work), tokens, widths)?;
        for (segment, out) in self.segments.iter().zip(out.chunks_exact_mut(width)) {
            pool(pooling, isa, &a.x[segment.query.start * width..segment.query.end * width], out)?;
            if unit {
                normalise(isa, out)?;
            }
        }
        Ok(())
    }

    /// Rows and outputs of what [`EncoderSession::head`] gives for the batch that ran last; `None` without a head.
    pub fn head_shape(&self) -> Option<(usize, usize)> {
        let head = self.model.parts.head.as_ref()?;
        let rows = if head.input == HeadInput::Every { self.tokens() } else { self.segments.len() };
        Some((rows, head.outputs(self.model.config().width)))
    }

    /// What the head says of the batch that ran last: `[rows, outputs]`, a row for each sequence where the head classifies
    /// sequences (or pools the first token), else for each token.
    ///
    /// # Errors
    /// A model without a head, or an output of another length.
    pub fn head<P: Parallel>(&mut self, parallel: &P, out: &mut [f32]) -> Result<(), ModelError> {
        let head = self.model.parts.head.as_ref().ok_or(ModelError::NoHead)?;
        let (isa, width, tokens) = (self.model.isa, self.model.config().width, self.tokens());
        let (rows, outputs) = self.head_shape().ok_or(ModelError::NoHead)?;
        check_out(out, rows * outputs)?;
        let a = Activations::cut(Arena::aligned(self.work), tokens, self.model.widths())?;
        let pooling = match head.input {
            HeadInput::Every => None,
            HeadInput::First => Some(Pooling::Cls),
            HeadInput::Mean => Some(Pooling::Mean),
        };
        let x = match pooling {
            None => &*a.x,
            Some(pooling) => {
                for (segment, row) in self.segments.iter().zip(a.mixed.chunks_exact_mut(width)) {
                    pool(pooling, isa, &a.x[segment.query.start * width..segment.query.end * width], row)?;
                }
                &a.mixed[..rows * width]
            }
        };
        head.apply(&self.model.context(parallel), x, rows, a.projected, out, a.scratch)
    }

    /// What the head says of some tokens of the batch that ran last, in the order of `tokens`: `[tokens, outputs]`.
    ///
    /// # Errors
    /// A model without a head for tokens, a token that is not there, or an output of another length.
    pub fn head_of<P: Parallel>(&mut self, parallel: &P, tokens: &[usize], out: &mut [f32]) -> Result<(), ModelError> {
        let head = self.model.parts.head.as_ref().filter(|head| head.input == HeadInput::Every);
        let head = head.ok_or(ModelError::NoHead)?;
        let (width, count) = (self.model.config().width, self.tokens());
        check_out(out, tokens.len() * head.outputs(width))?;
        if tokens.len() > count || tokens.iter().any(|token| *token >= count) {
            return Err(ModelError::Capacity { what: "tokens", asked: tokens.len(), limit: count });
        }
        let a = Activations::cut(Arena::aligned(self.work), count, self.model.widths())?;
        for (token, row) in tokens.iter().zip(a.mixed.chunks_exact_mut(width)) {
            row.copy_from_slice(&a.x[token * width..][..width]);
        }
        let x = &a.mixed[..tokens.len() * width];
        head.apply(&self.model.context(parallel), x, tokens.len(), a.projected, out, a.scratch)
    }
}

fn check_out(out: &[f32], expected: usize) -> Result<(), ModelError> {
    if out.len() == expected {
        Ok(())
    } else {
        Err(ModelError::Length { what: "the output", found: out.len(), expected })
    }
}
