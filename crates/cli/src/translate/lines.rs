//! Where the text comes from: the command line, a file or standard input, line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use super::Answer;
use crate::errors::{Failure, note};
use crate::pronounce::queue::Queue;

/// Bytes of a line that are translated together; a longer one comes in several pieces.
const LONGEST: usize = 1 << 20;

/// A line, or a piece of a very long one.
pub(crate) struct Job {
    /// Its place, from 0.
    pub(crate) index: u64,
    /// The number of the line, from 1.
    pub(crate) line: u64,
    pub(crate) text: String,
    /// Whether a line break follows.
    pub(crate) ends_line: bool,
}

/// The source of the text.
pub(crate) enum Input {
    Arguments(Vec<String>),
    Stdin,
    File { path: PathBuf, file: File },
}

impl Input {
    pub(crate) fn new(texts: Vec<String>, file: Option<PathBuf>) -> Result<Self, Failure> {
        match file {
            Some(path) => match File::open(&path) {
                Ok(file) => Ok(Self::File { path, file }),
                Err(error) => Err(Failure::new(
                    format_args!("cannot open the text: {error}"),
                    path.display(),
                    "name another file",
                )),
            },
            None if texts.is_empty() => Ok(Self::Stdin),
            None => Ok(Self::Arguments(texts)),
        }
    }

    /// How many lines there will be, where that is known.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Self::Arguments(texts) => Some(texts.len()),
            _ => None,
        }
    }

    /// Sends all lines to `jobs`; what cannot be read is told to `answers`.
    pub(crate) fn run(self, jobs: &Queue<Job>, answers: &SyncSender<Result<Answer, Failure>>) {
        let (ended, place) = match self {
            Self::Arguments(texts) => {
                for (index, text) in (0..).zip(texts) {
                    jobs.push(Job { index, line: index + 1, text, ends_line: true });
                }
                (Ok(()), String::new())
            }
            Self::Stdin => (each_line(io::stdin().lock(), jobs), "standard input".into()),
            Self::File { path, file } => {
                (each_line(BufReader::with_capacity(1 << 16, file), jobs), path.display().to_string())
            }
        };
        if let Err(error) = ended {
            // Nobody there to be told means that the program ends anyway.
            let _ = answers.send(Err(Failure::new(
                format_args!("cannot read the text: {error}"),
                place,
                "see that it is a file",
            )));
        }
        jobs.end();
    }
}

fn each_line(mut input: impl BufRead, jobs: &Queue<Job>) -> io::Result<()> {
    let (mut index, mut line) = (0, 1);
    let mut bytes = Vec::new();
    loop {
        let kept = bytes.len();
        io::Read::take(&mut input, (LONGEST - kept) as u64).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let is_end = bytes.len() == kept;
        let ends_line = bytes.last() == Some(&b'\n');
        let mut rest = Vec::new();
        if ends_line {
            bytes.pop();
        } else if bytes.len() == LONGEST && !is_end {
            // A character, or a word where there is one, is not cut in two.
            let cut = bytes.iter().rposition(|byte| *byte == b' ').filter(|cut| *cut > 0);
            let cut = cut.unwrap_or_else(|| bytes.len() - incomplete(&bytes));
            rest = bytes.split_off(cut);
        }
        let text = String::from_utf8(core::mem::take(&mut bytes)).unwrap_or_else(|error| {
            note(format_args!("warning: line {line} is not UTF-8; what is wrong becomes U+FFFD"));
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        jobs.push(Job { index, line, text, ends_line });
        index += 1;
        line += u64::from(ends_line);
        bytes = rest;
    }
}

/// Bytes at the end that begin a character and do not end it.
fn incomplete(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    match core::str::from_utf8(&bytes[tail..]) {
        Ok(_) => 0,
        Err(_) => (1..=3).find(|&n| bytes.len() > n && bytes[bytes.len() - n] >= 0xC0).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<(u64, String, bool)> {
        let jobs = Queue::new(64);
        each_line(input, &jobs).unwrap();
        jobs.end();
        core::iter::from_fn(|| jobs.pop()).map(|job| (job.line, job.text, job.ends_line)).collect()
    }

    #[test]
    fn lines_come_whole_and_keep_their_ends() {
        let line = |line, text: &str, ends| (line, text.to_string(), ends);
        assert_eq!(read(b"one\r\n\ntwo"), [line(1, "one\r", true), line(2, "", true), line(3, "two", false)]);
        assert!(read(b"").is_empty());
        assert_eq!(read(b"a\xff\n"), [line(1, "a\u{FFFD}", true)]);
    }

    #[test]
    fn very_long_lines_come_in_pieces_that_join_to_the_line() {
        for text in ["é".repeat(LONGEST), "word ".repeat(LONGEST / 3)] {
            let pieces = read(text.as_bytes());
            assert!(pieces.len() > 1);
            assert!(pieces.iter().all(|(line, piece, ends)| *line == 1 && piece.len() <= LONGEST && !ends));
            assert!(pieces.into_iter().map(|(_, piece, _)| piece).collect::<String>() == text);
        }
    }
}
