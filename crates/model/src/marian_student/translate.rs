//! Many translations in one batch that inputs enter and leave as they finish.

use alloc::vec::Vec;
use core::iter::Peekable;

use kernform_decode::{GenerationConfig, Search};
use kernform_tensor::Parallel;

use super::session::{StudentRow, StudentSession};
use crate::error::ModelError;
use crate::session::Source;

/// What stands before the first token of a search; it is never shown to the model.
const START: u32 = 0;

/// A source with the words that its translation may be made of.
#[derive(Clone, Debug, Default)]
pub struct StudentInput {
    /// Source tokens, with the one that ends them.
    pub tokens: Vec<u32>,
    /// Target words, ascending.
    pub words: Vec<u32>,
    /// Most tokens of the translation.
    pub most_tokens: usize,
}

/// An input whose search runs.
struct Active {
    index: usize,
    search: Search,
    source: usize,
    /// The slot of each row of the step before.
    slots: Vec<usize>,
    is_new: bool,
}

/// Translates each input, as many at a time as the session has slots for.
///
/// `emit` gets the number of an input (counted from 0) and its hypotheses, best first, each with its tokens (the end's
/// included where it ended) and its score; or why it cannot be translated. Inputs come out in the order in which they
/// finish; an error of `emit` ends the run and is returned. Of `config`, the number of beams, of hypotheses and the length
/// penalty count; `end` is the token that ends a target, `unknown` the one that is never written.
///
/// # Errors
/// Those of `emit`, and as [`ModelError`] those that concern the whole run. A single input that is empty, too long or not
/// of the vocabulary is no reason to stop.
pub fn translate<P: Parallel, E: From<ModelError>>(
    session: &mut StudentSession<'_>,
    parallel: &P,
    config: &GenerationConfig,
    (end, unknown): (u32, Option<u32>),
    inputs: impl Iterator<Item = StudentInput>,
    mut emit: impl FnMut(usize, Result<Vec<Translated>, ModelError>) -> Result<(), E>,
) -> Result<(), E> {
    let limits = session.limits();
    let beams = config.num_beams.max(1);
    if beams > limits.rows {
        return Err(ModelError::Capacity { what: "beams", asked: beams, limit: limits.rows }.into());
    }
    let mut run = Run {
        config,
        end,
        unknown,
        active: Vec::new(),
        room: (limits.rows / beams).min(limits.sources),
        free_rows: (0..limits.rows).rev().collect(),
        free_sources: (0..limits.sources).rev().collect(),
        rows: Vec::new(),
        logits: Vec::new(),
    };
    let mut inputs = inputs.enumerate().fuse().peekable();
    loop {
        if run.wants_inputs() {
            run.admit(session, parallel, &mut inputs, &mut emit)?;
        }
        if run.active.is_empty() {
            if inputs.peek().is_none() {
                return Ok(());
            }
            continue;
        }
        run.step(session, parallel)?;
        run.retire(session, &mut emit)?;
    }
}

/// One translation of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Translated {
    /// Target tokens, without the end.
    pub tokens: Vec<u32>,
    /// Whether the model ended it; it was cut otherwise.
    pub finished: bool,
    /// The mean log-probability of its tokens, where the search knows it.
    pub score: Option<f32>,
}

/// The state of [`translate`].
struct Run<'c> {
    config: &'c GenerationConfig,
    end: u32,
    unknown: Option<u32>,
    active: Vec<Active>,
    /// Inputs that there is room for at a time.
    room: usize,
    free_rows: Vec<usize>,
    free_sources: Vec<usize>,
    rows: Vec<StudentRow>,
    logits: Vec<f32>,
}

impl Run<'_> {
    /// Inputs enter a quarter of the batch at a time: the encoder, too, wants many rows.
    fn wants_inputs(&self) -> bool {
        let room = self.room - self.active.len();
        room > 0 && room >= self.active.len() / 3
    }

    /// Encodes as many inputs as there is room for and begins their searches.
    fn admit<P: Parallel, E: From<ModelError>>(
        &mut self,
        session: &mut StudentSession<'_>,
        parallel: &P,
        inputs: &mut Peekable<impl Iterator<Item = (usize, StudentInput)>>,
        emit: &mut impl FnMut(usize, Result<Vec<Translated>, ModelError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let limits = session.limits();
        let (mut tokens, mut sources, mut words) = (Vec::new(), Vec::new(), Vec::new());
        while self.active.len() < self.room {
            let fits = |ids: &[u32]| tokens.len() + ids.len() <= limits.encode_tokens;
            // An input that fits no batch goes on to the check, which says so.
            let next = |(_, input): &(usize, StudentInput)| {
                fits(&input.tokens) || session.check_source(&input.tokens).is_err()
            };
            let Some((index, input)) = inputs.next_if(next) else { break };
            let search = session.check_source(&input.tokens).and_then(|()| self.search(&input, limits.target_len));
            match search {
                Err(error) => emit(index, Err(error))?,
                Ok(search) => {
                    let source = self.free_sources.pop().unwrap_or_default();
                    let start = tokens.len();
                    tokens.extend_from_slice(&input.tokens);
                    sources.push(Source { slot: source, tokens: start..tokens.len() });
                    words.push(input.words);
                    let slots = alloc::vec![self.free_rows.pop().unwrap_or_default()];
                    self.active.push(Active { index, search, source, slots, is_new: true });
                }
            }
        }
        session.encode(parallel, &tokens, &sources, words)?;
        Ok(())
    }

    /// A search over the input's words; their tokens are places among the words.
    fn search(&self, input: &StudentInput, longest: usize) -> Result<Search, ModelError> {
        let place = |token: u32| input.words.binary_search(&token).ok().map(|place| place as u32);
        let end = place(self.end).ok_or(ModelError::Token { token: self.end, vocab_size: input.words.len() })?;
        let config = GenerationConfig {
            max_new_tokens: Some(input.most_tokens.clamp(1, longest)),
            max_length: None,
            eos_token_ids: alloc::vec![end],
            suppress_tokens: self.unknown.and_then(place).into_iter().collect(),
            ..self.config.clone()
        };
        Ok(Search::new(&config, &[START], input.words.len())?)
    }

    /// One step of every search.
    fn step<P: Parallel>(&mut self, session: &mut StudentSession<'_>, parallel: &P) -> Result<(), ModelError> {
        self.rows.clear();
        for active in &mut self.active {
            let (parents, tokens) = active.search.inputs();
            inherit(session, &mut active.slots, parents, &mut self.free_rows)?;
            let words = session.words(active.source);
            for (slot, token) in active.slots.iter().zip(tokens) {
                let token = if active.is_new { None } else { words.get(*token as usize).copied() };
                self.rows.push(StudentRow { slot: *slot, source: active.source, token });
            }
            active.is_new = false;
        }
        session.step(parallel, &self.rows, &mut self.logits)?;
        let mut rest = &*self.logits;
        for active in &mut self.active {
            let (mine, others) = rest.split_at(active.slots.len() * session.words(active.source).len());
            rest = others;
            active.search.advance(mine)?;
        }
        Ok(())
    }

    /// Hands out the finished searches and takes their slots back.
    fn retire<E: From<ModelError>>(
        &mut self,
        session: &StudentSession<'_>,
        emit: &mut impl FnMut(usize, Result<Vec<Translated>, ModelError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut i = 0;
        while let Some(active) = self.active.get(i) {
            if !active.search.is_done() {
                i += 1;
                continue;
            }
            // In order, so that rows of one source stay together.
            let active = self.active.remove(i);
            let words = session.words(active.source);
            let translated = active.search.hypotheses().map(|hypothesis| {
                let tokens = hypothesis.tokens.iter().skip(1);
                let mut tokens: Vec<u32> = tokens.filter_map(|place| words.get(*place as usize).copied()).collect();
                let finished = tokens.last() == Some(&self.end);
                if finished {
                    tokens.pop();
                }
                // A greedy search's score is the sum, one with beams divides it.
                let length = hypothesis.tokens.len().saturating_sub(1).max(1) as f32;
                let score =
                    if self.config.num_beams > 1 { hypothesis.score } else { hypothesis.score.map(|sum| sum / length) };
                Translated { tokens, finished, score }
            });
            let translated = translated.collect();
            self.free_sources.push(active.source);
            self.free_rows.extend_from_slice(&active.slots);
            emit(active.index, Ok(translated))?;
        }
        Ok(())
    }
}

/// Gives the rows that continue `parents` their slots: the first child of a row keeps its slot, the others get a copy of it,
/// and rows without a child give theirs back.
fn inherit(
    session: &mut StudentSession<'_>,
    slots: &mut Vec<usize>,
    parents: &[usize],
    free: &mut Vec<usize>,
) -> Result<(), ModelError> {
    if parents == [0] && slots.len() == 1 {
        return Ok(());
    }
    let mut children = alloc::vec![0_usize; slots.len()];
    for parent in parents {
        children[*parent] += 1;
    }
    free.extend(slots.iter().zip(&children).filter(|(_, count)| **count == 0).map(|(slot, _)| *slot));
    children.fill(0);
    let mut next = Vec::with_capacity(parents.len());
    for parent in parents {
        let own = slots[*parent];
        if children[*parent] == 0 {
            next.push(own);
        } else {
            let copy = free.pop().unwrap_or_default();
            session.copy_row(own, copy)?;
            next.push(copy);
        }
        children[*parent] += 1;
    }
    *slots = next;
    Ok(())
}
