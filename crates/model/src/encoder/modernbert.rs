//! ModernBERT (Warner et al. 2024): pre-norm, rotary positions, gated feed-forward, layers that see a window or all.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use kernform_attention::Heads;
use kernform_formats::Json;

use super::NormConfig;
use super::config::{EncoderConfig, Keys, Task};
use super::head::{Head, HeadActivation, HeadInput, Transform};
use super::model::Parts;
use crate::attention::{Rotary, SelfAttention};
use crate::config::{Family, NormPlacement, activation};
use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::feed_forward::FeedForward;
use crate::layers::{EncoderLayer, Residual};
use crate::norm::LayerNorm;
use crate::stack::EncoderStack;
use crate::weights::Weights;

const KEYS: Keys = Keys {
    width: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    feed_forward: "intermediate_size",
    activation: "hidden_activation",
    epsilon: "norm_eps",
};

/// How the layers of one kind see.
#[derive(Clone)]
struct Sight {
    rotary: Arc<Rotary>,
    /// How far a token sees to either side; `None` for all of its sequence.
    window: Option<usize>,
}

/// What all parts are loaded with.
struct Loader<'l> {
    weights: &'l Weights<'l>,
    json: &'l Json,
    config: EncoderConfig,
    root: &'static str,
    norm: NormConfig,
}

pub(super) fn load(weights: &Weights<'_>, json: &Json) -> Result<Parts, ModelError> {
    let mut config = EncoderConfig::read(json, Family::ModernBert, &KEYS)?;
    config.epsilon = json.f32_or("norm_eps", 1e-5)?;
    let root = weights.root("model.", "embeddings.tok_embeddings.weight")?;
    let norm = NormConfig { bias: json.bool_or("norm_bias", false)?, ..config.norm() };
    let loader = Loader { weights, json, config, root, norm };
    let embedding = loader.embedding()?;
    let stack = loader.stack()?;
    let head = loader.head(&embedding)?;
    Ok(Parts { config: loader.config, embedding, projection: None, stack, head, zero_padding: false })
}

impl Loader<'_> {
    fn norm(&self, name: &str) -> Result<LayerNorm, ModelError> {
        self.weights.norm(&format!("{}{name}", self.root), self.norm)
    }

    fn embedding(&self) -> Result<Embedding, ModelError> {
        let (width, vocab_size) = (self.config.width, self.config.vocab_size);
        let name = format!("{}embeddings.tok_embeddings.weight", self.root);
        let table = self.weights.table(&name, vocab_size, width)?;
        Ok(Embedding { norm: Some(self.norm("embeddings.norm")?), ..Embedding::new(table, width) })
    }

    fn stack(&self) -> Result<EncoderStack, ModelError> {
        let local = self.json.usize_or("local_attention", 128)?;
        let global = self.sight("full_attention", "global_rope_theta", 160_000.0, None)?;
        let local = self.sight("sliding_attention", "local_rope_theta", 10_000.0, Some(local / 2))?;
        let layer = |i| self.layer(i, if self.is_global(i)? { global.clone() } else { local.clone() });
        let layers = (0..self.config.layers).map(layer).collect::<Result<_, _>>()?;
        Ok(EncoderStack::new(layers, Some(self.norm("final_norm")?)))
    }

    /// transformers 5 writes `rope_parameters` for each kind of layer, transformers 4 a theta for each.
    fn sight(&self, kind: &str, old: &str, theta: f64, window: Option<usize>) -> Result<Sight, ModelError> {
        let parameters = match self.json.optional("rope_parameters")? {
            Some(parameters) => parameters.optional(kind)?,
            None => None,
        };
        let theta = match parameters {
            Some(parameters) => {
                let kind = parameters.str_or("rope_type", "default")?;
                if kind != "default" {
                    let problem = format!("rope_type {kind:?} is not known in this family; \"default\" is");
                    return Err(ModelError::Config { key: "rope_parameters", problem });
                }
                parameters.f64_or("rope_theta", theta)?
            }
            None => self.json.f64_or(old, theta)?,
        };
        let rotary = Rotary::new(theta, self.config.head_dim(), self.config.max_positions)?;
        Ok(Sight { rotary: Arc::new(rotary), window })
    }

    /// Whether layer `i` sees all of its sequence: as listed, or else every n-th layer from the first on.
    fn is_global(&self, i: usize) -> Result<bool, ModelError> {
        if let Some(kinds) = self.json.optional("layer_types")? {
            return match kinds.items()?.get(i).map(Json::as_str).transpose()? {
                Some("full_attention") => Ok(true),
                Some("sliding_attention") => Ok(false),
                other => {
                    let problem = format!("layer {i} is {other:?}; it must be full_attention or sliding_attention");
                    Err(ModelError::Config { key: "layer_types", problem })
                }
            };
        }
        let every = self.json.usize_or("global_attn_every_n_layers", 3)?;
        Ok(every != 0 && i.is_multiple_of(every))
    }

    fn layer(&self, i: usize, sight: Sight) -> Result<EncoderLayer, ModelError> {
        let (weights, width, inner) = (self.weights, self.config.width, self.config.feed_forward);
        let prefix = format!("{}layers.{i}.", self.root);
        let residual = |name: &str| {
            Ok::<_, ModelError>(Residual::new(NormPlacement::Pre, self.norm(&format!("layers.{i}.{name}"))?))
        };
        // The first layer gets what the embeddings' norm gives.
        let around_attention = if i == 0 { Residual::plain() } else { residual("attn_norm")? };
        let attention = SelfAttention::new(
            weights.fused(&prefix, &["attn.Wqkv"], width, 3 * width)?,
            weights.fused(&prefix, &["attn.Wo"], width, width)?,
            Heads::new(self.config.heads, self.config.head_dim()),
            around_attention,
        );
        let feed_forward = FeedForward::new(
            weights.fused(&prefix, &["mlp.Wi"], width, inner.saturating_mul(2))?,
            weights.fused(&prefix, &["mlp.Wo"], inner, width)?,
            self.config.activation,
            residual("mlp_norm")?,
        );
        let attention = attention.with_rotary(sight.rotary).with_window(sight.window);
        Ok(EncoderLayer { attention, feed_forward })
    }

    fn head(&self, embedding: &Embedding) -> Result<Option<Head>, ModelError> {
        let (weights, config, json) = (self.weights, &self.config, self.json);
        if config.task == Task::States {
            return Ok(None);
        }
        let width = config.width;
        let name = "classifier_activation";
        let transform = Transform {
            dense: weights.linear("head.dense", width, width)?,
            activation: HeadActivation::Plain(activation(name, json.str_or(name, "gelu")?)?),
            norm: Some(weights.norm("head.norm", self.norm)?),
        };
        let (input, output) = match config.task {
            Task::SequenceClassification => {
                let input = match json.str_or("classifier_pooling", "cls")? {
                    "cls" => HeadInput::First,
                    "mean" => HeadInput::Mean,
                    other => {
                        let problem = format!("{other:?} is not known; \"cls\" and \"mean\" are");
                        return Err(ModelError::Config { key: "classifier_pooling", problem });
                    }
                };
                (input, weights.linear("classifier", width, config.labels.len())?)
            }
            Task::TokenClassification => (HeadInput::Every, weights.linear("classifier", width, config.labels.len())?),
            Task::QuestionAnswering => (HeadInput::Every, weights.linear("classifier", width, 2)?),
            Task::States | Task::MaskedLm => {
                let bias = ["decoder.bias"; 2].map(String::from);
                (HeadInput::Every, weights.vocabulary(json, embedding, "decoder", Some(bias))?)
            }
        };
        Ok(Some(Head { input, transform: Some(transform), output: Some(output) }))
    }
}
