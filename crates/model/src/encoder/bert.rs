//! BERT (Devlin et al. 2019).

use alloc::format;
use alloc::vec::Vec;

use kernform_attention::Heads;
use kernform_formats::Json;

use super::NormConfig;
use super::config::{EncoderConfig, KEYS, Task};
use super::head::{Head, HeadActivation, HeadInput, Transform};
use super::model::Parts;
use crate::attention::SelfAttention;
use crate::config::{Family, NormPlacement};
use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::feed_forward::FeedForward;
use crate::layers::{EncoderLayer, Residual};
use crate::stack::EncoderStack;
use crate::weights::Weights;

pub(super) fn load(weights: &Weights<'_>, json: &Json) -> Result<Parts, ModelError> {
    let mut config = EncoderConfig::read(json, Family::Bert, &KEYS)?;
    config.token_types = json.usize_or("type_vocab_size", 2)?;
    only_absolute_positions(json)?;
    let root = weights.root("bert.", "embeddings.word_embeddings.weight")?;
    let embedding = embedding(weights, &format!("{root}embeddings."), &config)?;
    let layers = (0..config.layers).map(|i| layer(weights, &format!("{root}encoder.layer.{i}."), &config));
    let stack = EncoderStack::new(layers.collect::<Result<_, _>>()?, None);
    let head = head(weights, root, json, &config, &embedding)?;
    Ok(Parts { config, embedding, projection: None, stack, head, zero_padding: false })
}

/// Relative positions were an option of transformers 4 that hardly a model took.
pub(super) fn only_absolute_positions(json: &Json) -> Result<(), ModelError> {
    match json.str_or("position_embedding_type", "absolute")? {
        "absolute" => Ok(()),
        other => {
            let problem = format!("{other:?} is not known; \"absolute\" is");
            Err(ModelError::Config { key: "position_embedding_type", problem })
        }
    }
}

/// Tokens, positions and types, summed and normalised.
pub(super) fn embedding(weights: &Weights<'_>, prefix: &str, config: &EncoderConfig) -> Result<Embedding, ModelError> {
    let width = config.embedding_width;
    let table = |name: &str, rows| weights.tensor(&format!("{prefix}{name}.weight"), &[rows, width]);
    let norm = weights.norm(&format!("{prefix}LayerNorm"), NormConfig::new(width, config.epsilon))?;
    Ok(Embedding {
        positions: table("position_embeddings", config.max_positions)?,
        types: if config.token_types > 0 { table("token_type_embeddings", config.token_types)? } else { Vec::new() },
        norm: Some(norm),
        ..Embedding::new(weights.table(&format!("{prefix}word_embeddings.weight"), config.vocab_size, width)?, width)
    })
}

pub(super) fn layer(weights: &Weights<'_>, prefix: &str, config: &EncoderConfig) -> Result<EncoderLayer, ModelError> {
    let norm = |name: &str| weights.norm(&format!("{prefix}{name}.LayerNorm"), config.norm());
    let residuals = [norm("attention.output")?, norm("output")?].map(|norm| Residual::new(NormPlacement::Post, norm));
    layer_with(weights, prefix, config, residuals, |attention| attention)
}

/// A layer by BERT's names, with the residual connections of attention and feed-forward.
pub(super) fn layer_with(
    weights: &Weights<'_>,
    prefix: &str,
    config: &EncoderConfig,
    [around_attention, around_feed_forward]: [Residual; 2],
    positions: impl FnOnce(SelfAttention) -> SelfAttention,
) -> Result<EncoderLayer, ModelError> {
    let (width, inner) = (config.width, config.feed_forward);
    let names = ["attention.self.query", "attention.self.key", "attention.self.value"];
    let attention = SelfAttention::new(
        weights.fused(prefix, &names, width, width)?,
        weights.fused(prefix, &["attention.output.dense"], width, width)?,
        Heads::new(config.heads, config.head_dim()),
        around_attention,
    );
    let feed_forward = FeedForward::new(
        weights.fused(prefix, &["intermediate.dense"], width, inner)?,
        weights.fused(prefix, &["output.dense"], inner, width)?,
        config.activation,
        around_feed_forward,
    );
    Ok(EncoderLayer { attention: positions(attention), feed_forward })
}

/// The pooled first token of a model without a head, where it was stored.
pub(super) fn pooler(weights: &Weights<'_>, root: &str, config: &EncoderConfig) -> Result<Option<Head>, ModelError> {
    let name = format!("{root}pooler.dense");
    if config.task != Task::States || !weights.has(&format!("{name}.weight"))? {
        return Ok(None);
    }
    let dense = weights.linear(&name, config.width, config.width)?;
    Ok(Some(Head { input: HeadInput::First, transform: Some(Transform::tanh(dense)), output: None }))
}

fn head(
    weights: &Weights<'_>,
    root: &str,
    json: &Json,
    config: &EncoderConfig,
    embedding: &Embedding,
) -> Result<Option<Head>, ModelError> {
    let width = config.width;
    let classes = config.labels.len();
    Ok(Some(match config.task {
        Task::States => return pooler(weights, root, config),
        Task::SequenceClassification => Head {
            input: HeadInput::First,
            transform: Some(Transform::tanh(weights.linear(&format!("{root}pooler.dense"), width, width)?)),
            output: Some(weights.linear("classifier", width, classes)?),
        },
        Task::TokenClassification => Head::linear(HeadInput::Every, weights.linear("classifier", width, classes)?),
        Task::QuestionAnswering => Head::linear(HeadInput::Every, weights.linear("qa_outputs", width, 2)?),
        Task::MaskedLm => {
            let prefix = "cls.predictions";
            let transform = Transform {
                dense: weights.linear(&format!("{prefix}.transform.dense"), width, width)?,
                activation: HeadActivation::Plain(config.activation),
                norm: Some(weights.norm(&format!("{prefix}.transform.LayerNorm"), config.norm())?),
            };
            let bias = [format!("{prefix}.decoder.bias"), format!("{prefix}.bias")];
            let output = weights.vocabulary(json, embedding, &format!("{prefix}.decoder"), Some(bias))?;
            Head { input: HeadInput::Every, transform: Some(transform), output: Some(output) }
        }
    }))
}
