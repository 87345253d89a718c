//! What an encoder is made of, and how Hugging Face configurations say it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use kernform_formats::Json;
use kernform_math::Activation;

use crate::config::{Family, activation};
use crate::error::ModelError;
use crate::layers::Widths;
use crate::norm::NormConfig;

/// What an encoder's head answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// None: the states are the answer, and for some models the pooled first token.
    States,
    /// One of several labels for a whole sequence.
    SequenceClassification,
    /// One of several labels for each token.
    TokenClassification,
    /// Where in a text the answer to a question begins and ends.
    QuestionAnswering,
    /// Which token stands in the place of a mask.
    MaskedLm,
}

impl Task {
    /// From the name of an architecture, `BertForMaskedLM` for instance.
    fn of(architecture: &str) -> Option<Task> {
        [
            ("ForSequenceClassification", Task::SequenceClassification),
            ("ForTokenClassification", Task::TokenClassification),
            ("ForQuestionAnswering", Task::QuestionAnswering),
            ("ForMaskedLM", Task::MaskedLm),
            ("ForPreTraining", Task::MaskedLm),
            ("Model", Task::States),
        ]
        .into_iter()
        .find(|(end, _)| architecture.ends_with(end))
        .map(|(_, task)| task)
    }

    /// What the head is called in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Task::States => "no head",
            Task::SequenceClassification => "sequence classification",
            Task::TokenClassification => "token classification",
            Task::QuestionAnswering => "question answering",
            Task::MaskedLm => "masked language model",
        }
    }
}

/// An encoder, in the terms of its papers.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Where the configuration came from.
    pub family: Family,
    /// What the head answers.
    pub task: Task,
    /// Width of the residual stream.
    pub width: usize,
    /// Width of the embeddings before they are projected (ALBERT); else `width`.
    pub embedding_width: usize,
    /// Layers that run, repeated ones counted.
    pub layers: usize,
    /// Attention heads; divides the width.
    pub heads: usize,
    /// Inner width of the feed-forward networks.
    pub feed_forward: usize,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Types of tokens, 0 where the family has none.
    pub token_types: usize,
    /// Rows of the table of positions, or the longest sequence that the model was made for.
    pub max_positions: usize,
    /// Added to the variance in layer norms.
    pub epsilon: f32,
    /// Activation of the feed-forward networks.
    pub activation: Activation,
    /// The padding token.
    pub pad_token_id: Option<u32>,
    /// What the classes of a classification are called.
    pub labels: Vec<String>,
    /// Whether the classes are independent, each with a probability of its own.
    pub multi_label: bool,
}

/// The keys under which a family writes its sizes.
pub(crate) struct Keys {
    pub(crate) width: &'static str,
    pub(crate) layers: &'static str,
    pub(crate) heads: &'static str,
    pub(crate) feed_forward: &'static str,
    pub(crate) activation: &'static str,
    pub(crate) epsilon: &'static str,
}

/// BERT's.
pub(crate) const KEYS: Keys = Keys {
    width: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    feed_forward: "intermediate_size",
    activation: "hidden_act",
    epsilon: "layer_norm_eps",
};

/// Most layers of a model: layers can be shared, so that no file bounds them.
const MOST_LAYERS: usize = 4096;

impl EncoderConfig {
    /// Reads the sizes, the architecture and the labels.
    pub(crate) fn read(json: &Json, family: Family, keys: &Keys) -> Result<Self, ModelError> {
        let width = json.required_usize(keys.width)?;
        let task = task(json)?;
        let config = Self {
            family,
            task,
            width,
            embedding_width: width,
            layers: json.required_usize(keys.layers)?,
            heads: json.required_usize(keys.heads)?,
            feed_forward: json.required_usize(keys.feed_forward)?,
            vocab_size: json.required_usize("vocab_size")?,
            token_types: 0,
            max_positions: json.required_usize("max_position_embeddings")?,
            epsilon: json.f32_or(keys.epsilon, 1e-12)?,
            activation: activation(keys.activation, json.str_or(keys.activation, "gelu")?)?,
            pad_token_id: json.optional_u32("pad_token_id")?,
            labels: labels(json, task)?,
            multi_label: json.optional_str("problem_type")? == Some("multi_label_classification"),
        };
        config.check(keys)?;
        Ok(config)
    }

    fn check(&self, keys: &Keys) -> Result<(), ModelError> {
        let positive = [
            (keys.width, self.width),
            (keys.heads, self.heads),
            (keys.feed_forward, self.feed_forward),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_positions),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ModelError::Config { key, problem: String::from("is 0; it must be at least 1") });
        }
        if !self.width.is_multiple_of(self.heads) {
            let problem = format!("{} heads do not divide the width {} = {}", self.heads, keys.width, self.width);
            return Err(ModelError::Config { key: keys.heads, problem });
        }
        if self.layers > MOST_LAYERS {
            let problem = format!("{} layers are too many; the most are {MOST_LAYERS}", self.layers);
            return Err(ModelError::Config { key: keys.layers, problem });
        }
        Ok(())
    }

    /// The layer norms over the width.
    pub(crate) const fn norm(&self) -> NormConfig {
        NormConfig::new(self.width, self.epsilon)
    }

    /// Elements of one head.
    pub(crate) const fn head_dim(&self) -> usize {
        self.width / self.heads
    }

    /// What a token needs of the activations; `hidden` is the width of the inner layer.
    pub(crate) fn widths(&self, hidden: usize) -> Widths {
        let projected = self.width.saturating_mul(3).max(self.embedding_width);
        Widths { stream: self.width, projected, hidden }
    }
}

/// What the first of the architectures answers; the states where none is named.
fn task(json: &Json) -> Result<Task, ModelError> {
    let Some(architectures) = json.optional("architectures")? else { return Ok(Task::States) };
    let Some(first) = architectures.items()?.first() else { return Ok(Task::States) };
    let name = first.as_str()?;
    Task::of(name).ok_or_else(|| ModelError::Config {
        key: "architectures",
        problem: format!(
            "{name:?} has a head that is not known; heads ForSequenceClassification, ForTokenClassification, \
             ForQuestionAnswering and ForMaskedLM are, and models without a head"
        ),
    })
}

/// Most labels: no file bounds `num_labels`.
const MOST_LABELS: usize = 1 << 20;

/// The labels by number.
fn labels(json: &Json, task: Task) -> Result<Vec<String>, ModelError> {
    if !matches!(task, Task::SequenceClassification | Task::TokenClassification) {
        return Ok(Vec::new());
    }
    let unnamed = |count: usize| -> Vec<String> { (0..count).map(|i| format!("LABEL_{i}")).collect() };
    let wrong = |problem| Err(ModelError::Config { key: "id2label", problem });
    let Some(names) = json.optional("id2label")? else {
        let count = json.usize_or("num_labels", 2)?;
        if count == 0 || count > MOST_LABELS {
            return wrong(format!("num_labels = {count}; there can be 1 to {MOST_LABELS} labels"));
        }
        return Ok(unnamed(count));
    };
    let mut labels = unnamed(names.entries()?.count());
    let count = labels.len();
    for (number, name) in names.entries()? {
        let place = number.parse().ok().and_then(|number: usize| labels.get_mut(number));
        match place {
            Some(place) => *place = String::from(name.as_str()?),
            None => return wrong(format!("{number:?} is no number of one of its {count} labels; they count from 0")),
        }
    }
    Ok(labels)
}
