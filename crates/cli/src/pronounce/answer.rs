//! What became of a line, and the forms in which it is written.

use core::fmt::Write as _;

use serde::Serialize;

use super::attention::AttentionMap;
use super::words::WordError;
use crate::errors::Failure;
use crate::output;

/// What became of one line of the input.
pub(crate) struct Answer {
    /// The place of the line, from 0.
    pub(crate) index: u64,
    /// The word, or the line as it can be shown again.
    pub(crate) word: String,
    pub(crate) result: Result<Found, Wrong>,
}

/// Pronunciations, best first.
pub(crate) struct Found {
    pub(crate) pronunciations: Vec<Pronunciation>,
    pub(crate) attention: Option<Box<AttentionMap>>,
}

/// One pronunciation.
#[derive(Serialize)]
pub(crate) struct Pronunciation {
    /// ARPAbet with stress digits.
    pub(crate) phonemes: String,
    /// Log-probability; in beam search divided by the number of tokens.
    pub(crate) score: Option<f32>,
}

/// Why there is no pronunciation.
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl From<WordError> for Wrong {
    fn from(error: WordError) -> Self {
        Self { what: error.to_string(), remedy: error.remedy().into() }
    }
}

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `word<TAB>phonemes`.
    Plain,
    /// A line a pronunciation: `word<TAB>rank<TAB>score<TAB>phonemes`.
    Ranked,
    /// A JSON object a line.
    Json,
}

#[derive(Serialize)]
struct AnswerJson<'a> {
    line: u64,
    word: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pronunciations: Option<&'a [Pronunciation]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attention: Option<AttentionJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The mean over layers and heads.
#[derive(Serialize)]
struct AttentionJson<'a> {
    letters: &'a [String],
    phonemes: &'a [String],
    weights: Vec<Vec<f32>>,
}

impl Answer {
    /// Adds the answer's lines to `text`. A line that is no word has an empty pronunciation.
    pub(crate) fn write(&self, form: Form, text: &mut String) -> Result<(), Failure> {
        let found = self.result.as_ref().map(|found| found.pronunciations.as_slice()).unwrap_or_default();
        let word = &self.word;
        // Writing to a string cannot fail.
        match form {
            Form::Plain => {
                let _ = writeln!(text, "{word}\t{}", found.first().map_or("", |best| &best.phonemes));
            }
            Form::Ranked if found.is_empty() => {
                let _ = writeln!(text, "{word}\t\t\t");
            }
            Form::Ranked => {
                for (rank, Pronunciation { phonemes, score }) in found.iter().enumerate() {
                    let _ = writeln!(text, "{word}\t{}\t{:.4}\t{phonemes}", rank + 1, score.unwrap_or(f32::NAN));
                }
            }
            Form::Json => {
                text.push_str(&output::json(&self.json())?);
                text.push('\n');
            }
        }
        Ok(())
    }

    fn json(&self) -> AnswerJson<'_> {
        let found = self.result.as_ref().ok();
        AnswerJson {
            line: self.index + 1,
            word: &self.word,
            pronunciations: found.map(|found| found.pronunciations.as_slice()),
            attention: found.and_then(|found| found.attention.as_deref()).map(|map| AttentionJson {
                letters: &map.letters,
                phonemes: &map.phonemes,
                weights: map.mean().chunks(map.letters.len()).map(<[f32]>::to_vec).collect(),
            }),
            error: self.result.as_ref().err().map(|wrong| format!("{}; {}", wrong.what, wrong.remedy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form, result: Result<Found, Wrong>) -> String {
        let mut text = String::new();
        Answer { index: 6, word: "a\"b".into(), result }.write(form, &mut text).unwrap();
        text
    }

    fn found() -> Result<Found, Wrong> {
        let pronunciation = |phonemes: &str, score| Pronunciation { phonemes: phonemes.into(), score: Some(score) };
        Ok(Found { pronunciations: vec![pronunciation("EY1", -0.25), pronunciation("AH0", -1.5)], attention: None })
    }

    #[test]
    fn each_form_has_its_columns() {
        assert_eq!(written(Form::Plain, found()), "a\"b\tEY1\n");
        assert_eq!(written(Form::Ranked, found()), "a\"b\t1\t-0.2500\tEY1\na\"b\t2\t-1.5000\tAH0\n");
        let json = "{\"line\":7,\"word\":\"a\\\"b\",\"pronunciations\":[{\"phonemes\":\"EY1\",\"score\":-0.25},\
                    {\"phonemes\":\"AH0\",\"score\":-1.5}]}\n";
        assert_eq!(written(Form::Json, found()), json);
    }

    #[test]
    fn lines_that_are_no_word_keep_their_place() {
        let wrong = || Err(Wrong::from(WordError::Empty));
        assert_eq!(written(Form::Plain, wrong()), "a\"b\t\n");
        assert_eq!(written(Form::Ranked, wrong()), "a\"b\t\t\t\n");
        let json = "{\"line\":7,\"word\":\"a\\\"b\",\"error\":\"there is no word; give one word a line\"}\n";
        assert_eq!(written(Form::Json, wrong()), json);
    }
}
