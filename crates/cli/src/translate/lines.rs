//! Where the text comes from: the command line, a file or standard input, line by line or, of a page, block by block.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use kernform_translate::html::{HtmlBlock, HtmlBlocks};

use super::Answer;
use crate::errors::{Failure, note};
use crate::pronounce::queue::Queue;

/// Bytes of a line that are translated together; a longer one comes in several pieces.
const LONGEST: usize = 1 << 20;

/// A line, or a piece of a very long one; or a block of a page.
pub(crate) struct Job {
    /// Its place, from 0.
    pub(crate) index: u64,
    /// The number of the line, from 1.
    pub(crate) line: u64,
    pub(crate) text: String,
    /// The block that the text is of.
    pub(crate) html: Option<HtmlBlock>,
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

    /// How many lines or pages there will be, where that is known.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Self::Arguments(texts) => Some(texts.len()),
            _ => None,
        }
    }

    /// Sends all lines, or all blocks of pages, to `jobs`; what cannot be read is told to `answers`.
    pub(crate) fn run(self, is_html: bool, jobs: &Queue<Job>, answers: &SyncSender<Result<Answer, Failure>>) {
        let each = |input: &mut dyn BufRead| if is_html { each_block(input, jobs) } else { each_line(input, jobs) };
        let (ended, place) = match self {
            Self::Arguments(texts) => {
                let mut index = 0;
                for (line, text) in (1..).zip(texts) {
                    let mut push = |text, html, ends_line| {
                        jobs.push(Job { index, line, text, html, ends_line });
                        index += 1;
                    };
                    if !is_html {
                        push(text, None, true);
                        continue;
                    }
                    // Reading from memory does not fail.
                    HtmlBlocks::new(text.as_bytes())
                        .map_while(Result::ok)
                        .for_each(|block| push(block.text(), Some(block), false));
                    push(String::new(), None, true);
                }
                (Ok(()), String::new())
            }
            Self::Stdin => (each(&mut io::stdin().lock()), "standard input".into()),
            Self::File { path, file } => {
                (each(&mut BufReader::with_capacity(1 << 16, file)), path.display().to_string())
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
        jobs.push(Job { index, line, text, html: None, ends_line });
        index += 1;
        line += u64::from(ends_line);
        bytes = rest;
    }
}

fn each_block(page: impl io::Read, jobs: &Queue<Job>) -> io::Result<()> {
    let mut blocks = HtmlBlocks::new(page);
    let mut is_warned = false;
    for index in 0.. {
        let Some(block) = blocks.next().transpose()? else { break };
        if !is_warned && blocks.has_wrong_bytes() {
            note("warning: the page is not UTF-8; what is wrong becomes U+FFFD");
            is_warned = true;
        }
        jobs.push(Job { index, line: index + 1, text: block.text(), html: Some(block), ends_line: false });
    }
    Ok(())
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
