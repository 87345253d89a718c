//! What the blocks of a Transformer share (Vaswani et al. 2017, section 3): the activations that they work on, the residual
//! connection with its norm, and the layers made of blocks.

use kernform_simd::Isa;
use kernform_tensor::{Arena, Parallel, ScratchPlan};

use crate::attention::{CrossAttention, SelfAttention};
use crate::config::NormPlacement;
use crate::error::ModelError;
use crate::feed_forward::FeedForward;
use crate::norm::LayerNorm;

/// What every block needs beside its weights.
pub(crate) struct Context<'c, P: Parallel> {
    pub(crate) isa: Isa,
    pub(crate) parallel: &'c P,
}

/// Elements that a token has in each of the [`Activations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Widths {
    /// The residual stream.
    pub(crate) stream: usize,
    /// Queries, keys and values side by side.
    pub(crate) projected: usize,
    /// The widest inner layer of a feed-forward network.
    pub(crate) hidden: usize,
}

impl Widths {
    /// The layout of the activations of `tokens` rows with `scratch` elements for the kernels.
    pub(crate) const fn layout(self, tokens: usize, scratch: usize) -> ScratchPlan {
        ScratchPlan::new()
            .take_matrix(tokens, self.stream)
            .take_matrix(tokens, self.stream)
            .take_matrix(tokens, self.stream)
            .take_matrix(tokens, self.projected)
            .take_matrix(tokens, self.hidden)
            .take(scratch)
    }
}

/// The activations of some rows; a block reads `x`, leaves its result in `x`, and may use the rest.
pub(crate) struct Activations<'a> {
    /// `[tokens, stream]`: the residual stream.
    pub(crate) x: &'a mut [f32],
    /// `[tokens, stream]`: the next state of the stream, swapped in or normalised into `x`.
    pub(crate) y: &'a mut [f32],
    /// `[tokens, stream]`: a sublayer's input when normalised before, later the mixed values.
    pub(crate) mixed: &'a mut [f32],
    /// `[tokens, projected]`: queries, keys and values side by side.
    pub(crate) projected: &'a mut [f32],
    /// `[tokens, hidden]`: the inner layer of the feed-forward network.
    pub(crate) hidden: &'a mut [f32],
    /// What the kernels ask for.
    pub(crate) scratch: &'a mut [f32],
}

impl<'a> Activations<'a> {
    /// Cuts the buffers for `tokens` rows from the front of `arena`; the kernels' scratch takes the rest.
    pub(crate) fn cut(mut arena: Arena<'a>, tokens: usize, widths: Widths) -> Result<Self, ModelError> {
        Ok(Self {
            x: arena.take(tokens * widths.stream)?,
            y: arena.take(tokens * widths.stream)?,
            mixed: arena.take(tokens * widths.stream)?,
            projected: arena.take(tokens * widths.projected)?,
            hidden: arena.take(tokens * widths.hidden)?,
            scratch: arena.take(arena.left())?,
        })
    }

    /// The same, lent.
    pub(crate) fn reborrow(&mut self) -> Activations<'_> {
        Activations {
            x: self.x,
            y: self.y,
            mixed: self.mixed,
            projected: self.projected,
            hidden: self.hidden,
            scratch: self.scratch,
        }
    }
}

/// The residual connection around a sublayer, with the norm where the model has it.
pub(crate) struct Residual {
    placement: NormPlacement,
    norm: Option<LayerNorm>,
}

impl Residual {
    /// `norm(x + f(x))` or `x + f(norm(x))`.
    pub(crate) const fn new(placement: NormPlacement, norm: LayerNorm) -> Self {
        Self { placement, norm: Some(norm) }
    }

    /// `x + f(x)`.
    pub(crate) const fn plain() -> Self {
        Self { placement: NormPlacement::Post, norm: None }
    }

    fn is_before(&self) -> bool {
        self.norm.is_some() && self.placement == NormPlacement::Pre
    }

    /// Before a sublayer: its input, which [`Residual::input`] finds, is normalised to `mixed` where the norm stands before.
    pub(crate) fn enter(&self, isa: Isa, a: &mut Activations<'_>) -> Result<(), ModelError> {
        match &self.norm {
            Some(norm) if self.is_before() => norm.apply(isa, a.x, a.mixed),
            _ => Ok(()),
        }
    }

    /// The sublayer's input.
    pub(crate) fn input<'x>(&self, x: &'x [f32], mixed: &'x [f32]) -> &'x [f32] {
        if self.is_before() { mixed } else { x }
    }

    /// After a sublayer, which has left in `y` what it gave and the residual stream: the next state of the stream to `x`.
    pub(crate) fn leave(&self, isa: Isa, a: &mut Activations<'_>) -> Result<(), ModelError> {
        match &self.norm {
            Some(norm) if !self.is_before() => norm.apply(isa, a.y, a.x),
            _ => {
                core::mem::swap(&mut a.x, &mut a.y);
                Ok(())
            }
        }
    }

    /// Runs a sublayer, `map`, which maps its input and adds the residual stream.
    pub(crate) fn run<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        map: impl FnOnce(Sublayer<'_>) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        self.enter(context.isa, a)?;
        map(Sublayer {
            input: (!self.is_before()).then_some(&*a.x),
            residual: a.x,
            mixed: a.mixed,
            projected: a.projected,
            hidden: a.hidden,
            scratch: a.scratch,
            out: a.y,
        })?;
        self.leave(context.isa, a)
    }
}

/// The buffers of one sublayer.
pub(crate) struct Sublayer<'s> {
    /// The input; `None` where it stands in `mixed`, normalised.
    pub(crate) input: Option<&'s [f32]>,
    pub(crate) residual: &'s [f32],
    pub(crate) mixed: &'s mut [f32],
    pub(crate) projected: &'s mut [f32],
    pub(crate) hidden: &'s mut [f32],
    pub(crate) scratch: &'s mut [f32],
    pub(crate) out: &'s mut [f32],
}

/// Self-attention and feed-forward.
pub(crate) struct EncoderLayer {
    pub(crate) attention: SelfAttention,
    pub(crate) feed_forward: FeedForward,
}

impl EncoderLayer {
    /// Bytes of packed weights.
    pub(crate) fn memory(&self) -> usize {
        self.attention.memory() + self.feed_forward.memory()
    }
}

/// Self-attention, attention to the encoder, and feed-forward.
pub(crate) struct DecoderLayer {
    pub(crate) attention: SelfAttention,
    pub(crate) cross: CrossAttention,
    pub(crate) feed_forward: FeedForward,
}

impl DecoderLayer {
    /// Bytes of packed weights.
    pub(crate) fn memory(&self) -> usize {
        self.attention.memory() + self.cross.memory() + self.feed_forward.memory()
    }
}
