//! HTML pages: their text is translated, all else stays as it is.
//!
//! The model sees the bare text of a block, so that its translation is that of the bare text; which word of it came from
//! which, and gets its tags, is told by the model's alignment head.

use core::ops::Range;

pub use kernform_text::html::{HtmlBlock, HtmlBlocks, Stretch, Word};
use kernform_text::{SentencePiece, sentences};

use crate::words::{self, Tokens};
use crate::{Alignment, TranslateError, Translation, Translator, Unit, Worker};

impl Translator {
    /// A block of a page with a translation of its [text](HtmlBlock::text) in the place of it. `align` gives the alignment
    /// of a part, as [`Worker::align_unit`] does; it is asked for those that have tags inside.
    ///
    /// # Errors
    /// Those of `align`, and [`TranslateError::Text`] where the translation is not of this model.
    pub fn html_block(
        &self,
        block: &HtmlBlock,
        translation: &Translation,
        mut align: impl FnMut(&Unit) -> Result<Option<Alignment>, TranslateError>,
    ) -> Result<String, TranslateError> {
        let text = block.text();
        let mut stretches = stretches(&text, translation, &self.vocabulary);
        for (stretch, unit) in stretches.iter_mut().zip(&translation.units) {
            if !block.has_tags_inside(&stretch.source) {
                continue;
            }
            let (source, Some(hypothesis)) =
                (text.get(stretch.source.clone()).unwrap_or_default(), unit.hypotheses.first())
            else {
                // Nothing was translated: every word is its own.
                let own = |word: Range<usize>| {
                    let source = stretch.source.start + word.start..stretch.source.start + word.end;
                    Word { target: word, at: source.start, source }
                };
                stretch.words = kernform_text::words(&stretch.text).map(own).collect();
                continue;
            };
            let Some(alignment) = align(unit)? else { continue };
            let spans: Vec<Range<usize>> =
                self.vocabulary.encode_spans(source).into_iter().map(|(_, span)| span).collect();
            let (_, ends) = self.vocabulary.decode_ends(&hypothesis.tokens)?;
            let tokens =
                Tokens { source: &spans, target_ends: &ends, weights: &alignment.weights, row: alignment.source.len() };
            stretch.words = words::aligned(source, &stretch.text, &tokens);
            for word in &mut stretch.words {
                let from = stretch.source.start;
                word.source = from + word.source.start..from + word.source.end;
                word.at += from;
            }
        }
        Ok(block.project(&stretches))
    }

    /// The translation of an HTML page or a part of one, by greedy search.
    ///
    /// ```no_run
    /// # let translator = kernform_translate::Translator::open("models/enpt")?;
    /// let html = translator.translate_html("<p>The <b>house</b> is wonderful.</p>")?;
    /// assert_eq!(html, "<p>A <b>casa</b> é maravilhosa.</p>");
    /// # Ok::<(), kernform_translate::TranslateError>(())
    /// ```
    ///
    /// # Errors
    /// [`TranslateError`] where there is no memory for it.
    pub fn translate_html(&self, html: &str) -> Result<String, TranslateError> {
        // Reading from memory does not fail.
        let blocks: Vec<HtmlBlock> = HtmlBlocks::new(html.as_bytes()).map_while(Result::ok).collect();
        let texts: Vec<String> = blocks.iter().map(HtmlBlock::text).collect();
        let mut worker = Worker::new(self, 32.min(texts.len()), 1, 1)?;
        let mut translations: Vec<Translation> = texts.iter().map(|_| Translation::default()).collect();
        worker.run(texts.iter(), |number, translation| {
            if let Some(place) = translations.get_mut(number) {
                *place = translation;
            }
            Ok::<(), TranslateError>(())
        })?;
        let mut html = String::new();
        for (block, translation) in blocks.iter().zip(&translations) {
            html.push_str(&self.html_block(block, translation, |unit| worker.align_unit(unit))?);
        }
        Ok(html)
    }
}

/// Where the parts of a translation stand in the text.
fn stretches(text: &str, translation: &Translation, vocabulary: &SentencePiece) -> Vec<Stretch> {
    let mut units = translation.units.iter();
    let mut stretches = Vec::new();
    let mut start = 0;
    for sentence in sentences(text) {
        let from = start + sentence.before.len();
        let to = from + sentence.text.len();
        start = to + sentence.after.len();
        let Some(first) = units.next() else { break };
        let mut unit = first;
        // A sentence that is too long has several parts; each has its tokens and the end.
        let is_whole = first.source == sentence.text;
        let spans = if is_whole { Vec::new() } else { vocabulary.encode_spans(sentence.text) };
        let mut tokens = 0;
        loop {
            let next = tokens + unit.tokens.len().saturating_sub(1);
            let is_last = next >= spans.len();
            let begins = spans.get(tokens).filter(|_| tokens > 0).map_or(0, |(_, span)| span.start);
            let ends = next.checked_sub(1).and_then(|last| spans.get(last)).map_or(0, |(_, span)| span.end);
            let ends = if is_last { sentence.text.len() } else { ends };
            let part = sentence.text.get(begins..ends).unwrap_or_default();
            let begins = begins + part.len() - part.trim_start().len();
            let translated = unit.hypotheses.first().map_or(&unit.source, |hypothesis| &hypothesis.text);
            stretches.push(Stretch {
                source: from + begins..from + ends.max(begins),
                text: translated.clone(),
                words: Vec::new(),
                is_continued: tokens > 0,
            });
            if is_last {
                break;
            }
            tokens = next;
            let Some(other) = units.next() else { break };
            unit = other;
        }
    }
    // A translation of another text: nothing of it is lost.
    stretches.extend(units.map(|unit| Stretch {
        source: text.len()..text.len(),
        text: unit.hypotheses.first().map_or(&unit.source, |hypothesis| &hypothesis.text).clone(),
        words: Vec::new(),
        is_continued: true,
    }));
    stretches
}
