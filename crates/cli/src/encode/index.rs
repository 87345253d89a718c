//! The vectors of a corpus in a file, to be used again: safetensors, with what they were made of in its metadata.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use kernform_formats::safetensors::write_file;
use kernform_formats::{Loading, ModelSource as _, TensorView, WeightsFile};

use super::embed::Vectors;
use super::fingerprint::Fingerprint;
use super::loaded::{Encoder, Kind};
use crate::errors::Failure;
use crate::model_input;

const TENSOR: &str = "embeddings";

/// What an index was made of: each must be the same for it to be used.
pub(crate) struct Origin(Vec<(&'static str, String)>);

impl Origin {
    pub(crate) fn new(encoder: &Encoder, kind: Kind, vectors: &Vectors, corpus: &Path) -> Result<Self, Failure> {
        let pooling: Vec<_> = vectors.pooling.iter().map(|pooling| pooling.name()).collect();
        Ok(Self(vec![
            ("kernform", "index 1".into()),
            ("model", model(encoder)?),
            ("type", kind.weight_type().name().into()),
            ("pooling", pooling.join("+")),
            ("prompt", vectors.prompt.clone()),
            ("tokens", encoder.max_tokens().to_string()),
            ("class", format!("{:?}", encoder.model.isa().class())),
            ("corpus", file(corpus).map_err(|error| cannot_read(corpus, &error))?),
        ]))
    }

    /// The vectors of an index `[texts, width]`, if it was made of the same; else the name of what is another.
    pub(crate) fn read(&self, path: &Path, width: usize) -> Result<Result<Vec<f32>, String>, Failure> {
        let wrong = |error| Failure::new(error, path.display(), "delete the file, and it is made again");
        let index = WeightsFile::open(path, Loading::Read).map_err(wrong)?;
        for (key, value) in &self.0 {
            let found = index.metadata().iter().find(|(known, _)| known == key).map(|(_, value)| value);
            if found != Some(value) {
                return Ok(Err((*key).to_owned()));
            }
        }
        let tensor = index.tensor(TENSOR).map_err(wrong)?;
        if tensor.dims().len() != 2 || tensor.dims()[1] != width {
            return Ok(Err("width".into()));
        }
        tensor.to_f32().map(Ok).map_err(wrong)
    }

    /// Writes an index.
    pub(crate) fn write(&self, path: &Path, vectors: &[f32], width: usize) -> Result<(), Failure> {
        let wrong = |error| Failure::new(error, path.display(), "name an index that can be written");
        let dims = [vectors.len() / width.max(1), width];
        let tensor = TensorView::from_slice(TENSOR, &dims, vectors).map_err(wrong)?;
        let metadata: Vec<_> = self.0.iter().map(|(key, value)| (*key, value.as_str())).collect();
        write_file(path, &[tensor], &metadata).map_err(wrong)
    }
}

/// The configuration, the tokenizer and all weights.
fn model(encoder: &Encoder) -> Result<String, Failure> {
    let mut fingerprint = Fingerprint::new();
    for name in ["config.json", "tokenizer.json"] {
        let path = encoder.path.join(name);
        fingerprint.add(&std::fs::read(&path).map_err(|error| cannot_read(&path, &error))?);
    }
    for tensor in model_input::open(&encoder.path)?.tensors() {
        let tensor = tensor.map_err(|error| Failure::new(error, encoder.path.display(), "get the folder again"))?;
        fingerprint.add(tensor.name().as_bytes());
        fingerprint.add(tensor.bytes());
    }
    Ok(fingerprint.text())
}

/// A file of any length.
fn file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut fingerprint = Fingerprint::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        // Pieces are full but for the last, so that they are always cut at the same places.
        let mut len = 0;
        while len < piece.len() {
            match file.read(&mut piece[len..])? {
                0 => break,
                read => len += read,
            }
        }
        fingerprint.add(&piece[..len]);
        if len < piece.len() {
            return Ok(fingerprint.text());
        }
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format_args!("cannot read it: {error}"), path.display(), "name a file that can be read")
}
