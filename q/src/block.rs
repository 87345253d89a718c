//! A block of any format, opened: its codes, scales and minima in plain arrays.
//!
//! What differs between the formats in their bytes ends here: decoding, the reference product and repacking all begin
//! from an opened block.

use half::f16;

use crate::Format;
use crate::format::MAX_BLOCK;

/// Parts of a block with scales of their own, at most.
pub(crate) const MAX_SUBS: usize = 16;

/// An opened block. Value `i` is `d * scale[s] * value(code[i]) - m * min[s]`, where `s` is the part in which `i` lies.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// The stored codes; [`Format::value`] tells what integer each stands for. Signed bytes have their top bit flipped.
    pub(crate) code: [u8; MAX_BLOCK],
    /// The scales of the parts; 1 where the format has none.
    pub(crate) scale: [i8; MAX_SUBS],
    /// The minima of the parts; 1 where the format has only `m`.
    pub(crate) min: [u8; MAX_SUBS],
    /// The bits of the scale: an `f16`, or the `f32` of [`Format::Q8K`].
    pub(crate) d: u32,
    /// The bits of what minima are multiplied by, an `f16`; with the sign flipped in the formats that add it.
    pub(crate) m: u16,
}

/// Bytes of a block at some place, as an array. Blocks have the length of their format.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// The bits of a half-precision number at some place.
fn half_bits(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(part(bytes, at))
}

impl Block {
    pub(crate) const ZERO: Block = Block { code: [0; MAX_BLOCK], scale: [1; MAX_SUBS], min: [1; MAX_SUBS], d: 0, m: 0 };

    /// Opens a block of `bytes`, which are [`Format::block_bytes`] of any pattern.
    #[inline(always)]
    pub(crate) fn open(format: Format, bytes: &[u8]) -> Block {
        let mut block = Block::ZERO;
        let bytes = &bytes[..format.block_bytes()];
        let code = &mut block.code;
        match format {
            Format::Q4_0 | Format::Iq4Nl => {
                block.d = half_bits(bytes, 0).into();
                open_nibbles(&part::<16>(bytes, 2), code);
            }
            Format::Q4_1 => {
                block.d = half_bits(bytes, 0).into();
                block.m = half_bits(bytes, 2) ^ 0x8000;
                open_nibbles(&part::<16>(bytes, 4), code);
            }
            Format::Q5_0 => {
                block.d = half_bits(bytes, 0).into();
                open_nibbles(&part::<16>(bytes, 6), code);
                add_fifth_bits(u32::from_le_bytes(part(bytes, 2)), code);
            }
            Format::Q5_1 => {
                block.d = half_bits(bytes, 0).into();
                block.m = half_bits(bytes, 2) ^ 0x8000;
                open_nibbles(&part::<16>(bytes, 8), code);
                add_fifth_bits(u32::from_le_bytes(part(bytes, 4)), code);
            }
            Format::Q8_0 => {
                block.d = half_bits(bytes, 0).into();
                open_bytes(&bytes[2..], code);
            }
            Format::Q8K => {
                block.d = u32::from_le_bytes(part(bytes, 0));
                open_bytes(&bytes[4..260], code);
            }
            Format::Q2K => {
                for (s, packed) in part::<16>(bytes, 0).into_iter().enumerate() {
                    block.scale[s] = (packed & 15).cast_signed();
                    block.min[s] = packed >> 4;
                }
                open_pairs(&bytes[16..80], code);
                block.d = half_bits(bytes, 80).into();
                block.m = half_bits(bytes, 82);
            }
            Format::Q3K => {
                let high = part::<32>(bytes, 0);
                open_pairs(&bytes[32..96], code);
                for (i, code) in code.iter_mut().enumerate() {
                    *code |= (high[i % 32] >> (i / 32) & 1) << 2;
                }
                let packed = part::<12>(bytes, 96);
                for (s, scale) in block.scale.iter_mut().enumerate() {
                    let low = packed[s % 8] >> (4 * (s / 8)) & 15;
                    let high = packed[8 + s % 4] >> (2 * (s / 4)) & 3;
                    *scale = (low | high << 4).cast_signed() - 32;
                }
                block.d = half_bits(bytes, 108).into();
            }
            Format::Q4K | Format::Q5K => {
                block.d = half_bits(bytes, 0).into();
                block.m = half_bits(bytes, 2);
                let packed = part::<12>(bytes, 4);
                for s in 0..4 {
                    block.scale[s] = (packed[s] & 63).cast_signed();
                    block.min[s] = packed[4 + s] & 63;
                    block.scale[4 + s] = (packed[8 + s] & 15 | packed[s] >> 6 << 4).cast_signed();
                    block.min[4 + s] = packed[8 + s] >> 4 | packed[4 + s] >> 6 << 4;
                }
                let codes = if format == Format::Q4K { 16 } else { 48 };
                for (chunk, low) in code.chunks_exact_mut(64).zip(bytes[codes..].chunks_exact(32)) {
                    open_nibbles(&part::<32>(low, 0), chunk);
                }
                if format == Format::Q5K {
                    let high = part::<32>(bytes, 16);
                    for (i, code) in code.iter_mut().enumerate() {
                        *code |= (high[i % 32] >> (i / 32) & 1) << 4;
                    }
                }
            }
            Format::Q6K => {
                for (h, chunk) in code.chunks_exact_mut(128).enumerate() {
                    open_nibbles(&part::<64>(bytes, 64 * h), chunk);
                    let high = part::<32>(bytes, 128 + 32 * h);
                    for (i, code) in chunk.iter_mut().enumerate() {
                        *code |= (high[i % 32] >> (2 * (i / 32)) & 3) << 4;
                    }
                }
                block.scale = part::<16>(bytes, 192).map(u8::cast_signed);
                block.d = half_bits(bytes, 208).into();
            }
            Format::Iq4Xs => {
                block.d = half_bits(bytes, 0).into();
                let (high, low) = (half_bits(bytes, 2), part::<4>(bytes, 4));
                for s in 0..8 {
                    let low = low[s / 2] >> (4 * (s % 2)) & 15;
                    let high = (high >> (2 * s) & 3) as u8;
                    block.scale[s] = (low | high << 4).cast_signed() - 32;
                }
                for (chunk, low) in code.chunks_exact_mut(32).zip(bytes[8..].chunks_exact(16)) {
                    open_nibbles(&part::<16>(low, 0), chunk);
                }
            }
        }
        block
    }

    /// The scale as a float.
    pub(crate) fn scale(&self, format: Format) -> f32 {
        match format {
            Format::Q8K => f32::from_bits(self.d),
            // The upper half is 0 in all other formats.
            _ => f16::from_bits(self.d as u16).to_f32(),
        }
    }

    /// What minima are multiplied by, as a float.
    pub(crate) fn min_scale(&self) -> f32 {
        f16::from_bits(self.m).to_f32()
    }
}

/// Low nibbles first, then the high ones.
#[inline(always)]
fn open_nibbles<const N: usize>(packed: &[u8; N], code: &mut [u8]) {
    let (low, high) = code[..2 * N].split_at_mut(N);
    for ((packed, low), high) in packed.iter().zip(low).zip(high) {
        *low = packed & 15;
        *high = packed >> 4;
    }
}

#[inline(always)]
fn add_fifth_bits(bits: u32, code: &mut [u8]) {
    for (i, code) in code[..32].iter_mut().enumerate() {
        *code |= ((bits >> i & 1) as u8) << 4;
    }
}

#[inline(always)]
fn open_bytes(bytes: &[u8], code: &mut [u8]) {
    for (byte, code) in bytes.iter().zip(code) {
        *code = byte ^ 0x80;
    }
}

/// Two bits each: 32 bytes hold four runs of 32 values.
#[inline(always)]
fn open_pairs(packed: &[u8], code: &mut [u8]) {
    for (packed, chunk) in packed.chunks_exact(32).zip(code.chunks_exact_mut(128)) {
        for (run, code) in chunk.chunks_exact_mut(32).enumerate() {
            for (packed, code) in packed.iter().zip(code) {
                *code = packed >> (2 * run) & 3;
            }
        }
    }
}
