//! Lexical shortlists: which target words a translation may use, given the words of its source.

use crate::bytes::Reader;
use crate::{Error, ErrorKind};
use alloc::vec::Vec;

#[cfg(feature = "std")]
use crate::{Loading, ModelBytes};
#[cfg(feature = "std")]
use std::path::Path;

/// What a file begins with.
const MAGIC: u64 = 0xF11A_48D5_0134_17F5;

/// A binary lexical shortlist over bytes: a slice, or the [`ModelBytes`](crate::ModelBytes) of a file.
///
/// For each source word, the target words that it is most often translated to. A sentence may use these of all its words,
/// and the [`frequent`](Self::frequent) first words of the vocabulary.
#[derive(Debug)]
pub struct LexicalShortlist<B> {
    bytes: B,
    frequent: u32,
    /// Where the offsets begin, in bytes, and where the lists do.
    offsets: usize,
    lists: usize,
    sources: usize,
    /// One more than the largest target word.
    targets: u32,
}

impl<'a> LexicalShortlist<&'a [u8]> {
    /// Reads and checks a whole shortlist.
    ///
    /// # Errors
    /// When the bytes are no whole and consistent shortlist, or not those that their checksum was taken of.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::new(bytes)
    }
}

#[cfg(feature = "std")]
impl LexicalShortlist<ModelBytes> {
    /// Opens a file and checks all of it.
    ///
    /// # Errors
    /// When the file cannot be read, and as [`parse`](LexicalShortlist::parse).
    pub fn open(path: impl AsRef<Path>, loading: Loading) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::new(ModelBytes::open(path, loading)?).map_err(|error| error.in_file(&path.to_string_lossy()))
    }
}

impl<B: AsRef<[u8]>> LexicalShortlist<B> {
    fn new(bytes: B) -> Result<Self, Error> {
        let all = bytes.as_ref();
        let mut reader = Reader::new(all);
        let found = reader.u64("the first bytes of a shortlist")?;
        if found != MAGIC {
            return Err(ErrorKind::Unsupported { what: "the signature of a shortlist", found, expected: MAGIC }.into());
        }
        let expected = reader.u64("the checksum")?;
        let checked = reader.place();
        let frequent = reader.u64("the number of frequent words")?;
        let _best = reader.u64("the number of words a source word")?;
        let offset_count = reader.u64("the number of offsets")?;
        let list_len = reader.u64("the length of the lists")?;
        let offsets = reader.place();
        let offset_bytes = reader.array("the offsets", offset_count, 8)?;
        let lists = reader.place();
        let list_bytes = reader.array("the lists", list_len, 4)?;
        if reader.left() > 0 {
            return Err(ErrorKind::TrailingBytes { used: reader.place() as u64, len: all.len() as u64 }.into());
        }
        let found = checksum(all.get(checked..).unwrap_or_default());
        if found != expected {
            return Err(ErrorKind::Checksum { found, expected }.into());
        }
        let frequent = u32::try_from(frequent).map_err(|_| ErrorKind::TooLarge {
            what: "the number of frequent words",
            len: frequent,
            limit: u64::from(u32::MAX),
        })?;
        check_offsets(offset_bytes, list_len)?;
        let largest = list_bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).max();
        let targets = largest.map_or(0, |word| word.saturating_add(1));
        let sources = (offset_bytes.len() / 8).saturating_sub(1);
        Ok(Self { bytes, frequent, offsets, lists, sources, targets })
    }

    /// How many of the first words of the target vocabulary any sentence may use.
    #[must_use]
    pub const fn frequent(&self) -> u32 {
        self.frequent
    }

    /// The number of source words.
    #[must_use]
    pub const fn sources(&self) -> usize {
        self.sources
    }

    /// One more than the largest target word in any list.
    #[must_use]
    pub const fn targets(&self) -> u32 {
        self.targets
    }

    /// The target words of a source word, ascending; none for a word that the shortlist does not know.
    pub fn of(&self, source: u32) -> impl Iterator<Item = u32> {
        let all = self.bytes.as_ref();
        let offset = |word: usize| {
            let start = word.checked_mul(8)?.checked_add(self.offsets)?;
            let bytes = all.get(start..self.lists)?.first_chunk()?;
            usize::try_from(u64::from_le_bytes(*bytes)).ok()
        };
        let word = source as usize;
        let list = match (offset(word), word.checked_add(1).and_then(offset)) {
            (Some(from), Some(to)) => all.get(self.lists..).and_then(|lists| lists.as_chunks().0.get(from..to)),
            _ => None,
        };
        list.unwrap_or_default().iter().map(|word| u32::from_le_bytes(*word))
    }

    /// The words that a translation of `source` may use, ascending, for a vocabulary of `vocabulary` words: the frequent
    /// ones, those of the lists, where source and target share a vocabulary (`shared`) the source words themselves, and
    /// then so many more of the most frequent ones that their number is a multiple of eight, as Marian's shortlist has it.
    #[must_use]
    pub fn select(&self, source: &[u32], vocabulary: u32, shared: bool) -> Vec<u32> {
        let mut words: Vec<u32> = (0..self.frequent.min(vocabulary)).collect();
        for &word in source {
            if shared {
                words.push(word);
            }
            words.extend(self.of(word));
        }
        words.retain(|word| *word < vocabulary);
        words.sort_unstable();
        words.dedup();
        let mut more = self.frequent;
        let mut extra = Vec::new();
        while !(words.len() + extra.len()).is_multiple_of(8) && more < vocabulary {
            if words.binary_search(&more).is_err() {
                extra.push(more);
            }
            more += 1;
        }
        words.extend(extra);
        words.sort_unstable();
        words
    }
}

/// That offsets ascend from within the lists to their end.
fn check_offsets(offsets: &[u8], list_len: u64) -> Result<(), Error> {
    let mut before = 0;
    for (word, offset) in offsets.as_chunks().0.iter().enumerate() {
        let offset = u64::from_le_bytes(*offset);
        if offset < before || offset > list_len {
            return Err(ErrorKind::ListOffset { word, offset, expected: before..=list_len }.into());
        }
        before = offset;
    }
    let words = offsets.len() / 8;
    if before == list_len {
        Ok(())
    } else {
        Err(ErrorKind::ListOffset { word: words, offset: before, expected: list_len..=list_len }.into())
    }
}

/// Marian's checksum: words of eight bytes, one after the other mixed into a sum as Boost combines hashes. Bytes that make
/// no whole word do not count.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.as_chunks().0.iter().fold(0, |sum: u64, word| {
        let mixed = u64::from_le_bytes(*word).wrapping_add(0x9e37_79b9).wrapping_add(sum << 6).wrapping_add(sum >> 2);
        sum ^ mixed
    })
}
