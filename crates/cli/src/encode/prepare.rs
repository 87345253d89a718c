//! From a line to tokens that the model takes.

use core::fmt;

use kernform_text::Encoding;

use super::loaded::Encoder;

/// A line that cannot be answered.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) remedy: &'static str,
}

impl Wrong {
    pub(crate) fn new(what: impl fmt::Display, remedy: &'static str) -> Self {
        Self { what: what.to_string(), remedy }
    }
}

/// A text with its tokens.
pub(crate) struct Prepared {
    /// The place of its line, from 0.
    pub(crate) index: u64,
    /// The text as it was given, without a prompt.
    pub(crate) text: String,
    pub(crate) tokens: Encoding,
    /// Whether tokens were left out.
    pub(crate) is_cut: bool,
}

/// One text, or two that belong together.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'t> {
    One(&'t str),
    Pair(&'t str, &'t str),
}

impl Encoder {
    /// The tokens of a text, at most as many as the model takes: what is beyond is left out, the special tokens at the end
    /// are kept. The flag says whether anything was.
    pub(crate) fn tokens(&self, input: Input<'_>) -> Result<(Encoding, bool), Wrong> {
        let encoded = match input {
            Input::One(text) => self.tokenizer.encode(text, true),
            Input::Pair(first, second) => self.tokenizer.encode_pair(first, second, true),
        };
        let mut tokens = encoded.map_err(|error| Wrong::new(error, "leave out what the tokenizer stumbles over"))?;
        let is_cut = cut(&mut tokens, self.max_tokens());
        self.check(&tokens)?;
        Ok((tokens, is_cut))
    }

    /// That the model can run on the tokens.
    fn check(&self, tokens: &Encoding) -> Result<(), Wrong> {
        let config = self.model.config();
        if tokens.ids.is_empty() {
            return Err(Wrong::new("there are no tokens in it", "give a text that is not empty"));
        }
        if let Some(id) = tokens.ids.iter().find(|id| **id as usize >= config.vocab_size) {
            return Err(Wrong::new(
                format_args!("the tokenizer gives token {id}, and the model has {}", config.vocab_size),
                "see that tokenizer.json belongs to the model",
            ));
        }
        Ok(())
    }

    /// The token types for the model: none where it has no types.
    pub(crate) fn types<'t>(&self, types: &'t [u32]) -> Option<&'t [u32]> {
        let known = self.model.config().token_types;
        // Models with one type (RoBERTa) have tokenizers that number the second of two texts all the same.
        (known > 1 && types.iter().all(|id| (*id as usize) < known)).then_some(types)
    }
}

/// Leaves `most` tokens, the special ones at the end among them; says whether any are gone.
fn cut(tokens: &mut Encoding, most: usize) -> bool {
    let len = tokens.ids.len();
    if len <= most {
        return false;
    }
    let last = tokens.special.iter().rev().take_while(|special| **special).count().min(most);
    let gone = most - last..len - last;
    tokens.ids.drain(gone.clone());
    tokens.type_ids.drain(gone.clone());
    tokens.special.drain(gone.clone());
    tokens.offsets.drain(gone);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_stays_where_a_text_is_cut() {
        let mut tokens = Encoding {
            ids: vec![1, 10, 11, 12, 13, 2],
            type_ids: vec![0; 6],
            special: vec![true, false, false, false, false, true],
            offsets: vec![(0, 0); 6],
        };
        assert!(!cut(&mut tokens, 6));
        assert!(cut(&mut tokens, 4));
        assert_eq!(tokens.ids, [1, 10, 11, 2]);
        assert_eq!(tokens.special, [true, false, false, true]);
    }
}
