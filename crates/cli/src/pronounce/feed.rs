//! Where the words come from: the command line or standard input.

use std::ffi::OsString;
use std::io;
use std::sync::mpsc::SyncSender;

use super::answer::Answer;
use super::lines::read_line;
use super::queue::Queue;
use super::words::{self, LINE_LIMIT};
use crate::errors::Failure;

/// A word to pronounce.
pub(crate) struct Job {
    /// The place of its line, from 0.
    pub(crate) index: u64,
    pub(crate) word: String,
}

/// The source of the words.
pub(crate) enum Feed {
    Arguments(Vec<OsString>),
    Stdin,
}

impl Feed {
    /// How many lines there will be, where that is known.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Self::Arguments(words) => Some(words.len()),
            Self::Stdin => None,
        }
    }

    /// What messages call line `index`.
    pub(crate) fn place(&self, index: u64) -> String {
        match self {
            Self::Arguments(_) => format!("word {} of the command line", index + 1),
            Self::Stdin => format!("line {} of the input", index + 1),
        }
    }

    /// Sends all words to `jobs`, and what is no word straight to `answers`, until nobody takes them.
    pub(crate) fn run(
        &self,
        most_letters: usize,
        jobs: &Queue<Job>,
        answers: &SyncSender<Result<Vec<Answer>, Failure>>,
    ) {
        let mut index = 0;
        let mut send = |line: &[u8]| {
            let wanted = match words::parse(line, most_letters) {
                Ok(word) => {
                    jobs.push(Job { index, word });
                    true
                }
                Err(error) => {
                    let answer = Answer { index, word: words::shown(line), result: Err(error.into()) };
                    answers.send(Ok(vec![answer])).is_ok()
                }
            };
            index += 1;
            wanted
        };
        let ended = match self {
            Self::Arguments(words) => {
                // On every system that this runs on, the encoding is that of the text.
                let _ = words.iter().all(|word| send(word.as_encoded_bytes()));
                Ok(())
            }
            Self::Stdin => each_line(send),
        };
        if let Err(error) = ended {
            let failure = Failure::new(
                format_args!("cannot read the words: {error}"),
                "standard input",
                "give words, one a line",
            );
            // Nobody there to be told means that the program ends anyway.
            let _ = answers.send(Err(failure));
        }
        jobs.end();
    }
}

/// Calls `send` for each line of standard input until it returns false.
fn each_line(mut send: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    while read_line(&mut input, &mut line, LINE_LIMIT)? && send(&line) {}
    Ok(())
}
