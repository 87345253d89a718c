//! `kernform fill`.

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
Models: BertForMaskedLM and its like of the other families. Each text has one or several masks, written as the
tokenizer writes them: [MASK] or <mask>. Scores are probabilities over the vocabulary, for each mask on its own.

Output, in the order of the input: line<TAB>mask<TAB>score<TAB>token, --top lines a mask; with --json an object a text:
{\"line\":1,\"text\":\"…\",\"masks\":[[{\"token\":\"Paris\",\"id\":3000,\"score\":0.9}]]}

Example:
  kernform fill --model models/bert-base-cased 'The capital of France is [MASK].'")]
pub(crate) struct FillArgs {
    #[command(flatten)]
    encoder: EncoderArgs,

    #[command(flatten)]
    feed: FeedArgs,

    /// Print the N most likely tokens for each mask
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = count_up_to(1 << 31))]
    top: usize,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// The most likely tokens for each mask.
struct Masks {
    /// The mask's id, and how it is written.
    mask: (u32, &'static str),
    top: usize,
}

/// The masks that tokenizers have.
const WRITTEN: [&str; 2] = ["[MASK]", "<mask>"];

impl Job for Masks {
    type Answer = Vec<Vec<(usize, f32)>>;

    fn prepare(&self, encoder: &Encoder, index: u64, text: String) -> Result<Prepared, Wrong> {
        let (tokens, is_cut) = encoder.tokens(Input::One(&text))?;
        if !tokens.ids.contains(&self.mask.0) {
            return Err(Wrong::new(
                format_args!("there is no {} in it", self.mask.1),
                "write a mask where a token is wanted, near enough to the beginning to be read",
            ));
        }
        Ok(Prepared { index, text, tokens, is_cut })
    }

    fn answers<P: Parallel>(
        &self,
        encoder: &Encoder,
        session: &mut EncoderSession<'_>,
        parallel: &P,
        batch: &[Prepared],
    ) -> Result<Vec<Self::Answer>, ModelError> {
        let (_, width) = session.head_shape().ok_or(ModelError::NoHead)?;
        let ids = batch.iter().flat_map(|text| &text.tokens.ids);
        let places: Vec<_> = ids.enumerate().filter(|(_, id)| **id == self.mask.0).map(|(place, _)| place).collect();
        let mut scores = vec![0.0; places.len() * width];
        session.head_of(parallel, &places, &mut scores)?;
        probabilities(encoder.model.isa(), &mut scores, width, false);
        let mut rows = scores.chunks_exact(width).map(|row| largest(row, self.top));
        let masks = |text: &Prepared| text.tokens.ids.iter().filter(|id| **id == self.mask.0).count();
        Ok(batch.iter().map(|text| rows.by_ref().take(masks(text)).collect()).collect())
    }
}

#[derive(Serialize)]
struct Record<'a> {
    line: u64,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    masks: Option<Vec<Vec<Candidate>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Candidate {
    token: String,
    id: usize,
    score: f32,
}

pub(crate) fn run(args: FillArgs, level: Chosen) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let encoder = Arc::new(Encoder::open(&args.encoder, Some(Task::MaskedLm), level)?);
    let loaded = start.elapsed().as_secs_f64();
    let mask = WRITTEN.into_iter().find_map(|name| Some((encoder.tokenizer.id(name)?, name))).ok_or_else(|| {
        Failure::new(
            format_args!("the tokenizer has no mask; known ones are {}", WRITTEN.join(" and ")),
            args.encoder.model.display(),
            "give a model with a masked language model's tokenizer",
        )
    })?;
    let token = |id: usize| {
        let id = u32::try_from(id).unwrap_or(u32::MAX);
        let text = encoder.tokenizer.decode(&[id], false).ok().filter(|text| !text.trim().is_empty());
        text.map(|text| text.trim().to_owned()).or_else(|| encoder.tokenizer.token(id)).unwrap_or_default()
    };
    let lines = RefCell::new(String::new());
    let write = |outcome: &Outcome<Vec<Vec<(usize, f32)>>>| {
        let candidates = |mask: &Vec<(usize, f32)>| -> Vec<Candidate> {
            mask.iter().map(|(id, score)| Candidate { token: token(*id), id: *id, score: *score }).collect()
        };
        let masks = outcome.result.as_ref().ok().map(|masks| masks.iter().map(candidates).collect::<Vec<_>>());
        let line = outcome.index + 1;
        let mut lines = lines.borrow_mut();
        if args.json {
            let error = outcome.result.as_ref().err().map(|wrong| wrong.what.as_str());
            lines.push_str(&output::json(&Record { line, text: &outcome.text, masks, error })?);
            lines.push('\n');
        } else {
            for (mask, candidates) in (1..).zip(masks.unwrap_or_default()) {
                for Candidate { token, score, .. } in candidates {
                    lines.push_str(&format!("{line}\t{mask}\t{score:.6}\t{token}\n"));
                }
            }
        }
        Ok(())
    };
    let flush = || {
        let text = core::mem::take(&mut *lines.borrow_mut());
        if text.is_empty() { Ok(()) } else { output::print(&text) }
    };
    let job = Masks { mask, top: args.top };
    let done = engine::run(&encoder, job, args.feed.feed(), args.encoder.threads(), write, flush)?;
    if args.encoder.stats {
        done.print(start.elapsed().as_secs_f64(), loaded, &encoder, &args.encoder);
    }
    Ok(if done.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}
