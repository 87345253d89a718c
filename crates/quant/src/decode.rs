//! Blocks to floats.

use kernform_simd::{Isa, Kernel, Level, Simd};

use crate::block::Block;
use crate::{Format, QuantError};

/// Decodes whole blocks: `out[i]` is value `i` of `bytes`.
///
/// A value is `d * scale * code` and, in formats with a minimum, minus `m * min` (plus `m` in Q4_1 and Q5_1): each
/// product and the difference is rounded once, in that order, so the floats are those of the reference definition to the
/// bit, on every level and in both arithmetic classes. A scale that is NaN or infinite makes NaN and infinities, as IEEE
/// 754 says. Any bytes are legal.
///
/// # Errors
/// [`QuantError::ByteLength`] where `bytes` are no whole number of blocks, [`QuantError::OutputLength`] where `out` has
/// not one element for each value.
pub fn decode(isa: Isa, format: Format, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    check_lengths(format, bytes, out)?;
    level(isa).dispatch(Decode { format, bytes, out });
    Ok(())
}

/// The level whose compilation of the loops is the fastest: twice to four times as fast with AVX2 as with AVX-512, for
/// which the compiler widens codes by way of masks.
fn level(isa: Isa) -> Isa {
    match isa.level() {
        Level::Avx512 | Level::Avx512Vnni => Isa::new(Level::Avx2).unwrap_or(isa),
        _ => isa,
    }
}

/// Checks that `bytes` are whole blocks, and that `out` has an element for each value.
pub(crate) fn check_lengths(format: Format, bytes: &[u8], out: &[f32]) -> Result<(), QuantError> {
    let blocks = bytes.len() / format.block_bytes();
    if !bytes.len().is_multiple_of(format.block_bytes()) {
        let needed = (blocks + 1).saturating_mul(format.block_bytes());
        return Err(QuantError::ByteLength { needed, found: bytes.len() });
    }
    let needed = blocks.checked_mul(format.block_len()).ok_or(QuantError::TooLarge)?;
    if out.len() != needed {
        return Err(QuantError::OutputLength { needed, found: out.len() });
    }
    Ok(())
}

/// Decodes one row of a matrix `[rows, k]` of blocks, as an embedding table is read.
///
/// # Errors
/// [`QuantError::PartialBlock`], [`QuantError::ByteLength`] where `bytes` are not `rows` rows of `k` values,
/// [`QuantError::RowIndex`] and [`QuantError::OutputLength`].
pub fn decode_row(
    isa: Isa,
    format: Format,
    bytes: &[u8],
    (rows, k): (usize, usize),
    row: usize,
    out: &mut [f32],
) -> Result<(), QuantError> {
    let each = format.row_bytes(k).ok_or(QuantError::PartialBlock { len: k, block_len: format.block_len() })?;
    let needed = each.checked_mul(rows).ok_or(QuantError::TooLarge)?;
    if bytes.len() != needed {
        return Err(QuantError::ByteLength { needed, found: bytes.len() });
    }
    if row >= rows {
        return Err(QuantError::RowIndex { row, rows });
    }
    decode(isa, format, &bytes[row * each..(row + 1) * each], out)
}

struct Decode<'a> {
    format: Format,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for Decode<'_> {
    type Output = ();

    /// The loops are plain: compiled for the level, they become its vectors.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Decode { format, bytes, out } = self;
        // One loop a format, so that the compiler sees constants in it.
        macro_rules! each {
            ($($format:ident)+) => {
                match format {
                    $(Format::$format => blocks(Format::$format, bytes, out),)+
                }
            };
        }
        each!(Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2K Q3K Q4K Q5K Q6K Q8K Iq4Nl Iq4Xs);
    }
}

/// Decodes whole blocks, of which `bytes` and `out` have as many.
#[inline(always)]
pub(crate) fn blocks(format: Format, bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.chunks_exact(format.block_bytes()).zip(out.chunks_exact_mut(format.block_len())) {
        decode_block(format, &Block::open(format, bytes), out);
    }
}

/// The values of one block: the definition.
#[inline(always)]
fn decode_block(format: Format, block: &Block, out: &mut [f32]) {
    let (d, m) = (block.scale(format), block.min_scale());
    let sub_len = format.block_len() / format.subs();
    for (s, (out, code)) in out.chunks_exact_mut(sub_len).zip(block.code.chunks_exact(sub_len)).enumerate() {
        let d = d * f32::from(block.scale[s]);
        if format.has_min() {
            let m = m * f32::from(block.min[s]);
            for (out, code) in out.iter_mut().zip(code) {
                *out = d * format.value(*code) as f32 - m;
            }
        } else {
            for (out, code) in out.iter_mut().zip(code) {
                *out = d * format.value(*code) as f32;
            }
        }
    }
}
