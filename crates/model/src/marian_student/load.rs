//! Weights by Marian's names.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use kernform_formats::{DType, MarianFile, TensorView};
use kernform_gemm::GemmError;
use kernform_math::{Activation, sigmoid_in_place};
use kernform_simd::Isa;
use kernform_tensor::Memory;

use super::ssru::Ssru;
use super::table::{Rows, Table};
use super::{DecoderLayer, MarianStudent, StudentConfig, engine};
use crate::attention::{CrossAttention, SelfAttention};
use crate::config::NormPlacement;
use crate::error::ModelError;
use crate::feed_forward::FeedForward;
use crate::layers::{EncoderLayer, Residual};
use crate::linear::{Linear, WeightType};
use crate::norm::LayerNorm;
use crate::stack::EncoderStack;

/// In what arithmetic a student runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StudentWeights {
    /// As the file has them: products of bytes where the weights are bytes.
    #[default]
    Stored,
    /// All of it in floats, of the same values.
    F32,
    /// As Marian's int8 engine computes it, compiled to WebAssembly (Bergamot, Firefox), to the bit: products of bytes whose
    /// pairs saturate, and the engine's order of every operation in floats. One result on every level, as always.
    Engine,
}

/// Marian adds this to variances.
const EPSILON: f32 = 1e-9;

/// A stored matrix `[inputs, outputs]`: the bytes in the order of `[outputs, inputs]`, or floats in their own.
struct Matrix<'a> {
    tensor: TensorView<'a>,
    /// By what the floats were multiplied that these bytes were.
    multiplier: Option<f32>,
}

struct Loader<'l, B> {
    file: &'l MarianFile<B>,
    config: StudentConfig,
    weights: StudentWeights,
}

impl MarianStudent {
    /// Reads and packs the weights of a file.
    ///
    /// # Errors
    /// [`ModelError`] that names the setting or tensor which is missing, of the wrong shape, or of no use.
    pub fn load<B: AsRef<[u8]>>(file: &MarianFile<B>, weights: StudentWeights, isa: Isa) -> Result<Self, ModelError> {
        let config = StudentConfig::from_settings(&file.configuration()?)?;
        let loader = Loader { file, config, weights };
        let table = loader.table()?;
        let encoder = (1..=config.encoder_layers).map(|i| loader.encoder_layer(i)).collect::<Result<Vec<_>, _>>()?;
        let decoder = (1..=config.decoder_layers).map(|i| loader.decoder_layer(i)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { config, weights, isa, table, encoder: EncoderStack::new(encoder, None), decoder })
    }
}

impl<B: AsRef<[u8]>> Loader<'_, B> {
    fn encoder_layer(&self, number: usize) -> Result<EncoderLayer, ModelError> {
        let prefix = format!("encoder_l{number}_");
        let width = self.config.width;
        let parts = [("self_Wq", Some("self_bq")), ("self_Wk", Some("self_bk")), ("self_Wv", Some("self_bv"))];
        let attention = SelfAttention::new(
            self.linear(&prefix, &parts, width, width)?,
            self.linear(&prefix, &[("self_Wo", Some("self_bo"))], width, width)?,
            self.heads(),
            self.residual(&prefix, "self_Wo")?,
        );
        Ok(EncoderLayer { attention, feed_forward: self.feed_forward(&prefix)? })
    }

    fn decoder_layer(&self, number: usize) -> Result<DecoderLayer, ModelError> {
        let prefix = format!("decoder_l{number}_");
        let width = self.config.width;
        let recurrence = Ssru::new(
            self.linear(&prefix, &[("rnn_W", None), ("rnn_Wf", Some("rnn_bf"))], width, width)?,
            self.residual(&prefix, "rnn_ffn")?,
            if self.as_engine() { engine::sigmoid_in_place } else { sigmoid_in_place },
        );
        let key_value = [("context_Wk", Some("context_bk")), ("context_Wv", Some("context_bv"))];
        let cross = CrossAttention::new(
            self.linear(&prefix, &[("context_Wq", Some("context_bq"))], width, width)?,
            self.linear(&prefix, &key_value, width, width)?,
            self.linear(&prefix, &[("context_Wo", Some("context_bo"))], width, width)?,
            self.heads(),
            self.residual(&prefix, "context_Wo")?,
        );
        Ok(DecoderLayer { recurrence, cross, feed_forward: self.feed_forward(&prefix)? })
    }

    fn feed_forward(&self, prefix: &str) -> Result<FeedForward, ModelError> {
        let (width, inner) = (self.config.width, self.config.feed_forward);
        Ok(FeedForward::new(
            self.linear(prefix, &[("ffn_W1", Some("ffn_b1"))], width, inner)?,
            self.linear(prefix, &[("ffn_W2", Some("ffn_b2"))], inner, width)?,
            Activation::Relu,
            self.residual(prefix, "ffn_ffn")?,
        ))
    }

    fn as_engine(&self) -> bool {
        self.weights == StudentWeights::Engine
    }

    fn heads(&self) -> kernform_attention::Heads {
        kernform_attention::Heads::new(self.config.heads, self.config.width / self.config.heads)
    }

    fn residual(&self, prefix: &str, name: &str) -> Result<Residual, ModelError> {
        let part = |part| self.row(&format!("{prefix}{name}_ln_{part}"), self.config.width);
        let as_engine = self.as_engine();
        let epsilon = if as_engine { engine::EPSILON } else { EPSILON };
        let norm = LayerNorm { weight: part("scale")?, bias: Some(part("bias")?), epsilon, as_engine };
        Ok(Residual::new(NormPlacement::Post, norm))
    }

    /// A tensor `[1, len]` of floats.
    fn row(&self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        let tensor = self.file.tensor(name)?;
        Self::check_shape(&tensor, name, &[1, len])?;
        Ok(tensor.to_f32()?)
    }

    /// A multiplier of inputs: a float, or (in an embedding's name) a byte with its own multiplier.
    fn input_multiplier(&self, name: &str) -> Result<f32, ModelError> {
        let name = format!("{name}_QuantMultA");
        let matrix = self.matrix(&name, 1, 1)?;
        let value = matrix.floats()?.first().copied().unwrap_or(0.0);
        Self::check_multiplier(&name, value)
    }

    fn check_multiplier(name: &str, value: f32) -> Result<f32, ModelError> {
        if value.is_normal() && value > 0.0 && (1.0 / value).is_normal() {
            Ok(value)
        } else {
            Err(ModelError::Multiplier { tensor: name.to_string(), value })
        }
    }

    fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix<'_>, ModelError> {
        let tensor = self.file.tensor(name)?;
        Self::check_shape(&tensor, name, &[rows, cols])?;
        let multiplier = self.file.multiplier(name)?;
        let multiplier = multiplier.map(|value| Self::check_multiplier(name, value)).transpose()?;
        Ok(Matrix { tensor, multiplier })
    }

    fn check_shape(tensor: &TensorView<'_>, name: &str, shape: &[usize]) -> Result<(), ModelError> {
        if tensor.dims() == shape {
            return Ok(());
        }
        let (name, found, expected) = (name.to_string(), tensor.dims().to_vec(), shape.to_vec());
        Err(ModelError::TensorShape { name, found, expected })
    }

    /// Maps of one input, their outputs side by side: names of matrices `[inputs, outputs]` and of biases.
    fn linear(
        &self,
        prefix: &str,
        parts: &[(&str, Option<&str>)],
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, ModelError> {
        let mut bias = Vec::new();
        let mut any_bias = false;
        let mut matrices = Vec::new();
        for (matrix, part_bias) in parts {
            let name = format!("{prefix}{matrix}");
            matrices.push((self.matrix(&name, inputs, outputs)?, name));
            any_bias |= part_bias.is_some();
            bias.extend(match part_bias {
                Some(name) => self.row(&format!("{prefix}{name}"), outputs)?,
                None => alloc::vec![0.0; outputs],
            });
        }
        let bias = any_bias.then_some(bias);
        let is_bytes = matrices.iter().all(|(matrix, _)| matrix.multiplier.is_some());
        if self.weights == StudentWeights::F32 || !is_bytes {
            let mut weights = Vec::new();
            for (matrix, _) in &matrices {
                weights.extend(matrix.transposed(inputs, outputs)?);
            }
            return Linear::new(&weights, inputs, parts.len() * outputs, bias, WeightType::F32);
        }
        let multiplier = self.shared_multiplier(&matrices)?;
        let (mut bytes, mut scales) = (Vec::new(), Vec::new());
        for (matrix, _) in &matrices {
            bytes.extend_from_slice(matrix.tensor.as_slice::<i8>()?);
            let weights = matrix.multiplier.unwrap_or(1.0);
            let scale = if self.as_engine() { engine::factor(multiplier, weights) } else { 1.0 / weights };
            scales.extend(core::iter::repeat_n(scale, outputs));
        }
        if !self.as_engine() {
            return Linear::of_bytes(&bytes, inputs, scales, multiplier, bias);
        }
        let mut shifted = bias.unwrap_or_else(|| alloc::vec![0.0; parts.len() * outputs]);
        let weights = matrices.iter().flat_map(|(matrix, _)| core::iter::repeat_n(matrix.multiplier, outputs));
        for ((bias, row), weights) in shifted.iter_mut().zip(bytes.chunks_exact(inputs)).zip(weights) {
            *bias = engine::bias(multiplier, weights.unwrap_or(1.0), row, *bias);
        }
        Linear::of_saturating_bytes(&bytes, inputs, scales, multiplier, shifted)
    }

    /// The multiplier of the inputs, which maps of one input have in common.
    fn shared_multiplier(&self, matrices: &[(Matrix<'_>, String)]) -> Result<f32, ModelError> {
        let mut shared = None;
        for (_, name) in matrices {
            let value = self.input_multiplier(name)?;
            if shared.is_some_and(|shared| shared != value) {
                return Err(ModelError::Multiplier { tensor: format!("{name}_QuantMultA"), value });
            }
            shared = Some(value);
        }
        Ok(shared.unwrap_or(1.0))
    }

    fn table(&self) -> Result<Table, ModelError> {
        let (vocab, width) = (self.config.vocab_size, self.config.width);
        let matrix = self.matrix("Wemb", vocab, width)?;
        let mut bias = self.row("decoder_ff_logit_out_b", vocab)?;
        let rows = match matrix.multiplier {
            Some(multiplier) if self.weights != StudentWeights::F32 => {
                let stored = matrix.tensor.as_slice::<i8>()?;
                // Rows are read here and there, so large pages count.
                let no_memory = GemmError::OutOfMemory { elements: stored.len() };
                let mut bytes = Memory::zeroed(stored.len()).ok_or(no_memory)?;
                bytes.as_mut_slice().copy_from_slice(stored);
                // With a shortlist, Marian looks it up under the name of no tensor.
                let name = if self.file.names().any(|name| name == "none_QuantMultA") { "none" } else { "Wemb" };
                let input_multiplier = self.input_multiplier(name)?;
                let saturating = self.as_engine().then(|| engine::factor(input_multiplier, multiplier));
                if self.as_engine() {
                    for (bias, row) in bias.iter_mut().zip(stored.chunks_exact(width)) {
                        *bias = engine::bias(input_multiplier, multiplier, row, *bias);
                    }
                }
                Rows::I8 { bytes, scale: 1.0 / multiplier, input_multiplier, saturating }
            }
            // A table of tokens is not stored transposed.
            _ => Rows::F32(matrix.floats()?),
        };
        Table::new(rows, width, bias, self.as_engine())
    }
}

impl Matrix<'_> {
    /// The floats, in the order in which the file has them.
    fn floats(&self) -> Result<Vec<f32>, ModelError> {
        match self.multiplier {
            Some(multiplier) if self.tensor.dtype() == DType::I8 => {
                let scale = 1.0 / multiplier;
                Ok(self.tensor.as_slice::<i8>()?.iter().map(|byte| f32::from(*byte) * scale).collect())
            }
            _ => Ok(self.tensor.to_f32()?),
        }
    }

    /// The floats as `[outputs, inputs]`.
    fn transposed(&self, inputs: usize, outputs: usize) -> Result<Vec<f32>, ModelError> {
        let floats = self.floats()?;
        if self.multiplier.is_some() {
            return Ok(floats);
        }
        Ok((0..outputs).flat_map(|o| floats.iter().skip(o).step_by(outputs.max(1)).take(inputs)).copied().collect())
    }
}
