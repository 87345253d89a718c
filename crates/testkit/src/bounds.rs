//! Error bounds against exact arithmetic.

/// The unit roundoff of `f32`: half the distance from 1 to the next float.
pub const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;

/// `k u / (1 - k u)`: the relative error bound of `k` roundings one upon the other (Higham, Accuracy and Stability of
/// Numerical Algorithms, section 3.1).
pub fn gamma(k: usize) -> f64 {
    let ku = k as f64 * UNIT_ROUNDOFF;
    assert!(ku < 1.0, "the bound says nothing for {k} roundings");
    ku / (1.0 - ku)
}

/// The distance between `f32` neighbours at the magnitude of `truth`, the smallest denormal near zero.
pub fn ulp_of(truth: f64) -> f64 {
    let magnitude = truth.abs().max(f64::from(f32::MIN_POSITIVE));
    let exponent = (magnitude.to_bits() >> 52) as i32 - 1023;
    f64::from_bits(((exponent - 23 + 1023) as u64) << 52)
}

/// How many units in the last place `actual` is away from `truth`; 0 where both are NaN or the same infinity, infinite
/// where only one is. A truth beyond the largest `f32` counts as infinity once it rounds to it.
pub fn ulp_error(actual: f32, truth: f64) -> f64 {
    let rounded = truth as f32;
    if actual.is_nan() || rounded.is_nan() {
        return if actual.is_nan() && rounded.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if actual.is_infinite() || rounded.is_infinite() {
        return if actual == rounded { 0.0 } else { f64::INFINITY };
    }
    (f64::from(actual) - truth).abs() / ulp_of(truth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulps_are_counted_at_the_magnitude_of_the_truth() {
        assert_eq!(ulp_error(1.0, 1.0), 0.0);
        assert_eq!(ulp_error(1.0 + f32::EPSILON, 1.0), 1.0);
        assert_eq!(ulp_error(f32::from_bits(1), 0.0), 1.0);
        assert_eq!(ulp_error(f32::MAX, f64::INFINITY), f64::INFINITY);
        assert_eq!(ulp_error(f32::INFINITY, 1e39), 0.0);
        assert_eq!(ulp_error(f32::NAN, f64::NAN), 0.0);
        assert_eq!(ulp_error(f32::NAN, 0.0), f64::INFINITY);
    }
}
