use alloc::vec::Vec;

/// New tokens when neither `max_new_tokens` nor `max_length` is set.
pub const DEFAULT_NEW_TOKENS: usize = 20;

/// Default of [`GenerationConfig::memory_limit`]: 256 MiB.
pub const DEFAULT_MEMORY_LIMIT: usize = 1 << 28;

/// When a beam search stops before the longest length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyStopping {
    /// `false`: when the best running beam, normalised by its present length, is no better than the worst finished one.
    #[default]
    Heuristic,
    /// `true`: as soon as `num_beams` hypotheses are finished.
    Always,
    /// `"never"`: when no running beam can get better than the worst finished one at any length up to the longest.
    Never,
}

/// The options of a search, named and meant as in the Hugging Face `GenerationConfig`.
///
/// Every field is checked when a search is made from it, against the prompt and the vocabulary of that search.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    /// Beams; 1 is greedy search.
    pub num_beams: usize,
    /// Hypotheses to return, best first; at most `num_beams`.
    pub num_return_sequences: usize,
    /// Exponent of the generated length that a sum of log-probabilities is divided by.
    pub length_penalty: f64,
    /// When to stop before the longest length.
    pub early_stopping: EarlyStopping,
    /// Most tokens to generate, the prompt not counted; goes before `max_length`.
    pub max_new_tokens: Option<usize>,
    /// Longest sequence, prompt included.
    pub max_length: Option<usize>,
    /// Fewest tokens to generate before an end-of-sequence token may come; goes before `min_length`.
    pub min_new_tokens: Option<usize>,
    /// Shortest sequence, prompt included, that an end-of-sequence token may follow.
    pub min_length: usize,
    /// No n-gram of this many tokens comes twice; 0 is off.
    pub no_repeat_ngram_size: usize,
    /// Divides positive and multiplies negative scores of tokens that the sequence has already; 1 is off.
    pub repetition_penalty: f32,
    /// Token sequences that never come.
    pub bad_words_ids: Vec<Vec<u32>>,
    /// Tokens that never come.
    pub suppress_tokens: Vec<u32>,
    /// Tokens that do not come first (or, after a forced first token, second).
    pub begin_suppress_tokens: Vec<u32>,
    /// The token that must follow a prompt of one token.
    pub forced_bos_token_id: Option<u32>,
    /// The tokens of which one must come last when the longest length is reached; none is off.
    pub forced_eos_token_ids: Vec<u32>,
    /// Tokens that end a sequence.
    pub eos_token_ids: Vec<u32>,
    /// Fills sequences up to the longest of a batch. It is never given to the model, so it may be any id.
    pub pad_token_id: Option<u32>,
    /// First token of an encoder-decoder's decoder.
    pub decoder_start_token_id: Option<u32>,
    /// Apply log-softmax again after all other rules.
    pub renormalize_logits: bool,
    /// Greedy search only: also sum the log-probabilities of the chosen tokens (a beam search always has them).
    pub output_scores: bool,
    /// Most bytes that one search may hold.
    pub memory_limit: usize,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            num_beams: 1,
            num_return_sequences: 1,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::Heuristic,
            max_new_tokens: None,
            max_length: None,
            min_new_tokens: None,
            min_length: 0,
            no_repeat_ngram_size: 0,
            repetition_penalty: 1.0,
            bad_words_ids: Vec::new(),
            suppress_tokens: Vec::new(),
            begin_suppress_tokens: Vec::new(),
            forced_bos_token_id: None,
            forced_eos_token_ids: Vec::new(),
            eos_token_ids: Vec::new(),
            pad_token_id: None,
            decoder_start_token_id: None,
            renormalize_logits: false,
            output_scores: false,
            memory_limit: DEFAULT_MEMORY_LIMIT,
        }
    }
}

impl GenerationConfig {
    /// The id that transformers pads the shorter sequences of a batch with.
    ///
    /// Without `pad_token_id` that is the first end-of-sequence id. Beam search in transformers also takes the
    /// end-of-sequence id in place of a `pad_token_id` of 0, and so does this. With neither, the filling is 0.
    #[must_use]
    pub fn padding(&self) -> u32 {
        let end = self.eos_token_ids.first().copied();
        match (self.pad_token_id, end) {
            (Some(0), Some(end)) if self.num_beams > 1 => end,
            (Some(pad), _) => pad,
            (None, Some(end)) => end,
            (None, None) => 0,
        }
    }
}
