//! `kernform inspect`.

use core::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use kernform_formats::{Json, Loading, ModelFolder, TensorView, WeightsFile};
use kernform_model::{EncoderDecoderConfig, EncoderModel, Model};
use serde::Serialize;

use crate::errors::Failure;
use crate::level::Chosen;
use crate::{model_input, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kernform inspect model.safetensors
  kernform inspect models/opus-mt-en-de
  kernform inspect --json models/opus-mt-en-de")]
pub(crate) struct InspectArgs {
    /// A safetensors file, or a Hugging Face folder with config.json and weights
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    model: String,
    files: Vec<FileReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<ConfigReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metadata: Vec<(String, String)>,
    tensors: Vec<TensorReport>,
    total: Total,
}

#[derive(Serialize)]
struct FileReport {
    name: String,
    bytes: usize,
}

#[derive(Serialize)]
struct TensorReport {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    parameters: usize,
    bytes: usize,
}

#[derive(Serialize)]
struct Total {
    tensors: usize,
    parameters: usize,
    /// Bytes of all tensors in the files.
    stored_bytes: usize,
    /// Bytes of the weights as they are run: in f32, packed.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_bytes: Option<usize>,
}

/// What the configuration says.
#[derive(Serialize)]
struct ConfigReport {
    family: String,
    /// In words, where the family is known.
    summary: Vec<String>,
    /// Why the model cannot be run, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(crate) fn run(args: &InspectArgs, level: Chosen) -> Result<ExitCode, Failure> {
    let report = if args.model.is_dir() {
        of_folder(&args.model, &model_input::open(&args.model)?, level)?
    } else {
        of_file(&args.model)?
    };
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&report.text())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn of_file(path: &Path) -> Result<Report, Failure> {
    let wrong = |error| Failure::new(error, path.display(), "give a safetensors file or a model folder");
    let file = WeightsFile::open(path, Loading::Map).map_err(wrong)?;
    let tensors: Vec<_> =
        file.tensors().map(|tensor| tensor.map(TensorReport::new)).collect::<Result<_, _>>().map_err(wrong)?;
    let model = path.display().to_string();
    Ok(Report {
        files: vec![FileReport { name: model.clone(), bytes: file.bytes() }],
        model,
        config: None,
        metadata: file.metadata().to_vec(),
        total: Total::of(&tensors, None),
        tensors,
    })
}

fn of_folder(path: &Path, folder: &ModelFolder, level: Chosen) -> Result<Report, Failure> {
    let wrong = |error| Failure::new(error, path.display(), "the file may be incomplete; get it again");
    let tensors: Vec<_> =
        folder.tensors().map(|tensor| tensor.map(TensorReport::new)).collect::<Result<_, _>>().map_err(wrong)?;
    let (config, run_bytes) = ConfigReport::new(folder, level);
    Ok(Report {
        model: path.display().to_string(),
        files: folder.files().map(|(name, bytes)| FileReport { name: name.to_owned(), bytes }).collect(),
        config: Some(config),
        metadata: Vec::new(),
        total: Total::of(&tensors, run_bytes),
        tensors,
    })
}

impl TensorReport {
    fn new(tensor: TensorView<'_>) -> Self {
        Self {
            name: tensor.name().to_owned(),
            dtype: tensor.dtype().name(),
            shape: tensor.dims().to_vec(),
            parameters: tensor.len(),
            bytes: tensor.bytes().len(),
        }
    }
}

impl Total {
    fn of(tensors: &[TensorReport], run_bytes: Option<usize>) -> Self {
        Self {
            tensors: tensors.len(),
            parameters: tensors.iter().map(|tensor| tensor.parameters).sum(),
            stored_bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
            run_bytes,
        }
    }
}

impl ConfigReport {
    /// What the configuration says, and the bytes of the loaded weights where the model can be run.
    fn new(folder: &ModelFolder, level: Chosen) -> (Self, Option<usize>) {
        let json = folder.config();
        let family = json.optional_str("model_type").ok().flatten().unwrap_or("unknown").to_owned();
        let loaded = Model::load(folder, json, level.isa);
        let summary = match &loaded {
            Ok(Model::EncoderDecoder(model)) => summary(model.config()),
            Ok(Model::Encoder(model)) => encoder_summary(model),
            Err(_) => EncoderDecoderConfig::from_json(json).map_or_else(|_| sizes(json), |config| summary(&config)),
        };
        let problem = loaded.as_ref().err().map(ToString::to_string);
        (Self { family, summary, problem }, loaded.ok().map(|model| model.memory()))
    }
}

fn summary(config: &EncoderDecoderConfig) -> Vec<String> {
    let stack = |name: &str, stack: &kernform_model::StackConfig| {
        format!("{name} of {} layers, {} heads, feed-forward {}", stack.layers, stack.heads, stack.feed_forward)
    };
    let yes = |is: bool, text: &str| is.then(|| text.to_owned());
    let vocabulary = if config.vocab_size == config.decoder_vocab_size {
        format!("vocabulary {}", config.vocab_size)
    } else {
        format!("vocabularies {} and {}", config.vocab_size, config.decoder_vocab_size)
    };
    let mut lines = vec![
        stack("encoder", &config.encoder),
        stack("decoder", &config.decoder),
        format!("width {}, {:?} activation, {:?}-norm", config.width, config.activation, config.norm),
        format!("{vocabulary}, {} positions, {:?}", config.max_positions, config.positions),
    ];
    let embeddings = [
        yes(config.shared_embeddings, "shared by encoder and decoder"),
        yes(config.tied_output, "tied to the output"),
        yes(config.scale_embedding, "scaled"),
        yes(config.norm_embedding, "normalised"),
    ];
    let embeddings: Vec<_> = embeddings.into_iter().flatten().collect();
    if !embeddings.is_empty() {
        lines.push(format!("embeddings {}", embeddings.join(", ")));
    }
    lines
}

fn encoder_summary(model: &EncoderModel) -> Vec<String> {
    let config = model.config();
    let mut lines = vec![
        format!("encoder of {} layers, {} heads, feed-forward {}", config.layers, config.heads, config.feed_forward),
        format!("width {}, {:?} activation", config.width, config.activation),
        format!("vocabulary {}, {} tokens at most", config.vocab_size, model.max_tokens()),
        format!("head: {}", config.task.name()),
    ];
    if !config.labels.is_empty() {
        lines.push(format!("labels {}", config.labels.join(", ")));
    }
    lines
}

/// The usual sizes under the names that Hugging Face configurations have for them.
fn sizes(json: &Json) -> Vec<String> {
    let keys = [
        ("d_model", "width"),
        ("hidden_size", "width"),
        ("n_embd", "width"),
        ("num_hidden_layers", "layers"),
        ("num_layers", "layers"),
        ("n_layer", "layers"),
        ("encoder_layers", "encoder layers"),
        ("decoder_layers", "decoder layers"),
        ("num_attention_heads", "heads"),
        ("num_heads", "heads"),
        ("n_head", "heads"),
        ("num_key_value_heads", "key-value heads"),
        ("intermediate_size", "feed-forward"),
        ("d_ff", "feed-forward"),
        ("vocab_size", "vocabulary"),
        ("max_position_embeddings", "positions"),
    ];
    let size = |key: &str| json.optional_usize(key).ok().flatten();
    keys.into_iter().filter_map(|(key, name)| Some(format!("{name} {}", size(key)?))).collect()
}

impl Report {
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "model   {}", self.model);
        if let Some(config) = &self.config {
            let _ = writeln!(text, "family  {}", config.family);
            for line in &config.summary {
                let _ = writeln!(text, "        {line}");
            }
            if let Some(problem) = &config.problem {
                let _ = writeln!(text, "cannot be run: {problem}");
            }
        }
        for (key, value) in &self.metadata {
            let _ = writeln!(text, "{key:<7} {value}");
        }
        text.push('\n');
        self.table(&mut text);
        let Total { tensors, parameters, stored_bytes, run_bytes } = &self.total;
        let files = if self.files.len() == 1 { "1 file".into() } else { format!("{} files", self.files.len()) };
        let _ = writeln!(
            text,
            "\n{tensors} tensors, {} parameters, {} stored in {files}",
            grouped(*parameters),
            Size(*stored_bytes)
        );
        if let Some(bytes) = run_bytes {
            let _ = writeln!(text, "{} as run (f32, packed)", Size(*bytes));
        }
        text
    }

    fn table(&self, text: &mut String) {
        let shapes: Vec<_> = self.tensors.iter().map(|tensor| format!("{:?}", tensor.shape)).collect();
        let name = self.tensors.iter().map(|tensor| tensor.name.chars().count()).max().unwrap_or(0).max(6);
        let shape = shapes.iter().map(String::len).max().unwrap_or(0).max(5);
        let _ = writeln!(text, "{:<name$}  type  {:<shape$}  {:>13}  {:>10}", "tensor", "shape", "parameters", "bytes");
        for (tensor, dims) in self.tensors.iter().zip(&shapes) {
            let TensorReport { name: label, dtype, parameters, bytes, .. } = tensor;
            let parameters = grouped(*parameters);
            let _ = writeln!(
                text,
                "{label:<name$}  {dtype:<4}  {dims:<shape$}  {parameters:>13}  {:>10}",
                Size(*bytes).to_string()
            );
        }
    }
}

/// A number with its thousands apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit of which there is at least one.
struct Size(usize);

impl core::fmt::Display for Size {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let units = ["KB", "MB", "GB", "TB"];
        let mut value = self.0 as f64;
        let mut unit = None;
        for name in units {
            if value < 1000.0 {
                break;
            }
            value /= 1000.0;
            unit = Some(name);
        }
        match unit {
            None => write!(f, "{} B", self.0),
            Some(unit) => write!(f, "{value:.1} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([999, 1000, 3_747_682].map(|n| Size(n).to_string()), ["999 B", "1.0 KB", "3.7 MB"]);
    }
}
