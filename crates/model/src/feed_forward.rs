//! The position-wise feed-forward network (Vaswani et al. 2017, section 3.3), plain or gated (Shazeer 2020).

use kernform_math::Activation;
use kernform_tensor::Parallel;

use crate::error::ModelError;
use crate::gate::gate;
use crate::layers::{Activations, Context, Residual};
use crate::linear::{Extra, Linear};
use crate::parts::even;

/// Rows of a thread that go through both maps together: few enough that what lies between the two stays in the second-level
/// cache, many enough that weights are read seldom.
const AT_ONCE: usize = 128;

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
            let (inputs, outputs) = (self.inner.inputs(), self.outer.outputs());
            let input = s.input.unwrap_or(s.mixed);
            let is_gated = width != inner;
            let rows = s.residual.len() / inputs;
            let most = AT_ONCE.saturating_mul(context.parallel.threads().max(1));
            let each = even(rows, most);
            let parts = input.chunks(each * inputs).zip(s.residual.chunks(each * outputs));
            for ((input, residual), out) in parts.zip(s.out.chunks_mut(each * outputs)) {
                let hidden = &mut s.hidden[..input.len() / inputs * width];
                let extra = if is_gated { Extra::default() } else { Extra::activation(self.activation) };
                self.inner.apply(context, input, hidden, extra, s.scratch)?;
                if is_gated {
                    gate(context, self.activation, hidden, width);
                }
                self.outer.apply_strided(context, hidden, width, out, Extra::residual(residual), s.scratch)?;
            }
            Ok(())
        })
    }
}
