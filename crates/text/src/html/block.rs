//! A page cut into blocks: text that is translated together, with the tags inside of it, and all that stands between.

use core::ops::Range;
use std::io::{self, Read};

use super::elements;
use super::scan::{Scanner, Token};

/// Bytes of text after which a block is cut between words, and bytes that are only passed on which are held back at most.
const LONGEST: usize = 1 << 20;
const PASSED: usize = 64 << 10;

/// Tags of a block, and how deep elements may be nested in it; it is cut before there are more. That bounds the time and
/// the memory that any page can take.
const MARKS: usize = 4096;
const DEPTH: usize = 64;

/// What stands at a place of a block's text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Start(String),
    End(String),
    /// An element without text, or whose text stays as it is; whether something is seen there.
    Alone {
        is_seen: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    /// The byte of the text before which it stands.
    pub(crate) at: usize,
    pub(crate) kind: Kind,
    pub(crate) raw: String,
}

/// A piece of a page: text that belongs together, such as a paragraph, and what stands before and behind it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HtmlBlock {
    pub(crate) before: String,
    /// With characters for their references, and white space as it was.
    pub(crate) text: String,
    pub(crate) marks: Vec<Mark>,
    pub(crate) after: String,
}

impl HtmlBlock {
    /// What is to be translated: the text without tags, line breaks being spaces. Empty where there is none.
    #[must_use]
    pub fn text(&self) -> String {
        self.text.replace(['\n', '\r'], " ")
    }

    /// Whether there are tags between two bytes of the text, not counting those beside them.
    #[must_use]
    pub fn has_tags_inside(&self, range: &Range<usize>) -> bool {
        let first = self.marks.partition_point(|mark| mark.at <= range.start);
        self.marks.get(first).is_some_and(|mark| mark.at < range.end)
    }
}

/// The blocks of a page as they are read. Each ends as soon as its last byte is read, so that a page may be without end.
pub struct HtmlBlocks<'p> {
    tokens: Scanner<'p>,
    next: HtmlBlock,
    /// The text and the tags of `next`, as they are in the page.
    raw: String,
    /// The start tags of `next` that have no end tag yet.
    open: Vec<usize>,
    kept: Option<Kept>,
    is_begun: bool,
    is_ended: bool,
}

/// An element whose text stays as it is, while it is read.
struct Kept {
    name: String,
    /// Open elements of that name, itself included; where the end tag may be missing, itself and all containers inside.
    depth: usize,
    /// Whether it stands inside of a sentence.
    is_inline: bool,
}

impl Kept {
    /// Whether a tag is behind the element, which has no end tag.
    fn ends_before(&self, token: &Token) -> bool {
        self.depth == 1
            && match token {
                Token::Start { name, .. } => elements::is_ended_by_start(&self.name, name),
                Token::End { name, .. } => elements::is_ended_by_end(&self.name, name),
                _ => false,
            }
    }

    /// Counts a tag; true where it ends the element.
    fn ends_with(&mut self, token: &Token) -> bool {
        let may_lack_end = elements::may_lack_end(&self.name);
        match token {
            Token::Start { name, .. } => {
                let counts = if may_lack_end { elements::is_container(name) } else { *name == self.name };
                self.depth += usize::from(counts);
            }
            Token::End { name, .. } if *name == self.name => {
                // Inside of others it is the end of one that is not counted.
                self.depth -= usize::from(!may_lack_end || self.depth == 1);
            }
            Token::End { name, .. } if may_lack_end && elements::is_container(name) => {
                self.depth = (self.depth - 1).max(1);
            }
            _ => {}
        }
        self.depth == 0
    }
}

impl<'p> HtmlBlocks<'p> {
    /// The blocks of a page or a part of one, in UTF-8.
    pub fn new(page: impl Read + 'p) -> Self {
        Self {
            tokens: Scanner::new(Box::new(page)),
            next: HtmlBlock::default(),
            raw: String::new(),
            open: Vec::new(),
            kept: None,
            is_begun: false,
            is_ended: false,
        }
    }

    /// Whether some bytes read so far were no UTF-8, and became U+FFFD.
    pub fn has_wrong_bytes(&self) -> bool {
        self.tokens.has_wrong_bytes()
    }

    /// Ends a block before `after`, which no block has inside.
    fn end(&mut self, after: &str) -> Option<HtmlBlock> {
        let raw = core::mem::take(&mut self.raw);
        self.open.clear();
        if self.next.text.trim().is_empty() {
            // Nothing to translate: it goes before the next block that has something.
            self.next.text.clear();
            self.next.marks.clear();
            self.next.before.push_str(&raw);
            self.next.before.push_str(after);
            return (self.next.before.len() >= PASSED).then(|| core::mem::take(&mut self.next));
        }
        self.next.after.push_str(after);
        Some(core::mem::take(&mut self.next))
    }

    /// Ends a block that is too long behind the last word that is whole.
    fn cut(&mut self) -> Option<HtmlBlock> {
        if self.next.text.trim().is_empty() {
            return self.end("");
        }
        let from = self.next.marks.last().map_or(0, |mark| mark.at);
        let space = self.next.text[from..].rfind(char::is_whitespace).map(|place| from + place);
        let rest = space.filter(|place| *place > 0).map(|place| self.next.text.split_off(place)).unwrap_or_default();
        let block = self.end("");
        self.raw = super::project::escaped(&rest);
        self.next.text = rest;
        block
    }

    fn mark(&mut self, kind: Kind, raw: String) -> Option<HtmlBlock> {
        match &kind {
            Kind::Start(_) => self.open.push(self.next.marks.len()),
            Kind::End(name) => {
                let begun = |mark: &usize| matches!(&self.next.marks[*mark].kind, Kind::Start(start) if start == name);
                if let Some(place) = self.open.iter().rposition(begun) {
                    self.open.remove(place);
                }
            }
            Kind::Alone { .. } => {}
        }
        self.raw.push_str(&raw);
        self.next.marks.push(Mark { at: self.next.text.len(), kind, raw });
        let is_full = self.open.len() >= DEPTH || self.next.marks.len() >= MARKS || self.raw.len() >= LONGEST;
        if is_full { self.end("") } else { None }
    }

    /// A part of an element that stays as it is.
    fn keep(&mut self, raw: &str, is_inline: bool) -> Option<HtmlBlock> {
        if is_inline && let Some(mark) = self.next.marks.last_mut() {
            mark.raw.push_str(raw);
            self.raw.push_str(raw);
            return if self.raw.len() >= LONGEST { self.end("") } else { None };
        }
        self.next.before.push_str(raw);
        if self.next.before.len() >= PASSED { Some(core::mem::take(&mut self.next)) } else { None }
    }

    fn add(&mut self, token: Token) -> Option<HtmlBlock> {
        if let Some(kept) = &mut self.kept
            && !kept.ends_before(&token)
        {
            // An inline one may have lost its block to a cut.
            let is_inline = kept.is_inline && !self.next.marks.is_empty();
            if kept.ends_with(&token) {
                self.kept = None;
            }
            let (Token::Text { raw, .. } | Token::Start { raw, .. } | Token::End { raw, .. } | Token::Other { raw }) =
                token;
            return self.keep(&raw, is_inline);
        }
        self.kept = None;
        match token {
            Token::Text { text, raw } => {
                let mut text = text.as_str();
                if !core::mem::replace(&mut self.is_begun, true)
                    && let Some(rest) = text.strip_prefix('\u{FEFF}')
                {
                    self.next.before.push('\u{FEFF}');
                    text = rest;
                    self.raw.push_str(raw.strip_prefix('\u{FEFF}').unwrap_or(&raw));
                } else {
                    self.raw.push_str(&raw);
                }
                self.next.text.push_str(text);
                if self.next.text.len() >= LONGEST { self.cut() } else { None }
            }
            Token::Other { raw } => self.mark(Kind::Alone { is_seen: false }, raw),
            Token::End { name, raw } if elements::is_block(&name) => self.end(&raw),
            Token::End { name, raw } => self.mark(Kind::End(name), raw),
            Token::Start { name, is_kept, is_closed, raw } => self.start(name, is_kept, is_closed, raw),
        }
    }

    fn start(&mut self, name: String, is_kept: bool, is_closed: bool, raw: String) -> Option<HtmlBlock> {
        let is_block = elements::is_block(&name);
        // `<a name="x"/>` is meant to have no text, though to HTML it is only a beginning; at its place it stays either way.
        let has_text = !elements::is_void(&name) && (is_block || !is_closed);
        let is_kept = has_text && (is_kept || elements::is_kept(&name));
        let is_seen = is_kept || elements::is_seen(&name);
        if is_kept {
            self.kept = Some(Kept { name: name.clone(), depth: 1, is_inline: !is_block });
        }
        if is_block {
            self.end(&raw)
        } else if has_text && !is_kept {
            self.mark(Kind::Start(name), raw)
        } else {
            self.mark(Kind::Alone { is_seen }, raw)
        }
    }
}

impl Iterator for HtmlBlocks<'_> {
    type Item = io::Result<HtmlBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_ended {
            match self.tokens.next() {
                Some(Ok(token)) => {
                    if let Some(block) = self.add(token) {
                        return Some(Ok(block));
                    }
                }
                Some(Err(error)) => {
                    self.is_ended = true;
                    return Some(Err(error));
                }
                None => {
                    self.is_ended = true;
                    let last = self.end("").unwrap_or_else(|| core::mem::take(&mut self.next));
                    return (!last.before.is_empty() || !last.text.is_empty()).then_some(Ok(last));
                }
            }
        }
        None
    }
}
