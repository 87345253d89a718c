//! `kernform tag`.

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
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "\
Models: BertForTokenClassification and its like of the other families; labels are those of id2label. Tokens of one
entity (B-PER, I-PER, …) are joined, their score is the mean; tokens with the label O are left out. --tokens shows
every token as it is.

Output, in the order of the input: line<TAB>label<TAB>score<TAB>start<TAB>end<TAB>words, a line an entity; start and
end count bytes of the text. With --json an object a text:
{\"line\":1,\"text\":\"…\",\"entities\":[{\"label\":\"PER\",\"score\":0.99,\"start\":0,\"end\":5,\"text\":\"Marie\"}]}

Example:
  kernform tag --model models/bert-base-NER 'Marie Curie was born in Warsaw.'")]
pub(crate) struct TagArgs {
    #[command(flatten)]
    encoder: EncoderArgs,

    #[command(flatten)]
    feed: FeedArgs,

    /// Every token on its own, those without an entity too
    #[arg(long)]
    tokens: bool,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// A part of a text with a label.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    label: String,
    score: f32,
    start: usize,
    end: usize,
}

/// The labels of the tokens of a text.
struct Tags {
    tokens: bool,
}

impl Job for Tags {
    type Answer = Vec<Span>;

    fn prepare(&self, encoder: &Encoder, index: u64, text: String) -> Result<Prepared, Wrong> {
        let (tokens, is_cut) = encoder.tokens(Input::One(&text))?;
        Ok(Prepared { index, text, tokens, is_cut })
    }

    fn answers<P: Parallel>(
        &self,
        encoder: &Encoder,
        session: &mut EncoderSession<'_>,
        parallel: &P,
        batch: &[Prepared],
    ) -> Result<Vec<Vec<Span>>, ModelError> {
        let labels = &encoder.model.config().labels;
        let (rows, width) = session.head_shape().ok_or(ModelError::NoHead)?;
        let mut scores = vec![0.0; rows * width];
        session.head(parallel, &mut scores)?;
        probabilities(encoder.model.isa(), &mut scores, width, false);
        let mut rows = scores.chunks_exact(width);
        let spans = batch.iter().map(|text| {
            let tokens = text.tokens.special.iter().zip(&text.tokens.offsets);
            // Each token takes its row, the special ones too.
            let spans: Vec<Span> = tokens
                .filter_map(|(special, (start, end))| {
                    let (label, score) = rows.next().and_then(|row| largest(row, 1).first().copied())?;
                    (!special).then(|| Span { label: labels[label].clone(), score, start: *start, end: *end })
                })
                .collect();
            if self.tokens { spans } else { joined(&spans) }
        });
        Ok(spans.collect())
    }
}

/// Neighbours of one entity as one span, without what is none.
fn joined(tokens: &[Span]) -> Vec<Span> {
    let mut entities: Vec<(Span, usize)> = Vec::new();
    let mut is_open = false;
    for token in tokens {
        let (begins, label) = match token.label.split_once('-') {
            Some(("B", label)) => (true, label),
            Some(("I", label)) => (false, label),
            _ => (false, token.label.as_str()),
        };
        if token.label == "O" {
            is_open = false;
            continue;
        }
        match entities.last_mut() {
            Some((entity, count)) if is_open && !begins && entity.label == label => {
                entity.end = token.end;
                entity.score += token.score;
                *count += 1;
            }
            _ => entities.push((Span { label: label.to_owned(), ..token.clone() }, 1)),
        }
        is_open = true;
    }
    entities.into_iter().map(|(entity, count)| Span { score: entity.score / count as f32, ..entity }).collect()
}

#[derive(Serialize)]
struct Record<'a> {
    line: u64,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entities: Option<Vec<Entity<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Entity<'a> {
    label: String,
    score: f32,
    start: usize,
    end: usize,
    text: &'a str,
}

pub(crate) fn run(args: TagArgs, level: Chosen) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let encoder = Arc::new(Encoder::open(&args.encoder, Some(Task::TokenClassification), level)?);
    let loaded = start.elapsed().as_secs_f64();
    let lines = RefCell::new(String::new());
    let write = |outcome: &Outcome<Vec<Span>>| {
        let (line, text) = (outcome.index + 1, outcome.text.as_str());
        let entity = |Span { label, score, start, end }: &'_ Span| Entity {
            label: label.clone(),
            score: *score,
            start: *start,
            end: *end,
            text: text.get(*start..*end).unwrap_or_default(),
        };
        let shown = outcome.result.as_ref().ok().map(|spans| spans.iter().map(entity).collect::<Vec<_>>());
        let mut lines = lines.borrow_mut();
        if args.json {
            let error = outcome.result.as_ref().err().map(|wrong| wrong.what.as_str());
            lines.push_str(&output::json(&Record { line, text, entities: shown, error })?);
            lines.push('\n');
        } else {
            for Entity { label, score, start, end, text } in shown.unwrap_or_default() {
                lines.push_str(&format!("{line}\t{label}\t{score:.4}\t{start}\t{end}\t{text}\n"));
            }
        }
        Ok(())
    };
    let flush = || {
        let text = core::mem::take(&mut *lines.borrow_mut());
        if text.is_empty() { Ok(()) } else { output::print(&text) }
    };
    let job = Tags { tokens: args.tokens };
    let done = engine::run(&encoder, job, args.feed.feed(), args.encoder.threads(), write, flush)?;
    if args.encoder.stats {
        done.print(start.elapsed().as_secs_f64(), loaded, &encoder, &args.encoder);
    }
    Ok(if done.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_entity_are_joined() {
        let token = |label: &str, start| Span { label: label.into(), score: 0.5, start, end: start + 1 };
        let tokens = [
            token("B-PER", 0),
            token("I-PER", 1),
            token("B-PER", 2),
            token("O", 3),
            token("I-PER", 4),
            token("I-LOC", 5),
            token("LOC", 6),
        ];
        let found: Vec<_> = joined(&tokens).into_iter().map(|span| (span.label, span.start, span.end)).collect();
        let expected = [("PER", 0, 2), ("PER", 2, 3), ("PER", 4, 5), ("LOC", 5, 7)];
        assert_eq!(found, expected.map(|(label, start, end)| (label.to_owned(), start, end)));
    }
}
