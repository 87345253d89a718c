use alloc::vec::Vec;
use core::fmt;

use crate::config::GenerationConfig;
use crate::error::Error;
use crate::rules::{check_memory, filled};
use crate::search::Search;

/// A model that gives the logits of the next token.
pub trait StepModel {
    /// What can go wrong in a step.
    type Error;

    /// Tokens in the vocabulary, the width of a row of logits.
    fn vocab_size(&self) -> usize;

    /// Appends `tokens[i]` to a copy of row `parents[i]` of the step before, as the new row `i`, and writes the logits of the token
    /// after it to row `i` of `logits`, `[tokens.len(), vocab_size]`.
    ///
    /// Before the first step there is one row for each input, with no token. A row that no parent names is dropped.
    ///
    /// # Errors
    /// The model's own.
    fn step(&mut self, parents: &[usize], tokens: &[u32], logits: &mut [f32]) -> Result<(), Self::Error>;
}

/// Why [`generate`] failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GenerateError<E> {
    /// The configuration, a prompt or the logits.
    Search(Error),
    /// The model's step.
    Model(E),
}

impl<E> From<Error> for GenerateError<E> {
    fn from(error: Error) -> Self {
        Self::Search(error)
    }
}

impl<E: fmt::Display> fmt::Display for GenerateError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Search(error) => write!(f, "search: {error}"),
            Self::Model(error) => write!(f, "model: {error}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for GenerateError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Search(error) => Some(error),
            Self::Model(error) => Some(error),
        }
    }
}

/// The sequences of a batch.
#[derive(Debug, Clone)]
pub struct Generated {
    searches: Vec<Search>,
    padding: u32,
}

impl Generated {
    /// The finished search of each input, in input order.
    #[must_use]
    pub fn searches(&self) -> &[Search] {
        &self.searches
    }

    /// `num_return_sequences` sequences for each input, as transformers returns them: all as long as the longest, shorter ones
    /// filled with [`GenerationConfig::padding`].
    #[must_use]
    pub fn sequences(&self) -> Vec<Vec<u32>> {
        let hypotheses = || self.searches.iter().flat_map(Search::hypotheses);
        let longest = hypotheses().map(|h| h.tokens.len()).max().unwrap_or(0);
        let pad = |tokens: &[u32]| {
            let mut sequence = tokens.to_vec();
            sequence.resize(longest, self.padding);
            sequence
        };
        hypotheses().map(|h| pad(h.tokens)).collect()
    }
}

/// Continues each of `prompts` by greedy or beam search, all in one batch that inputs leave as they finish.
///
/// Prompts are fed token by token. They may differ in length; equal lengths give exactly what transformers returns for the
/// batch. What one input gives depends on that input alone, as long as the model's rows do not depend on each other.
///
/// # Errors
/// An option, prompt or logit that a search refuses, or an error of the model.
pub fn generate<M: StepModel>(
    model: &mut M,
    config: &GenerationConfig,
    prompts: &[&[u32]],
) -> Result<Generated, GenerateError<M::Error>> {
    let vocab = model.vocab_size();
    let mut batch = Batch::new(config, prompts, vocab)?;
    while batch.collect() {
        let Batch { parents, tokens, logits, .. } = &mut batch;
        let logits = &mut logits[..tokens.len() * vocab];
        model.step(parents, tokens, logits).map_err(GenerateError::Model)?;
        batch.advance(vocab)?;
    }
    Ok(Generated { searches: batch.searches, padding: config.padding() })
}

/// Searches that share the steps of a model.
struct Batch<'a> {
    prompts: &'a [&'a [u32]],
    searches: Vec<Search>,
    /// Prompt tokens given to the model, an input.
    fed: Vec<usize>,
    /// First row of each input in the step before.
    first_rows: Vec<usize>,
    parents: Vec<usize>,
    tokens: Vec<u32>,
    logits: Vec<f32>,
}

impl<'a> Batch<'a> {
    fn new(config: &GenerationConfig, prompts: &'a [&'a [u32]], vocab: usize) -> Result<Self, Error> {
        let inputs = prompts.len();
        let mut searches = Vec::new();
        searches.try_reserve_exact(inputs).map_err(|_| Error::OutOfMemory { bytes: inputs * size_of::<Search>() })?;
        for prompt in prompts {
            searches.push(Search::new(config, prompt, vocab)?);
        }
        // No limit of its own: it is in proportion to what the caller holds for the model's rows.
        let rows = inputs.checked_mul(config.num_beams);
        check_memory(usize::MAX, &[(rows.and_then(|rows| rows.checked_mul(vocab)), size_of::<f32>())])?;
        let rows = inputs * config.num_beams;
        let mut first_rows = filled(inputs, 0)?;
        for (input, row) in first_rows.iter_mut().enumerate() {
            *row = input;
        }
        let (mut parents, mut tokens) = (filled(rows, 0)?, filled(rows, 0)?);
        parents.clear();
        tokens.clear();
        Ok(Self {
            prompts,
            searches,
            fed: filled(inputs, 0)?,
            first_rows,
            parents,
            tokens,
            logits: filled(rows * vocab, 0.0)?,
        })
    }

    /// Lists the rows of the next step; false when no input wants one.
    fn collect(&mut self) -> bool {
        self.parents.clear();
        self.tokens.clear();
        for (input, search) in self.searches.iter().enumerate() {
            let before = self.first_rows[input];
            self.first_rows[input] = self.tokens.len();
            let (parents, tokens) = match self.prompts[input].get(self.fed[input]) {
                Some(token) => (&[0][..], core::slice::from_ref(token)),
                None => search.inputs(),
            };
            self.parents.extend(parents.iter().map(|parent| before + parent));
            self.tokens.extend_from_slice(tokens);
        }
        !self.tokens.is_empty()
    }

    fn advance(&mut self, vocab: usize) -> Result<(), Error> {
        for (input, search) in self.searches.iter_mut().enumerate() {
            let prompt = self.prompts[input].len();
            self.fed[input] = (self.fed[input] + 1).min(prompt);
            if self.fed[input] == prompt && !search.is_done() {
                let logits = &self.logits[self.first_rows[input] * vocab..][..search.rows() * vocab];
                search.advance(logits)?;
            }
        }
        Ok(())
    }
}

/// [`generate`] for `inputs` inputs of an encoder-decoder: each prompt is `decoder_start_token_id`.
///
/// # Errors
/// As [`generate`]; also when `decoder_start_token_id` is not set.
pub fn generate_from_start<M: StepModel>(
    model: &mut M,
    config: &GenerationConfig,
    inputs: usize,
) -> Result<Generated, GenerateError<M::Error>> {
    let start = [config.decoder_start_token_id.ok_or(Error::NoStartToken)?];
    let prompts = filled(inputs, start.as_slice())?;
    generate(model, config, &prompts)
}
