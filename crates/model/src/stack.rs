//! A stack of encoder layers.

use alloc::vec::Vec;

use kernform_attention::{KeptKeys, Segment};
use kernform_tensor::{Parallel, Serial};

use crate::error::ModelError;
use crate::layers::{Activations, Context, EncoderLayer};
use crate::norm::LayerNorm;
use crate::parts::{self, for_parts, part_count};
use crate::projections::FirstLayer;

/// Encoder layers in the order in which they run.
pub(crate) struct EncoderStack {
    pub(crate) layers: Vec<EncoderLayer>,
    /// Which layer runs when; ALBERT runs the same ones again.
    pub(crate) order: Vec<usize>,
    /// The norm after the last layer, which pre-norm stacks have.
    pub(crate) norm: Option<LayerNorm>,
}

impl EncoderStack {
    /// Each layer once.
    pub(crate) fn new(layers: Vec<EncoderLayer>, norm: Option<LayerNorm>) -> Self {
        let order = (0..layers.len()).collect();
        Self { layers, order, norm }
    }

    /// Bytes of packed weights.
    pub(crate) fn memory(&self) -> usize {
        self.layers.iter().map(EncoderLayer::memory).sum()
    }

    /// Rows with which a thread is worth it.
    fn least_rows(&self) -> usize {
        self.layers.first().map_or(1, |layer| layer.attention.least_rows())
    }

    /// What the kernels ask for.
    pub(crate) fn scratch_len<P: Parallel>(&self, tokens: usize, parallel: &P) -> Result<usize, ModelError> {
        fn largest<P: Parallel>(layers: &[EncoderLayer], tokens: usize, parallel: &P) -> Result<usize, ModelError> {
            layers.iter().try_fold(0, |most: usize, layer| {
                let attention = layer.attention.scratch_len(tokens, parallel)?;
                Ok(most.max(attention).max(layer.feed_forward.scratch_len(tokens, parallel.threads())))
            })
        }
        let (threads, least) = (parallel.threads(), self.least_rows());
        let in_parts = parts::scratch_len(threads, tokens, least, |rows| largest(&self.layers, rows, &Serial))?;
        Ok(largest(&self.layers, tokens, parallel)?.max(in_parts))
    }

    /// The states of the residual stream after the layers, in `a.x`; each segment sees itself and no other. `first` where the
    /// first layer's projections are kept.
    pub(crate) fn run<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        segments: &[Segment],
        keys: KeptKeys<'_>,
        mut first: Option<FirstLayer<'_, '_>>,
    ) -> Result<(), ModelError> {
        let rows = self.layers.first().map_or(0, |layer| a.x.len() / layer.attention.width().max(1));
        let parts = part_count(context.parallel.threads(), rows, self.least_rows());
        if parts > 1 {
            return self.run_in_parts(context, a, (rows, parts), segments, keys, first);
        }
        for layer in self.order.iter().filter_map(|place| self.layers.get(*place)) {
            layer.attention.forward(context, a, first.take(), segments, keys, false)?;
            layer.feed_forward.forward(context, a)?;
        }
        finish(context, self.norm.as_ref(), a)
    }

    /// The same with threads that have rows of their own and meet where they need the keys and values of all.
    fn run_in_parts<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        cut: (usize, usize),
        segments: &[Segment],
        keys: KeptKeys<'_>,
        mut first: Option<FirstLayer<'_, '_>>,
    ) -> Result<(), ModelError> {
        for layer in self.order.iter().filter_map(|place| self.layers.get(*place)) {
            let attention = &layer.attention;
            match first.take() {
                // Mostly copied, by one thread.
                first @ Some(_) => attention.project(context, a, first, segments, 0)?,
                None => for_parts(context, a, cut, attention.projected_width(), |context, a, tokens| {
                    attention.project(context, a, None, segments, tokens.start)
                })?,
            }
            let projected = core::mem::take(&mut a.projected);
            let done = for_parts(context, a, cut, 0, |context, a, tokens| {
                attention.attend(context, a, projected, tokens, segments, keys)?;
                layer.feed_forward.forward(context, a)
            });
            a.projected = projected;
            done?;
        }
        match &self.norm {
            Some(norm) => for_parts(context, a, cut, 0, |context, a, _| norm.apply_in_place(context.isa, a.x)),
            None => Ok(()),
        }
    }
}

/// The norm after the last layer, where the model has one.
pub(crate) fn finish<P: Parallel>(
    context: &Context<'_, P>,
    norm: Option<&LayerNorm>,
    a: &mut Activations<'_>,
) -> Result<(), ModelError> {
    norm.map_or(Ok(()), |norm| norm.apply_in_place(context.isa, a.x))
}
