//! How repacked weights lie in memory.
//!
//! The rows of the weights, which are the columns of the product, are cut into panels of [`PANEL`]. A panel has two
//! planes, one after the other: a record of codes a block, then a record of scales a block. The planes are apart so that
//! every load of codes begins at a multiple of 64 bytes.
//!
//! A record of codes is a number of words of four bytes a column, [`PANEL`] columns side by side: 64 bytes that make one
//! AVX-512 vector, two of AVX2, four of NEON. A word holds codes of one column that are neighbours in `k`, byte for byte;
//! a step of four codes is taken out of a word (and one with the high bits) by shifts and masks alone:
//!
//! | codes | words of a column |
//! | --- | --- |
//! | 8 bits | word `t`: step `t` |
//! | 4 bits, block of 32 | word `t`: step `t` below, step `t + 4` above |
//! | 4 bits, parts of 32 (16) | word `8 p + t` (`4 p + t`): step `t` of part `2 p` below, of part `2 p + 1` above |
//! | fifth bit | a word for each 32 codes: bit `t` of each byte is step `t` |
//! | bits 5 and 6, parts of 16 | a word a part: bits `2 t` and `2 t + 1` are step `t` |
//! | 2 bits, parts of 16 | the same |
//! | third bit, parts of 16 | a word for each two: bit `t` is step `t` of the even part, bit `t + 4` of the odd one |
//!
//! A record of scales is, [`PANEL`] columns each: the scale (`f16`, [`Format::Q8K`] `f32`), what minima are multiplied by
//! (`f16`, where there is one, with the sign with which it is added), the scales of the parts (a byte each, those of parts
//! `2 p` and `2 p + 1` side by side), the minima of the parts likewise. In [`Format::Q2K`] a byte holds both, the minimum
//! above.

use crate::Format;
use crate::block::Block;

/// Columns of a panel.
pub(crate) const PANEL: usize = 16;
/// Bytes of a word of all columns of a panel.
pub(crate) const WORD_BYTES: usize = 4 * PANEL;
/// Bytes of a two-byte element of all columns of a panel.
pub(crate) const HALF_BYTES: usize = 2 * PANEL;
/// Most words of a column in a record of codes.
const MAX_WORDS: usize = 64;

/// Words of a column in a record of codes.
pub(crate) const fn words(format: Format) -> usize {
    match format {
        Format::Q4_0 | Format::Q4_1 | Format::Iq4Nl => 4,
        Format::Q5_0 | Format::Q5_1 => 5,
        Format::Q8_0 => 8,
        Format::Q2K => 16,
        Format::Q3K => 24,
        Format::Q4K | Format::Iq4Xs => 32,
        Format::Q5K => 40,
        Format::Q6K => 48,
        Format::Q8K => 64,
    }
}

/// Bytes of a record of codes.
pub(crate) const fn code_bytes(format: Format) -> usize {
    words(format) * WORD_BYTES
}

/// Bytes of the floats at the beginning of a record of scales.
pub(crate) const fn float_bytes(format: Format) -> usize {
    match format {
        Format::Q8K => WORD_BYTES,
        _ if format.has_min() => 2 * HALF_BYTES,
        _ => HALF_BYTES,
    }
}

/// Bytes of a record of scales.
pub(crate) const fn scale_bytes(format: Format) -> usize {
    let pairs = if format.subs() > 1 { format.subs() / 2 * HALF_BYTES } else { 0 };
    let has_pairs_of_minima = format.subs() > 1 && format.has_min() && !matches!(format, Format::Q2K);
    float_bytes(format) + if has_pairs_of_minima { 2 * pairs } else { pairs }
}

/// Bytes of a panel of `blocks` blocks, a multiple of 64.
pub(crate) const fn panel_bytes(format: Format, blocks: usize) -> Option<usize> {
    match blocks.checked_mul(code_bytes(format) + scale_bytes(format)) {
        Some(bytes) => bytes.checked_next_multiple_of(64),
        None => None,
    }
}

/// Writes a block of one column into the two records of its panel.
pub(crate) fn store_block(format: Format, block: &Block, column: usize, codes: &mut [u8], scales: &mut [u8]) {
    let mut words = [0; MAX_WORDS];
    code_words(format, &block.code, &mut words);
    for (word, all) in words.iter().zip(codes.chunks_exact_mut(WORD_BYTES)) {
        all[4 * column..4 * column + 4].copy_from_slice(&word.to_le_bytes());
    }
    let (floats, pairs) = scales.split_at_mut(float_bytes(format));
    if format == Format::Q8K {
        floats[4 * column..4 * column + 4].copy_from_slice(&block.d.to_le_bytes());
    } else {
        floats[2 * column..2 * column + 2].copy_from_slice(&(block.d as u16).to_le_bytes());
    }
    if format.has_min() {
        // In all formats the kernels add.
        let m = if format.subs() == 1 { block.m ^ 0x8000 } else { block.m };
        floats[HALF_BYTES + 2 * column..][..2].copy_from_slice(&m.to_le_bytes());
    }
    if format.subs() == 1 {
        return;
    }
    for s in 0..format.subs() {
        let at = s / 2 * HALF_BYTES + 2 * column + s % 2;
        pairs[at] = block.scale[s].cast_unsigned();
        if format == Format::Q2K {
            pairs[at] |= block.min[s] << 4;
        } else if format.has_min() {
            pairs[format.subs() / 2 * HALF_BYTES + at] = block.min[s];
        }
    }
}

/// The words of one column.
fn code_words(format: Format, code: &[u8], words: &mut [u32]) {
    let step = |at: usize, bits: fn(u8) -> u8| {
        u32::from_le_bytes([bits(code[at]), bits(code[at + 1]), bits(code[at + 2]), bits(code[at + 3])])
    };
    let low4 = |at| step(at, |code| code & 15);
    match format {
        Format::Q8_0 | Format::Q8K => {
            for (t, word) in words[..format.block_len() / 4].iter_mut().enumerate() {
                *word = step(4 * t, |code| code);
            }
        }
        Format::Q4_0 | Format::Q4_1 | Format::Iq4Nl | Format::Q5_0 | Format::Q5_1 => {
            for (t, word) in words[..4].iter_mut().enumerate() {
                *word = low4(4 * t) | low4(16 + 4 * t) << 4;
            }
            if self::words(format) == 5 {
                words[4] = (0..8).map(|t| step(4 * t, |code| code >> 4) << t).sum();
            }
        }
        Format::Q4K | Format::Q5K | Format::Iq4Xs => {
            for (i, word) in words[..32].iter_mut().enumerate() {
                let at = i / 8 * 64 + i % 8 * 4;
                *word = low4(at) | low4(at + 32) << 4;
            }
            if format == Format::Q5K {
                for (s, word) in words[32..40].iter_mut().enumerate() {
                    *word = (0..8).map(|t| step(32 * s + 4 * t, |code| code >> 4) << t).sum();
                }
            }
        }
        Format::Q6K => {
            for (i, word) in words[..32].iter_mut().enumerate() {
                let at = i / 4 * 32 + i % 4 * 4;
                *word = low4(at) | low4(at + 16) << 4;
            }
            for (s, word) in words[32..48].iter_mut().enumerate() {
                *word = (0..4).map(|t| step(16 * s + 4 * t, |code| code >> 4) << (2 * t)).sum();
            }
        }
        Format::Q2K | Format::Q3K => {
            for (s, word) in words[..16].iter_mut().enumerate() {
                *word = (0..4).map(|t| step(16 * s + 4 * t, |code| code & 3) << (2 * t)).sum();
            }
            if format == Format::Q3K {
                for (p, word) in words[16..24].iter_mut().enumerate() {
                    *word = (0..8).map(|t| step(32 * p + 4 * t, |code| code >> 2) << t).sum();
                }
            }
        }
    }
}
