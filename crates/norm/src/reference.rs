//! The defined operations and their order, in plain scalar Rust.
//!
//! Generic over the class and the float: `f32` gives the bits of the kernels, `f64` the truth of the error bounds.

use kernform_simd::{Arithmetic, REDUCTION_LANES};
use num_traits::Float;

/// The fixed tree over [`REDUCTION_LANES`] virtual lanes, of which element `i` goes to lane `i % 64` by `step`.
fn reduce<T: Float>(x: &[T], step: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::zero(); REDUCTION_LANES];
    for (i, x) in x.iter().enumerate() {
        let lane = &mut lanes[i % REDUCTION_LANES];
        *lane = step(*lane, *x);
    }
    let mut half = REDUCTION_LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = lanes[i] + lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The number of elements as a float, rounded to nearest.
fn count<T: Float>(x: &[T]) -> T {
    T::from(x.len() as f32).unwrap_or_else(T::nan)
}

/// `1 / sqrt(sum((x - mean)^2) / width + epsilon)`.
fn scale_of<A: Arithmetic, T: Float>(x: &[T], mean: T, epsilon: T) -> T {
    let squares = reduce(x, |lane, x| A::mul_add(x - mean, x - mean, lane));
    T::one() / (squares / count(x) + epsilon).sqrt()
}

/// Layer normalization of one row, in place; all operands are of one length.
pub fn layer_norm<A: Arithmetic, T: Float>(x: &mut [T], gamma: &[T], beta: Option<&[T]>, epsilon: T) {
    let mean = reduce(x, |lane, x| lane + x) / count(x);
    let scale = scale_of::<A, T>(x, mean, epsilon);
    for (i, (x, gamma)) in x.iter_mut().zip(gamma).enumerate() {
        let normalized = (*x - mean) * scale;
        *x = match beta.and_then(|beta| beta.get(i)) {
            Some(beta) => A::mul_add(normalized, *gamma, *beta),
            None => normalized * *gamma,
        };
    }
}

/// Root mean square normalization of one row, in place; both operands are of one length.
pub fn rms_norm<A: Arithmetic, T: Float>(x: &mut [T], weight: &[T], weight_offset: T, epsilon: T) {
    let scale = scale_of::<A, T>(x, T::zero(), epsilon);
    for (x, weight) in x.iter_mut().zip(weight) {
        let weight = if weight_offset == T::zero() { *weight } else { *weight + weight_offset };
        *x = *x * scale * weight;
    }
}

/// `x = x + residual`; both operands are of one length.
pub fn add<T: Float>(x: &mut [T], residual: &[T]) {
    for (x, residual) in x.iter_mut().zip(residual) {
        *x = *x + *residual;
    }
}
