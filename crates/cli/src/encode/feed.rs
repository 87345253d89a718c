//! Where the texts come from.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use clap::Args;

use super::prepare::Wrong;
use crate::errors::Failure;
use crate::pronounce::lines::read_line;
use crate::pronounce::queue::Queue;

/// Bytes of a line that are kept; longer ones get a message.
const LINE_LIMIT: usize = 16 << 20;

/// Options that say where the texts are.
#[derive(Debug, Args)]
pub(crate) struct FeedArgs {
    /// Texts; without any they are read from --file or standard input, one a line
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// Read the texts from this file, one a line
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    file: Option<PathBuf>,

    /// Lines are JSON objects; the text is the string under this key
    #[arg(long, value_name = "KEY", conflicts_with = "texts")]
    field: Option<String>,
}

/// The source of the texts.
pub(crate) struct Feed {
    source: Source,
    field: Option<String>,
}

enum Source {
    Arguments(Vec<String>),
    File(PathBuf),
    Stdin,
}

/// A line of the input.
pub(crate) struct Line {
    /// Its place, from 0.
    pub(crate) index: u64,
    pub(crate) text: Result<String, Wrong>,
}

impl FeedArgs {
    pub(crate) fn feed(self) -> Feed {
        let source = match self.file {
            Some(file) => Source::File(file),
            None if self.texts.is_empty() => Source::Stdin,
            None => Source::Arguments(self.texts),
        };
        Feed { source, field: self.field }
    }
}

impl Feed {
    /// The lines of a file.
    pub(crate) const fn file(path: PathBuf) -> Self {
        Self { source: Source::File(path), field: None }
    }

    /// These texts.
    pub(crate) const fn texts(texts: Vec<String>) -> Self {
        Self { source: Source::Arguments(texts), field: None }
    }

    /// How many texts there will be, where that is known.
    pub(crate) fn len(&self) -> Option<usize> {
        match &self.source {
            Source::Arguments(texts) => Some(texts.len()),
            _ => None,
        }
    }

    /// What messages call text `index`.
    pub(crate) fn place(&self, index: u64) -> String {
        match &self.source {
            Source::Arguments(_) => format!("text {} of the command line", index + 1),
            Source::File(path) => format!("line {} of {}", index + 1, path.display()),
            Source::Stdin => format!("line {} of the input", index + 1),
        }
    }

    /// Sends all texts to `lines`, and ends it.
    pub(crate) fn run(&self, lines: &Queue<Line>) -> Result<(), Failure> {
        let ended = match &self.source {
            Source::Arguments(texts) => {
                for (index, text) in (0..).zip(texts) {
                    lines.push(Line { index, text: Ok(text.clone()) });
                }
                Ok(())
            }
            Source::File(path) => {
                File::open(path).and_then(|file| self.each_line(&mut BufReader::with_capacity(1 << 16, file), lines))
            }
            Source::Stdin => self.each_line(&mut io::stdin().lock(), lines),
        };
        lines.end();
        let name = match &self.source {
            Source::File(path) => path.display().to_string(),
            _ => "standard input".into(),
        };
        ended.map_err(|error| {
            Failure::new(format_args!("cannot read the texts: {error}"), name, "give texts, one a line")
        })
    }

    fn each_line(&self, input: &mut impl BufRead, lines: &Queue<Line>) -> io::Result<()> {
        let mut line = Vec::new();
        let mut index = 0;
        while read_line(input, &mut line, LINE_LIMIT)? {
            lines.push(Line { index, text: self.text(&line) });
            index += 1;
        }
        Ok(())
    }

    fn text(&self, line: &[u8]) -> Result<String, Wrong> {
        if line.len() >= LINE_LIMIT {
            return Err(Wrong::new(format_args!("the line is longer than {LINE_LIMIT} bytes"), "cut it in parts"));
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = core::str::from_utf8(line).map_err(|error| {
            let what = format!("not UTF-8 text, from byte {} on", error.valid_up_to() + 1);
            Wrong::new(what, "save the text as UTF-8")
        })?;
        let Some(field) = &self.field else { return Ok(text.to_owned()) };
        let wrong =
            |what: String| Wrong::new(what, "give a JSON object a line, with the text as a string under --field");
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| wrong(format!("not JSON: {error}")))?;
        match value.get(field) {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(wrong(format!("what stands under {field:?} is no string"))),
            None => Err(wrong(format!("there is nothing under {field:?}"))),
        }
    }
}
