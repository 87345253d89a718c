//! DistilBERT (Sanh et al. 2019): BERT without token types and pooler, under other names.

use alloc::format;

use kernform_attention::Heads;
use kernform_formats::Json;

use super::config::{EncoderConfig, Keys, Task};
use super::head::{Head, HeadActivation, HeadInput, Transform};
use super::model::Parts;
use super::{NormConfig, bert};
use crate::attention::SelfAttention;
use crate::config::{Family, NormPlacement};
use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::feed_forward::FeedForward;
use crate::layers::{EncoderLayer, Residual};
use crate::stack::EncoderStack;
use crate::weights::Weights;

use kernform_math::Activation;

const KEYS: Keys = Keys {
    width: "dim",
    layers: "n_layers",
    heads: "n_heads",
    feed_forward: "hidden_dim",
    activation: "activation",
    // No configuration has it: it is always 1e-12.
    epsilon: "layer_norm_eps",
};

pub(super) fn load(weights: &Weights<'_>, json: &Json) -> Result<Parts, ModelError> {
    let config = EncoderConfig::read(json, Family::DistilBert, &KEYS)?;
    let root = weights.root("distilbert.", "embeddings.word_embeddings.weight")?;
    // Sinusoidal positions are stored like learned ones.
    let embedding = bert::embedding(weights, &format!("{root}embeddings."), &config)?;
    let layers = (0..config.layers).map(|i| layer(weights, &format!("{root}transformer.layer.{i}."), &config));
    let stack = EncoderStack::new(layers.collect::<Result<_, _>>()?, None);
    let head = head(weights, json, &config, &embedding)?;
    Ok(Parts { config, embedding, projection: None, stack, head, zero_padding: false })
}

fn layer(weights: &Weights<'_>, prefix: &str, config: &EncoderConfig) -> Result<EncoderLayer, ModelError> {
    let (width, inner) = (config.width, config.feed_forward);
    let residual = |name: &str| {
        let norm = weights.norm(&format!("{prefix}{name}"), NormConfig::new(width, config.epsilon))?;
        Ok::<_, ModelError>(Residual::new(NormPlacement::Post, norm))
    };
    let names = ["attention.q_lin", "attention.k_lin", "attention.v_lin"];
    Ok(EncoderLayer {
        attention: SelfAttention::new(
            weights.fused(prefix, &names, width, width)?,
            weights.fused(prefix, &["attention.out_lin"], width, width)?,
            Heads::new(config.heads, config.head_dim()),
            residual("sa_layer_norm")?,
        ),
        feed_forward: FeedForward::new(
            weights.fused(prefix, &["ffn.lin1"], width, inner)?,
            weights.fused(prefix, &["ffn.lin2"], inner, width)?,
            config.activation,
            residual("output_layer_norm")?,
        ),
    })
}

fn head(
    weights: &Weights<'_>,
    json: &Json,
    config: &EncoderConfig,
    embedding: &Embedding,
) -> Result<Option<Head>, ModelError> {
    let width = config.width;
    let classifier = || weights.linear("classifier", width, config.labels.len());
    let transform = |name: &str, activation, norm| {
        let dense = weights.linear(name, width, width)?;
        Ok::<_, ModelError>(Transform { dense, activation: HeadActivation::Plain(activation), norm })
    };
    Ok(match config.task {
        Task::States => None,
        Task::SequenceClassification => Some(Head {
            input: HeadInput::First,
            transform: Some(transform("pre_classifier", Activation::Relu, None)?),
            output: Some(classifier()?),
        }),
        Task::TokenClassification => Some(Head::linear(HeadInput::Every, classifier()?)),
        Task::QuestionAnswering => Some(Head::linear(HeadInput::Every, weights.linear("qa_outputs", width, 2)?)),
        Task::MaskedLm => {
            let norm = weights.norm("vocab_layer_norm", config.norm())?;
            Some(Head {
                input: HeadInput::Every,
                transform: Some(transform("vocab_transform", config.activation, Some(norm))?),
                output: Some(weights.vocabulary(json, embedding, "vocab_projector", None)?),
            })
        }
    })
}
