//! `kernform generate`.

use core::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use kernform_decode::{DEFAULT_NEW_TOKENS, EarlyStopping, GenerationConfig};
use kernform_model::{EncoderDecoder, Limits, ModelError, Plan, Session, generation_config};
use kernform_tensor::parallel::Threads;
use serde::Serialize;

use crate::errors::Failure;
use crate::level::Chosen;
use crate::model_input::{self, InputFile, Inputs, count_up_to, zeros};
use crate::{machine, output};

/// Inputs that are searched together; what they give does not depend on it.
const BATCH: usize = 64;

#[derive(Debug, Args)]
#[command(after_help = "\
Families: marian, bart, m2m_100.
Inputs:   input_ids [batch, tokens], and attention_mask of its shape (0 for padding, at the end of a row);
          without a mask, tokens that are the model's padding token are padding, as in transformers.
Output:   with --json {\"sequences\": [[…], …]} with the ids that transformers' generate returns: the
          decoder's start token first, rows padded to the longest, --num-return-sequences rows an input.
Options that are not given are those of generation_config.json, as in transformers.

Examples:
  kernform generate models/opus-mt-en-de --inputs inputs.safetensors --num-beams 4
  kernform generate models/bart-base --inputs inputs.safetensors --num-beams 4 --length-penalty 0.6 \\
      --early-stopping --max-new-tokens 10 --json")]
pub(crate) struct GenerateArgs {
    /// A Hugging Face folder: config.json and model.safetensors (or its index and shards)
    #[arg(value_name = "MODEL_DIR")]
    model: PathBuf,

    /// The inputs, named as the arguments of the model
    #[arg(long, value_name = "FILE.safetensors")]
    inputs: PathBuf,

    #[command(flatten)]
    options: Options,

    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,

    /// Compute on N threads; the results do not depend on it [default: as many as the machine has]
    #[arg(long, value_name = "N", value_parser = count_up_to(1024))]
    threads: Option<usize>,
}

/// Options of the search, named and meant as in transformers.
#[derive(Debug, Args)]
struct Options {
    /// Beams; 1 is greedy search
    #[arg(long, value_name = "N", value_parser = count_up_to(1024))]
    num_beams: Option<usize>,
    /// Sequences to return for each input, best first
    #[arg(long, value_name = "N", value_parser = count_up_to(1024))]
    num_return_sequences: Option<usize>,
    /// Exponent of the length that the log-probability is divided by
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    length_penalty: Option<f64>,
    /// Stop when as many hypotheses as beams are finished (true), when better ones are unlikely (false), or impossible (never)
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    early_stopping: Option<Stopping>,
    /// Most tokens to generate
    #[arg(long, value_name = "N", value_parser = count_up_to(1 << 31))]
    max_new_tokens: Option<usize>,
    /// Longest sequence, start token included
    #[arg(long, value_name = "N", conflicts_with = "max_new_tokens", value_parser = count_up_to(1 << 31))]
    max_length: Option<usize>,
    /// Fewest tokens to generate
    #[arg(long, value_name = "N")]
    min_new_tokens: Option<usize>,
    /// Shortest sequence, start token included
    #[arg(long, value_name = "N")]
    min_length: Option<usize>,
    /// No n-gram of this length comes twice; 0 is off
    #[arg(long, value_name = "N")]
    no_repeat_ngram_size: Option<usize>,
    /// Makes tokens that are there already less likely; 1 is off
    #[arg(long, value_name = "F")]
    repetition_penalty: Option<f32>,
    /// The token that must come first, the target language for instance
    #[arg(long, value_name = "ID")]
    forced_bos_token_id: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Stopping {
    True,
    False,
    Never,
}

impl Options {
    /// The folder's options with those of the command line in their place.
    fn over(&self, mut config: GenerationConfig) -> GenerationConfig {
        fn set<T: Copy>(to: &mut T, from: Option<T>) {
            if let Some(value) = from {
                *to = value;
            }
        }
        set(&mut config.num_beams, self.num_beams);
        set(&mut config.num_return_sequences, self.num_return_sequences);
        set(&mut config.length_penalty, self.length_penalty);
        set(&mut config.min_length, self.min_length);
        set(&mut config.no_repeat_ngram_size, self.no_repeat_ngram_size);
        set(&mut config.repetition_penalty, self.repetition_penalty);
        config.early_stopping = match self.early_stopping {
            Some(Stopping::True) => EarlyStopping::Always,
            Some(Stopping::False) => EarlyStopping::Heuristic,
            Some(Stopping::Never) => EarlyStopping::Never,
            None => config.early_stopping,
        };
        if self.max_length.is_some() {
            // The folder's number of new tokens would go before it.
            (config.max_length, config.max_new_tokens) = (self.max_length, None);
        }
        config.max_new_tokens = self.max_new_tokens.or(config.max_new_tokens);
        config.min_new_tokens = self.min_new_tokens.or(config.min_new_tokens);
        config.forced_bos_token_id = self.forced_bos_token_id.or(config.forced_bos_token_id);
        config.output_scores = true;
        config
    }
}

/// A sequence that was found.
struct Sequence {
    input: usize,
    score: Option<f32>,
    tokens: Vec<u32>,
}

#[derive(Serialize)]
struct Sequences {
    sequences: Vec<Vec<u32>>,
}

pub(crate) fn run(args: &GenerateArgs, level: Chosen) -> Result<ExitCode, Failure> {
    let file = InputFile::read(&args.inputs)?;
    let inputs = file.tensors(&["input_ids", "attention_mask", "decoder_input_ids"])?;
    let (folder, model) = model_input::load(&args.model, level)?;
    let config = generation_config(folder.config(), folder.generation_config())
        .map_err(|error| model_input::wrong_model(&args.model, &error))?;
    let config = args.options.over(config);
    let sources = sources(&inputs, &config)?;
    let threads = Threads(args.threads.unwrap_or_else(machine::threads));
    let found = search(&model, &config, sources, threads).map_err(|error| match error {
        Stop::Model(error) => {
            Failure::new(error, args.inputs.display(), "give inputs and options that fit the model's config.json")
        }
        Stop::Failed(failure) => failure,
    })?;
    if args.json {
        output::print_json(&Sequences { sequences: padded(found, config.padding()) })?;
    } else {
        output::print(&table(&found))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The token ids of each input without its padding.
fn sources(inputs: &Inputs<'_>, config: &GenerationConfig) -> Result<Vec<Vec<u32>>, Failure> {
    let ids = inputs.ids("input_ids")?;
    let mask = match inputs.mask("attention_mask")? {
        Some(mask) if (mask.rows, mask.columns) != (ids.rows, ids.columns) => {
            return Err(inputs.wrong("attention_mask", "its shape is not that of `input_ids`"));
        }
        Some(mask) => mask.data,
        None => {
            let padding = config.pad_token_id.filter(|pad| !config.eos_token_ids.contains(pad));
            ids.data.iter().map(|id| Some(*id) != padding).collect()
        }
    };
    if ids.columns == 0 {
        return Err(inputs.wrong("input_ids", "its rows have no tokens"));
    }
    let rows = ids.data.chunks(ids.columns).zip(mask.chunks(ids.columns)).enumerate();
    rows.map(|(row, (ids, mask))| {
        let kept = mask.iter().take_while(|kept| **kept).count();
        if mask[kept..].contains(&true) {
            let what =
                format_args!("row {row} has padding before its last token; only padding at the end can be left out");
            return Err(inputs.wrong("attention_mask", what));
        }
        if kept == 0 {
            return Err(inputs.wrong("attention_mask", format_args!("row {row} has nothing but padding")));
        }
        Ok(ids[..kept].to_vec())
    })
    .collect()
}

/// Why a search stops.
enum Stop {
    Model(ModelError),
    Failed(Failure),
}

impl From<ModelError> for Stop {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

fn search(
    model: &EncoderDecoder,
    config: &GenerationConfig,
    sources: Vec<Vec<u32>>,
    threads: Threads,
) -> Result<Vec<Sequence>, Stop> {
    let start = config.decoder_start_token_id.ok_or(ModelError::from(kernform_decode::Error::NoStartToken))?;
    let new_tokens = config.max_new_tokens.or(config.max_length).unwrap_or(DEFAULT_NEW_TOKENS);
    let source_len = sources.iter().map(Vec::len).max().unwrap_or(1);
    let batch = sources.len().clamp(1, BATCH);
    let limits = Limits {
        rows: batch.saturating_mul(config.num_beams),
        sources: batch,
        source_len,
        target_len: new_tokens,
        encode_tokens: source_len.saturating_mul(batch),
    };
    let plan = Plan::new(model, limits, &threads)?;
    let mut buffer = zeros(plan.scratch_len()).map_err(Stop::Failed)?;
    let mut session = Session::new(model, &plan, buffer.as_mut_slice())?;
    let mut found = Vec::new();
    kernform_model::generate(&mut session, &threads, config, &[start], sources.into_iter(), |input, search| {
        for hypothesis in search?.hypotheses() {
            found.push(Sequence { input, score: hypothesis.score, tokens: hypothesis.tokens.to_vec() });
        }
        Ok::<(), Stop>(())
    })?;
    // They come as they finish; the hypotheses of one input come together, best first.
    found.sort_by_key(|sequence| sequence.input);
    Ok(found)
}

/// All sequences as long as the longest.
fn padded(found: Vec<Sequence>, padding: u32) -> Vec<Vec<u32>> {
    let longest = found.iter().map(|sequence| sequence.tokens.len()).max().unwrap_or(0);
    found
        .into_iter()
        .map(|Sequence { mut tokens, .. }| {
            tokens.resize(longest, padding);
            tokens
        })
        .collect()
}

fn table(found: &[Sequence]) -> String {
    let mut text = String::from("input     score  token ids\n");
    for Sequence { input, score, tokens } in found {
        let tokens: Vec<_> = tokens.iter().map(u32::to_string).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{input:>5} {:>9.4}  {}", score.unwrap_or(f32::NAN), tokens.join(" "));
    }
    text
}
