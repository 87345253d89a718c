//! Floats to blocks.

mod affine;
mod plain;
mod search;
mod symmetric;

use crate::{Format, QuantError};

/// Encodes whole blocks: `bytes` becomes the blocks of the values `x`.
///
/// The formats in blocks of 32 give the bytes that the Python package `gguf` gives. The K formats search: for each part
/// the scale (and minimum) of least squared error among candidates, then the integers for them, each tried with its
/// neighbours. NaN and infinities make blocks that are of no use, but nothing fails.
///
/// # Errors
/// [`QuantError::NoEncoder`] where [`Format::can_encode`] is false, [`QuantError::PartialBlock`],
/// [`QuantError::ByteLength`] where `bytes` has not the length of the blocks.
pub fn encode(format: Format, x: &[f32], bytes: &mut [u8]) -> Result<(), QuantError> {
    let block_len = format.block_len();
    let needed = format.row_bytes(x.len()).ok_or(QuantError::PartialBlock { len: x.len(), block_len })?;
    if bytes.len() != needed {
        return Err(QuantError::ByteLength { needed, found: bytes.len() });
    }
    let encode_block: fn(&[f32], &mut [u8]) = match format {
        Format::Q4_0 => plain::q4_0,
        Format::Q4_1 => plain::q4_1,
        Format::Q5_0 => plain::q5_0,
        Format::Q5_1 => plain::q5_1,
        Format::Q8_0 => plain::q8_0,
        Format::Q8K => plain::q8_k,
        Format::Q2K => affine::q2_k,
        Format::Q3K => symmetric::q3_k,
        Format::Q4K => affine::q4_k,
        Format::Q5K => affine::q5_k,
        Format::Q6K => symmetric::q6_k,
        Format::Iq4Nl | Format::Iq4Xs => return Err(QuantError::NoEncoder(format)),
    };
    for (x, bytes) in x.chunks_exact(block_len).zip(bytes.chunks_exact_mut(format.block_bytes())) {
        encode_block(x, bytes);
    }
    Ok(())
}

/// Codes below 16, the second half above the first.
fn store_nibbles(codes: &[u8], bytes: &mut [u8]) {
    let (low, high) = codes.split_at(codes.len() / 2);
    for ((byte, low), high) in bytes.iter_mut().zip(low).zip(high) {
        *byte = low & 15 | high << 4;
    }
}

/// Bit `from` of each 32 codes as one bit of 32 bytes: bit `i` of byte `j` is that of code `32 i + j`.
fn store_bit(codes: &[u8], from: u32, bytes: &mut [u8]) {
    bytes.fill(0);
    for (i, codes) in codes.chunks_exact(32).enumerate() {
        for (byte, code) in bytes.iter_mut().zip(codes) {
            *byte |= (code >> from & 1) << i;
        }
    }
}

/// The two lowest bits: 32 bytes hold four runs of 32.
fn store_pairs(codes: &[u8], bytes: &mut [u8]) {
    bytes.fill(0);
    for (codes, bytes) in codes.chunks_exact(128).zip(bytes.chunks_exact_mut(32)) {
        for (run, codes) in codes.chunks_exact(32).enumerate() {
            for (byte, code) in bytes.iter_mut().zip(codes) {
                *byte |= (code & 3) << (2 * run);
            }
        }
    }
}
