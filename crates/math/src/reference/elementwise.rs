//! The elementwise functions.

use kernform_simd::Arithmetic;

use crate::Activation;
use crate::coefficients::*;

/// `if a > b { a } else { b }`: `b` where either is NaN.
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// `if a < b { a } else { b }`: `b` where either is NaN.
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The polynomial with coefficients `c`, by Horner's rule.
fn polynomial<A: Arithmetic>(x: f32, c: &[f32]) -> f32 {
    let mut coefficients = c.iter().rev().copied();
    let highest = coefficients.next().unwrap_or(0.0);
    coefficients.fold(highest, |p, c| A::mul_add(p, x, c))
}

/// The float whose exponent field is the low eight bits of `biased`.
fn exponent_field(biased: u32) -> f32 {
    f32::from_bits(biased << 23)
}

/// `n + magic` and `e^r`, where `x = n ln 2 + r`.
fn exp_parts<A: Arithmetic>(x: f32, magic: f32) -> (f32, f32) {
    let shifted = A::mul_add(x, core::f32::consts::LOG2_E, magic);
    let n = shifted - magic;
    let r = A::mul_add(n, -LN_2_HI, x);
    let r = A::mul_add(n, -LN_2_LO, r);
    (shifted, A::mul_add(polynomial::<A>(r, &EXP), r, 1.0))
}

/// `2^n` and `2^r - 1`, where `t = n + r`.
fn exp2_parts<A: Arithmetic>(t: f32) -> (f32, f32) {
    let shifted = t + MAGIC;
    let r = t - (shifted - MAGIC);
    (exponent_field(shifted.to_bits()), polynomial::<A>(r, &EXP2) * r)
}

fn exp_clamped<A: Arithmetic>(x: f32) -> f32 {
    let (shifted, p) = exp_parts::<A>(x, MAGIC_TWICE);
    let twice_biased = shifted.to_bits();
    let half = twice_biased >> 1;
    p * exponent_field(half) * exponent_field(twice_biased.wrapping_sub(half))
}

fn exp_one_step<A: Arithmetic>(x: f32) -> f32 {
    let (shifted, p) = exp_parts::<A>(x, MAGIC);
    p * exponent_field(shifted.to_bits())
}

/// `e^x`.
pub fn exp<A: Arithmetic>(x: f32) -> f32 {
    exp_clamped::<A>(smaller(EXP_MAX, larger(EXP_MIN, x)))
}

/// `e^x` for `x` that are not above 0; 0 from about -87.7 down.
pub fn exp_nonpositive<A: Arithmetic>(x: f32) -> f32 {
    exp_one_step::<A>(larger(ONE_STEP_EXP_MIN, x))
}

/// The natural logarithm.
pub fn log<A: Arithmetic>(x: f32) -> f32 {
    if x == 0.0 {
        return f32::NEG_INFINITY;
    }
    if x < 0.0 {
        return f32::NAN;
    }
    // False for NaN too.
    let is_finite = x < f32::INFINITY;
    if !is_finite {
        return x;
    }
    let (scaled, scaling) = if x < f32::MIN_POSITIVE { (x * 16_777_216.0, 24.0) } else { (x, 0.0) };
    let bits = scaled.to_bits().cast_signed();
    let exponent = (bits - LOG_ORIGIN) >> 23;
    let f = f32::from_bits((bits - (exponent << 23)).cast_unsigned()) - 1.0;
    let e = exponent as f32 - scaling;

    let tail = A::mul_add(polynomial::<A>(f, &LOG), f, -0.5);
    let low = A::mul_add(tail, f * f, e * LN_2_LO);
    A::mul_add(e, LN_2_HI, f + low)
}

/// The hyperbolic tangent.
pub fn tanh<A: Arithmetic>(x: f32) -> f32 {
    let z = smaller(TANH_LIMIT, x.abs());
    let shifted = A::mul_add(z, 2.0 * core::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = A::mul_add(n, -0.5 * LN_2_HI, z);
    let r = A::mul_add(n, -0.5 * LN_2_LO, r);
    let p = polynomial::<A>(r, &EXP_OF_TWICE) * r;
    let power = exponent_field(shifted.to_bits());
    let e = A::mul_add(power, p, power - 1.0);
    (e / (e + 2.0)).copysign(x)
}

/// The error function.
pub fn erf<A: Arithmetic>(x: f32) -> f32 {
    let z = smaller(ERF_LIMIT, x.abs());
    let (power, p) = exp2_parts::<A>(-(polynomial::<A>(z, &ERF) * z));
    A::mul_add(power, p, power - 1.0).copysign(x)
}

/// `max(x, 0)`; NaN and -0 stay.
pub fn relu(x: f32) -> f32 {
    larger(0.0, x)
}

/// `1 / (1 + e^-x)`.
pub fn sigmoid<A: Arithmetic>(x: f32) -> f32 {
    let e = exp_clamped::<A>(smaller(SIGMOID_MAX, larger(EXP_MIN, x)));
    e / (1.0 + e)
}

/// `x * sigmoid(x)`.
pub fn silu<A: Arithmetic>(x: f32) -> f32 {
    let x = larger(ONE_STEP_EXP_MIN, x);
    let e = exp_one_step::<A>(smaller(SIGMOID_MAX, x));
    x * (e / (1.0 + e))
}

/// The GELU with the tanh approximation of the normal distribution function.
pub fn gelu_tanh<A: Arithmetic>(x: f32) -> f32 {
    let x = larger(GELU_TANH_MIN, x);
    let slope = A::mul_add(x * x, GELU_TANH_3, GELU_TANH_1);
    let (power, p) = exp2_parts::<A>(smaller(SIGMOID_EXP2_MAX, x * slope));
    let e = A::mul_add(power, p, power);
    x * (e / (1.0 + e))
}

/// The GELU with the normal distribution function.
pub fn gelu_erf<A: Arithmetic>(x: f32) -> f32 {
    let z = smaller(GELU_ERF_LIMIT, x.abs());
    let (power, p) = exp2_parts::<A>(A::mul_add(polynomial::<A>(z, &GELU_ERF), -z, -1.0));
    let half_erfc = A::mul_add(power, p, power);
    A::mul_add(-z, half_erfc, relu(x))
}

/// `activation(x)`.
pub fn activate<A: Arithmetic>(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => relu(x),
        Activation::GeluErf => gelu_erf::<A>(x),
        Activation::GeluTanh => gelu_tanh::<A>(x),
        Activation::Silu => silu::<A>(x),
    }
}
