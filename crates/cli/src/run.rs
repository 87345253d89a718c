//! `kernform run`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kernform_formats::TensorView;
use kernform_formats::safetensors::write_file;
use kernform_model::{EncoderDecoder, EncoderInputs, EncoderModel, ForwardInputs, Model, ModelError, NamedOutput};
use kernform_tensor::parallel::Threads;

use crate::errors::Failure;
use crate::level::Chosen;
use crate::model_input::{self, InputFile, Inputs, Matrix, count_up_to};
use crate::{machine, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Families: marian, bart, m2m_100; bert, distilbert, roberta, albert, modernbert, esm.
Inputs:   input_ids [batch, tokens], and attention_mask of its shape (0 for padding) where there is padding.
          Any integer type. For encoders with a decoder also decoder_input_ids [batch, target tokens], for
          encoders with token types token_type_ids of the shape of input_ids.
Outputs:  F32, under the names that the model's architecture has for them in transformers: logits [batch,
          target tokens, vocabulary] and encoder_last_hidden_state [batch, source tokens, width];
          last_hidden_state and pooler_output; logits of labels or of the vocabulary; start_logits and
          end_logits.

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
    let folder = model_input::open(&args.model)?;
    let model = Model::load(&folder, folder.config(), level.isa)
        .map_err(|error| model_input::wrong_model(&args.model, &error))?;
    let threads = Threads(args.threads.unwrap_or_else(machine::threads));
    let outputs = match &model {
        Model::EncoderDecoder(model) => {
            let inputs = file.tensors(&["input_ids", "attention_mask", "decoder_input_ids"])?;
            encoder_decoder(args, model, &inputs, threads)?
        }
        Model::Encoder(model) => {
            let inputs = file.tensors(&["input_ids", "attention_mask", "token_type_ids"])?;
            encoder(args, model, &inputs, threads)?
        }
    };
    write(args, &outputs)
}

fn wrong_inputs(args: &RunArgs, error: &ModelError) -> Failure {
    Failure::new(error, args.inputs.display(), "give inputs that fit the model's config.json")
}

/// The mask, if there is one and it has the shape of the ids.
fn mask(inputs: &Inputs<'_>, ids: &Matrix<u32>) -> Result<Option<Matrix<bool>>, Failure> {
    match inputs.mask("attention_mask")? {
        Some(mask) if (mask.rows, mask.columns) != (ids.rows, ids.columns) => {
            Err(inputs.wrong("attention_mask", "its shape is not that of `input_ids`"))
        }
        mask => Ok(mask),
    }
}

fn encoder_decoder(
    args: &RunArgs,
    model: &EncoderDecoder,
    inputs: &Inputs<'_>,
    threads: Threads,
) -> Result<Vec<NamedOutput>, Failure> {
    let source = inputs.ids("input_ids")?;
    let target = inputs.ids("decoder_input_ids")?;
    let mask = mask(inputs, &source)?;
    if target.rows != source.rows {
        return Err(inputs.wrong("decoder_input_ids", "it has not as many rows as `input_ids`"));
    }
    let arguments = ForwardInputs {
        batch: source.rows,
        input_ids: &source.data,
        attention_mask: mask.as_ref().map(|mask| mask.data.as_slice()),
        decoder_input_ids: &target.data,
    };
    let outputs = model.forward(&threads, &arguments).map_err(|error| wrong_inputs(args, &error))?;
    let config = model.config();
    Ok(vec![
        NamedOutput {
            name: "logits",
            dims: vec![source.rows, target.columns, config.decoder_vocab_size],
            data: outputs.logits,
        },
        NamedOutput {
            name: "encoder_last_hidden_state",
            dims: vec![source.rows, source.columns, config.width],
            data: outputs.encoder_last_hidden_state,
        },
    ])
}

fn encoder(
    args: &RunArgs,
    model: &EncoderModel,
    inputs: &Inputs<'_>,
    threads: Threads,
) -> Result<Vec<NamedOutput>, Failure> {
    let ids = inputs.ids("input_ids")?;
    let mask = mask(inputs, &ids)?;
    let types = inputs.optional_ids("token_type_ids")?;
    if types.as_ref().is_some_and(|types| (types.rows, types.columns) != (ids.rows, ids.columns)) {
        return Err(inputs.wrong("token_type_ids", "its shape is not that of `input_ids`"));
    }
    let arguments = EncoderInputs {
        batch: ids.rows,
        input_ids: &ids.data,
        attention_mask: mask.as_ref().map(|mask| mask.data.as_slice()),
        token_type_ids: types.as_ref().map(|types| types.data.as_slice()),
    };
    let outputs = model.forward(&threads, &arguments).map_err(|error| wrong_inputs(args, &error))?;
    Ok(model.named(outputs, ids.rows))
}

fn write(args: &RunArgs, outputs: &[NamedOutput]) -> Result<ExitCode, Failure> {
    let cannot_write = |error| Failure::new(error, args.outputs.display(), "name a file that can be written");
    let tensors = outputs
        .iter()
        .map(|output| TensorView::from_slice(output.name, &output.dims, &output.data))
        .collect::<Result<Vec<_>, _>>()
        .map_err(cannot_write)?;
    write_file(&args.outputs, &tensors, &[]).map_err(cannot_write)?;
    let lines: Vec<_> =
        tensors.iter().map(|tensor| format!("{:<26} F32  {}\n", tensor.name(), tensor.shape())).collect();
    output::print(&lines.concat())?;
    Ok(ExitCode::SUCCESS)
}
