//! The alignment of a translation to its source, drawn as the attention of a pronunciation is.

use std::path::Path;

use kernform_translate::Alignment;

use super::Answer;
use crate::errors::Failure;
use crate::pronounce::attention::{AttentionMap, Subject};
use crate::pronounce::{heatmap, svg};
use crate::term::{self, Colours};

/// Each sentence as a heat map: columns are numbered, and the source's tokens stand below with their numbers.
pub(crate) fn terminal(answer: &Answer, text: &mut String) {
    for alignment in &answer.alignments {
        let numbers = (1..=alignment.source.len()).map(|number| format!("{}", number % 100)).collect();
        let map = map(&answer.job.text, alignment, numbers);
        text.push('\n');
        text.push_str(&heatmap::draw(&map, Colours::of_stdout(), term::columns()));
        let legend: Vec<String> =
            (1..).zip(&alignment.source).map(|(number, piece)| format!("{number} {piece}")).collect();
        text.push_str(&legend.join("  "));
        text.push_str("\n\n");
    }
}

/// A picture a sentence, numbered where there are several or the line is not the first.
pub(crate) fn picture(path: &Path, answer: &Answer) -> Result<(), Failure> {
    for (i, alignment) in answer.alignments.iter().enumerate() {
        let is_alone = answer.alignments.len() == 1 && answer.job.index == 0;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}-{}-{}.svg", answer.job.line, i + 1);
        let path = if is_alone { path.to_path_buf() } else { path.with_file_name(name) };
        let map = map(&answer.job.text, alignment, alignment.source.clone());
        std::fs::write(&path, svg::draw(&map)).map_err(|error| {
            Failure::new(format_args!("cannot write the picture: {error}"), path.display(), "name another file")
        })?;
    }
    Ok(())
}

/// A piece without the mark of a word's beginning; the end token in words.
fn label(piece: &str) -> String {
    match piece.trim_start_matches('\u{2581}') {
        "</s>" => "end".into(),
        word => word.into(),
    }
}

/// Source against translation.
static TRANSLATION: Subject = Subject {
    caption: "What each token of the translation looks at in the source",
    columns: "source",
    rows: "translation",
};

fn map(title: &str, alignment: &Alignment, columns: Vec<String>) -> AttentionMap {
    AttentionMap {
        subject: &TRANSLATION,
        word: title.to_string(),
        letters: columns.iter().map(|piece| label(piece)).collect(),
        phonemes: alignment.target.iter().map(|piece| label(piece)).collect(),
        layers: 1,
        heads: 1,
        weights: alignment.weights.clone(),
    }
}
