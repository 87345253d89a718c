//! The error of all readers and of the writer.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::ops::RangeInclusive;
use kernform_tensor::{CastError, DType, Shape, ShapeError};

/// What is wrong with a file, and with which one where that is known.
#[derive(Debug)]
pub struct Error {
    file: Option<Box<str>>,
    kind: Box<ErrorKind>,
}

impl Error {
    /// The file or folder, where the data came from one or was given a name.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// What is wrong, the file forgotten.
    #[must_use]
    pub fn into_kind(self) -> ErrorKind {
        *self.kind
    }

    /// The same error, said of `file` unless a file is known already.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        self.file.get_or_insert_with(|| file.into());
        self
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { file: None, kind: Box::new(kind) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}: {}", self.kind),
            None => fmt::Display::fmt(&self.kind, f),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &*self.kind {
            ErrorKind::Shape { source, .. } => Some(source),
            ErrorKind::Cast { source, .. } => Some(source),
            #[cfg(feature = "std")]
            ErrorKind::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What is wrong with a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file ends too early.
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes that the file must have for it.
        needed: u64,
        /// Bytes that it has.
        len: u64,
    },
    /// A signature or version other than the one that is read.
    Unsupported {
        /// Of what.
        what: &'static str,
        /// What the file has.
        found: u64,
        /// What it must have.
        expected: u64,
    },
    /// A text is no UTF-8, or a name does not end where it says.
    Text {
        /// Which.
        what: &'static str,
    },
    /// The bytes are not those that a checksum was taken of.
    Checksum {
        /// The sum of the bytes.
        found: u64,
        /// The sum that the file states.
        expected: u64,
    },
    /// A list of a shortlist begins before the one before it, or after the last.
    ListOffset {
        /// The word whose list it is.
        word: usize,
        /// Where it begins.
        offset: u64,
        /// Where it may begin.
        expected: RangeInclusive<u64>,
    },
    /// Something is larger than any honest file has it.
    TooLarge {
        /// What.
        what: &'static str,
        /// Its length in bytes.
        len: u64,
        /// The longest that is read.
        limit: u64,
    },
    /// The text is no JSON, or not of the form that is expected.
    Json {
        /// What the parser says, with line and column where it knows them.
        message: String,
    },
    /// A name of a tensor, or a key of its free texts, is there twice.
    Duplicate {
        /// The name.
        name: String,
    },
    /// An element type that is not known.
    UnknownDType {
        /// The tensor.
        tensor: String,
        /// What the header calls its type.
        dtype: String,
    },
    /// The shape cannot be had.
    Shape {
        /// The tensor.
        tensor: String,
        /// Why.
        source: ShapeError,
    },
    /// The bytes of a tensor are not as many as type and shape say.
    ByteCount {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: DType,
        /// Its shape.
        shape: Shape,
        /// Bytes that these need.
        needed: u64,
        /// Bytes that it has.
        len: u64,
    },
    /// A tensor's data ends before it begins, or after the file does.
    Offsets {
        /// The tensor.
        tensor: String,
        /// Where its data begins, counted from the end of the header.
        begin: u64,
        /// Where its data ends.
        end: u64,
        /// Bytes of data in the file.
        len: u64,
    },
    /// A tensor's data does not begin where that of the tensor before it ends: bytes would be shared or left over.
    NotAdjacent {
        /// The tensor.
        tensor: String,
        /// Where its data begins, counted from the end of the header.
        begin: u64,
        /// Where it should.
        expected: u64,
    },
    /// Bytes after the last tensor.
    TrailingBytes {
        /// Bytes of data that the header accounts for.
        used: u64,
        /// Bytes of data in the file.
        len: u64,
    },
    /// There is no tensor of that name.
    MissingTensor {
        /// The name.
        tensor: String,
    },
    /// The tensor's elements are of another type than is asked for.
    WrongDType {
        /// The tensor.
        tensor: String,
        /// Its type.
        found: DType,
        /// What is asked for.
        expected: &'static str,
    },
    /// An element does not fit the type that is asked for.
    ElementOutOfRange {
        /// The tensor.
        tensor: String,
        /// The element's place in row-major order.
        index: usize,
        /// Its value.
        value: u64,
    },
    /// The tensor's bytes cannot be looked at as elements without a copy.
    Cast {
        /// The tensor.
        tensor: String,
        /// Why.
        source: CastError,
    },
    /// The machine's byte order is not that of the file, so the bytes cannot be used without a copy.
    ByteOrder,
    /// A buffer has not as many elements as the tensor.
    BufferLength {
        /// The tensor.
        tensor: String,
        /// Elements of the tensor.
        needed: usize,
        /// Elements of the buffer.
        len: usize,
    },
    /// A name that a tensor cannot have.
    ReservedName {
        /// The name.
        name: &'static str,
    },
    /// A key that must be there is not.
    MissingKey {
        /// The key, with those of the objects around it.
        key: String,
    },
    /// A value of another JSON type.
    WrongType {
        /// The key, with those of the objects around it.
        key: String,
        /// The JSON type that it must have.
        expected: &'static str,
        /// The JSON type that it has.
        found: &'static str,
    },
    /// A number that the wanted type cannot hold.
    NumberOutOfRange {
        /// The key, with those of the objects around it.
        key: String,
        /// The number.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A module of a sentence-transformers folder that cannot be used.
    Module {
        /// The module.
        module: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The index names a shard that is no plain file name.
    ShardName {
        /// The name.
        shard: String,
    },
    /// The index promises a tensor that its shard does not have.
    NotInShard {
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: String,
    },
    /// A shard has a tensor that the index does not place there.
    NotInIndex {
        /// The tensor.
        tensor: String,
        /// The shard that has it.
        shard: String,
        /// The shard that the index names for it.
        listed: Option<String>,
    },
    /// The folder has no weights that can be read.
    NoWeights {
        /// A file of weights in another format that was found instead.
        instead: Option<&'static str>,
    },
    /// The operating system refused.
    #[cfg(feature = "std")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
    /// The path is no file that can be read as a whole, but a folder or a device.
    #[cfg(feature = "std")]
    NotAFile,
    /// The allocator refused.
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: u64,
    },
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { what, needed, len } => {
                write!(f, "the file ends inside {what}: it needs {needed} bytes and has {len}")
            }
            Self::Unsupported { what, found, expected } => write!(f, "{what} is {found:#x}; {expected:#x} is read"),
            Self::Text { what } => write!(f, "{what} is no text in UTF-8 that ends where it should"),
            Self::Checksum { found, expected } => {
                write!(f, "the checksum of the bytes is {found:#x}, the file says {expected:#x}: it was damaged")
            }
            Self::ListOffset { word, offset, expected } => write!(
                f,
                "the list of word {word} begins at {offset}, it must begin at {} to {}",
                expected.start(),
                expected.end()
            ),
            Self::TooLarge { what, len, limit } => write!(f, "{what} has {len} bytes, at most {limit} are read"),
            Self::Json { message } => write!(f, "not the JSON that is expected here: {message}"),
            Self::Duplicate { name } => write!(f, "`{name}` is there twice, each name must be there once"),
            Self::UnknownDType { tensor, dtype } => {
                write!(f, "tensor `{tensor}` has elements of type `{dtype}`; known are")?;
                DType::ALL.iter().try_for_each(|dtype| write!(f, " {dtype}"))
            }
            Self::Shape { tensor, source } => write!(f, "tensor `{tensor}`: {source}"),
            Self::ByteCount { tensor, dtype, shape, needed, len } => {
                write!(f, "tensor `{tensor}` of type {dtype} and shape {shape} needs {needed} bytes and has {len}")
            }
            Self::Offsets { tensor, begin, end, len } => write!(
                f,
                "tensor `{tensor}` is said to lie at {begin}..{end} of the data, which must be within 0..{len}"
            ),
            Self::NotAdjacent { tensor, begin, expected } => write!(
                f,
                "tensor `{tensor}` begins at {begin} of the data and must begin at {expected}, where the one before ends"
            ),
            Self::TrailingBytes { used, len } => {
                write!(f, "the header accounts for {used} bytes of data, the file has {len}")
            }
            Self::MissingTensor { tensor } => write!(f, "there is no tensor `{tensor}`"),
            Self::WrongDType { tensor, found, expected } => {
                write!(f, "tensor `{tensor}` has elements of type {found}, they must be {expected}")
            }
            Self::ElementOutOfRange { tensor, index, value } => {
                write!(f, "element {index} of tensor `{tensor}` is {value}, at most {} is possible", i64::MAX)
            }
            Self::Cast { tensor, source } => write!(f, "tensor `{tensor}` cannot be used in place: {source}"),
            Self::ByteOrder => f.write_str("the data is little-endian and cannot be used in place on this machine"),
            Self::BufferLength { tensor, needed, len } => {
                write!(f, "tensor `{tensor}` has {needed} elements, the buffer must have as many and has {len}")
            }
            Self::ReservedName { name } => write!(f, "no tensor can be named `{name}`"),
            Self::MissingKey { key } => write!(f, "key `{key}` is missing"),
            Self::WrongType { key, expected, found } => write!(f, "`{key}` must be {expected} and is {found}"),
            Self::NumberOutOfRange { key, value, expected } => write!(f, "`{key}` must be {expected} and is {value}"),
            Self::Module { module, problem } => write!(f, "module `{module}`: {problem}"),
            Self::ShardName { shard } => {
                write!(
                    f,
                    "the index names the shard {shard:?}; it must be the plain name of a .safetensors file beside it"
                )
            }
            Self::NotInShard { tensor, shard } => {
                write!(f, "the index places tensor `{tensor}` in `{shard}`, which does not have it")
            }
            Self::NotInIndex { tensor, shard, listed: Some(listed) } => {
                write!(f, "tensor `{tensor}` is in `{shard}`, the index places it in `{listed}`")
            }
            Self::NotInIndex { tensor, shard, listed: None } => {
                write!(f, "tensor `{tensor}` is in `{shard}` but not in the index")
            }
            Self::NoWeights { instead } => {
                f.write_str("the folder has neither model.safetensors nor model.safetensors.index.json")?;
                instead.map_or(Ok(()), |name| write!(f, "; it has {name}, which must be converted to safetensors"))
            }
            #[cfg(feature = "std")]
            Self::Io { action, source } => write!(f, "cannot {action}: {source}"),
            #[cfg(feature = "std")]
            Self::NotAFile => f.write_str("not a regular file"),
            Self::OutOfMemory { bytes } => write!(f, "no memory for {bytes} bytes"),
        }
    }
}
