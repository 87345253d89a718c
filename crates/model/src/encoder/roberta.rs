//! RoBERTa (Liu et al. 2019): BERT with fairseq's numbering of positions and heads of its own.

use alloc::format;
use alloc::string::String;

use kernform_formats::Json;
use kernform_math::Activation;

use super::bert;
use super::config::{EncoderConfig, KEYS, Task};
use super::head::{Head, HeadActivation, HeadInput, Transform};
use super::model::Parts;
use crate::config::Family;
use crate::embedding::{Embedding, Numbering};
use crate::error::ModelError;
use crate::stack::EncoderStack;
use crate::weights::Weights;

pub(super) fn load(weights: &Weights<'_>, json: &Json) -> Result<Parts, ModelError> {
    let mut config = EncoderConfig::read(json, Family::Roberta, &KEYS)?;
    config.token_types = json.usize_or("type_vocab_size", 2)?;
    bert::only_absolute_positions(json)?;
    let root = weights.root("roberta.", "embeddings.word_embeddings.weight")?;
    let numbering = numbering(&config)?;
    let embedding = bert::embedding(weights, &format!("{root}embeddings."), &config)?;
    let embedding = Embedding { numbering, ..embedding };
    let layers = (0..config.layers).map(|i| bert::layer(weights, &format!("{root}encoder.layer.{i}."), &config));
    let stack = EncoderStack::new(layers.collect::<Result<_, _>>()?, None);
    let head = match bert::pooler(weights, root, &config)? {
        Some(pooler) => Some(pooler),
        None => head(weights, json, &config, &embedding)?,
    };
    Ok(Parts { config, embedding, projection: None, stack, head, zero_padding: false })
}

/// Positions begin behind the row of the padding token.
pub(super) fn numbering(config: &EncoderConfig) -> Result<Numbering, ModelError> {
    let padding = config.pad_token_id.unwrap_or(1);
    if padding as usize + 1 >= config.max_positions {
        let problem =
            format!("is {}, which leaves no position behind the padding token {padding}", config.max_positions);
        return Err(ModelError::Config { key: "max_position_embeddings", problem });
    }
    Ok(Numbering::Fairseq { padding })
}

/// The heads that RoBERTa and ESM share.
pub(super) fn head(
    weights: &Weights<'_>,
    json: &Json,
    config: &EncoderConfig,
    embedding: &Embedding,
) -> Result<Option<Head>, ModelError> {
    let width = config.width;
    let classes = config.labels.len();
    Ok(match config.task {
        Task::States => None,
        Task::SequenceClassification => Some(Head {
            input: HeadInput::First,
            transform: Some(Transform::tanh(weights.linear("classifier.dense", width, width)?)),
            output: Some(weights.linear("classifier.out_proj", width, classes)?),
        }),
        Task::TokenClassification => {
            Some(Head::linear(HeadInput::Every, weights.linear("classifier", width, classes)?))
        }
        Task::QuestionAnswering => Some(Head::linear(HeadInput::Every, weights.linear("qa_outputs", width, 2)?)),
        Task::MaskedLm => {
            let transform = Transform {
                dense: weights.linear("lm_head.dense", width, width)?,
                activation: HeadActivation::Plain(Activation::GeluErf),
                norm: Some(weights.norm("lm_head.layer_norm", config.norm())?),
            };
            let bias = ["lm_head.decoder.bias", "lm_head.bias"].map(String::from);
            let output = weights.vocabulary(json, embedding, "lm_head.decoder", Some(bias))?;
            Some(Head { input: HeadInput::Every, transform: Some(transform), output: Some(output) })
        }
    })
}
