//! The encoder-decoder Transformer as a whole: its weights, and a full pass over given targets.

use alloc::format;
use alloc::vec::Vec;

use kernform_attention::{Heads, Mask, Segment};
use kernform_formats::{Json, ModelSource};
use kernform_simd::Isa;
use kernform_tensor::Parallel;

use crate::config::{EncoderDecoderConfig, NormPlacement};
use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::layers::{Activations, Context, DecoderLayer, EncoderLayer};
use crate::linear::{Extra, Linear};
use crate::norm::LayerNorm;
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
    pub(crate) layers: Vec<EncoderLayer>,
    pub(crate) norm: Option<LayerNorm>,
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
        let config = EncoderDecoderConfig::from_json(config)?;
        let weights = Weights::new(source);
        let pre_norm = config.norm == NormPlacement::Pre;
        let stack_norm =
            |prefix| if pre_norm { weights.norm(prefix, "layer_norm", &config).map(Some) } else { Ok(None) };
        let encoder = Encoder {
            embedding: Embedding::load(&weights, "model.encoder", &config, config.vocab_size)?,
            layers: (0..config.encoder.layers)
                .map(|i| EncoderLayer::load(&weights, &format!("model.encoder.layers.{i}"), &config))
                .collect::<Result<_, _>>()?,
            norm: stack_norm("model.encoder")?,
        };
        let decoder = Decoder {
            embedding: Embedding::load(&weights, "model.decoder", &config, config.decoder_vocab_size)?,
            layers: (0..config.decoder.layers)
                .map(|i| DecoderLayer::load(&weights, &format!("model.decoder.layers.{i}"), &config))
                .collect::<Result<_, _>>()?,
            norm: stack_norm("model.decoder")?,
            output: weights.output(&config)?,
        };
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
        let encoder: usize = self.encoder.layers.iter().map(EncoderLayer::memory).sum();
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
        Context { isa: self.isa, parallel, norm: self.config.norm }
    }

    /// The states of the residual stream after the encoder's layers, in `a.x`.
    pub(crate) fn run_encoder<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        segments: &[Segment],
        mask: Mask<'_>,
    ) -> Result<(), ModelError> {
        for layer in &self.encoder.layers {
            layer.attention.forward(context, a, segments, mask)?;
            layer.feed_forward.forward(context, a)?;
        }
        self.finish(context, self.encoder.norm.as_ref(), a)
    }

    /// The logits of the states in `a.x`.
    pub(crate) fn logits<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        logits: &mut [f32],
    ) -> Result<(), ModelError> {
        self.finish(context, self.decoder.norm.as_ref(), a)?;
        self.decoder.output.apply(context, a.x, logits, Extra::default(), a.scratch)
    }

    /// The norm after the last layer, where the model has one.
    fn finish<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        norm: Option<&LayerNorm>,
        a: &mut Activations<'_>,
    ) -> Result<(), ModelError> {
        if let Some(norm) = norm {
            norm.apply(context.isa, a.x, a.y)?;
            core::mem::swap(&mut a.x, &mut a.y);
        }
        Ok(())
    }
}
