//! The error function.

use kernform_simd::Simd;

use super::exp::exp2_parts;
use super::polynomial;
use crate::coefficients::{ERF, ERF_LIMIT};

/// `erf(x)`, as `1 - 2^(-|x| G(|x|))` with the sign of `x`.
///
/// `G(z) = -log2(erfc(z)) / z` is smooth, and an error in it is damped where it is large, so one polynomial serves the
/// whole range; `1 - 2^-h` is put together without cancellation.
#[inline(always)]
pub fn erf<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let z = s.min(s.splat(ERF_LIMIT), s.abs(x));
    let (power, p) = exp2_parts(s, s.neg(s.mul(polynomial(s, z, &ERF), z)));
    let complement = s.mul_add(power, p, s.sub(power, s.splat(1.0)));
    s.copysign(complement, x)
}
