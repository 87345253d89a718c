//! Reductions and softmax of one row.

use kernform_simd::{Arithmetic, REDUCTION_LANES};

use super::{exp_nonpositive, log};

/// Folds `terms` over [`REDUCTION_LANES`] virtual lanes, then the lanes by halves.
fn reduce(terms: impl Iterator<Item = f32>, identity: f32, op: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [identity; REDUCTION_LANES];
    for (i, term) in terms.enumerate() {
        let lane = &mut lanes[i % REDUCTION_LANES];
        *lane = op(*lane, term);
    }
    fold(lanes, op)
}

/// The fixed tree over the virtual lanes.
fn fold(mut lanes: [f32; REDUCTION_LANES], op: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = REDUCTION_LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = op(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// The sum of `x`.
pub fn sum(x: &[f32]) -> f32 {
    reduce(x.iter().copied(), 0.0, |a, b| a + b)
}

/// The largest element of `x`, -infinity where there is none; NaN is passed over.
pub fn max(x: &[f32]) -> f32 {
    reduce(x.iter().copied(), f32::NEG_INFINITY, |lane, x| if x > lane { x } else { lane })
}

/// The sum of the products of `x` and `y`, of which the shorter counts.
pub fn dot<A: Arithmetic>(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0; REDUCTION_LANES];
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        let lane = &mut lanes[i % REDUCTION_LANES];
        *lane = A::mul_add(*x, *y, *lane);
    }
    fold(lanes, |a, b| a + b)
}

/// The largest element, or 0 where that is -infinity: what is subtracted before the exponential.
fn shift_of(x: &[f32]) -> f32 {
    let max = max(x);
    if max == f32::NEG_INFINITY { 0.0 } else { max }
}

/// Softmax of one row, in place.
pub fn softmax<A: Arithmetic>(row: &mut [f32]) {
    let shift = shift_of(row);
    for x in &mut *row {
        *x = exp_nonpositive::<A>(*x - shift);
    }
    let sum = sum(row);
    let scale = if sum == 0.0 { 0.0 } else { 1.0 / sum };
    for x in row {
        *x *= scale;
    }
}

/// The shift and the logarithm of the sum of the shifted exponentials.
fn shift_and_log<A: Arithmetic>(row: &[f32]) -> (f32, f32) {
    let shift = shift_of(row);
    let sum = reduce(row.iter().map(|x| exp_nonpositive::<A>(*x - shift)), 0.0, |a, b| a + b);
    (shift, log::<A>(sum))
}

/// The logarithm of the softmax of one row, in place.
pub fn log_softmax<A: Arithmetic>(row: &mut [f32]) {
    let (shift, log) = shift_and_log::<A>(row);
    let log = if log == f32::NEG_INFINITY { 0.0 } else { log };
    for x in row {
        *x = (*x - shift) - log;
    }
}

/// `log(sum(e^x))` of one row.
pub fn log_sum_exp<A: Arithmetic>(row: &[f32]) -> f32 {
    let (shift, log) = shift_and_log::<A>(row);
    shift + log
}
