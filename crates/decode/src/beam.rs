use alloc::vec::Vec;

use kernform_simd::Isa;

use crate::config::{EarlyStopping, GenerationConfig};
use crate::error::Error;
use crate::log_softmax::log_softmax_of;
use crate::rules::{Rules, check_memory, filled};
use crate::search::{Hypothesis, Status};
use crate::select::{Candidate, TopK};

/// The score of what must not win: of beams that do not exist yet, and added to that of candidates that may not be chosen.
/// Its spacing in `f32` is 64, so that what is added to it is mostly lost.
const WORST: f32 = -1.0e9;

/// Keeps the `num_beams` best unfinished sequences and the `num_beams` best finished ones, for one input sequence.
///
/// Gives the same sequences as beam search in transformers 5 does for a batch of one. Holds
/// `12 * num_beams * max_length + 4 * vocab` bytes, 40 bytes a continuation, and `8 * num_beams * vocab` bytes for
/// vocabularies below `64 * max(2, 1 + eos)` tokens; all of it is allocated in [`BeamSearch::new`].
#[derive(Debug, Clone)]
pub struct BeamSearch {
    rules: Rules,
    num_beams: usize,
    num_return: usize,
    length_penalty: f64,
    early_stopping: EarlyStopping,
    /// Length of all running sequences.
    len: usize,
    /// Logits rows of the step that is wanted: 1 at first, when all beams are the prompt.
    rows: usize,
    /// Running sequences `[num_beams, max_length]`, of this step and of the next one.
    running: Vec<u32>,
    next_running: Vec<u32>,
    running_scores: Vec<f32>,
    parents: Vec<usize>,
    last_tokens: Vec<u32>,
    /// Finished sequences, best first; `storage` is `[num_beams, max_length]`, in any order.
    slots: Vec<Slot>,
    next_slots: Vec<Slot>,
    storage: Vec<u32>,
    // Scratch of one step.
    scores: Vec<f32>,
    selection: Vec<Candidate>,
    continuations: Vec<Continuation>,
    ranking: Vec<Candidate>,
}

/// A finished sequence, or a place for one.
#[derive(Debug, Clone, Copy)]
struct Slot {
    row: usize,
    len: usize,
    score: f32,
    log_probability: f32,
    finished: bool,
}

/// A running sequence with one more token.
#[derive(Debug, Clone, Copy, Default)]
struct Continuation {
    beam: usize,
    token: u32,
    log_probability: f32,
    ends: bool,
}

impl BeamSearch {
    /// A search that continues `prompt`, for logits of `vocab` tokens.
    ///
    /// # Errors
    /// An option that means nothing (each has its own [`Error`]), too few tokens in the vocabulary, or more memory than
    /// the configuration allows.
    pub fn new(config: &GenerationConfig, prompt: &[u32], vocab: usize) -> Result<Self, Error> {
        Self::with_isa(Isa::best(), config, prompt, vocab)
    }

    /// [`BeamSearch::new`] on a level of choice. All levels of one arithmetic class give the same bits.
    ///
    /// # Errors
    /// As [`BeamSearch::new`].
    pub fn with_isa(isa: Isa, config: &GenerationConfig, prompt: &[u32], vocab: usize) -> Result<Self, Error> {
        let rules = Rules::new(isa, config, prompt, vocab)?;
        let num_beams = config.num_beams;
        let longest = length_factor(rules.max_length - rules.prompt_len, config.length_penalty);
        if !(longest.is_finite() && longest > 0.0) {
            return Err(Error::LengthPenalty { value: config.length_penalty });
        }
        let needed = (1 + rules.eos.len()).max(2);
        if vocab < needed {
            return Err(Error::VocabularyTooSmall { vocab, needed });
        }
        let too_large = Error::TooLarge { bytes: usize::MAX, limit: config.memory_limit };
        let kept = num_beams.checked_mul(needed).ok_or(too_large)?;
        let total = num_beams.checked_mul(vocab).filter(|&n| u32::try_from(n).is_ok()).ok_or(too_large)?;
        let places = num_beams.checked_mul(rules.max_length);
        let selection = TopK::buffer_len(kept, total);
        let ranking = kept + num_beams;
        check_memory(
            config.memory_limit,
            &[
                (places, 12),
                (Some(vocab), 4),
                (Some(selection), size_of::<Candidate>()),
                (Some(ranking), size_of::<Candidate>()),
                (Some(kept), size_of::<Continuation>()),
                (Some(num_beams), 4 + 4 + 2 * size_of::<usize>() + 2 * size_of::<Slot>()),
            ],
        )?;
        let places = num_beams * rules.max_length;
        let mut running = filled(places, 0)?;
        let mut storage = filled(places, 0)?;
        for row in running.chunks_exact_mut(rules.max_length).chain(storage.chunks_exact_mut(rules.max_length)) {
            row[..prompt.len()].copy_from_slice(prompt);
        }
        let empty = Slot { row: 0, len: prompt.len(), score: WORST, log_probability: WORST, finished: false };
        let mut slots = filled(num_beams, empty)?;
        for (row, slot) in slots.iter_mut().enumerate() {
            slot.row = row;
        }
        let mut running_scores = filled(num_beams, WORST)?;
        running_scores[0] = 0.0;
        Ok(Self {
            num_beams,
            num_return: config.num_return_sequences,
            length_penalty: config.length_penalty,
            early_stopping: config.early_stopping,
            len: prompt.len(),
            rows: 1,
            running,
            next_running: filled(places, 0)?,
            running_scores,
            parents: filled(num_beams, 0)?,
            last_tokens: filled(num_beams, prompt[prompt.len() - 1])?,
            slots,
            next_slots: filled(num_beams, empty)?,
            storage,
            scores: filled(vocab, 0.0)?,
            selection: filled(selection, Candidate::default())?,
            continuations: filled(kept, Continuation::default())?,
            ranking: filled(ranking, Candidate::default())?,
            rules,
        })
    }

    /// Rows of the next step: 1 at first, then `num_beams`, 0 when the search is done.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// For each row of the next step, the row of the previous step that it continues and the token that it appends.
    ///
    /// The first step has one row, which appends the last token of the prompt; the model has seen the others before.
    #[must_use]
    pub fn inputs(&self) -> (&[usize], &[u32]) {
        (&self.parents[..self.rows], &self.last_tokens[..self.rows])
    }

    /// True when the hypotheses are final.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.rows == 0
    }

    /// `num_return_sequences` hypotheses, best first; those found so far while the search runs.
    pub fn hypotheses(&self) -> impl Iterator<Item = Hypothesis<'_>> {
        let width = self.rules.max_length;
        self.slots[..self.num_return].iter().map(move |slot| Hypothesis {
            tokens: &self.storage[slot.row * width..][..slot.len],
            log_probability: Some(slot.log_probability),
            score: Some(slot.score),
            finished: slot.finished,
        })
    }

    /// Takes the logits `[rows, vocab]` that follow from [`BeamSearch::inputs`] and chooses the continuations.
    ///
    /// A row of -inf alone has no continuation. Continuations of equal score are taken in the order of [`TopK`], counted
    /// over beams, then tokens.
    ///
    /// # Errors
    /// Logits of another length, with a NaN or with +inf; a search that is done.
    pub fn advance(&mut self, logits: &[f32]) -> Result<Status, Error> {
        if self.rows == 0 {
            return Err(Error::Finished);
        }
        let expected = self.rows * self.rules.vocab;
        if logits.len() != expected {
            return Err(Error::LogitsLength { expected, actual: logits.len() });
        }
        self.select_continuations(logits)?;
        self.update_finished();
        self.update_running();
        self.len += 1;
        self.rows = if self.is_final() { 0 } else { self.num_beams };
        Ok(if self.rows == 0 { Status::Done } else { Status::Running })
    }

    /// Finds the best `max(2, 1 + eos)` continuations a beam, best first: enough that `num_beams` of them do not end.
    fn select_continuations(&mut self, logits: &[f32]) -> Result<(), Error> {
        let vocab = self.rules.vocab;
        let total = self.num_beams * vocab;
        let too_small = Error::VocabularyTooSmall { vocab, needed: self.continuations.len() };
        let mut top = TopK::new(&mut self.selection, self.continuations.len(), total).ok_or(too_small)?;
        for (row, logits) in logits.chunks_exact(vocab).enumerate() {
            let tokens = &self.running[row * self.rules.max_length..][..self.len];
            log_softmax_of(self.rules.isa, logits, row, &mut self.scores)?;
            self.rules.apply(&mut self.scores, tokens, row)?;
            // All beams share the one row of the first step; those that do not exist yet start far behind.
            let beams = if self.rows == 1 { 0..self.num_beams } else { row..row + 1 };
            for &score in &self.running_scores[beams] {
                top.extend(&self.scores, score);
            }
        }
        for (place, candidate) in self.continuations.iter_mut().zip(top.finish()) {
            let token = candidate.index % vocab as u32;
            *place = Continuation {
                beam: candidate.index as usize / vocab,
                token,
                log_probability: candidate.score,
                ends: self.rules.ends(token, self.len + 1),
            };
        }
        Ok(())
    }

    /// Merges the continuations that end into the finished sequences and keeps the best `num_beams`.
    fn update_finished(&mut self) {
        let (width, len, num_beams) = (self.rules.max_length, self.len, self.num_beams);
        let factor = length_factor(len + 1 - self.rules.prompt_len, self.length_penalty);
        let total = num_beams + self.continuations.len();
        let Some(mut top) = TopK::new(&mut self.ranking, num_beams, total) else { return };
        for slot in &self.slots {
            top.extend(&[slot.score], 0.0);
        }
        for (rank, c) in self.continuations.iter().enumerate() {
            // Continuations beyond the first `num_beams` are there to go on from, not to end with.
            let finished = c.ends && rank < num_beams;
            top.extend(&[c.log_probability / factor], if finished { 0.0 } else { WORST });
        }
        let chosen = top.finish();
        const KEPT: usize = usize::MAX;
        for (next, candidate) in self.next_slots.iter_mut().zip(chosen.iter()) {
            if let Some(slot) = self.slots.get_mut(candidate.index as usize) {
                *next = *slot;
                slot.row = KEPT;
            }
        }
        let mut free = self.slots.iter().map(|slot| slot.row).filter(|&row| row != KEPT);
        for (next, candidate) in self.next_slots.iter_mut().zip(chosen.iter()) {
            let Some(rank) = (candidate.index as usize).checked_sub(num_beams) else { continue };
            let Some(row) = free.next() else { break };
            let c = self.continuations[rank];
            let tokens = &mut self.storage[row * width..][..=len];
            tokens[..len].copy_from_slice(&self.running[c.beam * width..][..len]);
            tokens[len] = c.token;
            *next = Slot {
                row,
                len: len + 1,
                score: candidate.score,
                log_probability: c.log_probability,
                finished: c.ends && rank < num_beams,
            };
        }
        core::mem::swap(&mut self.slots, &mut self.next_slots);
    }

    /// Takes the best `num_beams` continuations that do not end as the running sequences of the next step.
    fn update_running(&mut self) {
        let (width, len) = (self.rules.max_length, self.len);
        let Some(mut top) = TopK::new(&mut self.ranking, self.num_beams, self.continuations.len()) else { return };
        for c in &self.continuations {
            top.extend(&[c.log_probability], if c.ends { WORST } else { 0.0 });
        }
        for (place, candidate) in top.finish().iter().enumerate() {
            let c = self.continuations[candidate.index as usize];
            let tokens = &mut self.next_running[place * width..][..=len];
            tokens[..len].copy_from_slice(&self.running[c.beam * width..][..len]);
            tokens[len] = c.token;
            self.running_scores[place] = candidate.score;
            self.parents[place] = if self.rows == 1 { 0 } else { c.beam };
            self.last_tokens[place] = c.token;
        }
        core::mem::swap(&mut self.running, &mut self.next_running);
    }

    /// Whether the step that was just taken is the last one.
    fn is_final(&self) -> bool {
        let full = self.slots.iter().all(|slot| slot.finished);
        let none_runs = self.continuations.iter().all(|c| c.ends);
        none_runs || !self.may_improve() || (full && self.early_stopping == EarlyStopping::Always)
    }

    /// Whether the best running sequence can, by the rule of `early_stopping`, still come before the worst finished one.
    fn may_improve(&self) -> bool {
        let Rules { prompt_len, max_length, .. } = self.rules;
        let to_the_end = self.early_stopping == EarlyStopping::Never && self.length_penalty > 0.0;
        let length = if to_the_end { max_length } else { self.len } - prompt_len;
        let best = self.running_scores[0] / length_factor(length, self.length_penalty);
        let worst = self.slots.iter().fold(f32::INFINITY, |worst, slot| worst.min(slot.score));
        self.slots.iter().any(|slot| best > if slot.finished { worst } else { WORST })
    }
}

/// What a sum of log-probabilities over `length` tokens is divided by.
fn length_factor(length: usize, penalty: f64) -> f32 {
    libm::pow(length as f64, penalty) as f32
}
