//! Files as bytes: mapped, or read as a whole.

use crate::{Error, ErrorKind, Loading};
use core::ops::Deref;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::vec::Vec;

/// The bytes of a file.
#[derive(Debug)]
pub(crate) enum FileBytes {
    Mapped(memmap2::Mmap),
    Read(Vec<u8>),
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Read(bytes) => bytes,
        }
    }
}

/// The bytes of a whole file, mapped or read.
#[derive(Debug)]
pub struct ModelBytes(FileBytes);

impl ModelBytes {
    /// Opens a regular file.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn open(path: impl AsRef<Path>, loading: Loading) -> Result<Self, Error> {
        FileBytes::load(path.as_ref(), loading).map(Self)
    }
}

impl AsRef<[u8]> for ModelBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl FileBytes {
    /// Maps or reads a file.
    pub(crate) fn load(path: &Path, loading: Loading) -> Result<Self, Error> {
        match loading {
            Loading::Map => Self::map(path),
            Loading::Read => Self::read(path, "the file", u64::MAX),
        }
    }

    /// Maps a file.
    pub(crate) fn map(path: &Path) -> Result<Self, Error> {
        let in_file = |error: Error| error.in_file(&path.to_string_lossy());
        let (file, len) = open(path).map_err(in_file)?;
        if len == 0 {
            // An empty file cannot be mapped on every system.
            return Ok(Self::Read(Vec::new()));
        }
        map_file(&file)
            .map(Self::Mapped)
            .map_err(|source| in_file(ErrorKind::Io { action: "map the file", source }.into()))
    }

    /// Reads a file that must not be longer than `limit`.
    pub(crate) fn read(path: &Path, what: &'static str, limit: u64) -> Result<Self, Error> {
        let read = || {
            let (file, len) = open(path)?;
            if len > limit {
                return Err(ErrorKind::TooLarge { what, len, limit }.into());
            }
            let mut bytes = Vec::new();
            let room = usize::try_from(len).map_err(|_| ErrorKind::OutOfMemory { bytes: len })?;
            bytes.try_reserve_exact(room).map_err(|_| ErrorKind::OutOfMemory { bytes: len })?;
            // The file may grow while it is read.
            let read = file.take(len).read_to_end(&mut bytes);
            read.map_err(|source| ErrorKind::Io { action: "read the file", source })?;
            Ok(Self::Read(bytes))
        };
        read().map_err(|error: Error| error.in_file(&path.to_string_lossy()))
    }
}

/// Opens a regular file and says how long it is.
fn open(path: &Path) -> Result<(File, u64), Error> {
    let io = |source| Error::from(ErrorKind::Io { action: "open the file", source });
    // Asked before opening: to open a pipe may block for ever.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(ErrorKind::NotAFile.into());
    }
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    Ok((file, len))
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the map is read-only and private to this process, so nothing in here writes to it. What remains is that
    // another process changes the file while it is mapped, which no Unix lets us prevent. That is contained: headers
    // are copied out of the map before they are parsed, so no length, offset, name or text is ever read twice from it;
    // the mapped bytes are used as numbers only, of which every bit pattern is valid, and all bounds come from the
    // length at the time of mapping. A file changed in place then gives other numbers, and a file cut short ends the
    // process by a signal instead of reading other memory. `Loading::Read` is there for folders that others write to.
    unsafe { memmap2::Mmap::map(file) }
}
