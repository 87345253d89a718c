//! Translations in the order of the input, written as soon as they are there.

use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError};

use serde::Serialize;

use super::{Answer, draw};
use crate::errors::Failure;
use crate::output;
use crate::pronounce::progress::Progress;

/// Text that waits at most this long (in bytes) for more answers before it is written.
const ENOUGH: usize = 32 << 10;

/// How a line is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    /// So many translations with their scores.
    Ranked(usize),
    Json,
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    /// Lines, or blocks of pages.
    pub(crate) lines: u64,
    pub(crate) sentences: u64,
    pub(crate) source_tokens: u64,
    pub(crate) target_tokens: u64,
}

/// Writes answers to standard output or a file.
pub(crate) struct Writer {
    form: Form,
    is_html: bool,
    /// The name of a picture, or nothing for the terminal.
    align: Option<String>,
    file: Option<(PathBuf, File)>,
    progress: Progress,
}

#[derive(Serialize)]
struct Line<'a> {
    line: u64,
    translation: String,
    sentences: Vec<Sentence<'a>>,
}

#[derive(Serialize)]
struct Sentence<'a> {
    source: &'a str,
    translations: Vec<Ranked<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alignment: Option<Aligned<'a>>,
}

#[derive(Serialize)]
struct Ranked<'a> {
    text: &'a str,
    score: Option<f32>,
    tokens: usize,
    finished: bool,
}

#[derive(Serialize)]
struct Aligned<'a> {
    source: &'a [String],
    target: &'a [String],
    weights: Vec<&'a [f32]>,
}

impl Writer {
    pub(crate) fn new(
        (form, is_html): (Form, bool),
        align: Option<String>,
        file: Option<&Path>,
        progress: Progress,
    ) -> Result<Self, Failure> {
        let create = |path: &Path| match File::create(path) {
            Ok(file) => Ok((path.to_path_buf(), file)),
            Err(error) => {
                Err(Failure::new(format_args!("cannot write the file: {error}"), path.display(), "name another file"))
            }
        };
        Ok(Self { form, is_html, align, file: file.map(create).transpose()?, progress })
    }

    /// Writes until no more answers come. Text is held back only while the next answer is there already.
    pub(crate) fn run(mut self, answers: Receiver<Result<Answer, Failure>>) -> Result<Count, Failure> {
        let mut early = BTreeMap::new();
        let mut text = String::new();
        let mut count = Count::default();
        let mut next = 0;
        loop {
            let received = match answers.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.flush(&mut text, count)?;
                    answers.recv().map_err(|_| TryRecvError::Disconnected)
                }
                other => other,
            };
            let Ok(answer) = received else { break };
            let answer = answer?;
            early.insert(answer.job.index, answer);
            while let Some(answer) = early.remove(&next) {
                self.write(&answer, &mut text)?;
                next += 1;
                count.lines += u64::from(if self.is_html { answer.html.is_some() } else { answer.job.ends_line });
                count.sentences +=
                    answer.translation.units.iter().filter(|unit| !unit.tokens.is_empty()).count() as u64;
                let (source, target) = answer.translation.tokens();
                count.source_tokens += source as u64;
                count.target_tokens += target as u64;
                if text.len() >= ENOUGH {
                    self.flush(&mut text, count)?;
                }
            }
        }
        self.flush(&mut text, count)?;
        self.progress.finish();
        Ok(count)
    }

    fn flush(&mut self, text: &mut String, count: Count) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        match &mut self.file {
            Some((path, file)) => file.write_all(text.as_bytes()).map_err(|error| {
                Failure::new(
                    format_args!("cannot write the file: {error}"),
                    path.display(),
                    "see that there is space left",
                )
            })?,
            None => output::print(text)?,
        }
        text.clear();
        self.progress.show_with(count.lines, || format!("{} tokens", count.target_tokens));
        Ok(())
    }

    fn write(&self, answer: &Answer, text: &mut String) -> Result<(), Failure> {
        let translation = &answer.translation;
        match self.form {
            Form::Plain => {
                match &answer.html {
                    Some(html) => text.push_str(html),
                    None => text.push_str(&translation.text()),
                }
                if answer.job.ends_line {
                    text.push('\n');
                }
            }
            Form::Ranked(n_best) => {
                for rank in 0..n_best {
                    let score = translation.score(rank).map_or_else(String::new, |score| format!("{score:.4}"));
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "{}\t{score}\t{}", rank + 1, translation.ranked(rank));
                }
            }
            Form::Json => {
                text.push_str(&output::json(&Line::of(answer))?);
                text.push('\n');
            }
        }
        match &self.align {
            Some(name) if !name.is_empty() => draw::picture(Path::new(name), answer),
            Some(_) if self.form != Form::Json => {
                draw::terminal(answer, text);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl<'a> Line<'a> {
    fn of(answer: &'a Answer) -> Self {
        let mut alignments = answer.alignments.iter();
        let units = answer.translation.units.iter().filter(|unit| !unit.tokens.is_empty());
        let sentences = units.map(|unit| Sentence {
            source: &unit.source,
            translations: unit
                .hypotheses
                .iter()
                .map(|one| Ranked {
                    text: &one.text,
                    score: one.score,
                    tokens: one.tokens.len(),
                    finished: one.finished,
                })
                .collect(),
            alignment: alignments.next().map(|one| Aligned {
                source: &one.source,
                target: &one.target,
                weights: one.weights.chunks(one.source.len().max(1)).collect(),
            }),
        });
        Self { line: answer.job.line, translation: answer.translation.text(), sentences: sentences.collect() }
    }
}
