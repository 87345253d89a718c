//! A folder with an encoder and its tokenizer.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use kernform_formats::SentenceConfig;
use kernform_model::{EncoderModel, Family, ModelError, Task, WeightType};
use kernform_text::TokenizerJson;

use crate::errors::{Failure, note};
use crate::level::Chosen;
use crate::model_input::{self, count_up_to};
use crate::{machine, memory};

/// Options that all commands on encoders have.
#[derive(Debug, Args)]
pub(crate) struct EncoderArgs {
    /// A Hugging Face folder: config.json, model.safetensors (or its index and shards), tokenizer.json
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,

    /// Keep the weights of the products and the table of tokens in this type
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t)]
    pub(crate) kind: Kind,

    /// Compute on N threads; the results do not depend on it [default: as many as the machine has]
    #[arg(long, value_name = "N", value_parser = count_up_to(1024))]
    threads: Option<usize>,

    /// Run texts of together N tokens at a time on each thread; the results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = count_up_to(1 << 24))]
    pub(crate) batch_tokens: usize,

    /// Print texts and tokens per second, milliseconds and peak memory on stderr
    #[arg(long)]
    pub(crate) stats: bool,
}

/// The types of weights, by their names on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// As in the file
    #[default]
    F32,
    /// Half the memory, rounded to 11 bits
    F16,
    /// Half the memory, rounded to 8 bits
    Bf16,
    /// A quarter of the memory and the fastest; activations are rounded to 8 bits, too
    Int8,
}

impl Kind {
    pub(crate) const fn weight_type(self) -> WeightType {
        match self {
            Kind::F32 => WeightType::F32,
            Kind::F16 => WeightType::F16,
            Kind::Bf16 => WeightType::Bf16,
            Kind::Int8 => WeightType::Int8,
        }
    }
}

impl EncoderArgs {
    pub(crate) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(machine::threads)
    }
}

/// A model that is ready to run on texts.
pub(crate) struct Encoder {
    pub(crate) path: PathBuf,
    pub(crate) model: EncoderModel,
    pub(crate) tokenizer: TokenizerJson,
    /// What sentence-transformers says of the folder, where it does.
    pub(crate) sentence: Option<SentenceConfig>,
    pub(crate) batch_tokens: usize,
}

impl Encoder {
    /// Opens a folder; `task` is the head that the command needs.
    pub(crate) fn open(args: &EncoderArgs, task: Option<Task>, level: Chosen) -> Result<Self, Failure> {
        let path = &args.model;
        let folder = model_input::open(path)?;
        let name = folder.config().optional_str("model_type").ok().flatten().unwrap_or_default();
        if let Some(family) = Family::from_name(name).filter(|family| !family.is_encoder()) {
            let known = Family::ENCODERS.map(Family::name).join(", ");
            return Err(Failure::new(
                format_args!("model_type {:?} is no encoder; the encoders are {known}", family.name()),
                path.display(),
                "give the folder of one of these",
            ));
        }
        let sentence = folder
            .sentence_config()
            .map_err(|error| Failure::new(error, path.display(), "the folder may be incomplete; get it again"))?;
        let tokenizer = tokenizer(path)?;
        let model = EncoderModel::load_as(&folder, folder.config(), level.isa, args.kind.weight_type())
            .map_err(|error| model_input::wrong_model(path, &error))?;
        let found = model.config().task;
        if let Some(task) = task.filter(|task| *task != found) {
            return Err(Failure::new(
                format_args!("this needs a model for {}, and here is one with {}", task.name(), found.name()),
                path.display(),
                "give a folder whose config.json names such an architecture",
            ));
        }
        Ok(Self { path: path.clone(), model, tokenizer, sentence, batch_tokens: args.batch_tokens })
    }

    /// The most tokens of a text: what sentence-transformers says, and no more than the model has positions.
    pub(crate) fn max_tokens(&self) -> usize {
        let most = self.sentence.as_ref().and_then(|sentence| sentence.max_seq_length);
        most.filter(|most| *most > 0).unwrap_or(usize::MAX).min(self.model.max_tokens())
    }

    /// A failure of the model itself.
    pub(crate) fn failure(&self, error: &ModelError) -> Failure {
        Failure::new(error, self.path.display(), "see that config.json, weights and tokenizer.json belong together")
    }
}

fn tokenizer(path: &Path) -> Result<TokenizerJson, Failure> {
    let file = path.join("tokenizer.json");
    if !file.exists() {
        return Err(Failure::new(
            "there is no tokenizer.json",
            path.display(),
            "give a folder that has one; the `tokenizers` library makes it from a vocabulary",
        ));
    }
    TokenizerJson::open(&file)
        .map_err(|error| Failure::new(error, file.display(), "the file may be incomplete; get it again"))
}

/// How much was done, for `--stats`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) texts: u64,
    /// Texts without an answer.
    pub(crate) failed: u64,
    pub(crate) tokens: u64,
    /// Texts that were cut to what the model takes.
    pub(crate) cut: u64,
}

impl Done {
    pub(crate) fn print(self, seconds: f64, loaded: f64, encoder: &Encoder, args: &EncoderArgs) {
        let memory = memory::peak().map_or("not known here".into(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
        let run = (seconds - loaded).max(1e-9);
        let texts = self.texts - self.failed;
        note(format_args!(
            "{texts} texts, {} tokens in {:.1} ms after {:.1} ms to load: {:.0} texts/s, {:.0} tokens/s; {} cut to {} tokens; \
             {} threads, {}, {} weights; peak memory {memory}",
            self.tokens,
            run * 1e3,
            loaded * 1e3,
            texts as f64 / run,
            self.tokens as f64 / run,
            self.cut,
            encoder.max_tokens(),
            args.threads(),
            encoder.model.isa(),
            args.kind.weight_type().name(),
        ));
    }
}
