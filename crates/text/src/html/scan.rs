//! A page as tokens that join to the page, by the tokenizer `html5gum`.
//!
//! It follows WHATWG's rules for every input, has no dependencies and no unsafe code, is fuzzed by its makers, and lets the
//! reader and the receiver of its events be ours: the reader keeps what it hands out until the next token, so that a token has
//! the very bytes of the page, whatever the tokenizer makes of them. (Parsers that build a tree, such as `html5ever`, drop
//! and move tags and know no places; rewriters such as `lol_html` bring CSS selectors and encodings with them.)

use core::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;

use html5gum::{Emitter, Error, Reader, State, Tokenizer};

/// Bytes that are read at a time; longer text comes in several tokens.
const CHUNK: usize = 16 << 10;

/// What stands for a carriage return while the tokenizer has it: white space to it as well, but never changed.
const RETURN: u8 = b'\x0C';

/// A part of a page. The `raw` of all of them, joined, are the page.
#[derive(Debug, PartialEq)]
pub(crate) enum Token {
    Text {
        /// With characters for their references.
        text: String,
        raw: String,
    },
    Start {
        name: String,
        /// Whether it says that its text shall stay as it is.
        is_kept: bool,
        /// Whether it ends with `/>`.
        is_closed: bool,
        raw: String,
    },
    End {
        name: String,
        raw: String,
    },
    /// A comment, a document type, a tag that the page ends in.
    Other {
        raw: String,
    },
}

/// What the tokenizer took and no token has yet.
#[derive(Default)]
struct Taken {
    raw: Vec<u8>,
    /// Whether some bytes of the page were no UTF-8.
    has_wrong_bytes: bool,
}

type Shared = Rc<RefCell<Taken>>;

/// The tokens of a page.
pub(crate) struct Scanner<'p> {
    tokenizer: Tokenizer<Input<'p>, Sink>,
    taken: Shared,
}

impl<'p> Scanner<'p> {
    pub(crate) fn new(reader: Box<dyn Read + 'p>) -> Self {
        let taken = Shared::default();
        let input = Input {
            reader,
            original: Vec::new(),
            shown: Vec::new(),
            at: 0,
            rest: Vec::new(),
            is_end: false,
            taken: Rc::clone(&taken),
        };
        let sink = Sink { taken: Rc::clone(&taken), ..Sink::default() };
        Self { tokenizer: Tokenizer::new_with_emitter(input, sink), taken }
    }

    /// Whether some bytes were no UTF-8, and became U+FFFD.
    pub(crate) fn has_wrong_bytes(&self) -> bool {
        self.taken.borrow().has_wrong_bytes
    }
}

impl Iterator for Scanner<'_> {
    type Item = io::Result<Token>;

    fn next(&mut self) -> Option<Self::Item> {
        self.tokenizer.next()
    }
}

/// The page as the tokenizer reads it: UTF-8.
struct Input<'p> {
    /// Not of any type, so that the tokenizer is compiled once.
    reader: Box<dyn Read + 'p>,
    /// What was read, and the same with [`RETURN`] for returns; `at` of it is taken.
    original: Vec<u8>,
    shown: Vec<u8>,
    at: usize,
    /// The beginning of a character whose end was not read yet.
    rest: Vec<u8>,
    is_end: bool,
    taken: Shared,
}

impl Input<'_> {
    /// Sees that `len` bytes are there; false where the page ends before.
    fn fill(&mut self, len: usize) -> io::Result<bool> {
        while self.shown.len() - self.at < len {
            if self.is_end {
                return Ok(false);
            }
            self.original.drain(..self.at);
            self.shown.drain(..self.at);
            self.at = 0;
            let kept = self.rest.len();
            let mut bytes = core::mem::take(&mut self.rest);
            bytes.resize(kept + CHUNK, 0);
            let read = loop {
                match self.reader.read(&mut bytes[kept..]) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            bytes.truncate(kept + read);
            self.is_end = read == 0;
            self.push(&bytes);
        }
        Ok(true)
    }

    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (valid, wrong) = match core::str::from_utf8(bytes) {
                Ok(_) => (bytes.len(), 0),
                Err(error) => match error.error_len() {
                    None if !self.is_end => {
                        self.rest = bytes[error.valid_up_to()..].to_vec();
                        bytes = &bytes[..error.valid_up_to()];
                        (bytes.len(), 0)
                    }
                    wrong => (error.valid_up_to(), wrong.unwrap_or(bytes.len() - error.valid_up_to())),
                },
            };
            self.original.extend_from_slice(&bytes[..valid]);
            if wrong > 0 {
                self.original.extend_from_slice("\u{FFFD}".as_bytes());
                self.taken.borrow_mut().has_wrong_bytes = true;
            }
            bytes = &bytes[valid + wrong..];
        }
        let new = &self.original[self.shown.len()..];
        self.shown.extend(new.iter().map(|byte| if *byte == b'\r' { RETURN } else { *byte }));
    }

    fn take(&mut self, len: usize) {
        self.taken.borrow_mut().raw.extend_from_slice(&self.original[self.at..self.at + len]);
        self.at += len;
    }
}

impl Reader for Input<'_> {
    type Error = io::Error;

    fn read_byte(&mut self) -> io::Result<Option<u8>> {
        if !self.fill(1)? {
            return Ok(None);
        }
        self.take(1);
        Ok(Some(self.shown[self.at - 1]))
    }

    fn try_read_string(&mut self, wanted: &[u8], case_sensitive: bool) -> io::Result<bool> {
        // Byte by byte, so that nothing waits for input that does not matter.
        for (i, byte) in wanted.iter().enumerate() {
            let is_same = |found: &u8| found == byte || !case_sensitive && found.eq_ignore_ascii_case(byte);
            if !self.fill(i + 1)? || !self.shown.get(self.at + i).is_some_and(is_same) {
                return Ok(false);
            }
        }
        self.take(wanted.len());
        Ok(true)
    }

    fn read_until<'b>(&'b mut self, needle: &[u8], _: &'b mut [u8; 4]) -> io::Result<Option<&'b [u8]>> {
        if !self.fill(1)? {
            return Ok(None);
        }
        let from = self.at;
        let found = self.shown[from..].iter().position(|byte| needle.contains(byte));
        self.take(found.unwrap_or(self.shown.len() - from).max(1));
        Ok(Some(&self.shown[from..self.at]))
    }
}

/// Makes tokens of the tokenizer's events.
#[derive(Default)]
struct Sink {
    taken: Shared,
    tokens: VecDeque<Token>,
    text: Vec<u8>,
    /// Where the last `<` stands among the taken bytes.
    open: usize,
    name: Vec<u8>,
    is_end: bool,
    is_closed: bool,
    is_kept: bool,
    attribute: Attribute,
    last_start: Vec<u8>,
    /// Open elements of SVG and MathML, in which no text is raw.
    foreign: usize,
}

/// The beginnings of an attribute: no more than is needed to know those that matter.
#[derive(Default)]
struct Attribute {
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Bytes of a name or a value that are looked at.
const LOOKED_AT: usize = 4096;

impl Attribute {
    fn push(place: &mut Vec<u8>, bytes: &[u8]) {
        place.extend_from_slice(&bytes[..bytes.len().min(LOOKED_AT - place.len())]);
    }

    /// Whether it says that the text of its element shall stay as it is.
    fn keeps(&self) -> bool {
        let value = self.value.trim_ascii();
        match self.name.as_slice() {
            b"translate" => value.eq_ignore_ascii_case(b"no"),
            b"class" => value.split(u8::is_ascii_whitespace).any(|class| class == b"notranslate"),
            _ => false,
        }
    }
}

fn string(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

impl Sink {
    /// Makes a token of the text before the byte `to` of what was taken.
    fn flush_text(&mut self, to: usize) {
        let mut taken = self.taken.borrow_mut();
        let to = to.min(taken.raw.len());
        let raw: Vec<u8> = taken.raw.drain(..to).collect();
        let mut text = core::mem::take(&mut self.text);
        if raw.is_empty() && text.is_empty() {
            return;
        }
        if !raw.contains(&RETURN) {
            text.iter_mut().filter(|byte| **byte == RETURN).for_each(|byte| *byte = b'\r');
        }
        self.tokens.push_back(Token::Text { text: string(text), raw: string(raw) });
    }

    /// The bytes since the last `<`, after the text before it is a token.
    fn markup(&mut self) -> String {
        self.flush_text(self.open);
        self.open = 0;
        string(core::mem::take(&mut self.taken.borrow_mut().raw))
    }

    fn end_attribute(&mut self) {
        self.is_kept |= self.attribute.keeps();
        self.attribute = Attribute::default();
    }

    fn other(&mut self) {
        let raw = self.markup();
        self.tokens.push_back(Token::Other { raw });
    }
}

impl Emitter for Sink {
    type Token = Token;

    fn pop_token(&mut self) -> Option<Token> {
        self.tokens.pop_front()
    }

    fn set_last_start_tag(&mut self, last_start_tag: Option<&[u8]>) {
        self.last_start = last_start_tag.unwrap_or_default().to_vec();
    }

    fn emit_eof(&mut self) {
        self.flush_text(usize::MAX);
    }

    fn emit_error(&mut self, error: Error) {
        match error {
            // These are dropped by the tokenizer, and not by us.
            Error::EofInTag | Error::MissingEndTagName => self.other(),
            _ => {}
        }
    }

    fn emit_string(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        // Where a run of text was taken and nothing behind it, a long one may be cut.
        let is_run = text.len() > 1 && self.taken.borrow().raw.ends_with(text);
        if self.text.len() >= CHUNK && is_run {
            self.flush_text(usize::MAX);
        }
    }

    fn start_open_tag(&mut self) {
        self.open = self.taken.borrow().raw.len().saturating_sub(1);
    }

    fn init_start_tag(&mut self) {
        (self.is_end, self.is_closed, self.is_kept) = (false, false, false);
        self.name.clear();
        self.attribute = Attribute::default();
    }

    fn init_end_tag(&mut self) {
        self.init_start_tag();
        self.is_end = true;
    }

    fn push_tag_name(&mut self, name: &[u8]) {
        self.name.extend_from_slice(name);
    }

    fn set_self_closing(&mut self) {
        self.is_closed = true;
    }

    fn init_attribute(&mut self) {
        self.end_attribute();
    }

    fn push_attribute_name(&mut self, name: &[u8]) {
        Attribute::push(&mut self.attribute.name, name);
    }

    fn push_attribute_value(&mut self, value: &[u8]) {
        Attribute::push(&mut self.attribute.value, value);
    }

    fn emit_current_tag(&mut self) -> Option<State> {
        self.end_attribute();
        let raw = self.markup();
        let name = core::mem::take(&mut self.name);
        let is_foreign = matches!(name.as_slice(), b"svg" | b"math");
        if self.is_end {
            self.foreign = self.foreign.saturating_sub(usize::from(is_foreign));
            self.last_start.clear();
            self.tokens.push_back(Token::End { name: string(name), raw });
            return None;
        }
        self.foreign += usize::from(is_foreign && !self.is_closed);
        self.last_start.clone_from(&name);
        let state = match name.as_slice() {
            _ if self.foreign > 0 => None,
            b"title" | b"textarea" => Some(State::RcData),
            b"script" => Some(State::ScriptData),
            b"style" | b"iframe" | b"xmp" | b"noembed" | b"noframes" => Some(State::RawText),
            b"plaintext" => Some(State::PlainText),
            _ => None,
        };
        let (is_kept, is_closed) = (self.is_kept, self.is_closed);
        self.tokens.push_back(Token::Start { name: string(name), is_kept, is_closed, raw });
        state
    }

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.is_end && !self.last_start.is_empty() && self.last_start == self.name
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&mut self) -> bool {
        self.foreign > 0
    }

    fn emit_current_comment(&mut self) {
        self.other();
    }

    fn emit_current_doctype(&mut self) {
        self.other();
    }

    fn init_comment(&mut self) {}
    fn init_doctype(&mut self) {}
    fn set_force_quirks(&mut self) {}
    fn push_comment(&mut self, _: &[u8]) {}
    fn push_doctype_name(&mut self, _: &[u8]) {}
    fn set_doctype_public_identifier(&mut self, _: &[u8]) {}
    fn set_doctype_system_identifier(&mut self, _: &[u8]) {}
    fn push_doctype_public_identifier(&mut self, _: &[u8]) {}
    fn push_doctype_system_identifier(&mut self, _: &[u8]) {}
}
