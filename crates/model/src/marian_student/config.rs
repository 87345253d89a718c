//! What a student is made of, as the settings inside its file say it.

use alloc::format;
use alloc::string::ToString;

use kernform_formats::marian::Settings;

use crate::error::ModelError;

/// The sizes of a student.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StudentConfig {
    /// Width of the residual stream (`dim-emb`).
    pub width: usize,
    /// Attention heads; divides the width.
    pub heads: usize,
    /// Inner width of the feed-forward networks.
    pub feed_forward: usize,
    /// Encoder layers.
    pub encoder_layers: usize,
    /// Decoder layers.
    pub decoder_layers: usize,
    /// Tokens of the vocabulary that source and target share.
    pub vocab_size: usize,
}

/// Layers that a file may ask for before any of them was looked for.
const MOST_LAYERS: usize = 1024;

impl StudentConfig {
    /// Reads the settings of a student.
    ///
    /// # Errors
    /// [`ModelError::Config`] where a setting is missing, or says something else than students are.
    pub fn from_settings(settings: &Settings) -> Result<Self, ModelError> {
        let wrong = |key, problem| ModelError::Config { key, problem };
        for (key, expected) in [
            ("type", "transformer"),
            ("transformer-decoder-autoreg", "rnn"),
            ("dec-cell", "ssru"),
            ("transformer-ffn-activation", "relu"),
            ("transformer-preprocess", ""),
            ("transformer-postprocess", "dan"),
            ("transformer-postprocess-top", ""),
            ("tied-embeddings-all", "true"),
            ("transformer-train-position-embeddings", "false"),
            ("transformer-tied-layers", "[]"),
            ("transformer-ffn-depth", "2"),
            ("output-omit-bias", "false"),
        ] {
            let found = settings.get(key).unwrap_or_default();
            if found != expected && !(found.is_empty() && expected == "[]") {
                return Err(wrong(key, format!("is {found:?}; the student that can be run has {expected:?}")));
            }
        }
        let number = |key: &'static str| {
            let found = settings.number::<usize>(key).filter(|number| *number > 0);
            let problem = || format!("is {:?}; it must be a number above 0", settings.get(key).unwrap_or_default());
            found.ok_or_else(|| wrong(key, problem()))
        };
        let vocabularies = settings.list("dim-vocabs");
        let vocab_size = match vocabularies {
            [first, rest @ ..] if rest.iter().all(|size| size == first) => first.parse().unwrap_or(0),
            _ => 0,
        };
        if vocab_size == 0 {
            return Err(wrong("dim-vocabs", "must be the same number for source and target".to_string()));
        }
        let config = Self {
            width: number("dim-emb")?,
            heads: number("transformer-heads")?,
            feed_forward: number("transformer-dim-ffn")?,
            encoder_layers: number("enc-depth")?,
            decoder_layers: number("dec-depth")?,
            vocab_size,
        };
        if !config.width.is_multiple_of(config.heads) || config.width < 4 {
            let problem = format!("is {}; it must be a multiple of {} heads", config.width, config.heads);
            return Err(ModelError::Config { key: "dim-emb", problem });
        }
        for (key, layers) in [("enc-depth", config.encoder_layers), ("dec-depth", config.decoder_layers)] {
            if layers > MOST_LAYERS {
                return Err(ModelError::Config {
                    key,
                    problem: format!("is {layers}; at most {MOST_LAYERS} are read"),
                });
            }
        }
        Ok(config)
    }
}
