//! One vector for a sequence of states.

use kernform_formats::Pooling;
use kernform_simd::Isa;

use crate::error::ModelError;

/// Pools `states` of `[tokens, width]`, at least one token, into `out`.
///
/// Sums are chains over ascending tokens; a weighted one has one multiply-add a token. The division comes last.
pub(crate) fn pool(pooling: Pooling, isa: Isa, states: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
    let width = out.len();
    let tokens = states.len() / width.max(1);
    let (first, rest) = states.split_at(width);
    match pooling {
        Pooling::Cls => out.copy_from_slice(first),
        Pooling::LastToken => out.copy_from_slice(&states[states.len() - width..]),
        Pooling::Max => {
            out.copy_from_slice(first);
            for row in rest.chunks_exact(width) {
                out.iter_mut().zip(row).for_each(|(out, x)| *out = if *x > *out || x.is_nan() { *x } else { *out });
            }
        }
        Pooling::Mean | Pooling::MeanSqrtLen => {
            out.copy_from_slice(first);
            for row in rest.chunks_exact(width) {
                kernform_math::add(isa, row, out)?;
            }
            let count = tokens as f32;
            let divisor = if pooling == Pooling::Mean { count } else { libm::sqrtf(count) };
            out.iter_mut().for_each(|out| *out /= divisor);
        }
        Pooling::WeightedMean => {
            out.fill(0.0);
            for (row, weight) in states.chunks_exact(width).zip(1u32..) {
                kernform_math::scale_add(isa, weight as f32, row, out)?;
            }
            let divisor = (tokens as f64 * (tokens as f64 + 1.0) / 2.0) as f32;
            out.iter_mut().for_each(|out| *out /= divisor);
        }
    }
    Ok(())
}

/// Divides a vector by its length, the root of the sum of its squares; one shorter than `1e-12` is divided by that.
///
/// # Errors
/// None.
pub fn normalise(isa: Isa, x: &mut [f32]) -> Result<(), ModelError> {
    let length = libm::sqrtf(kernform_math::dot(isa, x, x)?).max(1e-12);
    x.iter_mut().for_each(|x| *x /= length);
    Ok(())
}
