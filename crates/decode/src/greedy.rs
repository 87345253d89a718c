use alloc::vec::Vec;

use kernform_simd::Isa;

use crate::config::GenerationConfig;
use crate::error::Error;
use crate::log_softmax::log_softmax;
use crate::rules::{Rules, check_memory, filled};
use crate::search::{Hypothesis, Status};
use crate::select::argmax;

/// Takes the most probable token at each step, for one input sequence.
///
/// Holds `4 * (max_length + vocab)` bytes and the configuration's lists; all of it is allocated in [`GreedySearch::new`].
#[derive(Debug, Clone)]
pub struct GreedySearch {
    rules: Rules,
    tokens: Vec<u32>,
    len: usize,
    scores: Vec<f32>,
    log_probability: Option<f32>,
    done: bool,
}

impl GreedySearch {
    /// A search that continues `prompt`, for logits of `vocab` tokens.
    ///
    /// # Errors
    /// An option that means nothing (each has its own [`Error`]), or more memory than the configuration allows.
    pub fn new(config: &GenerationConfig, prompt: &[u32], vocab: usize) -> Result<Self, Error> {
        Self::with_isa(Isa::best(), config, prompt, vocab)
    }

    /// [`GreedySearch::new`] on a level of choice. All levels of one arithmetic class give the same bits.
    ///
    /// # Errors
    /// As [`GreedySearch::new`].
    pub fn with_isa(isa: Isa, config: &GenerationConfig, prompt: &[u32], vocab: usize) -> Result<Self, Error> {
        if config.num_beams > 1 {
            return Err(Error::GreedyBeams { num_beams: config.num_beams });
        }
        let rules = Rules::new(isa, config, prompt, vocab)?;
        check_memory(config.memory_limit, &[(Some(rules.max_length), 4), (Some(vocab), 4)])?;
        let mut tokens = filled(rules.max_length, 0)?;
        tokens[..prompt.len()].copy_from_slice(prompt);
        let log_probability = config.output_scores.then_some(0.0);
        Ok(Self { len: prompt.len(), tokens, scores: filled(vocab, 0.0)?, rules, log_probability, done: false })
    }

    /// Rows of the next step: 1, or 0 when the search is done.
    #[must_use]
    pub fn rows(&self) -> usize {
        usize::from(!self.done)
    }

    /// For each row of the next step, the row of the previous step that it continues and the token that it appends.
    ///
    /// The first step appends the last token of the prompt; the model has seen the others before.
    #[must_use]
    pub fn inputs(&self) -> (&[usize], &[u32]) {
        let rows = self.rows();
        (&[0][..rows], &self.tokens[self.len - rows..self.len])
    }

    /// Takes the logits `[vocab]` that follow from [`GreedySearch::inputs`] and chooses the next token.
    ///
    /// Of equal logits the lowest index is chosen; of -inf alone, token 0, as in PyTorch.
    ///
    /// # Errors
    /// Logits of another length, with a NaN, or (when log-probabilities are wanted) with +inf; a search that is done.
    pub fn advance(&mut self, logits: &[f32]) -> Result<Status, Error> {
        if self.done {
            return Err(Error::Finished);
        }
        if logits.len() != self.rules.vocab {
            return Err(Error::LogitsLength { expected: self.rules.vocab, actual: logits.len() });
        }
        if logits.iter().any(|x| x.is_nan()) {
            return Err(Error::NanLogit { row: 0 });
        }
        self.scores.copy_from_slice(logits);
        self.rules.apply(&mut self.scores, &self.tokens[..self.len], 0)?;
        let token = argmax(&self.scores).ok_or(Error::EmptyVocabulary)?;
        if let Some(sum) = self.log_probability {
            log_softmax(self.rules.isa, &mut self.scores, 0)?;
            self.log_probability = Some(sum + self.scores[token]);
        }
        self.tokens[self.len] = token as u32;
        self.len += 1;
        self.done = self.rules.ends(token as u32, self.len);
        Ok(if self.done { Status::Done } else { Status::Running })
    }

    /// True when the sequence has its last token.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The sequence so far, prompt and end-of-sequence token included.
    #[must_use]
    pub fn hypothesis(&self) -> Hypothesis<'_> {
        Hypothesis {
            tokens: &self.tokens[..self.len],
            log_probability: self.log_probability,
            score: self.log_probability,
            finished: self.done,
        }
    }
}
