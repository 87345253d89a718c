//! The natural logarithm.

use kernform_simd::Simd;

use super::polynomial;
use crate::coefficients::{LN_2_HI, LN_2_LO, LOG, LOG_ORIGIN, WHOLE};

/// `log(x)`, as `e ln 2 + log(1 + f)` with a whole `e` and `sqrt(1/2) <= 1 + f <= sqrt(2)`.
///
/// Zeros give -infinity, negative numbers NaN; denormal arguments are as good as others.
#[inline(always)]
pub fn log<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let zero = s.splat(0.0);
    let is_denormal = s.lt(x, s.splat(f32::MIN_POSITIVE));
    let scaled = s.select(is_denormal, s.mul(x, s.splat(16_777_216.0)), x);
    let bits = s.bits(scaled);
    let exponent = s.shr_i32::<23>(s.sub_i32(bits, s.splat_i32(LOG_ORIGIN)));
    let f = s.sub(s.float_of_bits(s.sub_i32(bits, s.shl_i32::<23>(exponent))), s.splat(1.0));
    let whole = s.float_of_bits(s.add_i32(exponent, s.splat_i32(WHOLE.to_bits().cast_signed())));
    let e = s.sub(s.sub(whole, s.splat(WHOLE)), s.select(is_denormal, s.splat(24.0), zero));

    let tail = s.mul_add(polynomial(s, f, &LOG), f, s.splat(-0.5));
    let low = s.mul_add(tail, s.mul(f, f), s.mul(e, s.splat(LN_2_LO)));
    let result = s.mul_add(e, s.splat(LN_2_HI), s.add(f, low));
    // Infinity and NaN, for which the comparison is false, are their own logarithms.
    let result = s.select(s.lt(x, s.splat(f32::INFINITY)), result, x);
    let result = s.select(s.lt(x, zero), s.splat(f32::NAN), result);
    s.select(s.eq(x, zero), s.splat(f32::NEG_INFINITY), result)
}
