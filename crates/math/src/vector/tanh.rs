//! The hyperbolic tangent.

use kernform_simd::Simd;

use super::exp::exponent_field;
use super::polynomial;
use crate::coefficients::{EXP_OF_TWICE, LN_2_HI, LN_2_LO, MAGIC, TANH_LIMIT};

/// `tanh(x)`, as `(e^2|x| - 1) / (e^2|x| + 1)` with the sign of `x`.
///
/// `2|x| = n ln 2 + 2r` and `e^2|x| - 1 = 2^n (e^2r - 1) + (2^n - 1)`, in which the polynomial gives `e^2r - 1` without
/// cancellation: small arguments need no branch.
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let z = s.min(s.splat(TANH_LIMIT), s.abs(x));
    let shifted = s.mul_add(z, s.splat(2.0 * core::f32::consts::LOG2_E), s.splat(MAGIC));
    let n = s.sub(shifted, s.splat(MAGIC));
    let r = s.mul_add(n, s.splat(-0.5 * LN_2_HI), z);
    let r = s.mul_add(n, s.splat(-0.5 * LN_2_LO), r);
    let p = s.mul(polynomial(s, r, &EXP_OF_TWICE), r);
    let power = exponent_field(s, s.bits(shifted));
    let e = s.mul_add(power, p, s.sub(power, s.splat(1.0)));
    s.copysign(s.div(e, s.add(e, s.splat(2.0))), x)
}
