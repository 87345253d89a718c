//! `kernform run`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kernform_formats::TensorView;
use kernform_formats::safetensors::write_file;
use kernform_model::{EncoderDecoder, ForwardInputs};
use kernform_tensor::parallel::Threads;

use crate::errors::Failure;
use crate::level::Chosen;
use crate::model_input::{self, InputFile, Inputs, count_up_to};
use crate::{machine, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Families: marian, bart, m2m_100.
Inputs:   input_ids [batch, source tokens] and decoder_input_ids [batch, target tokens]; attention_mask of
          the shape of input_ids (0 for padding) where there is padding. Any integer type.
Outputs:  logits [batch, target tokens, vocabulary] and encoder_last_hidden_state [batch, source tokens,
          width], F32.

Example:
  kernform run models/opus-mt-en-de --inputs inputs.safetensors --outputs outputs.safetensors")]
pub(crate) struct RunArgs {
    /// A Hugging Face folder: config.json and model.safetensors (or its index and shards)
    #[arg(value_name = "MODEL_DIR")]
    model: PathBuf,

    /// The inputs, named as the arguments of the model
    #[arg(long, value_name = "FILE.safetensors")]
    inputs: PathBuf,

    /// Where the outputs go, named as those of the model; a file that is there is replaced
    #[arg(long, value_name = "FILE.safetensors")]
    outputs: PathBuf,

    /// Compute on N threads; the results do not depend on it [default: as many as the machine has]
    #[arg(long, value_name = "N", value_parser = count_up_to(1024))]
    threads: Option<usize>,
}

pub(crate) fn run(args: &RunArgs, level: Chosen) -> Result<ExitCode, Failure> {
    let file = InputFile::read(&args.inputs)?;
    let inputs = file.tensors(&["input_ids", "attention_mask", "decoder_input_ids"])?;
    let (_, model) = model_input::load(&args.model, level)?;
    let threads = Threads(args.threads.unwrap_or_else(machine::threads));
    forward(args, &model, &inputs, threads)
}

fn forward(args: &RunArgs, model: &EncoderDecoder, inputs: &Inputs<'_>, threads: Threads) -> Result<ExitCode, Failure> {
    let source = inputs.ids("input_ids")?;
    let target = inputs.ids("decoder_input_ids")?;
    let mask = inputs.mask("attention_mask")?;
    if target.rows != source.rows {
        return Err(inputs.wrong("decoder_input_ids", "it has not as many rows as `input_ids`"));
    }
    if mask.as_ref().is_some_and(|mask| (mask.rows, mask.columns) != (source.rows, source.columns)) {
        return Err(inputs.wrong("attention_mask", "its shape is not that of `input_ids`"));
    }
    let arguments = ForwardInputs {
        batch: source.rows,
        input_ids: &source.data,
        attention_mask: mask.as_ref().map(|mask| mask.data.as_slice()),
        decoder_input_ids: &target.data,
    };
    let outputs = model
        .forward(&threads, &arguments)
        .map_err(|error| Failure::new(error, args.inputs.display(), "give inputs that fit the model's config.json"))?;

    let config = model.config();
    let logits = [source.rows, target.columns, config.decoder_vocab_size];
    let states = [source.rows, source.columns, config.width];
    let cannot_write = |error| Failure::new(error, args.outputs.display(), "name a file that can be written");
    let tensors = [
        TensorView::from_slice("logits", &logits, &outputs.logits).map_err(cannot_write)?,
        TensorView::from_slice("encoder_last_hidden_state", &states, &outputs.encoder_last_hidden_state)
            .map_err(cannot_write)?,
    ];
    write_file(&args.outputs, &tensors, &[]).map_err(cannot_write)?;
    let lines: Vec<_> =
        tensors.iter().map(|tensor| format!("{:<26} F32  {}\n", tensor.name(), tensor.shape())).collect();
    output::print(&lines.concat())?;
    Ok(ExitCode::SUCCESS)
}
