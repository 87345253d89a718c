//! The model as a whole.

use alloc::string::ToString;
use alloc::vec::Vec;

use kernform_attention::{KeptKeys, Segment};
use kernform_formats::{Json, ModelSource};
use kernform_simd::Isa;
use kernform_tensor::Parallel;

use super::config::EncoderConfig;
use super::head::Head;
use super::{albert, bert, distilbert, esm, modernbert, roberta};
use crate::config::Family;
use crate::embedding::{Embedding, Numbering};
use crate::error::ModelError;
use crate::layers::{Activations, Context, Widths};
use crate::linear::{Extra, Linear, WeightType};
use crate::stack::EncoderStack;
use crate::weights::Weights;

/// What a family's file makes of a configuration and its weights.
pub(crate) struct Parts {
    pub(crate) config: EncoderConfig,
    pub(crate) embedding: Embedding,
    /// From the width of the embeddings to that of the stream, where they differ.
    pub(crate) projection: Option<Linear>,
    pub(crate) stack: EncoderStack,
    pub(crate) head: Option<Head>,
    /// Whether the embeddings of padding are set to 0.
    pub(crate) zero_padding: bool,
}

/// An encoder with its weights packed for the kernels.
///
/// It is not changed by running it: threads share one, each with an [`super::EncoderSession`] of its own.
pub struct EncoderModel {
    pub(crate) parts: Parts,
    pub(crate) isa: Isa,
}

impl EncoderModel {
    /// Reads and packs the weights that `config` (a `config.json`) asks for.
    ///
    /// # Errors
    /// [`ModelError`] that names the key or tensor which is missing, of the wrong shape, or beyond bounds.
    pub fn load(source: &impl ModelSource, config: &Json, isa: Isa) -> Result<Self, ModelError> {
        Self::load_as(source, config, isa, WeightType::F32)
    }

    /// The same, with the weights of the products and the table of tokens in memory as `kind`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_as(source: &impl ModelSource, config: &Json, isa: Isa, kind: WeightType) -> Result<Self, ModelError> {
        let name = config.required_str("model_type")?;
        let unknown = || ModelError::UnknownFamily { name: name.to_string(), known: &Family::ENCODERS };
        let weights = Weights::new(source, kind);
        let parts = match Family::from_name(name).ok_or_else(unknown)? {
            Family::Bert => bert::load(&weights, config)?,
            Family::DistilBert => distilbert::load(&weights, config)?,
            Family::Roberta => roberta::load(&weights, config)?,
            Family::Albert => albert::load(&weights, config)?,
            Family::ModernBert => modernbert::load(&weights, config)?,
            Family::Esm => esm::load(&weights, config)?,
            _ => return Err(unknown()),
        };
        Ok(Self { parts, isa })
    }

    /// The sizes and choices that the weights were loaded for.
    pub fn config(&self) -> &EncoderConfig {
        &self.parts.config
    }

    /// The level that the model runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The longest sequence: what the table of positions leaves, or what the model was made for.
    pub fn max_tokens(&self) -> usize {
        let positions = self.parts.config.max_positions;
        match self.parts.embedding.numbering {
            Numbering::Index { offset } => positions.saturating_sub(offset),
            Numbering::Fairseq { padding } => positions.saturating_sub(padding as usize + 1),
        }
    }

    /// Bytes of packed weights and tables.
    pub fn memory(&self) -> usize {
        let parts = &self.parts;
        let head = parts.head.as_ref().map_or(0, Head::memory);
        parts.embedding.memory() + parts.projection.as_ref().map_or(0, Linear::memory) + parts.stack.memory() + head
    }

    pub(crate) fn context<'c, P: Parallel>(&self, parallel: &'c P) -> Context<'c, P> {
        Context { isa: self.isa, parallel }
    }

    pub(crate) fn widths(&self) -> Widths {
        let layers = &self.parts.stack.layers;
        let hidden = layers.iter().map(|layer| layer.feed_forward.hidden_width()).max().unwrap_or(0);
        let mut widths = self.parts.config.widths(hidden);
        widths.projected = widths.projected.max(self.parts.head.as_ref().map_or(0, Head::inner_width));
        widths
    }

    /// Elements for the activations of `tokens` rows, with the kernels' scratch.
    pub(crate) fn work_len(&self, tokens: usize, parallel: &impl Parallel) -> Result<usize, ModelError> {
        let threads = parallel.threads();
        let parts = &self.parts;
        let head = parts.head.as_ref().map_or(0, |head| head.scratch_len(tokens, threads));
        let projection = parts.projection.as_ref().map_or(0, |map| map.scratch_len(tokens, threads));
        let scratch = parts.stack.scratch_len(tokens, parallel)?.max(head).max(projection);
        Ok(self.widths().layout(tokens, scratch).finish_aligned()?)
    }

    /// The states of packed or padded sequences, in `a.x`.
    pub(crate) fn states<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        ids: &[u32],
        types: Option<&[u32]>,
        segments: &[Segment],
        present: Option<&[bool]>,
        places: &mut Vec<usize>,
    ) -> Result<(), ModelError> {
        let parts = &self.parts;
        match &parts.projection {
            None => parts.embedding.segments(context.isa, ids, types, segments, present, places, a.x)?,
            Some(projection) => {
                let rows = &mut a.projected[..ids.len() * projection.inputs()];
                parts.embedding.segments(context.isa, ids, types, segments, present, places, rows)?;
                projection.apply(context, rows, a.x, Extra::default(), a.scratch)?;
            }
        }
        if let Some(present) = present.filter(|_| parts.zero_padding) {
            let rows = a.x.chunks_exact_mut(parts.config.width).zip(present);
            rows.filter(|(_, is_there)| !**is_there).for_each(|(row, _)| row.fill(0.0));
        }
        parts.stack.run(context, a, segments, present.map_or(KeptKeys::All, KeptKeys::Flags), None)
    }
}
