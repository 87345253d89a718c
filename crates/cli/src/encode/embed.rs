//! `kernform embed`.

use core::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use kernform_formats::Pooling;
use kernform_model::{EncoderSession, ModelError};
use kernform_tensor::Parallel;
use serde::Serialize;

use super::engine::{self, Job, Outcome};
use super::feed::FeedArgs;
use super::loaded::{Encoder, EncoderArgs};
use super::npy;
use super::prepare::{Input, Prepared, Wrong};
use crate::errors::{EXIT_FAILED, Failure};
use crate::level::Chosen;
use crate::{interrupt, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Families: bert, distilbert, roberta, albert, modernbert, esm.
How the states of a text become one vector is what modules.json of sentence-transformers says; without it, the mean
over the tokens, divided by its length. Texts with more tokens than the model takes are cut (--stats tells how many).

Output, in the order of the input:
  --format json   a line a text: [0.1,…], or with --json {\"line\":1,\"text\":\"…\",\"embedding\":[0.1,…]}
  --format npy    one NumPy array [texts, width] of float32
  --format f32    the bare numbers, little-endian float32
A line that is no text gets a message on stderr and null, or NaN, in its place, and the exit code is 1.

Examples:
  kernform embed --model models/all-MiniLM-L6-v2 'A sentence.' 'Another one.'
  kernform embed --model models/all-MiniLM-L6-v2 --file lines.txt --format npy --output lines.npy --stats
  kernform embed --model models/all-MiniLM-L6-v2 --field title --type int8 <articles.jsonl >vectors.jsonl")]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    encoder: EncoderArgs,

    #[command(flatten)]
    feed: FeedArgs,

    #[command(flatten)]
    vector: VectorArgs,

    /// How the vectors are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// One JSON object a line, with the text
    #[arg(long)]
    json: bool,

    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Options of how a text becomes a vector.
#[derive(Clone, Debug, Args)]
pub(crate) struct VectorArgs {
    /// How states become one vector [default: as modules.json says, else mean]
    #[arg(long, value_enum, value_name = "HOW")]
    pooling: Option<PoolingName>,

    /// Divide vectors by their length, or do not [default: as modules.json says, else true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    normalize: Option<bool>,

    /// The prompt of that name, from config_sentence_transformers.json, goes before each text
    #[arg(long, value_name = "NAME", conflicts_with = "prompt")]
    prompt_name: Option<String>,

    /// This goes before each text
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PoolingName {
    Cls,
    Mean,
    Max,
    MeanSqrtLen,
    WeightedMean,
    Last,
}

impl PoolingName {
    const fn pooling(self) -> Pooling {
        match self {
            PoolingName::Cls => Pooling::Cls,
            PoolingName::Mean => Pooling::Mean,
            PoolingName::Max => Pooling::Max,
            PoolingName::MeanSqrtLen => Pooling::MeanSqrtLen,
            PoolingName::WeightedMean => Pooling::WeightedMean,
            PoolingName::Last => Pooling::LastToken,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Json,
    Npy,
    F32,
}

/// How a text becomes a vector.
#[derive(Clone, Debug)]
pub(crate) struct Vectors {
    pub(crate) pooling: Vec<Pooling>,
    pub(crate) normalize: bool,
    pub(crate) prompt: String,
}

impl VectorArgs {
    /// The options, over what the folder says.
    pub(crate) fn over(&self, encoder: &Encoder) -> Result<Vectors, Failure> {
        let sentence = encoder.sentence.as_ref();
        let prompt = match (&self.prompt, &self.prompt_name) {
            (Some(prompt), _) => prompt.clone(),
            (None, Some(name)) => sentence
                .and_then(|sentence| sentence.prompt(name))
                .ok_or_else(|| {
                    let known = sentence.map_or(&[][..], |sentence| &sentence.prompts);
                    let known: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
                    let known = if known.is_empty() { "none".into() } else { known.join(", ") };
                    Failure::usage(
                        format_args!("there is no prompt {name:?}"),
                        "--prompt-name",
                        format_args!("the folder has these: {known}"),
                    )
                })?
                .to_owned(),
            (None, None) => {
                let default = sentence.and_then(|sentence| sentence.prompt(sentence.default_prompt.as_deref()?));
                default.unwrap_or_default().to_owned()
            }
        };
        let from_folder = || sentence.map_or_else(|| vec![Pooling::Mean], |sentence| sentence.pooling.clone());
        Ok(Vectors {
            pooling: self.pooling.map_or_else(from_folder, |name| vec![name.pooling()]),
            normalize: self.normalize.unwrap_or_else(|| sentence.is_none_or(|sentence| sentence.normalize)),
            prompt,
        })
    }
}

impl Vectors {
    /// Elements of a vector.
    pub(crate) fn width(&self, encoder: &Encoder) -> usize {
        self.pooling.len() * encoder.model.config().width
    }
}

impl Job for Vectors {
    type Answer = Vec<f32>;

    fn prepare(&self, encoder: &Encoder, index: u64, text: String) -> Result<Prepared, Wrong> {
        let (tokens, is_cut) = if self.prompt.is_empty() {
            encoder.tokens(Input::One(&text))?
        } else {
            encoder.tokens(Input::One(&format!("{}{text}", self.prompt)))?
        };
        Ok(Prepared { index, text, tokens, is_cut })
    }

    fn answers<P: Parallel>(
        &self,
        encoder: &Encoder,
        session: &mut EncoderSession<'_>,
        _: &P,
        batch: &[Prepared],
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let width = encoder.model.config().width;
        let mut vectors = vec![Vec::with_capacity(self.width(encoder)); batch.len()];
        let mut pooled = vec![0.0; batch.len() * width];
        for pooling in &self.pooling {
            // Only the vector as a whole has the length 1.
            let is_whole = self.pooling.len() == 1;
            session.pool(*pooling, self.normalize && is_whole, &mut pooled)?;
            for (vector, pooled) in vectors.iter_mut().zip(pooled.chunks_exact(width)) {
                vector.extend_from_slice(pooled);
            }
        }
        if self.normalize && self.pooling.len() > 1 {
            for vector in &mut vectors {
                kernform_model::normalise(encoder.model.isa(), vector)?;
            }
        }
        Ok(vectors)
    }
}

#[derive(Serialize)]
struct Record<'a> {
    line: u64,
    text: &'a str,
    embedding: &'a [f32],
}

#[derive(Serialize)]
struct WrongRecord<'a> {
    line: u64,
    error: &'a str,
}

pub(crate) fn run(args: EmbedArgs, level: Chosen) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    if args.json && args.format != Format::Json {
        return Err(Failure::usage(
            "an array of numbers has no place for texts",
            "--json",
            "leave out --json, or give --format json",
        ));
    }
    let encoder = Arc::new(Encoder::open(&args.encoder, None, level)?);
    let vectors = args.vector.over(&encoder)?;
    let width = vectors.width(&encoder);
    let loaded = start.elapsed().as_secs_f64();
    let sink = RefCell::new(Sink::open(args.output.clone(), args.format, width)?);
    let write = |outcome: &Outcome<Vec<f32>>| {
        let mut sink = sink.borrow_mut();
        match (args.format, args.json) {
            (Format::Json, false) => sink.text(&match &outcome.result {
                Ok(vector) => output::json(vector)?,
                Err(_) => "null".into(),
            }),
            (Format::Json, true) => sink.text(&match &outcome.result {
                Ok(embedding) => output::json(&Record { line: outcome.index + 1, text: &outcome.text, embedding })?,
                Err(wrong) => output::json(&WrongRecord { line: outcome.index + 1, error: &wrong.what })?,
            }),
            _ => match &outcome.result {
                Ok(vector) => sink.numbers(vector),
                Err(_) => sink.numbers(&vec![f32::NAN; width]),
            },
        }
    };
    let feed = args.feed.feed();
    let done = engine::run(&encoder, vectors, feed, args.encoder.threads(), write, || sink.borrow_mut().flush())?;
    sink.into_inner().finish(done.texts)?;
    if args.encoder.stats {
        done.print(start.elapsed().as_secs_f64(), loaded, &encoder, &args.encoder);
    }
    Ok(if done.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// Where the vectors go.
struct Sink {
    file: Option<(PathBuf, BufWriter<File>)>,
    format: Format,
    width: usize,
    /// What waits to be written: lines and numbers until the next flush, a NumPy array for standard output until the end,
    /// since its number of rows comes first.
    waiting: Vec<u8>,
}

/// So much waits at most for a flush.
const ENOUGH: usize = 1 << 16;

impl Sink {
    fn open(path: Option<PathBuf>, format: Format, width: usize) -> Result<Self, Failure> {
        let file = match path {
            Some(path) => match File::create(&path) {
                Ok(file) => Some((path, BufWriter::new(file))),
                Err(error) => return Err(cannot_write(&path, &error)),
            },
            None => None,
        };
        let mut sink = Self { file, format, width, waiting: Vec::new() };
        if format == Format::Npy && sink.file.is_some() {
            // The number of rows is put in at the end.
            sink.waiting = npy::header(0, width);
        }
        Ok(sink)
    }

    fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.waiting.extend_from_slice(text.as_bytes());
        self.waiting.push(b'\n');
        self.flush_if_enough()
    }

    fn numbers(&mut self, vector: &[f32]) -> Result<(), Failure> {
        self.waiting.extend(vector.iter().flat_map(|x| x.to_le_bytes()));
        self.flush_if_enough()
    }

    fn flush_if_enough(&mut self) -> Result<(), Failure> {
        if self.waiting.len() >= ENOUGH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.format == Format::Npy && self.file.is_none() {
            return Ok(());
        }
        self.write_waiting()
    }

    fn write_waiting(&mut self) -> Result<(), Failure> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        match &mut self.file {
            Some((path, file)) => file.write_all(&self.waiting).map_err(|error| cannot_write(path, &error))?,
            None => write_stdout(&self.waiting).map_err(|error| Failure::output(&error))?,
        }
        self.waiting.clear();
        Ok(())
    }

    fn finish(mut self, rows: u64) -> Result<(), Failure> {
        let header = npy::header(rows, self.width);
        if self.format == Format::Npy && self.file.is_none() {
            self.waiting.splice(0..0, header.iter().copied());
        }
        self.write_waiting()?;
        if let Some((path, file)) = &mut self.file {
            let mut end = || {
                if self.format == Format::Npy {
                    file.seek(SeekFrom::Start(0))?;
                    file.write_all(&header)?;
                }
                file.flush()
            };
            end().map_err(|error| cannot_write(path, &error))?;
        }
        Ok(())
    }
}

fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    let _guard = interrupt::hold();
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

fn cannot_write(path: &std::path::Path, error: &io::Error) -> Failure {
    Failure::new(format_args!("cannot write the vectors: {error}"), path.display(), "name a file that can be written")
}
