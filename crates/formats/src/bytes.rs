//! Little-endian numbers from bytes that may end at any place.

use crate::{Error, ErrorKind};

/// Reads front to back and knows the place, so that an error can say where the bytes ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, place: 0 }
    }

    /// Bytes that were read.
    pub(crate) const fn place(&self) -> usize {
        self.place
    }

    /// Bytes that are left.
    pub(crate) const fn left(&self) -> usize {
        self.bytes.len() - self.place
    }

    /// The next `len` bytes, of `what`.
    pub(crate) fn take(&mut self, what: &'static str, len: u64) -> Result<&'a [u8], Error> {
        let end = usize::try_from(len).ok().and_then(|len| self.place.checked_add(len));
        let bytes = end.and_then(|end| self.bytes.get(self.place..end)).ok_or_else(|| {
            let needed = (self.place as u64).saturating_add(len);
            ErrorKind::Truncated { what, needed, len: self.bytes.len() as u64 }
        })?;
        self.place += bytes.len();
        Ok(bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        let bytes = self.take(what, 8)?;
        Ok(bytes.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk)))
    }

    /// `count` numbers of `size` bytes each, as bytes.
    pub(crate) fn array(&mut self, what: &'static str, count: u64, size: u64) -> Result<&'a [u8], Error> {
        self.take(what, count.saturating_mul(size))
    }
}
