//! The defined order of operations, in plain scalar code.

use kernform_simd::Arithmetic;
use kernform_tensor::{MatrixMut, MatrixRef};
use num_traits::Float;

use super::Scale;
use super::quantize::LEAST_MAGNITUDE;
use crate::GemmError;
use crate::multiply::check_shapes;

/// `c = a b` in integers, for A `[m, k]`, B `[k, n]`, C `[m, n]`.
///
/// # Errors
/// [`GemmError`] where the shapes do not fit.
pub fn gemm_i8_i32(a: MatrixRef<'_, i8>, b: MatrixRef<'_, i8>, mut c: MatrixMut<'_, i32>) -> Result<(), GemmError> {
    check_shapes((a.rows(), a.cols()), (b.rows(), b.cols()), (c.rows(), c.cols()), None, None)?;
    for i in 0..c.rows() {
        for j in 0..c.cols() {
            if let Some(c) = c.get_mut(i, j) {
                *c = dot(a, b, i, j);
            }
        }
    }
    Ok(())
}

/// `sum_k a[i,k] b[k,j]`.
fn dot(a: MatrixRef<'_, i8>, b: MatrixRef<'_, i8>, i: usize, j: usize) -> i32 {
    let product = |k| Some(i32::from(*a.get(i, k)?) * i32::from(*b.get(k, j)?));
    (0..a.cols()).filter_map(product).fold(0, i32::wrapping_add)
}

/// `c[i,j] = activate(mul_add(sum, row_scale[i] * col_scale[j], bias[j])) + residual[i,j]`, where `sum` is the exact
/// integer product, converted to the float type with one rounding, and a missing bias is 0.
///
/// This is the meaning of [`gemm_i8`](super::gemm_i8): in `f32`, with the class of its level, it gives the same bits. In
/// `f64` it is the truth of the bound tests.
///
/// # Errors
/// [`GemmError`] where the shapes do not fit.
pub fn gemm_i8<T: Float, A: Arithmetic>(
    a: MatrixRef<'_, i8>,
    row_scale: &[T],
    b: MatrixRef<'_, i8>,
    col_scale: &[T],
    mut c: MatrixMut<'_, T>,
    bias: Option<&[T]>,
    activate: impl Fn(T) -> T,
    residual: Option<MatrixRef<'_, T>>,
) -> Result<(), GemmError> {
    let found = (c.rows(), c.cols());
    let residual_shape = residual.map(|residual| (residual.rows(), residual.cols()));
    check_shapes((a.rows(), a.cols()), (b.rows(), b.cols()), found, bias.map(<[T]>::len), residual_shape)?;
    Scale::check_len(row_scale.len(), c.rows())?;
    Scale::check_len(col_scale.len(), c.cols())?;
    for (i, row_scale) in row_scale.iter().enumerate() {
        for (j, col_scale) in col_scale.iter().enumerate() {
            let sum = T::from(dot(a, b, i, j)).unwrap_or_else(T::nan);
            let bias = bias.and_then(|bias| bias.get(j)).copied().unwrap_or_else(T::zero);
            let activated = activate(A::mul_add(sum, *row_scale * *col_scale, bias));
            let result = match residual.and_then(|residual| residual.get(i, j).copied()) {
                Some(residual) => activated + residual,
                None => activated,
            };
            if let Some(c) = c.get_mut(i, j) {
                *c = result;
            }
        }
    }
    Ok(())
}

/// `c[i,j] = activate(round(sum * col_scale[j]) + bias[j]) + residual[i,j]`, where products of pairs of rows of B are added
/// in 16 bits that saturate: the meaning of `gemm_i8_saturating`. The bytes of A are those before 127 is added.
///
/// # Errors
/// [`GemmError`] where the shapes do not fit.
pub fn gemm_i8_saturating(
    a: MatrixRef<'_, i8>,
    b: MatrixRef<'_, i8>,
    col_scale: &[f32],
    mut c: MatrixMut<'_, f32>,
    bias: Option<&[f32]>,
    activate: impl Fn(f32) -> f32,
    residual: Option<MatrixRef<'_, f32>>,
) -> Result<(), GemmError> {
    let found = (c.rows(), c.cols());
    let residual_shape = residual.map(|residual| (residual.rows(), residual.cols()));
    check_shapes((a.rows(), a.cols()), (b.rows(), b.cols()), found, bias.map(<[f32]>::len), residual_shape)?;
    Scale::check_len(col_scale.len(), c.cols())?;
    for i in 0..c.rows() {
        for (j, scale) in col_scale.iter().enumerate() {
            // The product of an unsigned and a signed byte fits 16 bits.
            let product = |k| Some((i16::from(*a.get(i, k)?) + 127) * i16::from(*b.get(k, j)?));
            let pair = |k| i32::from(product(k).unwrap_or(0).saturating_add(product(k + 1).unwrap_or(0)));
            let sum: i32 = (0..a.cols()).step_by(2).map(pair).sum();
            let bias = bias.and_then(|bias| bias.get(j)).copied().unwrap_or(0.0);
            let activated = activate(sum as f32 * scale + bias);
            if let Some(c) = c.get_mut(i, j) {
                *c =
                    residual.and_then(|residual| residual.get(i, j)).map_or(activated, |residual| activated + residual);
            }
        }
    }
    Ok(())
}

/// Quantises one row by its largest magnitude and returns the scale; the meaning of
/// [`quantize_rows`](super::quantize_rows).
///
/// `q = round(x * (127 / max|x|))`, ties to even, and the scale is `max|x| / 127`.
pub fn quantize_row(x: &[f32], q: &mut [i8]) -> f32 {
    let largest = x.iter().fold(0.0, |largest: f32, x| if x.abs() > largest { x.abs() } else { largest });
    let is_finite = x.iter().all(|x| x.is_finite());
    let (multiplier, scale) = if !is_finite {
        (0.0, f32::NAN)
    } else if largest < LEAST_MAGNITUDE {
        (0.0, 0.0)
    } else {
        (127.0 / largest, largest / 127.0)
    };
    quantize_with(x, multiplier, q);
    scale
}

/// Quantises with a given multiplier; the meaning of [`quantize_with`](super::quantize_with).
///
/// `q = round(x * multiplier)`, ties to even, clamped to -127 to 127; NaN gives 0.
pub fn quantize_with(x: &[f32], multiplier: f32, q: &mut [i8]) {
    for (x, q) in x.iter().zip(q) {
        // A cast gives 0 for NaN.
        *q = libm::rintf(x * multiplier).clamp(-127.0, 127.0) as i8;
    }
}
