//! Hugging Face model folders.

mod index;

use crate::map::FileBytes;
use crate::safetensors::Header;
use crate::{Error, ErrorKind, Json, MAX_JSON_LEN, ModelSource, SentenceConfig, TensorView};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::path::{Path, PathBuf};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// How the bytes of the weights come into memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Loading {
    /// Mapped: pages are read when they are first used and shared between processes. Nobody may change the files while
    /// the folder is open; a file that is cut short then ends the process.
    #[default]
    Map,
    /// Read as a whole, for folders that others may write to.
    Read,
}

/// A model folder: configuration and weights, in one file or in shards.
///
/// `config.json`, optionally `generation_config.json`, and either `model.safetensors` or
/// `model.safetensors.index.json` with the shards that it names.
#[derive(Debug)]
pub struct ModelFolder {
    path: PathBuf,
    config: Json,
    generation_config: Option<Json>,
    shards: Vec<Shard>,
    /// Empty for a single file.
    places: Places,
}

/// The names of tensors, sorted, and the number of the shard that has each.
type Places = Vec<(String, usize)>;

/// One file of weights.
#[derive(Debug)]
struct Shard {
    file: Box<str>,
    header: Header,
    bytes: FileBytes,
}

impl Shard {
    fn open(path: &Path, loading: Loading) -> Result<Self, Error> {
        let file: Box<str> = path.to_string_lossy().into();
        let bytes = FileBytes::load(path, loading)?;
        let header = Header::parse_copied(&bytes).map_err(|error| error.in_file(&file))?;
        Ok(Self { file, header, bytes })
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error> {
        let data = self.bytes.get(self.header.data_start()..).unwrap_or_default();
        self.header.tensor(name, Some(&self.file), data)
    }
}

/// A safetensors file on its own, without a configuration.
#[derive(Debug)]
pub struct WeightsFile(Shard);

impl WeightsFile {
    /// Opens a file and checks its header; the tensors are not touched.
    ///
    /// # Errors
    /// When the file cannot be read or is no whole and consistent safetensors file.
    pub fn open(path: impl AsRef<Path>, loading: Loading) -> Result<Self, Error> {
        Shard::open(path.as_ref(), loading).map(Self)
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.len()
    }

    /// The free texts that the file's writer left, sorted by key.
    #[must_use]
    pub fn metadata(&self) -> &[(String, String)] {
        self.0.header.metadata()
    }

    /// All tensors, in the order of the header.
    pub fn tensors(&self) -> impl Iterator<Item = Result<TensorView<'_>, Error>> {
        self.0.header.names().map(|name| self.0.tensor(name))
    }
}

impl ModelSource for WeightsFile {
    fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error> {
        self.0.tensor(name)
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.0.header.names())
    }
}

impl ModelFolder {
    /// Opens a folder, its weights mapped.
    ///
    /// # Errors
    /// When a file is missing, cannot be read or is not what it must be.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, Loading::default())
    }

    /// Opens a folder.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, loading: Loading) -> Result<Self, Error> {
        let path = path.as_ref();
        let config = read_json(&path.join("config.json"))?;
        let generation_config = path.join("generation_config.json");
        let generation_config = if generation_config.exists() { Some(read_json(&generation_config)?) } else { None };
        let (shards, places) = if path.join(WEIGHTS).exists() {
            (alloc::vec![Shard::open(&path.join(WEIGHTS), loading)?], Vec::new())
        } else if path.join(INDEX).exists() {
            index::open(path, &read_json(&path.join(INDEX))?, loading)?
        } else {
            return Err(Error::from(no_weights(path)).in_file(&path.to_string_lossy()));
        };
        Ok(Self { path: path.to_path_buf(), config, generation_config, shards, places })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.json`.
    #[must_use]
    pub const fn config(&self) -> &Json {
        &self.config
    }

    /// `generation_config.json`, where there is one.
    #[must_use]
    pub const fn generation_config(&self) -> Option<&Json> {
        self.generation_config.as_ref()
    }

    /// How sentence-transformers makes vectors of texts with this model: what `modules.json` says, where there is one.
    ///
    /// # Errors
    /// When a file cannot be read or is not what it must be.
    pub fn sentence_config(&self) -> Result<Option<SentenceConfig>, Error> {
        let read = |name: &str| {
            let path = self.path.join(name);
            if path.exists() { read_json(&path).map(Some) } else { Ok(None) }
        };
        read("modules.json")?.map(|modules| SentenceConfig::parse(&modules, read)).transpose()
    }

    /// The files of weights, and the bytes of each.
    pub fn files(&self) -> impl Iterator<Item = (&str, usize)> {
        self.shards.iter().map(|shard| (&*shard.file, shard.bytes.len()))
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`ErrorKind::MissingTensor`] when there is none.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error> {
        let shard = match self.places.binary_search_by(|(listed, _)| listed.as_str().cmp(name)) {
            Ok(place) => self.shards.get(self.places[place].1),
            Err(_) if self.places.is_empty() => self.shards.first(),
            Err(_) => None,
        };
        shard.map_or_else(
            || {
                let missing = ErrorKind::MissingTensor { tensor: name.to_string() };
                Err(Error::from(missing).in_file(&self.path.to_string_lossy()))
            },
            |shard| shard.tensor(name),
        )
    }

    /// The names, shard by shard in the order of their headers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shards.iter().flat_map(|shard| shard.header.names())
    }

    /// All tensors, in the order of [`names`](Self::names).
    pub fn tensors(&self) -> impl Iterator<Item = Result<TensorView<'_>, Error>> {
        self.shards.iter().flat_map(|shard| shard.header.names().map(|name| shard.tensor(name)))
    }
}

impl ModelSource for ModelFolder {
    fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error> {
        self.tensor(name)
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.names())
    }
}

fn read_json(path: &Path) -> Result<Json, Error> {
    let bytes = FileBytes::read(path, "the JSON text", MAX_JSON_LEN)?;
    Json::parse(&path.to_string_lossy(), &bytes)
}

fn no_weights(path: &Path) -> ErrorKind {
    let others =
        ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack", "model.npz"];
    ErrorKind::NoWeights { instead: others.into_iter().find(|name| path.join(name).exists()) }
}
