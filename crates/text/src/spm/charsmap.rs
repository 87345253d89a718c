//! The table that a model's normalisation was compiled to: a double-array trie (Aoe 1989) of byte strings, and what each
//! is replaced by.

use crate::TextError;

/// Replacements of the longest prefixes.
#[derive(Clone, Debug, Default)]
pub(super) struct CharsMap {
    units: Vec<u32>,
    /// Texts, each with a NUL behind it.
    replacements: Vec<u8>,
}

impl CharsMap {
    /// Reads the table: the length of the trie in bytes, the trie, the texts.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TextError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let problem = |problem| TextError::Normaliser { problem };
        let (len, rest) = bytes.split_first_chunk().ok_or_else(|| problem("is cut short"))?;
        let len = u32::from_le_bytes(*len) as usize;
        let (trie, replacements) =
            rest.split_at_checked(len).ok_or_else(|| problem("says that it is longer than it is"))?;
        let (units, []) = trie.as_chunks() else { return Err(problem("has a trie of broken units")) };
        if replacements.last().is_some_and(|byte| *byte != 0) {
            return Err(problem("has a last text without an end"));
        }
        if core::str::from_utf8(replacements).is_err() {
            return Err(problem("has a text that is not UTF-8"));
        }
        Ok(Self {
            units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            replacements: replacements.to_vec(),
        })
    }

    /// The longest prefix of `text` that has a replacement: its length and the replacement.
    pub(super) fn longest<'a>(&'a self, text: &str) -> Option<(usize, &'a str)> {
        let unit = |at: usize| self.units.get(at).copied();
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let mut node = offset(unit(0)?);
        let mut found = None;
        for (i, &byte) in text.as_bytes().iter().enumerate() {
            node ^= usize::from(byte);
            let Some(here) = unit(node) else { break };
            // The label of a node; leaves have the highest bit set and none.
            if here & (1 << 31 | 0xFF) != u32::from(byte) {
                break;
            }
            node ^= offset(here);
            if here & (1 << 8) != 0 {
                let Some(value) = unit(node) else { break };
                found = Some((i + 1, (value & 0x7FFF_FFFF) as usize));
            }
        }
        let (len, at) = found.filter(|(len, _)| text.is_char_boundary(*len))?;
        let rest = self.replacements.get(at..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some((len, core::str::from_utf8(&rest[..end]).ok()?))
    }
}
