//! The position-wise feed-forward network (Vaswani et al. 2017, section 3.3), plain or gated (Shazeer 2020).

use kernform_math::Activation;
use kernform_tensor::Parallel;

use crate::error::ModelError;
use crate::gate::gate;
use crate::layers::{Activations, Context, Residual};
use crate::linear::{Extra, Linear};

/// Two maps with an activation between them, and the residual connection.
pub(crate) struct FeedForward {
    inner: Linear,
    outer: Linear,
    activation: Activation,
    residual: Residual,
}

impl FeedForward {
    /// The outer map takes what the inner one gives, or half of it where the network is gated: then the inner map gives
    /// the input of the activation and, behind it, what the activation is multiplied by.
    pub(crate) const fn new(inner: Linear, outer: Linear, activation: Activation, residual: Residual) -> Self {
        Self { inner, outer, activation, residual }
    }

    /// Elements of the inner layer, the gate included.
    pub(crate) fn hidden_width(&self) -> usize {
        self.inner.outputs()
    }

    pub(crate) fn scratch_len(&self, tokens: usize, threads: usize) -> usize {
        self.inner.scratch_len(tokens, threads).max(self.outer.scratch_len(tokens, threads))
    }

    pub(crate) fn memory(&self) -> usize {
        self.inner.memory() + self.outer.memory()
    }

    pub(crate) fn forward<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
    ) -> Result<(), ModelError> {
        self.residual.run(context, a, |s| {
            let (width, inner) = (self.inner.outputs(), self.outer.inputs());
            let rows = s.residual.len() / self.inner.inputs();
            let hidden = &mut s.hidden[..rows * width];
            let input = s.input.unwrap_or(s.mixed);
            let is_gated = width != inner;
            let extra = if is_gated { Extra::default() } else { Extra::activation(self.activation) };
            self.inner.apply(context, input, hidden, extra, s.scratch)?;
            if is_gated {
                gate(context, self.activation, hidden, width);
            }
            self.outer.apply_strided(context, hidden, width, s.out, Extra::residual(s.residual), s.scratch)
        })
    }
}
