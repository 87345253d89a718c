//! A text as what is translated and what is kept, and its translation put together again.

use kernform_model::{ModelError, Translated};
use kernform_text::{SentencePiece, sentences};

use crate::TranslateError;

/// Most tokens of a part, its end included: Bergamot's limit, which its models are used with.
pub(crate) const LONGEST: usize = 128;

/// What a part of a text was translated to.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// The text.
    pub text: String,
    /// Its tokens, without the end.
    pub tokens: Vec<u32>,
    /// The mean log-probability of its tokens, where the search knows it.
    pub score: Option<f32>,
    /// Whether the model ended it; it was cut otherwise.
    pub finished: bool,
}

/// A sentence, or a part of one that is too long.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// White space of the source before it.
    pub before: String,
    /// The source, as it was written; of a cut sentence, as the model sees it.
    pub source: String,
    /// The source's tokens, with the end.
    pub tokens: Vec<u32>,
    /// What it was translated to, best first; none where there is nothing to translate.
    pub hypotheses: Vec<Hypothesis>,
    /// White space of the source behind it.
    pub after: String,
}

/// How source and target tokens belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Alignment {
    /// The source's pieces, the end included.
    pub source: Vec<String>,
    /// The target's pieces, the end included where the model ended it.
    pub target: Vec<String>,
    /// `[target, source]`: the weights of the head that the model was trained to align with; each row sums to 1.
    pub weights: Vec<f32>,
}

/// A translated text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// Its parts, in the order of the text.
    pub units: Vec<Unit>,
}

impl Translation {
    /// Cuts a text into parts.
    pub(crate) fn of(text: &str, vocabulary: &SentencePiece, end: u32) -> Self {
        let mut units = Vec::new();
        for sentence in sentences(text) {
            let tokens = vocabulary.encode(sentence.text);
            let mut rest = tokens.as_slice();
            let first = units.len();
            while !rest.is_empty() {
                let (part, others) = rest.split_at(cut(rest, vocabulary));
                rest = others;
                let mut tokens = part.to_vec();
                tokens.push(end);
                let is_whole = rest.is_empty() && units.len() == first;
                let source =
                    if is_whole { sentence.text.to_string() } else { vocabulary.decode(part).unwrap_or_default() };
                let after = if rest.is_empty() { String::new() } else { " ".to_string() };
                units.push(Unit { before: String::new(), source, tokens, hypotheses: Vec::new(), after });
            }
            if units.len() == first {
                // Nothing that the model knows a piece of: it is kept as it is.
                let (before, source) = (String::new(), sentence.text.to_string());
                units.push(Unit { before, source, tokens: Vec::new(), hypotheses: Vec::new(), after: String::new() });
            }
            if let Some(unit) = units.get_mut(first) {
                unit.before.push_str(sentence.before);
            }
            if let Some(unit) = units.last_mut() {
                unit.after.push_str(sentence.after);
            }
        }
        Self { units }
    }

    /// Puts the result of a part in its place.
    pub(crate) fn set(
        &mut self,
        unit: usize,
        result: Result<Vec<Translated>, ModelError>,
        vocabulary: &SentencePiece,
    ) -> Result<(), TranslateError> {
        let Some(unit) = self.units.get_mut(unit) else { return Ok(()) };
        for translated in result? {
            let text = vocabulary.decode(&translated.tokens)?;
            let Translated { tokens, finished, score } = translated;
            unit.hypotheses.push(Hypothesis { text, tokens, score, finished });
        }
        Ok(())
    }

    /// The best translation.
    #[must_use]
    pub fn text(&self) -> String {
        self.ranked(0)
    }

    /// The translation of rank `rank`, from 0: each part in that rank, or in the last that it has.
    #[must_use]
    pub fn ranked(&self, rank: usize) -> String {
        let mut text = String::new();
        for unit in &self.units {
            text.push_str(&unit.before);
            let last = unit.hypotheses.len().saturating_sub(1);
            text.push_str(unit.hypotheses.get(rank.min(last)).map_or(&unit.source, |hypothesis| &hypothesis.text));
            text.push_str(&unit.after);
        }
        text
    }

    /// The mean score of the parts in a rank, weighted by their tokens.
    #[must_use]
    pub fn score(&self, rank: usize) -> Option<f32> {
        let (mut sum, mut count) = (0.0, 0.0);
        for unit in self.units.iter().filter(|unit| !unit.hypotheses.is_empty()) {
            let hypothesis = unit.hypotheses.get(rank.min(unit.hypotheses.len() - 1))?;
            let tokens = (hypothesis.tokens.len() + 1) as f32;
            sum += hypothesis.score? * tokens;
            count += tokens;
        }
        (count > 0.0).then(|| sum / count)
    }

    /// Tokens of source and of the best translation.
    #[must_use]
    pub fn tokens(&self) -> (usize, usize) {
        let target = |unit: &Unit| unit.hypotheses.first().map_or(0, |hypothesis| hypothesis.tokens.len());
        (self.units.iter().map(|unit| unit.tokens.len()).sum(), self.units.iter().map(target).sum())
    }
}

/// How many of the tokens make the next part: all, or as many as there may be, up to a clause's end, or at least a word's.
fn cut(tokens: &[u32], vocabulary: &SentencePiece) -> usize {
    let most = LONGEST - 1;
    if tokens.len() <= most {
        return tokens.len();
    }
    let piece = |at: usize| vocabulary.piece(tokens[at]).unwrap_or_default();
    let begins_word = |at: usize| piece(at).starts_with('\u{2581}');
    let ends_clause =
        |at: usize| piece(at - 1).ends_with([',', ';', ':', '.', '!', '?', ')', '—', '–', '、', '。', '，', '；']);
    let clause = (most / 2..=most).rev().find(|at| begins_word(*at) && ends_clause(*at));
    let word = || (most / 2..=most).rev().find(|at| begins_word(*at));
    clause.or_else(word).unwrap_or(most)
}
