use core::fmt;

/// Why a search could not be made or could not go on.
///
/// After an error from `advance` the search is as it was before the call.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// `num_beams` is 0.
    ZeroBeams,
    /// A greedy search was asked for more than one beam.
    GreedyBeams {
        /// The beams asked for.
        num_beams: usize,
    },
    /// `num_return_sequences` is 0 or more than `num_beams`.
    ReturnSequences {
        /// The sequences asked for.
        requested: usize,
        /// The beams there are.
        num_beams: usize,
    },
    /// `length_penalty` is NaN or infinite, or the longest length raised to it leaves the range of `f32`.
    LengthPenalty {
        /// The value given.
        value: f64,
    },
    /// `repetition_penalty` is not a finite number above 0.
    RepetitionPenalty {
        /// The value given.
        value: f32,
    },
    /// The vocabulary has no token.
    EmptyVocabulary,
    /// A beam search needs more continuations a beam than the vocabulary has tokens.
    VocabularyTooSmall {
        /// The tokens there are.
        vocab: usize,
        /// The tokens needed: 2, or 1 more than there are end-of-sequence ids.
        needed: usize,
    },
    /// A token id in the configuration or in the prompt is not below the vocabulary size.
    TokenOutsideVocabulary {
        /// Where the token stands.
        field: &'static str,
        /// The token id.
        token: u32,
        /// The vocabulary size.
        vocab: usize,
    },
    /// The prompt has no token.
    EmptyPrompt,
    /// `decoder_start_token_id` is needed and not set.
    NoStartToken,
    /// One of `bad_words_ids` has no token.
    EmptyBadWord,
    /// `max_new_tokens` is 0.
    ZeroNewTokens,
    /// The prompt leaves no room below `max_length`.
    PromptTooLong {
        /// Tokens in the prompt.
        prompt: usize,
        /// The largest length, prompt included.
        max_length: usize,
    },
    /// The search would hold more bytes than `memory_limit` allows.
    TooLarge {
        /// The bytes needed; `usize::MAX` when they cannot be counted.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The allocator refused.
    OutOfMemory {
        /// The bytes asked for.
        bytes: usize,
    },
    /// The logits do not have `rows * vocab` elements.
    LogitsLength {
        /// The elements needed.
        expected: usize,
        /// The elements given.
        actual: usize,
    },
    /// A row of logits has a NaN.
    NanLogit {
        /// The row.
        row: usize,
    },
    /// A row of logits has +inf, which has no log-softmax.
    InfiniteLogit {
        /// The row.
        row: usize,
    },
    /// The search has ended already.
    Finished,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ZeroBeams => f.write_str("num_beams is 0; it must be at least 1"),
            Self::GreedyBeams { num_beams } => {
                write!(f, "greedy search has one beam, but num_beams is {num_beams}; use a beam search")
            }
            Self::ReturnSequences { requested, num_beams } => {
                write!(
                    f,
                    "num_return_sequences is {requested}; it must be between 1 and num_beams, which is {num_beams}"
                )
            }
            Self::LengthPenalty { value } => {
                write!(
                    f,
                    "length_penalty is {value}; it must be finite, and the longest length raised to it must fit an f32"
                )
            }
            Self::RepetitionPenalty { value } => {
                write!(f, "repetition_penalty is {value}; it must be finite and above 0")
            }
            Self::EmptyVocabulary => f.write_str("the vocabulary has no token"),
            Self::VocabularyTooSmall { vocab, needed } => {
                write!(f, "the vocabulary has {vocab} tokens; beam search needs at least {needed} here")
            }
            Self::TokenOutsideVocabulary { field, token, vocab } => {
                write!(f, "{field} has token {token}, but the vocabulary has {vocab} tokens")
            }
            Self::EmptyPrompt => f.write_str("the prompt has no token; it needs at least one"),
            Self::NoStartToken => f.write_str("decoder_start_token_id is not set"),
            Self::EmptyBadWord => f.write_str("bad_words_ids has an empty sequence"),
            Self::ZeroNewTokens => f.write_str("max_new_tokens is 0; it must be at least 1"),
            Self::PromptTooLong { prompt, max_length } => {
                write!(f, "the prompt has {prompt} tokens; it must be shorter than max_length, which is {max_length}")
            }
            Self::TooLarge { bytes, limit } => {
                write!(f, "the search would hold {bytes} bytes, more than memory_limit, which is {limit}")
            }
            Self::OutOfMemory { bytes } => write!(f, "could not allocate {bytes} bytes"),
            Self::LogitsLength { expected, actual } => {
                write!(f, "logits have {actual} elements; rows * vocab is {expected}")
            }
            Self::NanLogit { row } => write!(f, "row {row} of the logits has a NaN"),
            Self::InfiniteLogit { row } => write!(f, "row {row} of the logits has +inf"),
            Self::Finished => f.write_str("the search has ended"),
        }
    }
}

impl core::error::Error for Error {}
