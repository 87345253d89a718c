//! ALBERT (Lan et al. 2020): narrow embeddings that are projected, and layers that share their weights.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use kernform_attention::Heads;
use kernform_formats::Json;

use super::config::{EncoderConfig, KEYS, Task};
use super::head::{Head, HeadActivation, HeadInput, Transform};
use super::model::Parts;
use super::{NormConfig, bert};
use crate::attention::SelfAttention;
use crate::config::{Family, NormPlacement, activation};
use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::feed_forward::FeedForward;
use crate::layers::{EncoderLayer, Residual};
use crate::stack::EncoderStack;
use crate::weights::Weights;

pub(super) fn load(weights: &Weights<'_>, json: &Json) -> Result<Parts, ModelError> {
    let mut config = EncoderConfig::read(json, Family::Albert, &KEYS)?;
    config.activation = activation("hidden_act", json.str_or("hidden_act", "gelu_new")?)?;
    config.embedding_width = json.usize_or("embedding_size", 128)?;
    config.token_types = json.usize_or("type_vocab_size", 2)?;
    bert::only_absolute_positions(json)?;
    if config.embedding_width == 0 {
        let problem = String::from("is 0; it must be at least 1");
        return Err(ModelError::Config { key: "embedding_size", problem });
    }
    let root = weights.root("albert.", "embeddings.word_embeddings.weight")?;
    let embedding = bert::embedding(weights, &format!("{root}embeddings."), &config)?;
    let name = format!("{root}encoder.embedding_hidden_mapping_in");
    let projection = Some(weights.linear(&name, config.embedding_width, config.width)?);
    let stack = stack(weights, &format!("{root}encoder."), json, &config)?;
    let head = head(weights, root, json, &config, &embedding)?;
    Ok(Parts { config, embedding, projection, stack, head, zero_padding: false })
}

/// Layers come in groups; as many layers as the depth says run, spread evenly over the groups, each a group's all.
fn stack(weights: &Weights<'_>, prefix: &str, json: &Json, config: &EncoderConfig) -> Result<EncoderStack, ModelError> {
    let (groups, each) = (json.usize_or("num_hidden_groups", 1)?, json.usize_or("inner_group_num", 1)?);
    if groups == 0 || groups > config.layers.max(1) {
        let problem = format!("is {groups}; it must be 1 to the number of layers, {}", config.layers);
        return Err(ModelError::Config { key: "num_hidden_groups", problem });
    }
    let mut layers = Vec::new();
    for group in 0..groups {
        for i in 0..each {
            layers.push(layer(weights, &format!("{prefix}albert_layer_groups.{group}.albert_layers.{i}."), config)?);
        }
    }
    let group = |i: usize| (i as f64 / (config.layers as f64 / groups as f64)) as usize;
    let order = (0..config.layers).flat_map(|i| (0..each).map(move |inner| group(i) * each + inner)).collect();
    Ok(EncoderStack { layers, order, norm: None })
}

fn layer(weights: &Weights<'_>, prefix: &str, config: &EncoderConfig) -> Result<EncoderLayer, ModelError> {
    let (width, inner) = (config.width, config.feed_forward);
    let residual = |name: &str| {
        let norm = weights.norm(&format!("{prefix}{name}"), config.norm())?;
        Ok::<_, ModelError>(Residual::new(NormPlacement::Post, norm))
    };
    Ok(EncoderLayer {
        attention: SelfAttention::new(
            weights.fused(prefix, &["attention.query", "attention.key", "attention.value"], width, width)?,
            weights.fused(prefix, &["attention.dense"], width, width)?,
            Heads::new(config.heads, config.head_dim()),
            residual("attention.LayerNorm")?,
        ),
        feed_forward: FeedForward::new(
            weights.fused(prefix, &["ffn"], width, inner)?,
            weights.fused(prefix, &["ffn_output"], inner, width)?,
            config.activation,
            residual("full_layer_layer_norm")?,
        ),
    })
}

fn head(
    weights: &Weights<'_>,
    root: &str,
    json: &Json,
    config: &EncoderConfig,
    embedding: &Embedding,
) -> Result<Option<Head>, ModelError> {
    let (width, narrow) = (config.width, config.embedding_width);
    let classifier = || weights.linear("classifier", width, config.labels.len());
    let pooler = || Ok::<_, ModelError>(Transform::tanh(weights.linear(&format!("{root}pooler"), width, width)?));
    Ok(match config.task {
        Task::States if !weights.has(&format!("{root}pooler.weight"))? => None,
        Task::States => Some(Head { input: HeadInput::First, transform: Some(pooler()?), output: None }),
        Task::SequenceClassification => {
            Some(Head { input: HeadInput::First, transform: Some(pooler()?), output: Some(classifier()?) })
        }
        Task::TokenClassification => Some(Head::linear(HeadInput::Every, classifier()?)),
        Task::QuestionAnswering => Some(Head::linear(HeadInput::Every, weights.linear("qa_outputs", width, 2)?)),
        Task::MaskedLm => {
            let norm = NormConfig::new(narrow, config.epsilon);
            let transform = Transform {
                dense: weights.linear("predictions.dense", width, narrow)?,
                activation: HeadActivation::Plain(config.activation),
                norm: Some(weights.norm("predictions.LayerNorm", norm)?),
            };
            let bias = ["predictions.decoder.bias", "predictions.bias"].map(String::from);
            let output = weights.vocabulary(json, embedding, "predictions.decoder", Some(bias))?;
            Some(Head { input: HeadInput::Every, transform: Some(transform), output: Some(output) })
        }
    })
}
