//! The embedded default model: English spelling to pronunciation.
//!
//! The encoder-decoder of Vaswani et al. 2017 with 4 + 4 layers and 1.88 million parameters, trained on the CMU Pronouncing
//! Dictionary; its weights are compiled in as `f16` and widened, exactly, at load.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use kernform_decode::GenerationConfig;
use kernform_formats::{Json, SafetensorsFile};
use kernform_simd::Isa;

use crate::encoder_decoder::EncoderDecoder;
use crate::error::ModelError;
use crate::generation_config;

const WEIGHTS: &[u8] = include_bytes!("../assets/g2p/model.safetensors");
const CONFIG: &[u8] = include_bytes!("../assets/g2p/config.json");
const GENERATION_CONFIG: &[u8] = include_bytes!("../assets/g2p/generation_config.json");
const VOCABULARY: &[u8] = include_bytes!("../assets/g2p/vocab.json");

/// Most phonemes of a pronunciation, with the end token.
pub const MAX_PHONEMES: usize = 48;

/// The embedded model with its alphabet of letters and phonemes.
pub struct Pronouncer {
    model: EncoderDecoder,
    search: GenerationConfig,
    tokens: Vec<String>,
    end: u32,
    start: u32,
}

/// Why a line is not a word that can be pronounced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordError {
    /// Nothing but white space.
    Empty,
    /// A character that the model never saw.
    Character(char),
    /// More letters than the model has positions.
    TooLong {
        /// Letters of the word.
        letters: usize,
        /// Most letters.
        limit: usize,
    },
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no word; give one word of letters a to z"),
            Self::Character(c) => {
                write!(f, "{c:?} is not a letter of an English word; letters a to z, ' - and . can be pronounced")
            }
            Self::TooLong { letters, limit } => {
                write!(f, "{letters} letters are too many; the longest word has {limit}")
            }
        }
    }
}

impl core::error::Error for WordError {}

impl Pronouncer {
    /// Widens and packs the embedded weights.
    ///
    /// # Errors
    /// None with the assets as they are; the readers' errors where they were replaced by broken ones.
    pub fn new(isa: Isa) -> Result<Self, ModelError> {
        let config = Json::parse("config.json", CONFIG)?;
        let model = EncoderDecoder::load(&SafetensorsFile::parse(WEIGHTS)?, &config, isa)?;
        let generation = Json::parse("generation_config.json", GENERATION_CONFIG)?;
        let mut search = generation_config(&config, Some(&generation))?;
        search.max_new_tokens = Some(MAX_PHONEMES);
        let mut tokens = alloc::vec![String::new(); model.config().vocab_size];
        for (token, id) in Json::parse("vocab.json", VOCABULARY)?.entries()? {
            if let Some(place) = tokens.get_mut(id.as_usize()?) {
                *place = String::from(token);
            }
        }
        let end = search.eos_token_ids.first().copied().unwrap_or(1);
        let start = search.decoder_start_token_id.unwrap_or(0);
        Ok(Self { model, search, tokens, end, start })
    }

    /// The model.
    pub fn model(&self) -> &EncoderDecoder {
        &self.model
    }

    /// How pronunciations are searched: greedy, to at most [`MAX_PHONEMES`] tokens.
    pub fn search(&self) -> &GenerationConfig {
        &self.search
    }

    /// What decoding starts from.
    pub fn prompt(&self) -> [u32; 1] {
        [self.start]
    }

    /// Most letters of a word.
    pub fn max_letters(&self) -> usize {
        self.model.config().max_positions - 1
    }

    /// The token ids of a word, a letter each, and the end token. Case does not matter, nor white space around the word.
    ///
    /// # Errors
    /// [`WordError`] for what is not an English word of a length that the model can take.
    pub fn spell(&self, word: &str) -> Result<Vec<u32>, WordError> {
        let word = word.trim();
        if word.is_empty() {
            return Err(WordError::Empty);
        }
        let letters = word.chars().count();
        if letters > self.max_letters() {
            return Err(WordError::TooLong { letters, limit: self.max_letters() });
        }
        let mut ids = Vec::with_capacity(letters + 1);
        for c in word.chars() {
            ids.push(self.letter(c.to_ascii_lowercase()).ok_or(WordError::Character(c))?);
        }
        ids.push(self.end);
        Ok(ids)
    }

    fn letter(&self, c: char) -> Option<u32> {
        let mut buffer = [0; 4];
        let c: &str = c.encode_utf8(&mut buffer);
        // Phonemes are upper case, so a lower-case letter or mark finds letters alone.
        self.tokens.iter().position(|token| token == c).and_then(|id| u32::try_from(id).ok())
    }

    /// The text of a token: a letter, a phoneme with its stress, or a special token in angle brackets.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(usize::try_from(id).ok()?).map(String::as_str)
    }

    /// The phonemes of a sequence of token ids, special tokens left out.
    pub fn phonemes<'s>(&'s self, ids: &'s [u32]) -> impl Iterator<Item = &'s str> + 's {
        ids.iter().filter_map(|id| self.token(*id)).filter(|token| token.starts_with(|c: char| c.is_ascii_uppercase()))
    }
}
