//! Many searches in one batch that inputs enter and leave as they finish.
//!
//! What a row gives does not depend on the batch, so nothing is lost by changing it at every step: a finished input leaves
//! its rows to the next one, and the products always have as many rows as there is room for.

use alloc::vec::Vec;

use kernform_decode::{GenerationConfig, Search};
use kernform_tensor::Parallel;

use crate::error::ModelError;
use crate::session::{Row, Session, Source};

/// An input whose search runs.
struct Active {
    index: usize,
    search: Search,
    source: usize,
    /// Tokens of the decoder's prompt that the model has seen.
    fed: usize,
    /// The slot of each row of the step before.
    slots: Vec<usize>,
}

/// Runs a search for each input, as many at a time as the session has slots for.
///
/// `inputs` are source token ids, with the ids that end a sequence; `prompt` is what each decoder starts from (most models:
/// the decoder's start token alone). `emit` gets the number of an input (counted from 0) and its finished search, or why it
/// cannot be searched, in the order in which they finish; an error of `emit` ends the run and is returned.
///
/// # Errors
/// Those of `emit`, and as [`ModelError`] those that concern the whole run: an option that the searches refuse, or a session
/// without room for a single input. A single input that is empty, too long or not of the vocabulary is no reason to stop.
pub fn generate<P: Parallel, E: From<ModelError>>(
    session: &mut Session<'_>,
    parallel: &P,
    config: &GenerationConfig,
    prompt: &[u32],
    inputs: impl Iterator<Item = Vec<u32>>,
    mut emit: impl FnMut(usize, Result<&Search, ModelError>) -> Result<(), E>,
) -> Result<(), E> {
    let mut run = Run::new(session, config, prompt)?;
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
        run.retire(&mut emit)?;
    }
}

/// The state of [`generate`].
struct Run<'c> {
    config: &'c GenerationConfig,
    prompt: &'c [u32],
    active: Vec<Active>,
    total_rows: usize,
    free_rows: Vec<usize>,
    free_sources: Vec<usize>,
    rows: Vec<Row>,
    logits: Vec<f32>,
    /// Room for the source tokens of the inputs that enter together.
    tokens: Vec<u32>,
    entering: Vec<Source>,
    /// For each row of a search, how many rows continue it; and the slots of the rows that do.
    children: Vec<usize>,
    next_slots: Vec<usize>,
}

impl<'c> Run<'c> {
    fn new(session: &Session<'_>, config: &'c GenerationConfig, prompt: &'c [u32]) -> Result<Self, ModelError> {
        let limits = session.limits();
        if config.num_beams > limits.rows {
            return Err(ModelError::Capacity { what: "beams", asked: config.num_beams, limit: limits.rows });
        }
        // A wrong option is an error of the run and not of each input.
        Search::new(config, prompt, session.vocab_size())?;
        Ok(Self {
            config,
            prompt,
            active: Vec::with_capacity(limits.sources),
            total_rows: limits.rows,
            free_rows: (0..limits.rows).rev().collect(),
            free_sources: (0..limits.sources).rev().collect(),
            rows: Vec::with_capacity(limits.rows),
            logits: alloc::vec![0.0; limits.rows * session.vocab_size()],
            tokens: Vec::with_capacity(limits.encode_tokens),
            entering: Vec::with_capacity(limits.sources),
            children: Vec::with_capacity(config.num_beams),
            next_slots: Vec::with_capacity(config.num_beams),
        })
    }

    /// How many more inputs there is room for. A search may need one row a beam at any step.
    fn room(&self) -> usize {
        let reserved = self.active.len() * self.config.num_beams.max(1);
        let rows = (self.total_rows.saturating_sub(reserved)) / self.config.num_beams.max(1);
        rows.min(self.free_sources.len())
    }

    /// Inputs enter a quarter of the batch at a time: the encoder, too, wants many rows.
    fn wants_inputs(&self) -> bool {
        self.room() > 0 && self.room() >= self.active.len() / 3
    }

    /// Encodes as many inputs as there is room for and begins their searches.
    fn admit<P: Parallel, E: From<ModelError>>(
        &mut self,
        session: &mut Session<'_>,
        parallel: &P,
        inputs: &mut core::iter::Peekable<impl Iterator<Item = (usize, Vec<u32>)>>,
        emit: &mut impl FnMut(usize, Result<&Search, ModelError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let limits = session.limits();
        let mut room = self.room();
        self.tokens.clear();
        self.entering.clear();
        while room > 0 {
            let fits = |ids: &[u32]| self.tokens.len() + ids.len() <= limits.encode_tokens;
            // An input that fits no batch goes on to the check, which says so.
            let Some((index, ids)) = inputs.next_if(|(_, ids)| fits(ids) || session.check_source(ids).is_err()) else {
                break;
            };
            match session
                .check_source(&ids)
                .and_then(|()| Ok(Search::new(self.config, self.prompt, session.vocab_size())?))
            {
                Err(error) => emit(index, Err(error))?,
                Ok(search) => {
                    let source = self.free_sources.pop().unwrap_or_default();
                    let start = self.tokens.len();
                    self.tokens.extend_from_slice(&ids);
                    self.entering.push(Source { slot: source, tokens: start..self.tokens.len() });
                    self.begin(index, search, source);
                    room -= 1;
                }
            }
        }
        session.encode(parallel, &self.tokens, &self.entering)?;
        Ok(())
    }

    fn begin(&mut self, index: usize, search: Search, source: usize) {
        let slot = self.free_rows.pop().unwrap_or_default();
        let mut slots = Vec::with_capacity(self.config.num_beams);
        slots.push(slot);
        self.active.push(Active { index, search, source, fed: 0, slots });
    }

    /// One step of every search.
    fn step<P: Parallel>(&mut self, session: &mut Session<'_>, parallel: &P) -> Result<(), ModelError> {
        self.rows.clear();
        for active in &mut self.active {
            if active.fed == 0 {
                session.clear_row(active.slots[0])?;
            }
            if active.fed + 1 < self.prompt.len() {
                let token = &self.prompt[active.fed];
                self.rows.push(Row { slot: active.slots[0], source: active.source, token: *token });
                continue;
            }
            let (parents, tokens) = active.search.inputs();
            inherit(
                session,
                &mut active.slots,
                parents,
                &mut self.free_rows,
                &mut self.children,
                &mut self.next_slots,
            )?;
            for (slot, token) in active.slots.iter().zip(tokens) {
                self.rows.push(Row { slot: *slot, source: active.source, token: *token });
            }
        }
        let vocab = session.vocab_size();
        let logits = &mut self.logits[..self.rows.len() * vocab];
        session.step(parallel, &self.rows, logits)?;
        let mut rest = &*logits;
        for active in &mut self.active {
            let (mine, others) = rest.split_at(active.slots.len() * vocab);
            rest = others;
            active.fed += 1;
            if active.fed >= self.prompt.len() {
                active.search.advance(mine)?;
            }
        }
        Ok(())
    }

    /// Hands out the finished searches and takes their slots back.
    fn retire<E: From<ModelError>>(
        &mut self,
        emit: &mut impl FnMut(usize, Result<&Search, ModelError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut i = 0;
        while let Some(active) = self.active.get(i) {
            if active.search.is_done() {
                let active = self.active.swap_remove(i);
                self.free_sources.push(active.source);
                self.free_rows.extend_from_slice(&active.slots);
                emit(active.index, Ok(&active.search))?;
            } else {
                i += 1;
            }
        }
        Ok(())
    }
}

/// Gives the rows that continue `parents` their slots: the first child of a row keeps its slot, the others get a copy of it,
/// and rows without a child give theirs back.
fn inherit(
    session: &mut Session<'_>,
    slots: &mut Vec<usize>,
    parents: &[usize],
    free: &mut Vec<usize>,
    children: &mut Vec<usize>,
    next: &mut Vec<usize>,
) -> Result<(), ModelError> {
    children.clear();
    children.resize(slots.len(), 0);
    for parent in parents {
        children[*parent] += 1;
    }
    free.extend(slots.iter().zip(&*children).filter(|(_, count)| **count == 0).map(|(slot, _)| *slot));
    children.fill(0);
    next.clear();
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
    core::mem::swap(slots, next);
    Ok(())
}
