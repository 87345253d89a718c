//! How each format's codes are taken out of the words of [`layout`](crate::layout), a step at a time.

use super::Vector;
use crate::Format;
use crate::layout::WORD_BYTES;

/// A format as a type, for the kernels to be compiled for.
pub(crate) trait Codes {
    const FORMAT: Format;
    /// The largest code, 255 for codes of eight bits in the level's form.
    const MAX: u8;
    /// The power of two that is subtracted from every code, as its exponent.
    const OFFSET: Option<u32>;
    /// Whether the scales of parts are signed.
    const SIGNED_SCALES: bool = false;

    /// Step `t` of part `s`; `words` is a record of codes at the place of the first column of the vector.
    ///
    /// # Safety
    /// The record must be readable for all its words.
    unsafe fn step<V: Vector>(v: V, words: *const u8, s: usize, t: usize) -> V::Bytes;
}

/// A vector of word `i`.
///
/// # Safety
/// As for [`Codes::step`].
#[inline(always)]
unsafe fn word<V: Vector>(v: V, words: *const u8, i: usize) -> V::Bytes {
    // SAFETY: a word of the record, by the caller's word.
    unsafe { v.load_bytes(words.add(i * WORD_BYTES)) }
}

#[inline(always)]
fn nibble<V: Vector>(v: V, word: V::Bytes, upper: bool) -> V::Bytes {
    v.and(if upper { v.shr(word, 4) } else { word }, 15)
}

/// A shift that brings bit `from` of each byte to bit `to`; bits may cross from byte to byte.
#[inline(always)]
fn shift<V: Vector>(v: V, word: V::Bytes, from: usize, to: usize) -> V::Bytes {
    if from > to {
        v.shr(word, (from - to) as u32)
    } else if from < to {
        v.shl(word, (to - from) as u32)
    } else {
        word
    }
}

/// The two bits of step `t`.
#[inline(always)]
fn two_bits<V: Vector>(v: V, word: V::Bytes, t: usize) -> V::Bytes {
    v.and(shift(v, word, 2 * t, 0), 3)
}

macro_rules! codes {
    ($(#[$doc:meta] $name:ident: max $max:literal, offset $offset:expr, signed scales $signed:literal,
        |$v:ident, $words:ident, $s:ident, $t:ident| $step:expr;)+) => {$(
        #[$doc]
        pub(crate) struct $name;

        impl Codes for $name {
            const FORMAT: Format = Format::$name;
            const MAX: u8 = $max;
            const OFFSET: Option<u32> = $offset;
            const SIGNED_SCALES: bool = $signed;

            #[inline(always)]
            unsafe fn step<V: Vector>($v: V, $words: *const u8, $s: usize, $t: usize) -> V::Bytes {
                // SAFETY: the caller vouches for the record.
                unsafe { $step }
            }
        }
    )+};
}

/// Nibbles of a block of 32.
///
/// # Safety
/// As for [`Codes::step`].
#[inline(always)]
unsafe fn nibble_32<V: Vector>(v: V, words: *const u8, t: usize) -> V::Bytes {
    // SAFETY: the caller vouches for the record.
    nibble(v, unsafe { word(v, words, t % 4) }, t >= 4)
}

/// Five bits of a block of 32.
///
/// # Safety
/// As for [`Codes::step`].
#[inline(always)]
unsafe fn five_32<V: Vector>(v: V, words: *const u8, t: usize) -> V::Bytes {
    // SAFETY: the caller vouches for the record.
    unsafe { v.merge(nibble_32(v, words, t), shift(v, word(v, words, 4), t, 4), 16) }
}

/// Nibbles of two parts, of which `each` words stand together.
///
/// # Safety
/// As for [`Codes::step`].
#[inline(always)]
unsafe fn nibble_k<V: Vector>(v: V, words: *const u8, each: usize, s: usize, t: usize) -> V::Bytes {
    // SAFETY: the caller vouches for the record.
    nibble(v, unsafe { word(v, words, s / 2 * each + t) }, s % 2 == 1)
}

codes! {
    /// Word, nibble.
    Q4_0: max 15, offset Some(3), signed scales false, |v, words, _s, t| nibble_32(v, words, t);
    /// Word, nibble.
    Q4_1: max 15, offset None, signed scales false, |v, words, _s, t| nibble_32(v, words, t);
    /// Word, nibble, fifth bit.
    Q5_0: max 31, offset Some(4), signed scales false, |v, words, _s, t| five_32(v, words, t);
    /// Word, nibble, fifth bit.
    Q5_1: max 31, offset None, signed scales false, |v, words, _s, t| five_32(v, words, t);
    /// Word.
    Q8_0: max 255, offset Some(7), signed scales false, |v, words, _s, t| v.full(word(v, words, t));
    /// Word, two bits.
    Q2K: max 3, offset None, signed scales false, |v, words, s, t| two_bits(v, word(v, words, s), t);
    /// Word, two bits, third bit.
    Q3K: max 7, offset Some(2), signed scales true, |v, words, s, t| {
        let high = shift(v, word(v, words, s / 2 * 3 + 2), t + 4 * (s % 2), 2);
        v.merge(two_bits(v, word(v, words, s / 2 * 3 + s % 2), t), high, 4)
    };
    /// Word, nibble.
    Q4K: max 15, offset None, signed scales false, |v, words, s, t| nibble_k(v, words, 8, s, t);
    /// Word, nibble, fifth bit.
    Q5K: max 31, offset None, signed scales false, |v, words, s, t| {
        v.merge(nibble_k(v, words, 10, s, t), shift(v, word(v, words, s / 2 * 10 + 8 + s % 2), t, 4), 16)
    };
    /// Word, nibble, two more bits.
    Q6K: max 63, offset Some(5), signed scales true, |v, words, s, t| {
        v.merge(nibble_k(v, words, 6, s, t), shift(v, word(v, words, s / 2 * 6 + 4 + s % 2), 2 * t, 4), 48)
    };
    /// Word.
    Q8K: max 255, offset Some(7), signed scales false, |v, words, _s, t| v.full(word(v, words, t));
    /// Word, nibble, table.
    Iq4Nl: max 255, offset Some(7), signed scales false, |v, words, _s, t| v.lookup(nibble_32(v, words, t));
    /// Word, nibble, table.
    Iq4Xs: max 255, offset Some(7), signed scales true, |v, words, s, t| v.lookup(nibble_k(v, words, 8, s, t));
}
