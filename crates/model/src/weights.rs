//! Reading weights by the names of Hugging Face's modules, each held against the shape that the configuration gives it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use kernform_formats::{Json, ModelSource, TensorView};

use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::linear::{Linear, WeightType};
use crate::norm::{LayerNorm, NormConfig};
use crate::table::TokenTable;

/// The tensors of a model file.
pub(crate) struct Weights<'s> {
    source: &'s dyn ModelSource,
    kind: WeightType,
}

impl<'s> Weights<'s> {
    /// Weights whose products are to be kept as `kind`.
    pub(crate) fn new(source: &'s dyn ModelSource, kind: WeightType) -> Self {
        Self { source, kind }
    }

    /// Packs weights `[outputs, inputs]`.
    pub(crate) fn pack(
        &self,
        weights: &[f32],
        inputs: usize,
        outputs: usize,
        bias: Option<Vec<f32>>,
    ) -> Result<Linear, ModelError> {
        Linear::new(weights, inputs, outputs, bias, self.kind)
    }

    /// A tensor of `shape`, widened to `f32`.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        Self::of_shape(&self.source.tensor(name)?, name, shape)
    }

    /// [`Weights::tensor`], or `None` where there is none of that name.
    pub(crate) fn optional(&self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, ModelError> {
        self.source.optional(name)?.map(|tensor| Self::of_shape(&tensor, name, shape)).transpose()
    }

    /// Whether there is a tensor of that name.
    pub(crate) fn has(&self, name: &str) -> Result<bool, ModelError> {
        Ok(self.source.optional(name)?.is_some())
    }

    /// The first of `names` that there is, or the last one, so that an error names it.
    fn any_of(&self, names: [String; 2]) -> Result<String, ModelError> {
        let [first, last] = names;
        Ok(if self.has(&first)? { first } else { last })
    }

    /// The prefix of a model's names: `prefix` where the model stands under a head, nothing where it was stored alone.
    pub(crate) fn root(&self, prefix: &'static str, name: &str) -> Result<&'static str, ModelError> {
        Ok(if self.has(&format!("{prefix}{name}"))? { prefix } else { "" })
    }

    /// The projection to logits of the vocabulary: the token table where it is tied, else `name`'s own weights. The bias
    /// goes by one of two names, or is `name`'s.
    pub(crate) fn vocabulary(
        &self,
        json: &Json,
        embedding: &Embedding,
        name: &str,
        bias: Option<[String; 2]>,
    ) -> Result<Linear, ModelError> {
        let (inputs, outputs) = (embedding.width, embedding.table.len() / embedding.width);
        let tied = json.bool_or("tie_word_embeddings", true)?;
        let own = match (tied, embedding.table.floats()) {
            (true, Some(_)) => None,
            // What the table keeps of the file is made for looking up.
            (true, None) => Some(self.tensor(&embedding.table.name, &[outputs, inputs])?),
            (false, _) => Some(self.tensor(&format!("{name}.weight"), &[outputs, inputs])?),
        };
        let bias = match bias {
            Some(names) => self.any_of(names)?,
            None => format!("{name}.bias"),
        };
        let bias = self.optional(&bias, &[outputs])?;
        self.pack(own.as_deref().or(embedding.table.floats()).unwrap_or_default(), inputs, outputs, bias)
    }

    /// A table of `rows` tokens.
    pub(crate) fn table(&self, name: &str, rows: usize, width: usize) -> Result<TokenTable, ModelError> {
        let tensor = self.source.tensor(name)?;
        Self::check_shape(&tensor, name, &[rows, width])?;
        TokenTable::read(&tensor, name, width, self.kind)
    }

    fn of_shape(tensor: &TensorView<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        Self::check_shape(tensor, name, shape)?;
        Ok(tensor.to_f32()?)
    }

    fn check_shape(tensor: &TensorView<'_>, name: &str, shape: &[usize]) -> Result<(), ModelError> {
        if tensor.dims() == shape {
            return Ok(());
        }
        let (name, found, expected) = (name.to_string(), tensor.dims().to_vec(), shape.to_vec());
        Err(ModelError::TensorShape { name, found, expected })
    }

    /// A linear module: `weight` of `[outputs, inputs]` and, if it is there, `bias`.
    pub(crate) fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, ModelError> {
        self.fused("", &[name], inputs, outputs)
    }

    /// Several linear modules of the same input as one, their outputs side by side: each output is a chain of its own, so
    /// this changes no bit. `prefix` stands before each name.
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
            weights.extend(self.tensor(&format!("{prefix}{name}.weight"), &[outputs, inputs])?);
            let bias = self.optional(&format!("{prefix}{name}.bias"), &[outputs])?;
            any_bias |= bias.is_some();
            biases.extend(bias.unwrap_or_else(|| alloc::vec![0.0; outputs]));
        }
        self.pack(&weights, inputs, names.len() * outputs, any_bias.then_some(biases))
    }

    /// A layer norm; TensorFlow's names of its parameters serve, too.
    pub(crate) fn norm(&self, name: &str, config: NormConfig) -> Result<LayerNorm, ModelError> {
        let parameter = |old: &str, new: &str| {
            let name = self.any_of([format!("{name}.{old}"), format!("{name}.{new}")])?;
            self.tensor(&name, &[config.width])
        };
        Ok(LayerNorm {
            weight: parameter("gamma", "weight")?,
            bias: config.bias.then(|| parameter("beta", "bias")).transpose()?,
            epsilon: config.epsilon,
            as_engine: false,
        })
    }
}

/// `a + b` of a configuration's numbers.
pub(crate) fn sum(a: usize, b: usize) -> Result<usize, ModelError> {
    a.checked_add(b).ok_or_else(|| too_large("max_position_embeddings"))
}

fn too_large(key: &'static str) -> ModelError {
    ModelError::Config { key, problem: String::from("is too large") }
}
