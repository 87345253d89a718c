//! Reading weights by the names of Hugging Face's modules, each held against the shape that the configuration gives it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use kernform_formats::{ModelSource, TensorView};

use crate::config::EncoderDecoderConfig;
use crate::error::ModelError;
use crate::linear::Linear;
use crate::norm::LayerNorm;

/// The tensors of a model file.
pub(crate) struct Weights<'s> {
    source: &'s dyn ModelSource,
}

impl<'s> Weights<'s> {
    pub(crate) fn new(source: &'s dyn ModelSource) -> Self {
        Self { source }
    }

    /// A tensor of `shape`, widened to `f32`.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        Self::of_shape(&self.source.tensor(name)?, name, shape)
    }

    /// [`Weights::tensor`], or `None` where there is none of that name.
    fn optional(&self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, ModelError> {
        self.source.optional(name)?.map(|tensor| Self::of_shape(&tensor, name, shape)).transpose()
    }

    fn of_shape(tensor: &TensorView<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        if tensor.dims() != shape {
            let (name, found, expected) = (name.to_string(), tensor.dims().to_vec(), shape.to_vec());
            return Err(ModelError::TensorShape { name, found, expected });
        }
        Ok(tensor.to_f32()?)
    }

    /// A linear module: `weight` of `[outputs, inputs]` and, if it is there, `bias`.
    pub(crate) fn linear(&self, prefix: &str, name: &str, inputs: usize, outputs: usize) -> Result<Linear, ModelError> {
        self.fused(prefix, &[name], inputs, outputs)
    }

    /// Several linear modules of the same input as one, their outputs side by side: each output is a chain of its own, so
    /// this changes no bit.
    pub(crate) fn fused(
        &self,
        prefix: &str,
        names: &[&str],
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, ModelError> {
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        let mut any_bias = false;
        for name in names {
            weights.extend(self.tensor(&format!("{prefix}.{name}.weight"), &[outputs, inputs])?);
            let bias = self.optional(&format!("{prefix}.{name}.bias"), &[outputs])?;
            any_bias |= bias.is_some();
            biases.extend(bias.unwrap_or_else(|| alloc::vec![0.0; outputs]));
        }
        Linear::new(&weights, inputs, names.len() * outputs, any_bias.then_some(biases))
    }

    /// A layer norm over the width.
    pub(crate) fn norm(
        &self,
        prefix: &str,
        name: &str,
        config: &EncoderDecoderConfig,
    ) -> Result<LayerNorm, ModelError> {
        let part = |part| self.tensor(&format!("{prefix}.{name}.{part}"), &[config.width]);
        Ok(LayerNorm { weight: part("weight")?, bias: part("bias")?, epsilon: config.epsilon })
    }

    /// The token table of a stack: `model.shared`, or its own.
    pub(crate) fn embedding(
        &self,
        prefix: &str,
        config: &EncoderDecoderConfig,
        vocab_size: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let own = format!("{prefix}.embed_tokens.weight");
        let shape = [vocab_size, config.width];
        if config.shared_embeddings {
            // Files of older versions hold the shared table under each of its names.
            if let Some(table) = self.optional("model.shared.weight", &shape)? {
                return Ok(table);
            }
        }
        self.tensor(&own, &shape)
    }

    /// The projection to logits: the decoder's token table where it is tied, else `lm_head`; the bias is added to the logits
    /// by the families that have one.
    pub(crate) fn output(&self, config: &EncoderDecoderConfig) -> Result<Linear, ModelError> {
        let (width, outputs) = (config.width, config.decoder_vocab_size);
        let weights = if config.tied_output {
            self.embedding("model.decoder", config, outputs)?
        } else {
            self.tensor("lm_head.weight", &[outputs, width])?
        };
        let bias = if config.logits_bias { self.optional("final_logits_bias", &[1, outputs])? } else { None };
        Linear::new(&weights, width, outputs, bias)
    }
}

/// `a + b` of a configuration's numbers.
pub(crate) fn sum(a: usize, b: usize) -> Result<usize, ModelError> {
    a.checked_add(b).ok_or_else(|| too_large("max_position_embeddings"))
}

fn too_large(key: &'static str) -> ModelError {
    ModelError::Config { key, problem: String::from("is too large") }
}
