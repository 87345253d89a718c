//! A configuration checked and resolved for one prompt and one vocabulary.

use alloc::vec::Vec;

use kernform_simd::Isa;

use crate::config::{DEFAULT_NEW_TOKENS, GenerationConfig};
use crate::error::Error;
use crate::log_softmax::log_softmax;
use crate::processors;

/// What a search keeps of its configuration, in lengths that count the prompt.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) isa: Isa,
    pub(crate) vocab: usize,
    pub(crate) prompt_len: usize,
    pub(crate) max_length: usize,
    pub(crate) eos: Vec<u32>,
    min_length: usize,
    ngram: usize,
    repetition_penalty: f32,
    bad_words: Vec<Vec<u32>>,
    suppressed: Vec<u32>,
    begin_suppressed: Vec<u32>,
    begin_index: usize,
    forced_bos: Option<u32>,
    forced_eos: Vec<u32>,
    renormalize: bool,
    seen: Vec<u64>,
}

impl Rules {
    pub(crate) fn new(isa: Isa, config: &GenerationConfig, prompt: &[u32], vocab: usize) -> Result<Self, Error> {
        check_numbers(config)?;
        check_tokens(config, prompt, vocab)?;
        let prompt_len = prompt.len();
        let max_length = max_length(config, prompt_len)?;
        let min_length = match config.min_new_tokens {
            Some(new) => prompt_len.saturating_add(new),
            None => config.min_length,
        };
        let after_forced = prompt_len == 1 && config.forced_bos_token_id.is_some();
        let bad_words = &config.bad_words_ids;
        let penalised = config.repetition_penalty != 1.0;
        let seen_len = if penalised { processors::seen_len(vocab) } else { 0 };
        Ok(Self {
            isa,
            vocab,
            prompt_len,
            max_length,
            eos: config.eos_token_ids.clone(),
            min_length,
            ngram: config.no_repeat_ngram_size,
            repetition_penalty: config.repetition_penalty,
            // An end-of-sequence token alone is no bad word: without it nothing would end.
            bad_words: bad_words
                .iter()
                .filter(|word| !matches!(word.as_slice(), [token] if config.eos_token_ids.contains(token)))
                .cloned()
                .collect(),
            suppressed: config.suppress_tokens.clone(),
            begin_suppressed: config.begin_suppress_tokens.clone(),
            begin_index: prompt_len + usize::from(after_forced),
            forced_bos: config.forced_bos_token_id,
            forced_eos: config.forced_eos_token_ids.clone(),
            renormalize: config.renormalize_logits,
            seen: filled(seen_len, 0)?,
        })
    }

    /// Applies all rules for the token that follows `tokens` to its scores, row `row` of a step.
    pub(crate) fn apply(&mut self, scores: &mut [f32], tokens: &[u32], row: usize) -> Result<(), Error> {
        let length = tokens.len();
        if self.repetition_penalty != 1.0 {
            processors::repetition_penalty(scores, tokens, self.repetition_penalty, &mut self.seen);
        }
        processors::no_repeat_ngram(scores, tokens, self.ngram);
        for word in &self.bad_words {
            processors::bad_word(scores, tokens, word);
        }
        if length < self.min_length {
            processors::suppress(scores, &self.eos);
        }
        if let Some(bos) = self.forced_bos
            && length == 1
        {
            processors::force(scores, &[bos]);
        }
        if !self.forced_eos.is_empty() && length + 1 == self.max_length {
            processors::force(scores, &self.forced_eos);
        }
        processors::suppress(scores, &self.suppressed);
        if length == self.begin_index {
            processors::suppress(scores, &self.begin_suppressed);
        }
        if self.renormalize { log_softmax(self.isa, scores, row) } else { Ok(()) }
    }

    pub(crate) fn ends(&self, token: u32, length: usize) -> bool {
        length >= self.max_length || self.eos.contains(&token)
    }
}

fn check_numbers(config: &GenerationConfig) -> Result<(), Error> {
    let penalty = config.repetition_penalty;
    if config.num_beams == 0 {
        Err(Error::ZeroBeams)
    } else if config.num_return_sequences == 0 || config.num_return_sequences > config.num_beams {
        Err(Error::ReturnSequences { requested: config.num_return_sequences, num_beams: config.num_beams })
    } else if !(penalty.is_finite() && penalty > 0.0) {
        Err(Error::RepetitionPenalty { value: penalty })
    } else if !config.length_penalty.is_finite() {
        Err(Error::LengthPenalty { value: config.length_penalty })
    } else {
        Ok(())
    }
}

fn check_tokens(config: &GenerationConfig, prompt: &[u32], vocab: usize) -> Result<(), Error> {
    if vocab == 0 {
        return Err(Error::EmptyVocabulary);
    }
    if prompt.is_empty() {
        return Err(Error::EmptyPrompt);
    }
    let inside = |field: &'static str, tokens: &[u32]| match tokens.iter().find(|&&token| token as usize >= vocab) {
        Some(&token) => Err(Error::TokenOutsideVocabulary { field, token, vocab }),
        None => Ok(()),
    };
    inside("prompt", prompt)?;
    inside("eos_token_ids", &config.eos_token_ids)?;
    inside("forced_eos_token_ids", &config.forced_eos_token_ids)?;
    inside("suppress_tokens", &config.suppress_tokens)?;
    inside("begin_suppress_tokens", &config.begin_suppress_tokens)?;
    inside("forced_bos_token_id", config.forced_bos_token_id.as_slice())?;
    inside("decoder_start_token_id", config.decoder_start_token_id.as_slice())?;
    for word in &config.bad_words_ids {
        inside("bad_words_ids", word)?;
        if word.is_empty() {
            return Err(Error::EmptyBadWord);
        }
    }
    Ok(())
}

fn max_length(config: &GenerationConfig, prompt_len: usize) -> Result<usize, Error> {
    let new_tokens = match (config.max_new_tokens, config.max_length) {
        (Some(0), _) => return Err(Error::ZeroNewTokens),
        (Some(new), _) => new,
        (None, None) => DEFAULT_NEW_TOKENS,
        (None, Some(max_length)) if prompt_len >= max_length => {
            return Err(Error::PromptTooLong { prompt: prompt_len, max_length });
        }
        (None, Some(max_length)) => return Ok(max_length),
    };
    prompt_len.checked_add(new_tokens).ok_or(Error::TooLarge { bytes: usize::MAX, limit: config.memory_limit })
}

/// The bytes of all `(elements, bytes an element)` together, when that is within `limit`.
pub(crate) fn check_memory(limit: usize, parts: &[(Option<usize>, usize)]) -> Result<usize, Error> {
    let bytes = parts.iter().try_fold(0_usize, |sum, &(elements, size)| sum.checked_add(elements?.checked_mul(size)?));
    match bytes {
        Some(bytes) if bytes <= limit => Ok(bytes),
        other => Err(Error::TooLarge { bytes: other.unwrap_or(usize::MAX), limit }),
    }
}

/// A vector of `len` times `value`, or an error where `vec!` would abort.
pub(crate) fn filled<T: Clone>(len: usize, value: T) -> Result<Vec<T>, Error> {
    let mut vector = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    vector.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes })?;
    vector.resize(len, value);
    Ok(vector)
}
