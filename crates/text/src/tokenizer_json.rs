//! `tokenizer.json` by the library that defines it.

use std::path::Path;

use tokenizers::Tokenizer;

use crate::TextError;

/// A tokenizer as Hugging Face's `tokenizer.json` describes it.
#[derive(Debug)]
pub struct TokenizerJson(Tokenizer);

/// The tokens of a text, or of a pair of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Their ids.
    pub ids: Vec<u32>,
    /// To which of the texts each belongs, 0 or 1.
    pub type_ids: Vec<u32>,
    /// Whether the tokenizer added it, as it does beginnings and ends.
    pub special: Vec<bool>,
    /// The bytes of its text that each stands for.
    pub offsets: Vec<(usize, usize)>,
}

impl TokenizerJson {
    /// Reads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TextError::TokenizerJson`] with what the library says.
    pub fn parse(bytes: &[u8]) -> Result<Self, TextError> {
        Ok(Self::plain(Tokenizer::from_bytes(bytes).map_err(message)?))
    }

    /// Opens a `tokenizer.json`.
    ///
    /// # Errors
    /// As [`TokenizerJson::parse`], and where the file cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TextError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| TextError::TokenizerJson {
            message: format!("cannot read {}: {error}", path.display()),
        })?;
        Self::parse(&bytes)
    }

    /// Without the padding and the cutting that some files ask for: batches are packed here, and nothing is dropped unasked.
    fn plain(mut tokenizer: Tokenizer) -> Self {
        tokenizer.with_padding(None);
        // To switch cutting off cannot fail.
        let _ = tokenizer.with_truncation(None);
        Self(tokenizer)
    }

    /// The tokens of a text, with those that the tokenizer adds (`special`).
    ///
    /// # Errors
    /// [`TextError::TokenizerJson`] with what the library says.
    pub fn encode(&self, text: &str, special: bool) -> Result<Encoding, TextError> {
        self.0.encode(text, special).map(|encoding| Encoding::of(&encoding)).map_err(message)
    }

    /// The tokens of a pair of texts, a question and its passage for instance.
    ///
    /// # Errors
    /// As [`TokenizerJson::encode`].
    pub fn encode_pair(&self, first: &str, second: &str, special: bool) -> Result<Encoding, TextError> {
        self.0.encode((first, second), special).map(|encoding| Encoding::of(&encoding)).map_err(message)
    }

    /// The text of ids; `skip_special` leaves out the tokens that stand for no text.
    ///
    /// # Errors
    /// As [`TokenizerJson::encode`].
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TextError> {
        self.0.decode(ids, skip_special).map_err(message)
    }

    /// The id of a token.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }

    /// The token of an id.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.0.id_to_token(id)
    }

    /// The size of the vocabulary, added tokens included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.get_vocab_size(true)
    }

    /// Whether the vocabulary is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Encoding {
    fn of(encoding: &tokenizers::Encoding) -> Self {
        Self {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            special: encoding.get_special_tokens_mask().iter().map(|mask| *mask != 0).collect(),
            offsets: encoding.get_offsets().to_vec(),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` takes")]
fn message(error: tokenizers::Error) -> TextError {
    TextError::TokenizerJson { message: error.to_string() }
}
