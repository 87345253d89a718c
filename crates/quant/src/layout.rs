//! How repacked weights lie in memory.
//!
//! The rows of the weights, which are the columns of the product, are cut into panels of [`PANEL`]. A panel is its blocks
//! in ascending order: the record of scales of a block, then that of its codes. So a product reads one stream from its
//! beginning to its end, which is what CPUs fetch ahead best. Every load of codes begins at a multiple of 64 bytes: where
//! a record of scales is none, blocks stand by twos, the records of scales of both before those of codes. Where the
//! number of blocks is odd then, the last is alone, and zeros fill its scales.
//!
//! A record of codes is a number of words of four bytes a column, [`PANEL`] columns side by side: 64 bytes that make one
//! AVX-512 vector, two of AVX2, four of NEON. A word holds codes of one column that are neighbours in `k`, byte for byte;
//! a step of four codes is taken out of a word (and one with the high bits) by shifts and masks alone:
//!
//! | codes | words of a column |
//! | --- | --- |
//! | 8 bits | word `t`: step `t` |
//! | Q4_0, Q4_1, IQ4_NL | word `t`: step `t` below, step `t + 4` above |
//! | Q5_0, Q5_1 | the same, then a word of fifth bits: bit `t` of each byte is step `t` |
//! | Q4_K, IQ4_XS | for two parts, eight words: word `t` is step `t` of the even part below, of the odd one above |
//! | Q5_K | the same, then a word of fifth bits for each of the two |
//! | Q6_K | for two parts, four words: word `t` is step `t` of the even part below, of the odd one above; then a word for each of the two: bits `2 t` and `2 t + 1` of each byte are bits 5 and 6 of step `t` |
//! | Q2_K | a word for each part: bits `2 t` and `2 t + 1` of each byte are step `t` |
//! | Q3_K | for two parts the same, then a word of third bits: bit `t` is step `t` of the even part, bit `t + 4` of the odd one |
//!
//! A record of scales is, [`PANEL`] columns each: the scale (`f16`, [`Format::Q8K`] `f32`), what minima are multiplied by
//! (`f16`, where there is one, with the sign with which it is added), the minima of the parts (a byte each, those of parts
//! `2 p` and `2 p + 1` side by side), the scales of the parts likewise. In [`Format::Q2K`] a byte holds both, the minimum
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

/// Whether the minima of parts have bytes of their own.
pub(crate) const fn has_pairs_of_minima(format: Format) -> bool {
    format.subs() > 1 && format.has_min() && !matches!(format, Format::Q2K)
}

/// Bytes of a record of scales.
pub(crate) const fn scale_bytes(format: Format) -> usize {
    let pairs = if format.subs() > 1 { format.subs() / 2 * HALF_BYTES } else { 0 };
    float_bytes(format) + if has_pairs_of_minima(format) { 2 * pairs } else { pairs }
}

/// Blocks whose records stand together.
pub(crate) const fn run(format: Format) -> usize {
    if scale_bytes(format).is_multiple_of(64) { 1 } else { 2 }
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
    let scales_at = if has_pairs_of_minima(format) { format.subs() / 2 * HALF_BYTES } else { 0 };
    for s in 0..format.subs() {
        let at = s / 2 * HALF_BYTES + 2 * column + s % 2;
        pairs[scales_at + at] = block.scale[s].cast_unsigned();
        if scales_at > 0 {
            pairs[at] = block.min[s];
        } else if format.has_min() {
            pairs[at] |= block.min[s] << 4;
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
            let each = self::words(format) / 4;
            for (p, words) in words.chunks_exact_mut(each).take(4).enumerate() {
                let (low, high) = words.split_at_mut(8);
                for (t, word) in low.iter_mut().enumerate() {
                    let at = 64 * p + 4 * t;
                    *word = low4(at) | low4(at + 32) << 4;
                }
                for (s, word) in high.iter_mut().enumerate() {
                    *word = (0..8).map(|t| step(64 * p + 32 * s + 4 * t, |code| code >> 4) << t).sum();
                }
            }
        }
        Format::Q6K => {
            for (p, words) in words[..48].chunks_exact_mut(6).enumerate() {
                let (low, high) = words.split_at_mut(4);
                for (t, word) in low.iter_mut().enumerate() {
                    let at = 32 * p + 4 * t;
                    *word = low4(at) | low4(at + 16) << 4;
                }
                for (s, word) in high.iter_mut().enumerate() {
                    *word = (0..4).map(|t| step(32 * p + 16 * s + 4 * t, |code| code >> 4) << (2 * t)).sum();
                }
            }
        }
        Format::Q2K | Format::Q3K => {
            let low = |s: usize| (0..4).map(|t| step(16 * s + 4 * t, |code| code & 3) << (2 * t)).sum();
            let each = self::words(format) / 8;
            for (p, words) in words.chunks_exact_mut(each).take(8).enumerate() {
                (words[0], words[1]) = (low(2 * p), low(2 * p + 1));
                if let Some(high) = words.get_mut(2) {
                    *high = (0..8).map(|t| step(32 * p + 4 * t, |code| code >> 2) << t).sum();
                }
            }
        }
    }
}
