//! SentencePiece models of the unigram kind (Kudo 2018, Kudo and Richardson 2018).
//!
//! A text is normalised by the table in the model, its spaces become `▁`, and of all ways to cut it into pieces the one
//! with the largest sum of scores is taken (Viterbi 1967). All of it follows the library that trains these models, down to
//! single precision sums, so that the ids are the same.

mod charsmap;
mod normalise;
mod proto;
mod read;
mod vocabulary;

use core::ops::Range;

use crate::TextError;
use normalise::Normaliser;
use vocabulary::{Kind, Vocabulary};

/// What stands for a space inside pieces.
pub(crate) const SPACE: &str = "\u{2581}";

/// How much worse than the worst piece a character outside the vocabulary is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// A SentencePiece model.
#[derive(Clone, Debug)]
pub struct SentencePiece {
    vocabulary: Vocabulary,
    normaliser: Normaliser,
    unknown: u32,
    end: Option<u32>,
    /// The text of the unknown piece.
    unknown_surface: String,
    /// The ids of the pieces of the 256 bytes, where unknown characters are spelled by them.
    bytes: Option<Vec<u32>>,
    least_score: f32,
    largest_score: f32,
}

/// The best way to a place of the text.
#[derive(Clone, Copy)]
struct Best {
    score: f32,
    start: u32,
    id: u32,
}

const NOWHERE: u32 = u32::MAX;

impl SentencePiece {
    /// Reads a model, as `.spm` and `.model` files hold it.
    ///
    /// # Errors
    /// [`TextError`] when the bytes are none, or of another kind than unigram.
    pub fn parse(bytes: &[u8]) -> Result<Self, TextError> {
        read::model(bytes)
    }

    /// The size of the vocabulary.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vocabulary.len()
    }

    /// Whether the vocabulary is empty, which no model's is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of unknown characters.
    #[must_use]
    pub const fn unknown(&self) -> u32 {
        self.unknown
    }

    /// The id that ends a sequence, where the model has one.
    #[must_use]
    pub const fn end(&self) -> Option<u32> {
        self.end
    }

    /// The piece of an id; spaces are `▁`.
    #[must_use]
    pub fn piece(&self, id: u32) -> Option<&str> {
        self.vocabulary.piece(id)
    }

    /// The id of a piece that texts are cut into.
    #[must_use]
    pub fn id(&self, piece: &str) -> Option<u32> {
        self.vocabulary.find(piece)
    }

    /// The text as the model sees it: normalised, with `▁` for spaces.
    #[must_use]
    pub fn normalise(&self, text: &str) -> String {
        self.normaliser.apply(text)
    }

    /// The ids of a text, without one that ends it.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let text = self.normalise(text);
        let mut ids = Vec::new();
        self.each_piece(&text, |id, _, is_more| {
            if !is_more {
                ids.push(id);
            }
        });
        ids
    }

    /// The ids of a text as [`encode`](Self::encode) gives them, each with the bytes of the text that it stands for. They
    /// ascend; that of a piece that begins a word may have white space before it.
    #[must_use]
    pub fn encode_spans(&self, text: &str) -> Vec<(u32, Range<usize>)> {
        let mut places = Vec::new();
        let normal = self.normaliser.apply_with(text, |to, from| places.push((to, from)));
        let start = |at: usize| {
            let behind = places.partition_point(|(to, _)| *to <= at);
            behind.checked_sub(1).map_or(0, |place| places[place].1)
        };
        let end =
            |at: usize| places.get(places.partition_point(|(to, _)| *to < at)).map_or(text.len(), |place| place.1);
        let mut spans: Vec<(u32, Range<usize>)> = Vec::new();
        self.each_piece(&normal, |id, part, is_more| {
            let part = start(part.start)..end(part.end);
            match spans.last_mut() {
                Some((_, last)) if is_more => last.end = part.end,
                _ => spans.push((id, part)),
            }
        });
        spans
    }

    /// Calls `each` with the ids of a normalised text and what each stands for, and whether it only makes the unknown piece
    /// before it longer.
    fn each_piece(&self, text: &str, mut each: impl FnMut(u32, Range<usize>, bool)) {
        let mut last = None;
        for (start, end, id) in self.best_pieces(text) {
            match &self.bytes {
                Some(bytes) if id == self.unknown => {
                    let ids = text.as_bytes()[start..end].iter().map(|byte| bytes[usize::from(*byte)]);
                    ids.for_each(|id| each(id, start..end, false));
                }
                // Unknown characters next to each other are one unknown piece.
                _ => each(id, start..end, id == self.unknown && last == Some(id)),
            }
            last = Some(id);
        }
    }

    /// The pieces of a normalised text with the largest sum of scores: where each begins and ends, and its id.
    fn best_pieces(&self, text: &str) -> Vec<(usize, usize, u32)> {
        let unknown_score = self.least_score - UNKNOWN_PENALTY;
        let mut best = vec![Best { score: 0.0, start: NOWHERE, id: self.unknown }; text.len() + 1];
        for (start, character) in text.char_indices() {
            let here = best[start].score;
            let one = character.len_utf8();
            let mut has_one = false;
            let mut offer = |len: usize, id: u32, score: f32| {
                let (score, place) = (here + score, &mut best[start + len]);
                if place.start == NOWHERE || score > place.score {
                    *place = Best { score, start: start as u32, id };
                }
            };
            self.vocabulary.prefixes(&text.as_bytes()[start..], |len, id| {
                let score = match self.vocabulary.kinds[id as usize] {
                    Kind::Unused => return,
                    // Better than any way around it.
                    Kind::UserDefined => len as f32 * self.largest_score - 0.1,
                    _ => self.vocabulary.scores[id as usize],
                };
                has_one |= len == one;
                offer(len, id, score);
            });
            if !has_one {
                offer(one, self.unknown, unknown_score);
            }
        }
        let mut pieces = Vec::new();
        let mut end = text.len();
        while end > 0 {
            let Best { start, id, .. } = best[end];
            pieces.push((start as usize, end, id));
            end = start as usize;
        }
        pieces.reverse();
        pieces
    }

    /// The text of ids. Control pieces are nothing, bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`TextError::Token`] for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        self.decode_ends(ids).map(|(text, _)| text)
    }

    /// The text of ids as [`decode`](Self::decode) gives it, and where in it that of each id ends. Where bytes are no
    /// UTF-8, the places are those of the text without U+FFFD, and may lie beyond its end.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_ends(&self, ids: &[u32]) -> Result<(String, Vec<usize>), TextError> {
        let mut text: Vec<u8> = Vec::new();
        let mut ends = Vec::with_capacity(ids.len());
        for &id in ids {
            let outside = TextError::Token { id, vocabulary: self.len() };
            let piece = self.piece(id).ok_or(outside)?;
            match self.vocabulary.kinds[id as usize] {
                Kind::Control => {}
                Kind::Unknown => text.extend_from_slice(self.unknown_surface.as_bytes()),
                Kind::Byte => text.extend(read::byte_of(piece)),
                _ => {
                    let piece = if text.is_empty() { piece.strip_prefix(SPACE).unwrap_or(piece) } else { piece };
                    for (i, part) in piece.split(SPACE).enumerate() {
                        if i > 0 {
                            text.push(b' ');
                        }
                        text.extend_from_slice(part.as_bytes());
                    }
                }
            }
            ends.push(text.len());
        }
        let text =
            String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok((text, ends))
    }
}
