//! The safetensors format: a length, a JSON header, and the tensors' bytes one after the other.
//!
//! The reader is stricter than the format's reference implementation where that keeps one of two contradicting entries:
//! a name may be there only once. Every number in the header is checked against the bytes that are there before it is
//! used, and nothing is allocated that is not bounded by the length of the file.

mod header;
mod write;

pub use header::MAX_HEADER_LEN;
#[cfg(feature = "std")]
pub use write::write_file;
pub use write::{METADATA_KEY, to_bytes};

pub(crate) use header::Header;

use crate::{Error, TensorView};
use alloc::boxed::Box;
use alloc::string::String;

/// A safetensors file in memory.
///
/// ```
/// use kernform_formats::{SafetensorsFile, TensorView, safetensors::to_bytes};
///
/// let bytes = to_bytes(&[TensorView::from_slice("weight", &[2, 1], &[1.0_f32, 2.0])?], &[])?;
/// let file = SafetensorsFile::parse(&bytes)?;
/// assert_eq!(file.tensor("weight")?.dims(), [2, 1]);
/// assert_eq!(file.tensor("weight")?.to_f32()?, [1.0, 2.0]);
/// # Ok::<(), kernform_formats::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SafetensorsFile<'a> {
    header: Header,
    data: &'a [u8],
    file: Option<Box<str>>,
}

impl<'a> SafetensorsFile<'a> {
    /// Reads and checks the header; the tensors are not touched.
    ///
    /// # Errors
    /// When the bytes are no whole and consistent safetensors file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let header = Header::parse(bytes)?;
        let data = bytes.get(header.data_start()..).unwrap_or_default();
        Ok(Self { header, data, file: None })
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

    /// The names, in the order of the header.
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
    /// [`MissingTensor`](crate::ErrorKind::MissingTensor) when there is none.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error> {
        self.header.tensor(name, self.file.as_deref(), self.data)
    }

    /// All tensors, in the order of the header.
    pub fn tensors(&self) -> impl Iterator<Item = Result<TensorView<'_>, Error>> {
        self.names().map(|name| self.tensor(name))
    }

    /// The free texts that the file's writer left, sorted by key.
    #[must_use]
    pub fn metadata(&self) -> &[(String, String)] {
        self.header.metadata()
    }
}
