//! One thread's place to translate many texts at a time.

use core::cell::RefCell;
use std::collections::BTreeMap;

use kernform_decode::GenerationConfig;
use kernform_model::{Limits, ModelError, StudentInput, StudentPlan, StudentSession, translate};
use kernform_tensor::Serial;

use crate::pieces::{Alignment, LONGEST, Translation, Unit};
use crate::{TranslateError, Translator};

/// Translates texts, many at a time, in one thread.
pub struct Worker<'t> {
    translator: &'t Translator,
    plan: StudentPlan,
    buffer: Vec<f32>,
    search: GenerationConfig,
}

/// A text whose parts are being translated.
struct Open {
    translation: Translation,
    /// Parts that are not done.
    missing: usize,
}

/// What the inputs and their results share.
#[derive(Default)]
struct Texts {
    open: BTreeMap<usize, Open>,
    /// Of every part that was handed out and is not done: its text, and its place there.
    parts: BTreeMap<usize, (usize, usize)>,
    handed_out: usize,
    /// Texts without anything to translate.
    done: Vec<(usize, Translation)>,
}

impl<'t> Worker<'t> {
    /// A worker that translates up to `batch` sentences at a time with so many beams, of which it keeps `n_best`; no more
    /// hypotheses are kept than there are beams.
    ///
    /// # Errors
    /// [`TranslateError::Model`] where there is no such memory.
    pub fn new(translator: &'t Translator, batch: usize, beams: usize, n_best: usize) -> Result<Self, TranslateError> {
        let (batch, beams) = (batch.max(1), beams.max(1));
        let target_len = (LONGEST as f64 * translator.length_factor) as usize;
        let limits = Limits {
            rows: batch * beams,
            sources: batch,
            source_len: LONGEST,
            target_len,
            // Half of what a full batch has: enough rows for the products, and the activations stay small.
            encode_tokens: (batch * 16).max(LONGEST),
        };
        let plan = StudentPlan::new(&translator.model, limits, &Serial)?;
        let search = GenerationConfig {
            num_beams: beams,
            num_return_sequences: n_best.clamp(1, beams),
            // Marian divides by the length.
            length_penalty: 1.0,
            output_scores: n_best > 1 || beams > 1,
            ..GenerationConfig::default()
        };
        Ok(Self { translator, buffer: vec![0.0; plan.scratch_len()], plan, search })
    }

    /// Greedy search gives scores too, which takes a little longer.
    pub fn with_scores(&mut self, scores: bool) {
        self.search.output_scores |= scores;
    }

    /// Translates texts. `emit` gets the number of a text (counted from 0) and its translation, in the order in which they
    /// are done; its error ends the run and is returned. A text is taken from `texts` when there is room for it.
    ///
    /// # Errors
    /// Those of `emit`, and [`TranslateError`] where the model fails.
    pub fn run<T: AsRef<str>, E: From<TranslateError>>(
        &mut self,
        texts: impl Iterator<Item = T>,
        mut emit: impl FnMut(usize, Translation) -> Result<(), E>,
    ) -> Result<(), E> {
        let translator = self.translator;
        let vocabulary = &translator.vocabulary;
        let mut session = StudentSession::new(&translator.model, &self.plan, &mut self.buffer).map_err(wrap)?;
        let state = RefCell::new(Texts::default());
        let inputs = texts.enumerate().flat_map(|(number, text)| {
            let translation = Translation::of(text.as_ref(), vocabulary, translator.end);
            let inputs = translator.inputs(&translation);
            let state = &mut *state.borrow_mut();
            if inputs.is_empty() {
                state.done.push((number, translation));
            } else {
                for (unit, _) in &inputs {
                    state.parts.insert(state.handed_out, (number, *unit));
                    state.handed_out += 1;
                }
                state.open.insert(number, Open { translation, missing: inputs.len() });
            }
            inputs.into_iter().map(|(_, input)| input)
        });
        let special = (translator.end, Some(vocabulary.unknown()));
        let result = translate(&mut session, &Serial, &self.search, special, inputs, |part, result| {
            let mut finished = {
                let state = &mut *state.borrow_mut();
                let mut finished = core::mem::take(&mut state.done);
                if let Some((number, unit)) = state.parts.remove(&part)
                    && let Some(open) = state.open.get_mut(&number)
                {
                    open.translation.set(unit, result, vocabulary).map_err(Stop::Own)?;
                    open.missing -= 1;
                    if open.missing == 0 {
                        finished.extend(state.open.remove(&number).map(|open| (number, open.translation)));
                    }
                }
                finished
            };
            finished.drain(..).try_for_each(|(number, translation)| emit(number, translation)).map_err(Stop::Emit)
        });
        result.map_err(|stop| match stop {
            Stop::Emit(error) => error,
            Stop::Own(error) => error.into(),
        })?;
        let done = core::mem::take(&mut state.borrow_mut().done);
        done.into_iter().try_for_each(|(number, translation)| emit(number, translation))
    }

    /// How the tokens of each part of a translation belong to those of its source.
    ///
    /// # Errors
    /// [`TranslateError`] where the model fails.
    pub fn align(&mut self, translation: &Translation) -> Result<Vec<Alignment>, TranslateError> {
        translation.units.iter().filter_map(|unit| self.align_unit(unit).transpose()).collect()
    }

    /// How the tokens of a part's best translation belong to those of its source; `None` where it has no translation.
    ///
    /// # Errors
    /// [`TranslateError`] where the model fails.
    pub fn align_unit(&mut self, unit: &Unit) -> Result<Option<Alignment>, TranslateError> {
        let Some(best) = unit.hypotheses.first() else { return Ok(None) };
        let translator = self.translator;
        let mut session = StudentSession::new(&translator.model, &self.plan, &mut self.buffer)?;
        let pieces = |ids: &[u32]| -> Vec<String> {
            let piece = |id: &u32| translator.vocabulary.piece(*id).unwrap_or_default().to_string();
            ids.iter().map(piece).collect()
        };
        let mut target = best.tokens.clone();
        target.extend(best.finished.then_some(translator.end));
        let weights = session.alignment(&Serial, &unit.tokens, &target)?;
        Ok(Some(Alignment { source: pieces(&unit.tokens), target: pieces(&target), weights }))
    }
}

/// Why a run stops.
enum Stop<E> {
    Emit(E),
    Own(TranslateError),
}

impl<E> From<ModelError> for Stop<E> {
    fn from(error: ModelError) -> Self {
        Self::Own(error.into())
    }
}

fn wrap(error: ModelError) -> TranslateError {
    error.into()
}

impl Translator {
    /// The parts of a text that are to be translated: their places, and what the model takes. As in Bergamot, all of them
    /// may use the words that the shortlist has for the whole text.
    fn inputs(&self, translation: &Translation) -> Vec<(usize, StudentInput)> {
        let size = self.model.config().vocab_size as u32;
        let parts = || translation.units.iter().enumerate().filter(|(_, unit)| !unit.tokens.is_empty());
        let tokens: Vec<u32> = parts().flat_map(|(_, unit)| unit.tokens.iter().copied()).collect();
        if tokens.is_empty() {
            return Vec::new();
        }
        let mut words = match &self.shortlist {
            Some(shortlist) => shortlist.select(&tokens, size, true),
            None => (0..size).collect(),
        };
        if let Err(place) = words.binary_search(&self.end) {
            words.insert(place, self.end);
        }
        let input = |tokens: &[u32]| StudentInput {
            tokens: tokens.to_vec(),
            words: words.clone(),
            most_tokens: (tokens.len() as f64 * self.length_factor).ceil() as usize,
        };
        parts().map(|(place, unit)| (place, input(&unit.tokens))).collect()
    }
}
