//! What `run` and `generate` have in common: a model folder and a file of inputs.

use std::path::Path;

use clap::builder::RangedU64ValueParser;
use kernform_formats::{Error, ModelFolder, SafetensorsFile};
use kernform_model::{EncoderDecoder, ModelError};
use kernform_tensor::Memory;

use crate::errors::Failure;
use crate::level::Chosen;

/// Numbers from 1 to `most`.
pub(crate) fn count_up_to(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

/// Opens a folder and loads its model.
pub(crate) fn load(path: &Path, level: Chosen) -> Result<(ModelFolder, EncoderDecoder), Failure> {
    let folder = open(path)?;
    let model = EncoderDecoder::load(&folder, folder.config(), level.isa).map_err(|error| wrong_model(path, &error))?;
    Ok((folder, model))
}

/// Opens a model folder.
pub(crate) fn open(path: &Path) -> Result<ModelFolder, Failure> {
    ModelFolder::open(path).map_err(|error| {
        Failure::new(
            error,
            path.display(),
            "give a folder with config.json and model.safetensors (or its index and shards)",
        )
    })
}

/// A model that cannot be loaded.
pub(crate) fn wrong_model(path: &Path, error: &ModelError) -> Failure {
    Failure::new(error, path.display(), "`kernform inspect` shows what is there")
}

/// A file of named tensors.
pub(crate) struct InputFile {
    name: String,
    bytes: Vec<u8>,
}

impl InputFile {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::new(format_args!("cannot read the inputs: {error}"), &name, "give a safetensors file")
        })?;
        Ok(Self { name, bytes })
    }

    /// The tensors, none of which has a name that is not in `known`.
    pub(crate) fn tensors(&self, known: &[&str]) -> Result<Inputs<'_>, Failure> {
        let file = SafetensorsFile::parse_named(&self.name, &self.bytes).map_err(|error| self.wrong(&error))?;
        if let Some(name) = file.names().find(|name| !known.contains(name)) {
            return Err(Failure::new(
                format_args!("`{name}` is no input here"),
                &self.name,
                format_args!("give {} only", known.join(", ")),
            ));
        }
        Ok(Inputs { file, name: &self.name })
    }

    fn wrong(&self, error: &Error) -> Failure {
        Failure::new(error, &self.name, "give a safetensors file with the inputs of the model")
    }
}

/// The inputs by name.
pub(crate) struct Inputs<'f> {
    file: SafetensorsFile<'f>,
    name: &'f str,
}

/// A matrix of token ids or of flags.
pub(crate) struct Matrix<T> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) data: Vec<T>,
}

impl Inputs<'_> {
    /// Token ids, `[batch, tokens]`.
    pub(crate) fn ids(&self, name: &str) -> Result<Matrix<u32>, Failure> {
        self.optional_ids(name)?.ok_or_else(|| self.wrong(name, "it is missing"))
    }

    /// Token ids or types, `[batch, tokens]`, where the file has them.
    pub(crate) fn optional_ids(&self, name: &str) -> Result<Option<Matrix<u32>>, Failure> {
        self.matrix(name, |value| u32::try_from(value).ok())
    }

    /// Which tokens count, `[batch, tokens]`, where the file says it.
    pub(crate) fn mask(&self, name: &str) -> Result<Option<Matrix<bool>>, Failure> {
        self.matrix(name, |value| match value {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
    }

    fn matrix<T>(&self, name: &str, convert: impl Fn(i64) -> Option<T>) -> Result<Option<Matrix<T>>, Failure> {
        if !self.file.names().any(|known| known == name) {
            return Ok(None);
        }
        let tensor = self.file.tensor(name).map_err(|error| self.wrong(name, error))?;
        let &[rows, columns] = tensor.dims() else {
            return Err(self.wrong(name, format_args!("its shape is {}, which is not [batch, tokens]", tensor.shape())));
        };
        let values = tensor.to_i64().map_err(|error| self.wrong(name, error))?;
        let converted: Option<Vec<T>> = values.into_iter().map(convert).collect();
        match converted {
            Some(data) => Ok(Some(Matrix { rows, columns, data })),
            None => Err(self.wrong(name, "it has a value that is neither a token id nor, in a mask, 0 or 1")),
        }
    }

    /// A failure about one input.
    pub(crate) fn wrong(&self, name: &str, what: impl core::fmt::Display) -> Failure {
        Failure::new(
            format_args!("input `{name}`: {what}"),
            self.name,
            "give integers of shape [batch, tokens], of one shape where they belong together",
        )
    }
}

/// Zeroed floats, or a message where the machine has no room for them.
pub(crate) fn zeros(len: usize) -> Result<Memory, Failure> {
    len.checked_mul(size_of::<f32>()).and_then(Memory::zeroed).ok_or_else(|| {
        Failure::new(
            format_args!("no memory for {len} numbers"),
            "the buffers of the model",
            "give less at once, or shorter",
        )
    })
}
