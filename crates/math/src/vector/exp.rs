//! The exponential function, and its parts that the other functions are built on.

use kernform_simd::Simd;

use super::polynomial;
use crate::coefficients::{EXP, EXP_MAX, EXP_MIN, EXP2, LN_2_HI, LN_2_LO, MAGIC, MAGIC_TWICE, ONE_STEP_EXP_MIN};

/// `e^x`.
///
/// Below 1 ULP everywhere, denormal results included. Above 88.722839 the result is infinity, below -103.97208 it is 0;
/// NaN gives NaN.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // The comparisons pick `x` where it is NaN.
    exp_clamped(s, s.min(s.splat(EXP_MAX), s.max(s.splat(EXP_MIN), x)))
}

/// `e^x` for `x` that are not above 0, as softmax takes it: a third cheaper than [`exp`], but 0 from about -87.7 down.
///
/// Elsewhere the bits are those of [`exp`]. NaN gives NaN; a number above 88 gives no useful result.
#[inline(always)]
pub fn exp_nonpositive<S: Simd>(s: S, x: S::F32) -> S::F32 {
    exp_one_step(s, s.max(s.splat(ONE_STEP_EXP_MIN), x))
}

/// [`exp`] between [`EXP_MIN`] and [`EXP_MAX`], or of NaN.
///
/// `x = n ln 2 + r` with a whole `n`, `e^x = 2^n e^r`. The power of two is split into two factors, because `2^n` alone
/// reaches beyond the exponents of `f32` at both ends; the first product is exact, so a denormal result is rounded once.
#[inline(always)]
pub(crate) fn exp_clamped<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let (shifted, p) = exp_parts(s, x, MAGIC_TWICE);
    let twice_biased = s.bits(shifted);
    let half = s.shr_i32::<1>(twice_biased);
    let other_half = s.sub_i32(twice_biased, half);
    s.mul(s.mul(p, exponent_field(s, half)), exponent_field(s, other_half))
}

/// [`exp`] between [`ONE_STEP_EXP_MIN`] and 88, or of NaN: cheaper, but 0 from about -87.7 down.
#[inline(always)]
pub(crate) fn exp_one_step<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let (shifted, p) = exp_parts(s, x, MAGIC);
    s.mul(p, exponent_field(s, s.bits(shifted)))
}

/// `n + magic` and `e^r`, where `x = n ln 2 + r`.
#[inline(always)]
fn exp_parts<S: Simd>(s: S, x: S::F32, magic: f32) -> (S::F32, S::F32) {
    let shifted = s.mul_add(x, s.splat(core::f32::consts::LOG2_E), s.splat(magic));
    let n = s.sub(shifted, s.splat(magic));
    let r = s.mul_add(n, s.splat(-LN_2_HI), x);
    let r = s.mul_add(n, s.splat(-LN_2_LO), r);
    (shifted, s.mul_add(polynomial(s, r, &EXP), r, s.splat(1.0)))
}

/// `2^n` and `2^r - 1`, where `t = n + r` with a whole `n` from -127 to 127; `2^-127` is taken as 0.
#[inline(always)]
pub(crate) fn exp2_parts<S: Simd>(s: S, t: S::F32) -> (S::F32, S::F32) {
    let shifted = s.add(t, s.splat(MAGIC));
    let r = s.sub(t, s.sub(shifted, s.splat(MAGIC)));
    (exponent_field(s, s.bits(shifted)), s.mul(polynomial(s, r, &EXP2), r))
}

/// The float whose exponent field is the low eight bits of `biased`; the ninth must be clear.
#[inline(always)]
pub(crate) fn exponent_field<S: Simd>(s: S, biased: S::I32) -> S::F32 {
    s.float_of_bits(s.shl_i32::<23>(biased))
}
