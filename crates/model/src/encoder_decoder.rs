//! The encoder-decoder Transformer as a whole: its weights, and a full pass over given targets.

use alloc::vec::Vec;

use kernform_attention::Heads;
use kernform_formats::{Json, ModelSource};
use kernform_simd::Isa;
use kernform_tensor::Parallel;

use crate::config::EncoderDecoderConfig;
use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::layers::{Activations, Context, DecoderLayer};
use crate::linear::{Extra, Linear, WeightType};
use crate::norm::LayerNorm;
use crate::seq2seq::Loader;
use crate::stack::{EncoderStack, finish};
use crate::weights::Weights;

/// An encoder-decoder Transformer with its weights packed for the kernels.
///
/// It is not changed by running it: threads share one, each with a [`crate::Session`] of its own.
pub struct EncoderDecoder {
    pub(crate) config: EncoderDecoderConfig,
    pub(crate) isa: Isa,
    pub(crate) encoder: Encoder,
    pub(crate) decoder: Decoder,
}

/// The encoder stack.
pub(crate) struct Encoder {
    pub(crate) embedding: Embedding,
    pub(crate) stack: EncoderStack,
}

/// The decoder stack.
pub(crate) struct Decoder {
    pub(crate) embedding: Embedding,
    pub(crate) layers: Vec<DecoderLayer>,
    pub(crate) norm: Option<LayerNorm>,
    pub(crate) output: Linear,
}

impl EncoderDecoder {
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
        let config = EncoderDecoderConfig::from_json(config)?;
        let loader = Loader { weights: Weights::new(source, kind), config: &config };
        let (encoder, decoder) = (loader.encoder()?, loader.decoder()?);
        Ok(Self { config, isa, encoder, decoder })
    }

    /// The sizes and choices that the weights were loaded for.
    pub fn config(&self) -> &EncoderDecoderConfig {
        &self.config
    }

    /// The level that the model runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes of packed weights and tables.
    pub fn memory(&self) -> usize {
        let encoder = self.encoder.stack.memory();
        let decoder: usize = self.decoder.layers.iter().map(DecoderLayer::memory).sum();
        let ends = self.encoder.embedding.memory() + self.decoder.embedding.memory() + self.decoder.output.memory();
        encoder + decoder + ends
    }

    /// The heads of the decoder's attention, which its caches are made for.
    pub(crate) fn decoder_heads(&self) -> Heads {
        let heads = self.config.decoder.heads;
        Heads::new(heads, self.config.width / heads)
    }

    pub(crate) fn context<'c, P: Parallel>(&self, parallel: &'c P) -> Context<'c, P> {
        Context { isa: self.isa, parallel }
    }

    /// The logits of the states in `a.x`.
    pub(crate) fn logits<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        logits: &mut [f32],
    ) -> Result<(), ModelError> {
        finish(context, self.decoder.norm.as_ref(), a)?;
        self.decoder.output.apply(context, a.x, logits, Extra::default(), a.scratch)
    }
}
