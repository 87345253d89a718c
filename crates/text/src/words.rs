//! The words of a text.

use core::ops::Range;

use unicode_segmentation::UnicodeSegmentation as _;

/// The bytes of the words of a text, and of the marks between them: what Unicode takes for words (UAX 29), with those that a
/// hyphen joins as one. All that is no white space is in one of them.
pub fn words(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut parts = text.split_word_bound_indices().map(|(start, part)| (start..start + part.len(), part)).peekable();
    core::iter::from_fn(move || {
        let (mut word, part) = parts.find(|(_, part)| !part.trim().is_empty())?;
        let mut ends_in_letter = part.ends_with(char::is_alphanumeric);
        loop {
            let is_joined = |(_, next): &(Range<usize>, &str)| match *next {
                "-" | "\u{2010}" | "\u{2011}" | "\u{AD}" => {
                    ends_in_letter && text[word.end + next.len()..].starts_with(char::is_alphanumeric)
                }
                next => {
                    text[..word.end].ends_with(['-', '\u{2010}', '\u{2011}', '\u{AD}'])
                        && ends_in_letter
                        && next.starts_with(char::is_alphanumeric)
                }
            };
            let Some((place, _)) = parts.next_if(is_joined) else { return Some(word) };
            word.end = place.end;
            ends_in_letter = true;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_and_marks_stand_alone_and_hyphens_join() {
        let of = |text: &'static str| words(text).map(|place| &text[place]).collect::<Vec<_>>();
        assert_eq!(
            of("The (first) word[1], isn't 3.5."),
            ["The", "(", "first", ")", "word", "[", "1", "]", ",", "isn't", "3.5", "."]
        );
        assert_eq!(of("dá-lhe well-to-do - a- -b"), ["dá-lhe", "well-to-do", "-", "a", "-", "-", "b"]);
        assert_eq!(of(" \n"), [""; 0]);
    }
}
