//! Marian's binary models: named tensors, in float or in the bytes of intgemm with their multiplier.
//!
//! A version, a count, and for each tensor four lengths; then all names, all shapes, padding, and the data one after the
//! other. The model's own configuration is a tensor too, [`CONFIGURATION`]. Whatever intgemm quantised is stored as int8
//! in the order of the transposed matrix, so `[inputs, outputs]` lies there as `[outputs, inputs]`, followed by the factor
//! by which the floats were multiplied; embedding tables are not transposed. (Marian's source, `common/binary.cpp`.)

mod header;
mod settings;
mod shortlist;

pub use settings::Settings;
pub use shortlist::LexicalShortlist;

use crate::{Error, ErrorKind, ModelSource, TensorView};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use header::Header;

#[cfg(feature = "std")]
use crate::{Loading, ModelBytes};
#[cfg(feature = "std")]
use std::path::Path;

/// The tensor that holds the model's configuration, as YAML text.
pub const CONFIGURATION: &str = "special:model.yml";

/// A Marian model over bytes: a slice, or the [`ModelBytes`] of a file.
///
/// Tensors that intgemm quantised are of type I8, with the shape that the file states; their elements stand in the order
/// of the transposed matrix, embedding tables excepted. [`MarianFile::multiplier`] gives the factor that made them.
#[derive(Debug)]
pub struct MarianFile<B> {
    header: Header,
    bytes: B,
    file: Option<Box<str>>,
}

impl<'a> MarianFile<&'a [u8]> {
    /// Reads and checks the header; the tensors are not touched.
    ///
    /// # Errors
    /// When the bytes are no whole and consistent model.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Ok(Self { header: Header::parse(bytes)?, bytes, file: None })
    }

    /// [`parse`](Self::parse), with the name that errors call the file by.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_named(file: &str, bytes: &'a [u8]) -> Result<Self, Error> {
        let mut parsed = Self::parse(bytes).map_err(|error| error.in_file(file))?;
        parsed.file = Some(file.into());
        Ok(parsed)
    }
}

#[cfg(feature = "std")]
impl MarianFile<ModelBytes> {
    /// Opens a file and checks its header; the tensors are not touched.
    ///
    /// # Errors
    /// When the file cannot be read or is no whole and consistent model.
    pub fn open(path: impl AsRef<Path>, loading: Loading) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = ModelBytes::open(path, loading)?;
        let file: Box<str> = path.to_string_lossy().into();
        let header = Header::parse(bytes.as_ref()).map_err(|error| error.in_file(&file))?;
        Ok(Self { header, bytes, file: Some(file) })
    }
}

impl<B: AsRef<[u8]>> MarianFile<B> {
    /// The names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.header.names()
    }

    /// The number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.header.len()
    }

    /// Whether there are no tensors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`ErrorKind::MissingTensor`] when there is none.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error> {
        self.header.tensor(name, self.file.as_deref(), self.bytes.as_ref())
    }

    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> impl Iterator<Item = Result<TensorView<'_>, Error>> {
        self.names().map(|name| self.tensor(name))
    }

    /// The factor by which the floats of a tensor were multiplied before they were rounded to bytes; `None` where the
    /// tensor is not quantised.
    ///
    /// # Errors
    /// [`ErrorKind::MissingTensor`] when there is no such tensor.
    pub fn multiplier(&self, name: &str) -> Result<Option<f32>, Error> {
        match self.header.find(name) {
            Some(entry) => Ok(entry.multiplier),
            None => Err(self.in_file(ErrorKind::MissingTensor { tensor: name.to_string() })),
        }
    }

    /// The settings in [`CONFIGURATION`].
    ///
    /// # Errors
    /// [`ErrorKind::MissingTensor`] when there is none, [`ErrorKind::Text`] when it is not UTF-8.
    pub fn configuration(&self) -> Result<Settings, Error> {
        let bytes = self.tensor(CONFIGURATION)?.bytes();
        // Marian counts the closing NUL in. A copy is looked at, since mapped bytes may change.
        let text = bytes.strip_suffix(&[0]).unwrap_or(bytes).to_vec();
        let text =
            String::from_utf8(text).map_err(|_| self.in_file(ErrorKind::Text { what: "the model's configuration" }))?;
        Ok(Settings::parse(&text))
    }

    fn in_file(&self, kind: ErrorKind) -> Error {
        let error = Error::from(kind);
        match &self.file {
            Some(file) => error.in_file(file),
            None => error,
        }
    }
}

impl<B: AsRef<[u8]>> ModelSource for MarianFile<B> {
    fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error> {
        self.tensor(name)
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.names())
    }
}
