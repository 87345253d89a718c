//! A thread that pronounces words from the queue, many at a time.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use kernform_decode::{GenerationConfig, Search};
use kernform_model::g2p::Pronouncer;
use kernform_model::{Limits, ModelError, Plan, Session, generate};
use kernform_tensor::Serial;

use super::answer::{Answer, Found, Pronunciation, Wrong};
use super::attention::{AttentionMap, END, PRONUNCIATION};
use super::feed::Job;
use super::queue::Queue;
use crate::errors::Failure;

/// What all workers share.
pub(crate) struct Work {
    pub(crate) pronouncer: Pronouncer,
    pub(crate) jobs: Queue<Job>,
    pub(crate) search: GenerationConfig,
    /// Words at a time.
    pub(crate) batch: usize,
    pub(crate) attention: bool,
}

/// Answers are sent together, not to wake the writer for each: so long after the last ones, or when no word is waiting.
const TOGETHER: Duration = Duration::from_millis(4);

/// Pairs of a token and its position whose projections are kept: all of 40 positions. Memory is touched as they come, 1.5 KiB
/// each.
const KEPT_PROJECTIONS: usize = 4096;

/// Why a worker stops.
enum Stop {
    /// Nobody takes the answers any more.
    NotWanted,
    Model(ModelError),
}

impl From<ModelError> for Stop {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl Work {
    /// Pronounces until the queue ends or nobody takes the answers.
    pub(crate) fn run(&self, answers: &SyncSender<Result<Vec<Answer>, Failure>>) {
        if let Err(Stop::Model(error)) = self.pronounce(answers) {
            let failure = Failure::new(error, "the embedded model", "give a smaller --batch or --beam");
            // Nobody there to be told means that the program ends anyway.
            let _ = answers.send(Err(failure));
        }
    }

    fn limits(&self) -> Limits {
        let source_len = self.pronouncer.max_letters() + 1;
        Limits {
            rows: self.batch * self.search.num_beams,
            sources: self.batch,
            source_len,
            target_len: self.search.max_new_tokens.unwrap_or(source_len),
            // Most words have fewer than 16 letters.
            encode_tokens: source_len.max(self.batch * 16),
        }
    }

    fn pronounce(&self, answers: &SyncSender<Result<Vec<Answer>, Failure>>) -> Result<(), Stop> {
        let model = self.pronouncer.model();
        let plan = Plan::new(model, self.limits(), &Serial)?.with_projection_cache(model, KEPT_PROJECTIONS)?;
        let mut buffer = vec![0.0; plan.scratch_len()];
        let mut session = Session::new(model, &plan, &mut buffer)?;
        let send = |found: &mut Vec<Answer>| answers.send(Ok(core::mem::take(found))).map_err(|_| Stop::NotWanted);
        while let Some(first) = self.jobs.pop() {
            // The run ends when no word is waiting, so that the last ones are answered while the next are not there yet.
            let running = RefCell::new(BTreeMap::new());
            let mut next = Some(first);
            let mut taken = 0;
            let (mut found, mut sent) = (Vec::new(), Instant::now());
            let inputs = core::iter::from_fn(|| {
                let job = next.take().or_else(|| self.jobs.pop_now())?;
                // A word that the model cannot spell goes on without letters, which is an error of that word alone.
                let ids = self.pronouncer.spell(&job.word).unwrap_or_default();
                running.borrow_mut().insert(taken, job);
                taken += 1;
                Some(ids)
            });
            generate(&mut session, &Serial, &self.search, &self.pronouncer.prompt(), inputs, |number, search| {
                let Some(job) = running.borrow_mut().remove(&number) else { return Ok(()) };
                found.push(self.answer(job, search)?);
                if sent.elapsed() < TOGETHER {
                    return Ok(());
                }
                sent = Instant::now();
                send(&mut found)
            })?;
            send(&mut found)?;
        }
        Ok(())
    }

    fn answer(&self, job: Job, search: Result<&Search, ModelError>) -> Result<Answer, ModelError> {
        let Job { index, word } = job;
        let result = match search {
            Ok(search) => Ok(self.found(&word, search)?),
            Err(error) => Err(Wrong { what: error.to_string(), remedy: "give another word".into() }),
        };
        Ok(Answer { index, word, result })
    }

    fn found(&self, word: &str, search: &Search) -> Result<Found, ModelError> {
        let phonemes = |ids| self.pronouncer.phonemes(ids).collect::<Vec<_>>().join(" ");
        let pronunciations = search
            .hypotheses()
            .map(|hypothesis| Pronunciation { phonemes: phonemes(hypothesis.tokens), score: hypothesis.score })
            .collect();
        let best = search.hypotheses().next().filter(|_| self.attention);
        let attention = best.map(|best| self.attention(word, best.tokens)).transpose()?.map(Box::new);
        Ok(Found { pronunciations, attention })
    }

    /// The attention with which the tokens after the first of `target` were written: each from the one before it.
    fn attention(&self, word: &str, target: &[u32]) -> Result<AttentionMap, ModelError> {
        let model = self.pronouncer.model();
        let source = self.pronouncer.spell(word).unwrap_or_default();
        let (inputs, outputs) = (&target[..target.len().saturating_sub(1)], target.get(1..).unwrap_or_default());
        let labels = |ids: &[u32]| {
            let label = |id: &u32| self.pronouncer.token(*id).filter(|token| !token.starts_with('<')).unwrap_or(END);
            ids.iter().map(|id| label(id).to_owned()).collect()
        };
        Ok(AttentionMap {
            subject: &PRONUNCIATION,
            word: word.to_owned(),
            letters: labels(&source),
            phonemes: labels(outputs),
            layers: model.config().decoder.layers,
            heads: model.config().decoder.heads,
            weights: model.cross_attention(&source, inputs)?,
        })
    }
}
