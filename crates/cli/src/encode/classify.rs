//! `kernform classify`.

use core::cell::RefCell;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use kernform_model::{EncoderSession, ModelError, Task};
use kernform_tensor::Parallel;
use serde::Serialize;

use super::engine::{self, Job, Outcome};
use super::feed::FeedArgs;
use super::loaded::{Encoder, EncoderArgs};
use super::prepare::{Input, Prepared, Wrong};
use super::probabilities::{largest, probabilities};
use crate::errors::{EXIT_FAILED, Failure};
use crate::level::Chosen;
use crate::model_input::count_up_to;
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "\
Models: BertForSequenceClassification and its like of the other families; labels are those of id2label.
Scores are the softmax over the labels; the sigmoid of each where there is one label, or where config.json says that the
problem has several at once (problem_type).

Output, in the order of the input: label<TAB>score<TAB>text, a line for each of --top labels, or with --json
{\"line\":1,\"text\":\"…\",\"labels\":[{\"label\":\"POSITIVE\",\"score\":0.99}]}

Examples:
  kernform classify --model models/distilbert-sst-2 'A film that warms the heart.'
  kernform classify --model models/nli --pairs --top 3 <premises-and-hypotheses.tsv")]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    encoder: EncoderArgs,

    #[command(flatten)]
    feed: FeedArgs,

    /// Each text is two, with a tab between them
    #[arg(long)]
    pairs: bool,

    /// Print the N most likely labels
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count_up_to(1 << 31))]
    top: usize,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// The labels of a text, most likely first, with their scores.
struct Classes {
    pairs: bool,
    top: usize,
}

impl Job for Classes {
    type Answer = Vec<(usize, f32)>;

    fn prepare(&self, encoder: &Encoder, index: u64, text: String) -> Result<Prepared, Wrong> {
        let input = match text.split_once('\t') {
            Some((first, second)) if self.pairs => Input::Pair(first, second),
            None if self.pairs => {
                return Err(Wrong::new("there is no tab in it", "give two texts a line, with a tab between them"));
            }
            _ => Input::One(&text),
        };
        let (tokens, is_cut) = encoder.tokens(input)?;
        Ok(Prepared { index, text, tokens, is_cut })
    }

    fn answers<P: Parallel>(
        &self,
        encoder: &Encoder,
        session: &mut EncoderSession<'_>,
        parallel: &P,
        _: &[Prepared],
    ) -> Result<Vec<Self::Answer>, ModelError> {
        let config = encoder.model.config();
        let (rows, width) = session.head_shape().ok_or(ModelError::NoHead)?;
        let mut logits = vec![0.0; rows * width];
        session.head(parallel, &mut logits)?;
        probabilities(encoder.model.isa(), &mut logits, width, config.multi_label || width == 1);
        Ok(logits.chunks_exact(width).map(|row| largest(row, self.top)).collect())
    }
}

#[derive(Serialize)]
struct Record<'a> {
    line: u64,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Label<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Label<'a> {
    label: &'a str,
    score: f32,
}

pub(crate) fn run(args: ClassifyArgs, level: Chosen) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let encoder = Arc::new(Encoder::open(&args.encoder, Some(Task::SequenceClassification), level)?);
    let loaded = start.elapsed().as_secs_f64();
    let names = &encoder.model.config().labels;
    let lines = RefCell::new(String::new());
    let write = |outcome: &Outcome<Vec<(usize, f32)>>| {
        let found = outcome.result.as_ref().ok();
        let labels = found.map(|found| {
            found.iter().map(|(label, score)| Label { label: &names[*label], score: *score }).collect::<Vec<_>>()
        });
        let mut lines = lines.borrow_mut();
        if args.json {
            let error = outcome.result.as_ref().err().map(|wrong| wrong.what.as_str());
            let record = Record { line: outcome.index + 1, text: &outcome.text, labels, error };
            lines.push_str(&output::json(&record)?);
            lines.push('\n');
        } else {
            match labels {
                None => lines.push('\n'),
                Some(labels) => labels.iter().for_each(|Label { label, score }| {
                    lines.push_str(&format!("{label}\t{score:.6}\t{}\n", outcome.text));
                }),
            }
        }
        Ok(())
    };
    let flush = || {
        let text = core::mem::take(&mut *lines.borrow_mut());
        if text.is_empty() { Ok(()) } else { output::print(&text) }
    };
    let job = Classes { pairs: args.pairs, top: args.top };
    let done = engine::run(&encoder, job, args.feed.feed(), args.encoder.threads(), write, flush)?;
    if args.encoder.stats {
        done.print(start.elapsed().as_secs_f64(), loaded, &encoder, &args.encoder);
    }
    Ok(if done.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}
