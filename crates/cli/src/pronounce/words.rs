//! What is a word to pronounce, and what is wrong with a line that is none.

use core::fmt;

/// Bytes of a line that are kept; no word is nearly as long.
pub(crate) const LINE_LIMIT: usize = 4096;

/// Checks a line and gives the word in lower case.
///
/// A word has letters a to z (of either case), apostrophes, hyphens and full stops, at most `most` of them together, and at
/// least one letter. White space around it does not count.
pub(crate) fn parse(line: &[u8], most: usize) -> Result<String, WordError> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Err(WordError::Empty);
    }
    let text = match core::str::from_utf8(line) {
        Ok(text) => text,
        // A line cut at the limit may end inside a character; it is too long in any case.
        Err(_) if line.len() >= LINE_LIMIT => return Err(WordError::TooLong { letters: line.len(), most }),
        Err(error) => return Err(WordError::NotUtf8 { byte: error.valid_up_to() + 1 }),
    };
    let foreign = text.chars().enumerate().find(|(_, c)| !c.is_ascii_alphabetic() && !matches!(c, '\'' | '-' | '.'));
    if let Some((place, character)) = foreign {
        return Err(WordError::Character { character, place: place + 1 });
    }
    if text.len() > most {
        return Err(WordError::TooLong { letters: text.len(), most });
    }
    if !text.contains(|c: char| c.is_ascii_alphabetic()) {
        return Err(WordError::NoLetter);
    }
    Ok(text.to_ascii_lowercase())
}

/// A line as it is shown again: as it stands, without anything that a terminal or a table could stumble over.
pub(crate) fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line.trim_ascii())
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

/// Why a line is no word to pronounce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WordError {
    Empty,
    NotUtf8 { byte: usize },
    Character { character: char, place: usize },
    TooLong { letters: usize, most: usize },
    NoLetter,
}

impl WordError {
    /// What would be right.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Empty => "give one word a line",
            Self::NotUtf8 { .. } => "save the text as UTF-8",
            Self::Character { character, .. } => remedy_for(*character),
            Self::TooLong { .. } => "cut the word in parts",
            Self::NoLetter => "give at least one letter from a to z",
        }
    }
}

fn remedy_for(character: char) -> &'static str {
    match character {
        c if c.is_whitespace() => "give one word a line",
        c if c.is_control() => "leave control characters out",
        '\u{2018}' | '\u{2019}' | '\u{2BC}' | '`' | '\u{B4}' => "write the apostrophe as '",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "write the hyphen as -",
        c if c.is_numeric() => "write numbers out in letters",
        // Latin letters beyond ASCII, and combining marks.
        '\u{C0}'..='\u{24F}' | '\u{300}'..='\u{36F}' | '\u{1E00}'..='\u{1EFF}' => {
            "write the word without accents, with letters from a to z"
        }
        c if c.is_alphabetic() => "give an English word in the letters a to z",
        _ => "use only the letters a to z, apostrophe, hyphen and full stop",
    }
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no word"),
            Self::NotUtf8 { byte } => write!(f, "not UTF-8 text, from byte {byte} on"),
            Self::Character { character, place } => {
                write!(f, "{} in place {place} is no letter that words are made of here", Quoted(*character))
            }
            Self::TooLong { letters, most } => write!(f, "{letters} letters, but a word has at most {most}"),
            Self::NoLetter => f.write_str("a word without a letter"),
        }
    }
}

/// A character in quotes, or its code where it would not show.
struct Quoted(char);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ' ' => f.write_str("a space"),
            '\t' => f.write_str("a tab"),
            c if c.is_control() || c.is_whitespace() || matches!(c, '\u{300}'..='\u{36F}') => {
                write!(f, "U+{:04X}", u32::from(c))
            }
            c => write!(f, "'{c}'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: impl AsRef<[u8]>) -> WordError {
        parse(line.as_ref(), 63).unwrap_err()
    }

    #[test]
    fn words_are_lowered_and_trimmed() {
        assert_eq!(parse(b" Attention\r", 63).as_deref(), Ok("attention"));
        assert_eq!(parse(b"o'clock", 63).as_deref(), Ok("o'clock"));
        assert_eq!(parse(b"A.D.", 63).as_deref(), Ok("a.d."));
        assert_eq!(parse(&[b'a'; 63], 63).map(|w| w.len()), Ok(63));
    }

    #[test]
    fn each_mistake_is_told_apart() {
        assert_eq!(error(""), WordError::Empty);
        assert_eq!(error(" \t"), WordError::Empty);
        assert_eq!(error("'-."), WordError::NoLetter);
        assert_eq!(error([b'a'; 300]), WordError::TooLong { letters: 300, most: 63 });
        assert_eq!(error(b"ab\xff"), WordError::NotUtf8 { byte: 3 });
        assert_eq!(error("route 66"), WordError::Character { character: ' ', place: 6 });
        assert_eq!(error("caf\u{e9}"), WordError::Character { character: 'é', place: 4 });
        // Cut inside a two-byte character.
        let cut = "é".repeat(LINE_LIMIT);
        assert!(matches!(error(&cut.as_bytes()[..LINE_LIMIT - 1]), WordError::NotUtf8 { .. }));
        assert!(matches!(error(&cut.as_bytes()[1..=LINE_LIMIT]), WordError::TooLong { .. }));
    }

    #[test]
    fn remedies_fit_the_character() {
        let remedy = |text: &str| error(text).remedy();
        assert!(remedy("4th").contains("numbers"));
        assert!(remedy("naïve").contains("accents"));
        assert!(remedy("nai\u{308}ve").contains("accents"));
        assert!(remedy("don’t").contains("apostrophe"));
        assert!(remedy("слово").contains("English"));
        assert!(remedy("two words").contains("one word a line"));
        assert!(remedy("a\u{7}").contains("control"));
        assert!(remedy("a_b").contains("full stop"));
    }

    #[test]
    fn shown_lines_have_no_control_characters() {
        assert_eq!(shown(b"a\tb\x1b[31m\xff "), "a\u{FFFD}b\u{FFFD}[31m\u{FFFD}");
    }
}
