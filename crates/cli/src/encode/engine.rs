//! Texts in, answers out, in order.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, mpsc};

use kernform_model::{EncoderLimits, EncoderPlan, EncoderSession, ModelError, PackedInputs};
use kernform_tensor::parallel::Threads;
use kernform_tensor::{Memory, Parallel};

use super::feed::{Feed, Line};
use super::loaded::{Done, Encoder};
use super::prepare::{Prepared, Wrong};
use crate::errors::{Failure, complain};
use crate::model_input::zeros;
use crate::pronounce::progress::Progress;
use crate::pronounce::queue::Queue;

/// What a command makes of texts.
pub(crate) trait Job: Send + Sync + 'static {
    /// What it says of one.
    type Answer: Send + 'static;

    /// The tokens of a line.
    fn prepare(&self, encoder: &Encoder, index: u64, text: String) -> Result<Prepared, Wrong>;

    /// The answers for a batch that `session` has run.
    fn answers<P: Parallel>(
        &self,
        encoder: &Encoder,
        session: &mut EncoderSession<'_>,
        parallel: &P,
        batch: &[Prepared],
    ) -> Result<Vec<Self::Answer>, ModelError>;
}

/// What became of a line.
pub(crate) struct Outcome<A> {
    pub(crate) index: u64,
    pub(crate) text: String,
    pub(crate) tokens: usize,
    pub(crate) is_cut: bool,
    pub(crate) result: Result<A, Wrong>,
}

/// What the threads share.
struct Work<J> {
    encoder: Arc<Encoder>,
    job: J,
    lines: Queue<Line>,
}

type Sender<A> = SyncSender<Result<Vec<Outcome<A>>, Failure>>;

/// Runs `job` on all texts of `feed`; `write` gets what became of each, in their order, and `flush` is called whenever it
/// would have to wait for more. Lines without an answer get a message on stderr.
pub(crate) fn run<J: Job>(
    encoder: &Arc<Encoder>,
    job: J,
    feed: Feed,
    threads: usize,
    mut write: impl FnMut(&Outcome<J::Answer>) -> Result<(), Failure>,
    mut flush: impl FnMut() -> Result<(), Failure>,
) -> Result<Done, Failure> {
    // Few texts are computed by all threads together, many by each thread on its own.
    let (workers, together) = match feed.len() {
        Some(texts) if texts < threads => (1, threads),
        _ => (threads, 1),
    };
    let work = Arc::new(Work { encoder: Arc::clone(encoder), job, lines: Queue::new(1024) });
    let feed = Arc::new(feed);
    let (sender, answers) = mpsc::sync_channel(64);
    for _ in 0..workers {
        let (work, sender): (_, Sender<J::Answer>) = (Arc::clone(&work), sender.clone());
        std::thread::spawn(move || {
            if let Err(failure) = work.run(&sender, &Threads(together)) {
                // Nobody there to be told means that the program ends anyway.
                let _ = sender.send(Err(failure));
            }
        });
    }
    // Not waited for: it may read for ever when nobody wants the answers any more.
    let (reader, lines) = (Arc::clone(&feed), Arc::clone(&work));
    std::thread::spawn(move || {
        if let Err(failure) = reader.run(&lines.lines) {
            let _ = sender.send(Err(failure));
        }
    });
    let mut progress = Progress::new(feed.len(), "texts");
    let done = collect(&answers, &feed, &mut progress, &mut write, &mut flush)?;
    progress.finish();
    Ok(done)
}

fn collect<A>(
    answers: &Receiver<Result<Vec<Outcome<A>>, Failure>>,
    feed: &Feed,
    progress: &mut Progress,
    write: &mut impl FnMut(&Outcome<A>) -> Result<(), Failure>,
    flush: &mut impl FnMut() -> Result<(), Failure>,
) -> Result<Done, Failure> {
    let mut early = BTreeMap::new();
    let mut done = Done::default();
    loop {
        let received = match answers.try_recv() {
            Err(mpsc::TryRecvError::Empty) => {
                flush()?;
                answers.recv().map_err(|_| mpsc::TryRecvError::Disconnected)
            }
            other => other,
        };
        let Ok(outcomes) = received else { break };
        early.extend(outcomes?.into_iter().map(|outcome| (outcome.index, outcome)));
        while let Some(outcome) = early.remove(&done.texts) {
            if let Err(wrong) = &outcome.result {
                let place = feed.place(outcome.index);
                progress.above(|| complain(format_args!("{}; {place}; {}", wrong.what, wrong.remedy)));
                done.failed += 1;
            }
            write(&outcome)?;
            done.texts += 1;
            done.tokens += outcome.tokens as u64;
            done.cut += u64::from(outcome.is_cut);
        }
        progress.show(done.texts);
    }
    flush()?;
    Ok(done)
}

impl<J: Job> Work<J> {
    /// Answers lines until there are no more or nobody wants the answers.
    fn run<P: Parallel>(&self, answers: &Sender<J::Answer>, parallel: &P) -> Result<(), Failure> {
        let encoder = &*self.encoder;
        let budget = encoder.batch_tokens.max(encoder.max_tokens().min(encoder.model.max_tokens()));
        let mut room = Room::default();
        let mut waiting: Option<Prepared> = None;
        loop {
            let mut batch: Vec<Prepared> = waiting.take().into_iter().collect();
            let mut tokens: usize = batch.iter().map(|text| text.tokens.ids.len()).sum();
            let mut outcomes = Vec::new();
            // Waits for a line only when there is nothing to do.
            let mut next = if batch.is_empty() { self.lines.pop() } else { self.lines.pop_now() };
            if batch.is_empty() && next.is_none() {
                return Ok(());
            }
            while let Some(line) = next {
                let Line { index, text } = line;
                match text.and_then(|text| self.job.prepare(encoder, index, text)) {
                    Err(wrong) => {
                        let text = String::new();
                        outcomes.push(Outcome { index, text, tokens: 0, is_cut: false, result: Err(wrong) });
                    }
                    Ok(text) if !batch.is_empty() && tokens + text.tokens.ids.len() > encoder.batch_tokens => {
                        waiting = Some(text);
                        break;
                    }
                    Ok(text) => {
                        tokens += text.tokens.ids.len();
                        batch.push(text);
                    }
                }
                if batch.len() + outcomes.len() >= budget {
                    break;
                }
                next = self.lines.pop_now();
            }
            if !batch.is_empty() {
                let found = self.batch(&mut room, parallel, &batch, tokens)?;
                outcomes.extend(batch.into_iter().zip(found).map(|(text, answer)| Outcome {
                    index: text.index,
                    tokens: text.tokens.ids.len(),
                    is_cut: text.is_cut,
                    text: text.text,
                    result: Ok(answer),
                }));
            }
            if answers.send(Ok(outcomes)).is_err() {
                return Ok(());
            }
        }
    }

    fn batch<P: Parallel>(
        &self,
        room: &mut Room,
        parallel: &P,
        batch: &[Prepared],
        tokens: usize,
    ) -> Result<Vec<J::Answer>, Failure> {
        let encoder = &*self.encoder;
        let wrong = |error: ModelError| encoder.failure(&error);
        let limits = EncoderLimits { sequences: batch.len(), tokens };
        let plan = EncoderPlan::new(&encoder.model, limits, parallel).map_err(wrong)?;
        let buffer = room.of(plan.scratch_len())?;
        let mut session = EncoderSession::new(&encoder.model, &plan, buffer).map_err(wrong)?;
        let ids: Vec<u32> = batch.iter().flat_map(|text| text.tokens.ids.iter().copied()).collect();
        let types: Vec<u32> = batch.iter().flat_map(|text| text.tokens.type_ids.iter().copied()).collect();
        let lengths: Vec<usize> = batch.iter().map(|text| text.tokens.ids.len()).collect();
        let inputs = PackedInputs { input_ids: &ids, token_type_ids: encoder.types(&types), lengths: &lengths };
        session.run(parallel, &inputs).map_err(wrong)?;
        self.job.answers(encoder, &mut session, parallel, batch).map_err(wrong)
    }
}

/// The buffer of a thread's sessions, as large as the largest batch so far.
#[derive(Default)]
struct Room(Memory);

impl Room {
    fn of(&mut self, len: usize) -> Result<&mut [f32], Failure> {
        if self.0.as_slice::<f32>().len() < len {
            self.0 = zeros(len)?;
        }
        Ok(self.0.as_mut_slice())
    }
}
