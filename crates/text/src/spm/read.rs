//! A model's file: a Protocol Buffers message (`sentencepiece_model.proto`).

use super::SentencePiece;
use super::charsmap::CharsMap;
use super::normalise::Normaliser;
use super::proto::Fields;
use super::vocabulary::{Kind, Vocabulary};
use crate::TextError;

/// The number of the unigram kind.
const UNIGRAM: u64 = 1;
/// All texts together; offsets are of 32 bits.
const LARGEST_TEXT: usize = 1 << 30;

/// What the trainer left that matters afterwards.
struct Trainer {
    kind: u64,
    byte_fallback: bool,
    space_is_suffix: bool,
    unknown_surface: String,
    end: Option<u32>,
}

pub(super) fn model(bytes: &[u8]) -> Result<SentencePiece, TextError> {
    let mut vocabulary = Vocabulary::default();
    let mut trainer = trainer(&[])?;
    let mut normaliser = normaliser(&[])?;
    let mut fields = Fields::new("the model", bytes);
    let mut text = 0;
    while let Some(field) = fields.next()? {
        match field.number {
            1 => {
                text += piece(&mut vocabulary, field.bytes_of("a piece")?)?;
                if text > LARGEST_TEXT {
                    return Err(TextError::Vocabulary { problem: "is too large", piece: None });
                }
            }
            2 => trainer = self::trainer(field.bytes_of("what the trainer left")?)?,
            3 => normaliser = self::normaliser(field.bytes_of("the normalisation")?)?,
            _ => {}
        }
    }
    finish(vocabulary, trainer, normaliser)
}

fn finish(
    mut vocabulary: Vocabulary,
    trainer: Trainer,
    mut normaliser: Normaliser,
) -> Result<SentencePiece, TextError> {
    if trainer.kind != UNIGRAM {
        return Err(TextError::Kind { found: trainer.kind });
    }
    normaliser.space_is_suffix = trainer.space_is_suffix;
    let problem = |problem| TextError::Vocabulary { problem, piece: None };
    let unknown = vocabulary.kinds.iter().position(|kind| *kind == Kind::Unknown);
    let unknown = unknown.ok_or_else(|| problem("has no piece for what is unknown"))? as u32;
    let known = &vocabulary;
    let of_kind = |wanted: Kind| (0..known.len() as u32).filter(move |id| known.kinds[*id as usize] == wanted);
    let bytes = if trainer.byte_fallback {
        let mut places = vec![unknown; 256];
        for id in of_kind(Kind::Byte) {
            let byte = known.piece(id).and_then(byte_of);
            let wrong =
                TextError::Vocabulary { problem: "is to be a byte and is named like none", piece: Some(id as usize) };
            places[usize::from(byte.ok_or(wrong)?)] = id;
        }
        Some(places)
    } else {
        None
    };
    normaliser.user_defined = of_kind(Kind::UserDefined).filter_map(|id| known.piece(id)).map(String::from).collect();
    let end = trainer.end.filter(|id| vocabulary.kinds.get(*id as usize) == Some(&Kind::Control));
    let normal = || of_kind(Kind::Normal).map(|id| known.scores[id as usize]);
    let least_score = normal().fold(f32::MAX, f32::min);
    let largest_score = normal().fold(f32::MIN_POSITIVE, f32::max);
    if !vocabulary.finish() {
        return Err(problem("has a piece twice"));
    }
    let unknown_surface = trainer.unknown_surface;
    Ok(SentencePiece { vocabulary, normaliser, unknown, end, unknown_surface, bytes, least_score, largest_score })
}

/// Adds a piece and returns the length of its text.
fn piece(vocabulary: &mut Vocabulary, bytes: &[u8]) -> Result<usize, TextError> {
    let mut fields = Fields::new("a piece", bytes);
    let (mut text, mut score, mut kind) = (&[][..], 0.0, 1);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => text = field.bytes_of("a piece's text")?,
            2 => score = field.float_of("a piece's score")?,
            3 => kind = field.number_of("a piece's kind")?,
            _ => {}
        }
    }
    let wrong = |problem| TextError::Vocabulary { problem, piece: Some(vocabulary.len()) };
    let kind = match kind {
        1 => Kind::Normal,
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        5 => Kind::Unused,
        6 => Kind::Byte,
        _ => return Err(wrong("is of a kind that there is not")),
    };
    let text = core::str::from_utf8(text).map_err(|_| wrong("is not UTF-8"))?;
    if text.is_empty() {
        return Err(wrong("is empty"));
    }
    if !score.is_finite() {
        return Err(wrong("has a score that is no number"));
    }
    vocabulary.push(text, score, kind);
    Ok(text.len())
}

fn trainer(bytes: &[u8]) -> Result<Trainer, TextError> {
    let mut trainer = Trainer {
        kind: UNIGRAM,
        byte_fallback: false,
        space_is_suffix: false,
        unknown_surface: " \u{2047} ".into(),
        end: Some(2),
    };
    let mut fields = Fields::new("what the trainer left", bytes);
    while let Some(field) = fields.next()? {
        let what = "a setting of the trainer";
        match field.number {
            3 => trainer.kind = field.number_of(what)?,
            24 => trainer.space_is_suffix = field.number_of(what)? != 0,
            35 => trainer.byte_fallback = field.number_of(what)? != 0,
            // -1, which is none, is a number of 64 bits.
            42 => trainer.end = u32::try_from(field.number_of(what)?).ok(),
            44 => trainer.unknown_surface = String::from_utf8_lossy(field.bytes_of(what)?).into_owned(),
            _ => {}
        }
    }
    Ok(trainer)
}

fn normaliser(bytes: &[u8]) -> Result<Normaliser, TextError> {
    let mut normaliser = Normaliser {
        map: CharsMap::default(),
        dummy_prefix: true,
        remove_extra_spaces: true,
        escape_spaces: true,
        space_is_suffix: false,
        user_defined: Vec::new(),
    };
    let mut fields = Fields::new("the normalisation", bytes);
    while let Some(field) = fields.next()? {
        let what = "a setting of the normalisation";
        match field.number {
            2 => normaliser.map = CharsMap::parse(field.bytes_of(what)?)?,
            3 => normaliser.dummy_prefix = field.number_of(what)? != 0,
            4 => normaliser.remove_extra_spaces = field.number_of(what)? != 0,
            5 => normaliser.escape_spaces = field.number_of(what)? != 0,
            _ => {}
        }
    }
    Ok(normaliser)
}

/// The byte that a piece like `<0x0A>` stands for.
pub(super) fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}
