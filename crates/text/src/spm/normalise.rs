//! Normalisation of a text before it is cut.

use super::SPACE;
use super::charsmap::CharsMap;

/// A model's rules.
#[derive(Clone, Debug)]
pub(super) struct Normaliser {
    pub(super) map: CharsMap,
    /// Whether the text gets a space in front, so that its first word looks like every other.
    pub(super) dummy_prefix: bool,
    /// Whether runs of spaces become one, and those at the ends none.
    pub(super) remove_extra_spaces: bool,
    /// Whether spaces are written as `▁`.
    pub(super) escape_spaces: bool,
    /// Whether the space of a word stands behind it.
    pub(super) space_is_suffix: bool,
    /// Texts that are left as they are.
    pub(super) user_defined: Vec<String>,
}

impl Normaliser {
    pub(super) fn apply(&self, text: &str) -> String {
        self.apply_with(text, |_, _| {})
    }

    /// [`Self::apply`], which tells of every replacement where it begins in the result and in the text, in order.
    pub(super) fn apply_with(&self, text: &str, mut each: impl FnMut(usize, usize)) -> String {
        let space = if self.escape_spaces { SPACE } else { " " };
        let mut rest = text;
        if self.remove_extra_spaces {
            while !rest.is_empty() {
                let (len, replacement) = self.prefix(rest);
                if replacement != " " {
                    break;
                }
                rest = &rest[len..];
            }
        }
        if rest.is_empty() {
            return String::new();
        }
        let mut out = String::with_capacity(rest.len() + rest.len() / 2);
        if self.dummy_prefix && !self.space_is_suffix {
            out.push_str(space);
        }
        let mut after_space = self.remove_extra_spaces;
        while !rest.is_empty() {
            let (len, replacement) = self.prefix(rest);
            each(out.len(), text.len() - rest.len());
            rest = &rest[len..];
            let replacement = if after_space { replacement.trim_start_matches(' ') } else { replacement };
            if !replacement.is_empty() {
                for (i, part) in replacement.split(' ').enumerate() {
                    if i > 0 {
                        out.push_str(space);
                    }
                    out.push_str(part);
                }
                after_space = replacement.ends_with(' ');
            }
            after_space &= self.remove_extra_spaces;
        }
        if self.remove_extra_spaces {
            out.truncate(out.trim_end_matches(space).len());
        }
        if self.dummy_prefix && self.space_is_suffix {
            out.push_str(space);
        }
        out
    }

    /// The length of the longest prefix with a replacement, and the replacement; one character is left as it is.
    fn prefix<'t>(&'t self, text: &'t str) -> (usize, &'t str) {
        let own = self.user_defined.iter().filter(|own| text.starts_with(own.as_str())).map(String::len).max();
        if let Some(len) = own {
            return (len, &text[..len]);
        }
        self.map.longest(text).unwrap_or_else(|| {
            let len = text.chars().next().map_or(0, char::len_utf8);
            (len, &text[..len])
        })
    }
}
