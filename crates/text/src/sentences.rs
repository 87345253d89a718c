//! The sentences of a text, and what stands between them.

use unicode_segmentation::UnicodeSegmentation as _;

/// A sentence with the white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sentence<'t> {
    /// White space before it, where no sentence stands before that.
    pub before: &'t str,
    /// The sentence: no white space at its ends, and no line break inside. Empty where the text, or a part of it, is
    /// nothing but white space.
    pub text: &'t str,
    /// White space behind it.
    pub after: &'t str,
}

/// Cuts a text into its sentences: at line breaks, and where Unicode ends a sentence (UAX 29) unless what stands before is
/// an abbreviation or an initial. `before`, `text` and `after` of all of them, joined, are the text.
pub fn sentences(text: &str) -> impl Iterator<Item = Sentence<'_>> {
    text.split_inclusive('\n').flat_map(line)
}

fn line(line: &str) -> impl Iterator<Item = Sentence<'_>> {
    let mut bounds = line.split_sentence_bound_indices().map(|(start, _)| start).skip(1).chain([line.len()]);
    let mut from = 0;
    core::iter::from_fn(move || {
        if from == line.len() {
            return None;
        }
        let end = bounds.find(|&end| end == line.len() || ends(&line[from..end], &line[end..]))?;
        let part = &line[from..end];
        from = end;
        let inner = part.trim();
        let start = part.len() - part.trim_start().len();
        let (before, rest) = part.split_at(start);
        let (text, after) = rest.split_at(inner.len());
        Some(Sentence { before, text, after })
    })
}

/// Whether a sentence can end between the two.
fn ends(before: &str, after: &str) -> bool {
    let before = before.trim_end();
    // Nothing but white space is no sentence, and nothing but closing marks goes with the one before.
    if before.is_empty() || after.trim_start().is_empty() {
        return false;
    }
    let Some(body) = before.strip_suffix('.') else { return true };
    let word =
        body.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '“' | '«' | '\'' | '‘' | '—' | '–'));
    let word = word.map(str::to_lowercase).next().unwrap_or_default();
    let next_is_number = after.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let is_initial = {
        let mut letters = body.chars().rev();
        let last = letters.next();
        let alone = !letters.next().is_some_and(char::is_alphanumeric);
        last.is_some_and(char::is_uppercase) && alone
    };
    let is_abbreviation = BEFORE_NAMES.binary_search(&word.as_str()).is_ok()
        || (next_is_number && BEFORE_NUMBERS.binary_search(&word.as_str()).is_ok());
    !(is_initial || is_abbreviation)
}

/// Abbreviations of English and Portuguese after which a sentence goes on, sorted.
const BEFORE_NAMES: [&str; 54] = [
    "adm", "av", "brig", "capt", "cel", "cf", "cmdr", "col", "corp", "dep", "dr", "dra", "drs", "e.g", "eng", "engª",
    "exma", "exmo", "gen", "gov", "hon", "i.e", "ilma", "ilmo", "inst", "jr", "lt", "maj", "mme", "mr", "mrs", "ms",
    "mt", "p.ex", "prof", "profa", "profs", "pvt", "rep", "rev", "sec", "sen", "sgt", "sr", "sra", "sras", "srs",
    "srta", "st", "sta", "sto", "v.g", "viz", "vs",
];

/// Abbreviations after which a number belongs to them, sorted.
const BEFORE_NUMBERS: [&str; 25] = [
    "art", "arts", "cap", "caps", "ch", "chap", "chs", "eq", "fig", "figs", "fl", "fls", "n", "no", "nos", "nr", "num",
    "p", "pag", "pp", "pág", "sec", "tab", "v", "vol",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        sentences(text).map(|sentence| sentence.text).collect()
    }

    #[test]
    fn the_lists_are_sorted() {
        assert!(BEFORE_NAMES.is_sorted());
        assert!(BEFORE_NUMBERS.is_sorted());
    }

    #[test]
    fn sentences_end_where_a_reader_ends_them() {
        assert_eq!(texts("One. Two! Three? Four"), ["One.", "Two!", "Three?", "Four"]);
        assert_eq!(texts("Mr. J. R. Smith met Dr. Lee. They left."), ["Mr. J. R. Smith met Dr. Lee.", "They left."]);
        assert_eq!(texts("O Sr. Silva saiu. A Sra. Dias ficou."), ["O Sr. Silva saiu.", "A Sra. Dias ficou."]);
        assert_eq!(
            texts("See fig. 3 and p. 12. It costs 3.50 or so."),
            ["See fig. 3 and p. 12.", "It costs 3.50 or so."]
        );
        assert_eq!(texts("He said: \"Go.\" She went."), ["He said: \"Go.\"", "She went."]);
        assert_eq!(texts("v. 1.2 is out... and more"), ["v. 1.2 is out... and more"]);
        assert_eq!(texts("今日は晴れ。明日は雨。"), ["今日は晴れ。", "明日は雨。"]);
    }

    #[test]
    fn lines_are_never_joined() {
        assert_eq!(texts("a\nb\r\n\n c "), ["a", "b", "", "c"]);
        assert_eq!(texts("Mr.\nSmith"), ["Mr.", "Smith"]);
    }
}
