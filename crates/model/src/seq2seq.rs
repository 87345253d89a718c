//! The encoder-decoder families `marian`, `bart` and `m2m_100`: their blocks by the names of Hugging Face's modules.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use kernform_attention::Heads;
use kernform_attention::positions::SinusoidalLayout;

use crate::attention::{CrossAttention, SelfAttention};
use crate::config::{EncoderDecoderConfig, NormPlacement, PositionKind, StackConfig};
use crate::embedding::{Embedding, Numbering, sinusoidal_table};
use crate::encoder_decoder::{Decoder, Encoder};
use crate::error::ModelError;
use crate::feed_forward::FeedForward;
use crate::layers::{DecoderLayer, EncoderLayer, Residual};
use crate::linear::Linear;
use crate::norm::{LayerNorm, NormConfig};
use crate::stack::EncoderStack;
use crate::weights::{Weights, sum};

/// The weights with the sizes that they must have.
pub(crate) struct Loader<'l> {
    pub(crate) weights: Weights<'l>,
    pub(crate) config: &'l EncoderDecoderConfig,
}

impl Loader<'_> {
    pub(crate) fn encoder(&self) -> Result<Encoder, ModelError> {
        let (prefix, stack) = ("model.encoder", self.config.encoder);
        let layer = |i| {
            let prefix = format!("{prefix}.layers.{i}.");
            let attention = self.self_attention(&prefix, stack.heads)?;
            Ok(EncoderLayer { attention, feed_forward: self.feed_forward(&prefix, stack)? })
        };
        Ok(Encoder {
            embedding: self.embedding(prefix, self.config.vocab_size)?,
            stack: EncoderStack::new(
                (0..stack.layers).map(layer).collect::<Result<_, ModelError>>()?,
                self.last_norm(prefix)?,
            ),
        })
    }

    pub(crate) fn decoder(&self) -> Result<Decoder, ModelError> {
        let (prefix, stack) = ("model.decoder", self.config.decoder);
        let layer = |i| {
            let prefix = format!("{prefix}.layers.{i}.");
            let attention = self.self_attention(&prefix, stack.heads)?;
            let cross = self.cross_attention(&prefix, stack.heads)?;
            Ok(DecoderLayer { attention, cross, feed_forward: self.feed_forward(&prefix, stack)? })
        };
        Ok(Decoder {
            embedding: self.embedding(prefix, self.config.decoder_vocab_size)?,
            layers: (0..stack.layers).map(layer).collect::<Result<_, ModelError>>()?,
            norm: self.last_norm(prefix)?,
            output: self.output()?,
        })
    }

    fn norm(&self, prefix: &str, name: &str) -> Result<LayerNorm, ModelError> {
        self.weights.norm(&format!("{prefix}{name}"), NormConfig::new(self.config.width, self.config.epsilon))
    }

    fn residual(&self, prefix: &str, name: &str) -> Result<Residual, ModelError> {
        Ok(Residual::new(self.config.norm, self.norm(prefix, name)?))
    }

    /// The norm after the last layer, which pre-norm stacks have.
    fn last_norm(&self, prefix: &str) -> Result<Option<LayerNorm>, ModelError> {
        (self.config.norm == NormPlacement::Pre).then(|| self.norm(prefix, ".layer_norm")).transpose()
    }

    fn heads(&self, heads: usize) -> Heads {
        Heads::new(heads, self.config.width / heads)
    }

    fn self_attention(&self, prefix: &str, heads: usize) -> Result<SelfAttention, ModelError> {
        let (weights, width) = (&self.weights, self.config.width);
        let names = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
        Ok(SelfAttention::new(
            weights.fused(prefix, &names, width, width)?,
            weights.fused(prefix, &["self_attn.out_proj"], width, width)?,
            self.heads(heads),
            self.residual(prefix, "self_attn_layer_norm")?,
        ))
    }

    fn cross_attention(&self, prefix: &str, heads: usize) -> Result<CrossAttention, ModelError> {
        let (weights, width) = (&self.weights, self.config.width);
        Ok(CrossAttention::new(
            weights.fused(prefix, &["encoder_attn.q_proj"], width, width)?,
            weights.fused(prefix, &["encoder_attn.k_proj", "encoder_attn.v_proj"], width, width)?,
            weights.fused(prefix, &["encoder_attn.out_proj"], width, width)?,
            self.heads(heads),
            self.residual(prefix, "encoder_attn_layer_norm")?,
        ))
    }

    fn feed_forward(&self, prefix: &str, stack: StackConfig) -> Result<FeedForward, ModelError> {
        let width = self.config.width;
        Ok(FeedForward::new(
            self.weights.fused(prefix, &["fc1"], width, stack.feed_forward)?,
            self.weights.fused(prefix, &["fc2"], stack.feed_forward, width)?,
            self.config.activation,
            self.residual(prefix, "final_layer_norm")?,
        ))
    }

    /// The name of a stack's token table: `model.shared`, or its own.
    fn table(&self, prefix: &str) -> Result<String, ModelError> {
        const SHARED: &str = "model.shared.weight";
        // Files of older versions hold the shared table under each of its names.
        let is_shared = self.config.shared_embeddings && self.weights.has(SHARED)?;
        Ok(if is_shared { String::from(SHARED) } else { format!("{prefix}.embed_tokens.weight") })
    }

    fn embedding(&self, prefix: &str, vocab_size: usize) -> Result<Embedding, ModelError> {
        let config = self.config;
        let width = config.width;
        let (positions, numbering) = self.positions(prefix)?;
        let norm = config.norm_embedding.then(|| self.norm(prefix, ".layernorm_embedding")).transpose()?;
        let scale = if config.scale_embedding { libm::sqrt(width as f64) as f32 } else { 1.0 };
        let table = self.weights.table(&self.table(prefix)?, vocab_size, width)?;
        Ok(Embedding { scale, positions, numbering, norm, ..Embedding::new(table, width) })
    }

    /// The table of positions and how its rows are numbered.
    fn positions(&self, prefix: &str) -> Result<(Vec<f32>, Numbering), ModelError> {
        let (width, count) = (self.config.width, self.config.max_positions);
        match self.config.positions {
            PositionKind::Sinusoidal => {
                Ok((sinusoidal_table(SinusoidalLayout::Halves, count, width)?, Numbering::Index { offset: 0 }))
            }
            PositionKind::SinusoidalFairseq => {
                let padding = self.config.pad_token_id.unwrap_or(1);
                let first = padding as usize + 1;
                let layout = SinusoidalLayout::Fairseq { padding: Some(padding as usize) };
                Ok((sinusoidal_table(layout, sum(count, first)?, width)?, Numbering::Fairseq { padding }))
            }
            PositionKind::Learned { offset } => {
                let rows = sum(count, offset)?;
                let name = format!("{prefix}.embed_positions.weight");
                Ok((self.weights.tensor(&name, &[rows, width])?, Numbering::Index { offset }))
            }
        }
    }

    /// The projection to logits: the decoder's token table where it is tied, else `lm_head`; the bias is added to the logits
    /// by the families that have one.
    fn output(&self) -> Result<Linear, ModelError> {
        let (width, outputs) = (self.config.width, self.config.decoder_vocab_size);
        let name = if self.config.tied_output { self.table("model.decoder")? } else { String::from("lm_head.weight") };
        let weights = self.weights.tensor(&name, &[outputs, width])?;
        let bias =
            if self.config.logits_bias { self.weights.optional("final_logits_bias", &[1, outputs])? } else { None };
        self.weights.pack(&weights, width, outputs, bias)
    }
}
