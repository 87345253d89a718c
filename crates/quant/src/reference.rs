//! The defined order of operations, in plain scalar code.
//!
//! A product has two steps. The rows of A are quantised to bytes ([`quantize_block`]); then each element of C is one
//! chain over the blocks of `k` in ascending order ([`multiply`]), of which the integer part is exact:
//!
//! ```text
//! acc = mul_add(m, da * (sum of a), acc)                                    Q4_1, Q5_1
//! acc = mul_add(dmin * da, -(sum over the parts of min * (sum of a)), acc)  Q2_K, Q4_K, Q5_K
//! acc = mul_add(d * da, sum over the block of scale * weight * a, acc)        all
//! ```
//!
//! Here `d`, `m` and `dmin` are the block's floats, `da` is the scale of the activations; the integer sums are rounded
//! once to `f32` (below 2^24 they are exact), and so is each product.

use kernform_simd::Arithmetic;
use kernform_tensor::{MatrixMut, MatrixRef};

use crate::block::Block;
use crate::decode::{blocks, check_lengths};
use crate::format::MAX_BLOCK;
use crate::multiply::check_shapes;
use crate::{ActivationFormat, Format, QuantError};

/// Adding and subtracting it rounds a float of magnitude below 2^22 to the nearest integer, ties to even.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// Decodes whole blocks: the meaning of [`decode`](crate::decode), which gives the same bits on every level.
///
/// # Errors
/// As for [`decode`](crate::decode).
pub fn decode(format: Format, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    check_lengths(format, bytes, out)?;
    blocks(format, bytes, out);
    Ok(())
}

/// Quantises one block of activations (32 or 256 values, or any other number): bytes into `q`, returns the scale.
///
/// With `largest` the largest magnitude, the scale is `largest / 127`, and the bytes are `x * (1 / scale)` rounded to
/// the nearest integer, ties to even; they lie within -127 to 127. A scale below the smallest normal `f32` counts as 0,
/// and the bytes are 0 then. Where a value is NaN the scale is NaN, where one is infinite the scale is infinite, and the
/// bytes are 0, so that every product with the block is NaN.
///
/// The rule is that of llama.cpp's `Q8_0` and `Q8_K` rows, whose vector code rounds to even too; but the scale stays an
/// `f32`. Each value is off by at most `scale * (1/2 + 2^-15)`, or 2^-119 where the scale is 0.
pub fn quantize_block(x: &[f32], q: &mut [i8]) -> f32 {
    let bits = x.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0);
    // Magnitudes are ordered as their bits are, with infinity and NaN above all numbers.
    let scale = f32::from_bits(bits) / 127.0;
    if !(f32::MIN_POSITIVE..f32::INFINITY).contains(&scale) {
        q.fill(0);
        return if scale < f32::MIN_POSITIVE { 0.0 } else { scale };
    }
    let inverse = 1.0 / scale;
    for (q, x) in q.iter_mut().zip(x) {
        *q = (x * inverse + ROUND - ROUND) as i8;
    }
    scale
}

/// `c[i,j] = bias[j] + sum over k of a[i,k] w[j,k]`, where `weights` are `n` rows of `k` values in `format`, and the rows
/// of A are quantised as [`Format::activation`] says.
///
/// This is the meaning of [`multiply`](crate::multiply): with the class of its level, it gives the same bits.
///
/// # Errors
/// As for [`multiply`](crate::multiply).
pub fn multiply<A: Arithmetic>(
    a: MatrixRef<'_, f32>,
    format: Format,
    weights: &[u8],
    mut c: MatrixMut<'_, f32>,
    bias: Option<&[f32]>,
) -> Result<(), QuantError> {
    let (k, n, block_len) = (a.cols(), c.cols(), format.block_len());
    let row_bytes = format.row_bytes(k).ok_or(QuantError::PartialBlock { len: k, block_len })?;
    let needed = row_bytes.checked_mul(n).ok_or(QuantError::TooLarge)?;
    if weights.len() != needed {
        return Err(QuantError::ByteLength { needed, found: weights.len() });
    }
    check_shapes((a.rows(), k), (n, k), (c.rows(), n), bias.map(<[f32]>::len))?;
    for i in 0..a.rows() {
        for j in 0..n {
            let mut acc = bias.and_then(|bias| bias.get(j)).copied().unwrap_or(0.0);
            for b in 0..k / block_len {
                let bytes = &weights[j * row_bytes + b * format.block_bytes()..][..format.block_bytes()];
                let (mut x, mut q) = ([0.0; MAX_BLOCK], [0; MAX_BLOCK]);
                let (x, q) = (&mut x[..block_len], &mut q[..block_len]);
                for (at, x) in x.iter_mut().enumerate() {
                    *x = a.get(i, b * block_len + at).copied().unwrap_or(0.0);
                }
                let da = quantize_block(x, q);
                acc = multiply_block::<A>(format, &Block::open(format, bytes), da, q, acc);
            }
            if let Some(c) = c.get_mut(i, j) {
                *c = acc;
            }
        }
    }
    Ok(())
}

/// One link of the chain.
fn multiply_block<A: Arithmetic>(format: Format, block: &Block, da: f32, q: &[i8], acc: f32) -> f32 {
    let sub_len = q.len() / format.subs();
    let (mut sum, mut min_sum) = (0, 0);
    for (s, (q, code)) in q.chunks_exact(sub_len).zip(block.code.chunks_exact(sub_len)).enumerate() {
        let dot: i32 = q.iter().zip(code).map(|(q, code)| i32::from(*q) * format.value(*code)).sum();
        sum += i32::from(block.scale[s]) * dot;
        min_sum += i32::from(block.min[s]) * q.iter().map(|q| i32::from(*q)).sum::<i32>();
    }
    let acc = match (format.has_min(), format.activation()) {
        (false, _) => acc,
        // `min_scale` has the sign of a difference in every format.
        (true, ActivationFormat::Q8_0) => A::mul_add(-block.min_scale(), da * min_sum as f32, acc),
        (true, ActivationFormat::Q8K) => A::mul_add(block.min_scale() * da, -(min_sum as f32), acc),
    };
    A::mul_add(block.scale(format) * da, sum as f32, acc)
}
