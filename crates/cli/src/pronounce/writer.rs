//! Answers in the order of the input, written as soon as they are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError};

use super::answer::{Answer, Form, Found};
use super::feed::Feed;
use super::progress::Progress;
use super::{heatmap, svg};
use crate::errors::{Failure, complain};
use crate::output;
use crate::term::{self, Colours};

/// Text that waits at most this long (in bytes) for more answers before it is written.
const ENOUGH: usize = 32 << 10;

/// What is drawn of the attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Drawing {
    None,
    Terminal,
    /// A picture; with a word in its name where there may be several.
    Picture {
        path: PathBuf,
        named_by_word: bool,
    },
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) lines: u64,
    /// Lines without a pronunciation.
    pub(crate) failed: u64,
}

/// Writes answers to standard output and complaints to stderr.
pub(crate) struct Writer<'a> {
    pub(crate) form: Form,
    pub(crate) drawing: Drawing,
    pub(crate) feed: &'a Feed,
    pub(crate) progress: Progress,
}

impl Writer<'_> {
    /// Writes until no more answers come.
    ///
    /// Text is held back only while the next answer is there already.
    pub(crate) fn run(mut self, answers: &Receiver<Result<Vec<Answer>, Failure>>) -> Result<Count, Failure> {
        let mut early = BTreeMap::new();
        let mut text = String::new();
        let mut count = Count::default();
        loop {
            let received = match answers.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.flush(&mut text, count)?;
                    answers.recv().map_err(|_| TryRecvError::Disconnected)
                }
                other => other,
            };
            let Ok(answers) = received else { break };
            early.extend(answers?.into_iter().map(|answer| (answer.index, answer)));
            while let Some(answer) = early.remove(&count.lines) {
                self.write(&answer, &mut text)?;
                count.lines += 1;
                count.failed += u64::from(answer.result.is_err());
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
        if !text.is_empty() {
            output::print(text)?;
            text.clear();
            self.progress.show(count.lines);
        }
        Ok(())
    }

    fn write(&self, answer: &Answer, text: &mut String) -> Result<(), Failure> {
        answer.write(self.form, text)?;
        match &answer.result {
            Ok(found) => self.draw(found, text),
            Err(wrong) => {
                let place = self.feed.place(answer.index);
                self.progress.above(|| complain(format_args!("{}; {place}; {}", wrong.what, wrong.remedy)));
                Ok(())
            }
        }
    }

    fn draw(&self, found: &Found, text: &mut String) -> Result<(), Failure> {
        let Some(map) = &found.attention else { return Ok(()) };
        match &self.drawing {
            Drawing::None => {}
            // In JSON the numbers themselves are there.
            Drawing::Terminal if self.form == Form::Json => {}
            Drawing::Terminal => {
                text.push('\n');
                text.push_str(&heatmap::draw(map, Colours::of_stdout(), term::columns()));
                text.push('\n');
            }
            Drawing::Picture { path, named_by_word } => {
                let path = if *named_by_word { with_word(path, &map.word) } else { path.clone() };
                std::fs::write(&path, svg::draw(map)).map_err(|error| {
                    Failure::new(format_args!("cannot write the picture: {error}"), path.display(), "name another file")
                })?;
            }
        }
        Ok(())
    }
}

/// `attention.svg` as `attention-WORD.svg`. Words have no character that a path could stumble over.
fn with_word(path: &Path, word: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{word}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_several_words_are_told_apart() {
        assert_eq!(with_word(Path::new("a/b.svg"), "o'clock"), Path::new("a/b-o'clock.svg"));
        assert_eq!(with_word(Path::new("x.SVG"), "a.d."), Path::new("x-a.d..SVG"));
    }
}
