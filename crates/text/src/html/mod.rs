//! HTML pages as blocks of text, and the blocks put together again with translations in their place.
//!
//! A page is cut into blocks (paragraphs, cells, headings, whatever stands alone), each of which is one text. Tags inside of
//! a text (links, emphasis) go along with the words: each word of the translation gets the tags of the source's word that it
//! came from. Programs, keys and formulas inside of a sentence, and what a page asks to keep (`translate="no"`, class
//! `notranslate`), are no text and stand beside the word that they stood before.
//!
//! ```
//! use kernform_text::html::{HtmlBlocks, Stretch, Word};
//!
//! let block = HtmlBlocks::new(&b"<p>a <b>red</b> house</p>"[..]).next().expect("a block")?;
//! assert_eq!(block.text(), "a red house");
//! let word = |target, source: core::ops::Range<usize>| Word { target, at: source.start, source };
//! let words = vec![word(0..3, 0..1), word(4..8, 6..11), word(9..17, 2..5)];
//! let stretch = Stretch { source: 0..11, text: "uma casa vermelha".into(), words, is_continued: false };
//! assert_eq!(block.project(&[stretch]), "<p>uma casa <b>vermelha</b></p>");
//! # Ok::<(), std::io::Error>(())
//! ```

mod block;
mod elements;
mod project;
mod scan;
#[cfg(test)]
mod tests;
mod tree;

pub use block::{HtmlBlock, HtmlBlocks};
pub use project::{Stretch, Word};
