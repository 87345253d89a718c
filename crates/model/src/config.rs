//! What an encoder-decoder model is made of, and how Hugging Face configurations say it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use kernform_decode::{EarlyStopping, GenerationConfig};
use kernform_formats::Json;
use kernform_math::Activation;

use crate::error::ModelError;
use crate::layers::Widths;

/// Where the layer normalisations stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlacement {
    /// After each residual sum, as in Vaswani et al. 2017.
    Post,
    /// Before each sublayer, with one more after the last layer of each stack.
    Pre,
}

/// How positions enter the embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionKind {
    /// Sines in the first half of the width and cosines in the second, frequencies `10000^(-2i / width)` (Marian).
    Sinusoidal,
    /// Sines and cosines by halves, frequencies `10000^(-i / (width / 2 - 1))`; padding tokens have no position and are
    /// not counted (fairseq, M2M-100).
    SinusoidalFairseq,
    /// A learned table whose first rows are not used (BART skips 2).
    Learned {
        /// The table row of position 0.
        offset: usize,
    },
}

/// The sizes of one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackConfig {
    /// Number of layers.
    pub layers: usize,
    /// Attention heads; divides the width.
    pub heads: usize,
    /// Inner width of the position-wise feed-forward network.
    pub feed_forward: usize,
}

/// The family that a configuration was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// `marian`: the 2017 Transformer, post-norm, sinusoidal positions.
    Marian,
    /// `bart`: post-norm, learned positions, normalised embeddings.
    Bart,
    /// `m2m_100`: pre-norm, fairseq positions.
    M2m100,
    /// `bert`: an encoder, post-norm, learned positions.
    Bert,
    /// `distilbert`: BERT without token types.
    DistilBert,
    /// `roberta`: BERT with fairseq positions.
    Roberta,
    /// `albert`: BERT with shared layers and projected embeddings.
    Albert,
    /// `modernbert`: an encoder, pre-norm, rotary positions, gated.
    ModernBert,
    /// `esm`: an encoder of proteins, pre-norm, rotary positions.
    Esm,
}

impl Family {
    /// All families.
    pub const ALL: [Family; 9] = [
        Family::Marian,
        Family::Bart,
        Family::M2m100,
        Family::Bert,
        Family::DistilBert,
        Family::Roberta,
        Family::Albert,
        Family::ModernBert,
        Family::Esm,
    ];

    /// The families of encoder and decoder.
    pub const ENCODER_DECODERS: [Family; 3] = [Family::Marian, Family::Bart, Family::M2m100];

    /// The families of encoders.
    pub const ENCODERS: [Family; 6] =
        [Family::Bert, Family::DistilBert, Family::Roberta, Family::Albert, Family::ModernBert, Family::Esm];

    /// The family's `model_type`.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Marian => "marian",
            Family::Bart => "bart",
            Family::M2m100 => "m2m_100",
            Family::Bert => "bert",
            Family::DistilBert => "distilbert",
            Family::Roberta => "roberta",
            Family::Albert => "albert",
            Family::ModernBert => "modernbert",
            Family::Esm => "esm",
        }
    }

    /// Whether models of the family are encoders alone.
    pub fn is_encoder(self) -> bool {
        Self::ENCODERS.contains(&self)
    }

    /// The family of a `model_type`.
    pub fn from_name(name: &str) -> Option<Family> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }
}

/// An encoder-decoder Transformer, in the terms of its paper.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderDecoderConfig {
    /// Where the configuration came from.
    pub family: Family,
    /// Width of the residual stream (`d_model`).
    pub width: usize,
    /// The encoder stack.
    pub encoder: StackConfig,
    /// The decoder stack.
    pub decoder: StackConfig,
    /// Rows of the encoder's embedding table.
    pub vocab_size: usize,
    /// Rows of the decoder's embedding table, and logits per token.
    pub decoder_vocab_size: usize,
    /// Whether encoder and decoder share one embedding table.
    pub shared_embeddings: bool,
    /// Whether the output projection is the decoder's embedding table.
    pub tied_output: bool,
    /// Most positions of a sequence; for fairseq positions a table size and no bound of the architecture.
    pub max_positions: usize,
    /// Position embeddings.
    pub positions: PositionKind,
    /// Whether token embeddings are multiplied by the square root of the width.
    pub scale_embedding: bool,
    /// Whether the sum of token and position embeddings is normalised.
    pub norm_embedding: bool,
    /// Where the layer norms stand.
    pub norm: NormPlacement,
    /// Added to the variance in layer norms.
    pub epsilon: f32,
    /// Activation of the feed-forward networks.
    pub activation: Activation,
    /// Whether a bias is added to the logits.
    pub logits_bias: bool,
    /// The padding token.
    pub pad_token_id: Option<u32>,
    /// The token that decoding starts from.
    pub decoder_start_token_id: Option<u32>,
}

impl EncoderDecoderConfig {
    /// Reads a `config.json` of one of the families, in the words of transformers 4 and 5.
    ///
    /// # Errors
    /// An unknown family, a missing key, a value of the wrong type, or sizes that do not go together.
    pub fn from_json(json: &Json) -> Result<Self, ModelError> {
        let name = json.required_str("model_type")?;
        let known = &Family::ENCODER_DECODERS;
        let family = Family::from_name(name)
            .filter(|family| known.contains(family))
            .ok_or_else(|| ModelError::UnknownFamily { name: name.to_string(), known })?;
        let stack = |layers, heads, feed_forward| -> Result<_, ModelError> {
            Ok(StackConfig {
                layers: json.required_usize(layers)?,
                heads: json.required_usize(heads)?,
                feed_forward: json.required_usize(feed_forward)?,
            })
        };
        let vocab_size = json.required_usize("vocab_size")?;
        let tied = json.bool_or("tie_word_embeddings", true)?;
        let marian = family == Family::Marian;
        // Only Marian may have an embedding table a stack.
        let shared = !marian || json.bool_or("share_encoder_decoder_embeddings", true)?;
        let config = Self {
            family,
            width: json.required_usize("d_model")?,
            encoder: stack("encoder_layers", "encoder_attention_heads", "encoder_ffn_dim")?,
            decoder: stack("decoder_layers", "decoder_attention_heads", "decoder_ffn_dim")?,
            vocab_size,
            decoder_vocab_size: if marian { json.usize_or("decoder_vocab_size", vocab_size)? } else { vocab_size },
            shared_embeddings: shared,
            tied_output: tied,
            max_positions: json.required_usize("max_position_embeddings")?,
            positions: match family {
                Family::Bart => PositionKind::Learned { offset: 2 },
                Family::M2m100 => PositionKind::SinusoidalFairseq,
                _ => PositionKind::Sinusoidal,
            },
            scale_embedding: json.bool_or("scale_embedding", family == Family::M2m100)?,
            norm_embedding: family == Family::Bart,
            norm: if family == Family::M2m100 { NormPlacement::Pre } else { NormPlacement::Post },
            epsilon: 1e-5,
            activation: activation(
                "activation_function",
                json.str_or("activation_function", if family == Family::M2m100 { "relu" } else { "gelu" })?,
            )?,
            logits_bias: family != Family::M2m100,
            pad_token_id: json.optional_u32("pad_token_id")?,
            decoder_start_token_id: json.optional_u32("decoder_start_token_id")?,
        };
        config.check()?;
        Ok(config)
    }

    /// What a token needs of the activations, in the wider of the two stacks.
    pub(crate) fn widths(&self) -> Widths {
        let hidden = self.encoder.feed_forward.max(self.decoder.feed_forward);
        Widths { stream: self.width, projected: self.width.saturating_mul(3), hidden }
    }

    fn check(&self) -> Result<(), ModelError> {
        let positive = [
            ("d_model", self.width),
            ("encoder_attention_heads", self.encoder.heads),
            ("decoder_attention_heads", self.decoder.heads),
            ("encoder_ffn_dim", self.encoder.feed_forward),
            ("decoder_ffn_dim", self.decoder.feed_forward),
            ("vocab_size", self.vocab_size),
            ("decoder_vocab_size", self.decoder_vocab_size),
            ("max_position_embeddings", self.max_positions),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ModelError::Config { key, problem: String::from("is 0; it must be at least 1") });
        }
        for (key, stack) in [("encoder_attention_heads", self.encoder), ("decoder_attention_heads", self.decoder)] {
            if !self.width.is_multiple_of(stack.heads) {
                let problem = format!("{} heads do not divide the width d_model = {}", stack.heads, self.width);
                return Err(ModelError::Config { key, problem });
            }
        }
        if self.shared_embeddings && self.vocab_size != self.decoder_vocab_size {
            let problem = format!(
                "is {}, but the embeddings are shared with a vocab_size of {}",
                self.decoder_vocab_size, self.vocab_size
            );
            return Err(ModelError::Config { key: "decoder_vocab_size", problem });
        }
        if self.positions == PositionKind::SinusoidalFairseq && self.width < 4 {
            let problem = format!("is {}; positions of this family need at least 4", self.width);
            return Err(ModelError::Config { key: "d_model", problem });
        }
        Ok(())
    }
}

/// The activation that `key` names.
pub(crate) fn activation(key: &'static str, name: &str) -> Result<Activation, ModelError> {
    Ok(match name {
        "relu" => Activation::Relu,
        "gelu" | "gelu_python" => Activation::GeluErf,
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        "silu" | "swish" => Activation::Silu,
        _ => {
            let problem = format!("{name:?} is not known; gelu, gelu_new, gelu_pytorch_tanh, relu, silu and swish are");
            return Err(ModelError::Config { key, problem });
        }
    })
}

/// The search options of a model: `generation_config.json`, and where that lacks a key (or is not there) `config.json`.
///
/// # Errors
/// A value of the wrong type.
pub fn generation_config(config: &Json, generation: Option<&Json>) -> Result<GenerationConfig, ModelError> {
    // transformers takes what a model's own configuration says of generation only when there is no file for it.
    let json = generation.unwrap_or(config);
    let mut options = GenerationConfig {
        num_beams: json.usize_or("num_beams", 1)?,
        num_return_sequences: json.usize_or("num_return_sequences", 1)?,
        length_penalty: json.f64_or("length_penalty", 1.0)?,
        max_new_tokens: json.optional_usize("max_new_tokens")?,
        max_length: json.optional_usize("max_length")?,
        min_new_tokens: json.optional_usize("min_new_tokens")?,
        min_length: json.usize_or("min_length", 0)?,
        no_repeat_ngram_size: json.usize_or("no_repeat_ngram_size", 0)?,
        repetition_penalty: json.f32_or("repetition_penalty", 1.0)?,
        suppress_tokens: ids(json, "suppress_tokens")?,
        begin_suppress_tokens: ids(json, "begin_suppress_tokens")?,
        forced_bos_token_id: json.optional_u32("forced_bos_token_id")?,
        forced_eos_token_ids: ids(json, "forced_eos_token_id")?,
        eos_token_ids: ids(json, "eos_token_id")?,
        pad_token_id: json.optional_u32("pad_token_id")?,
        decoder_start_token_id: json.optional_u32("decoder_start_token_id")?,
        renormalize_logits: json.bool_or("renormalize_logits", false)?,
        ..GenerationConfig::default()
    };
    if let Some(words) = json.optional("bad_words_ids")? {
        options.bad_words_ids = words.items()?.iter().map(list).collect::<Result<_, _>>()?;
    }
    if let Some(value) = json.optional("early_stopping")? {
        options.early_stopping = match value.as_bool() {
            Ok(true) => EarlyStopping::Always,
            Ok(false) => EarlyStopping::Heuristic,
            Err(_) if value.as_str().is_ok_and(|word| word == "never") => EarlyStopping::Never,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(options)
}

/// One token id or a list of them; nothing where the key is missing.
fn ids(json: &Json, key: &str) -> Result<Vec<u32>, ModelError> {
    match json.optional(key)? {
        None => Ok(Vec::new()),
        Some(value) => match value.as_u32() {
            Ok(id) => Ok(alloc::vec![id]),
            Err(_) => list(value),
        },
    }
}

fn list(value: &Json) -> Result<Vec<u32>, ModelError> {
    Ok(value.items()?.iter().map(Json::as_u32).collect::<Result<_, _>>()?)
}
