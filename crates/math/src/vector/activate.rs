//! The activation functions.

use kernform_simd::Simd;

use super::exp::{exp_clamped, exp_one_step, exp2_parts};
use super::polynomial;
use crate::Activation;
use crate::coefficients::{
    EXP_MIN, GELU_ERF, GELU_ERF_LIMIT, GELU_TANH_1, GELU_TANH_3, GELU_TANH_MIN, ONE_STEP_EXP_MIN, SIGMOID_EXP2_MAX,
    SIGMOID_MAX,
};

/// `activation(x)`.
#[inline(always)]
pub fn activate<S: Simd>(s: S, activation: Activation, x: S::F32) -> S::F32 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => relu(s, x),
        Activation::GeluErf => gelu_erf(s, x),
        Activation::GeluTanh => gelu_tanh(s, x),
        Activation::Silu => silu(s, x),
    }
}

/// `max(x, 0)`: exact; NaN stays, and so does -0.
#[inline(always)]
pub fn relu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.max(s.splat(0.0), x)
}

/// `1 / (1 + e^-x)`, as `e^x / (1 + e^x)`, which is accurate for the smallest results too.
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let e = exp_clamped(s, s.min(s.splat(SIGMOID_MAX), s.max(s.splat(EXP_MIN), x)));
    s.div(e, s.add(s.splat(1.0), e))
}

/// `x * sigmoid(x)`; -0 from about -87.7 down, where the value is above -7.3e-37.
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let x = s.max(s.splat(ONE_STEP_EXP_MIN), x);
    let e = exp_one_step(s, s.min(s.splat(SIGMOID_MAX), x));
    s.mul(x, s.div(e, s.add(s.splat(1.0), e)))
}

/// `x * sigmoid(sqrt(8 / pi) (x + 0.044715 x^3))`, which is the GELU with the tanh approximation; -0 from about -10 down.
#[inline(always)]
pub fn gelu_tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let x = s.max(s.splat(GELU_TANH_MIN), x);
    let slope = s.mul_add(s.mul(x, x), s.splat(GELU_TANH_3), s.splat(GELU_TANH_1));
    let (power, p) = exp2_parts(s, s.min(s.splat(SIGMOID_EXP2_MAX), s.mul(x, slope)));
    let e = s.mul_add(power, p, power);
    s.mul(x, s.div(e, s.add(s.splat(1.0), e)))
}

/// `x (1 + erf(x / sqrt(2))) / 2`, as `max(x, 0) - |x| erfc(|x| / sqrt(2)) / 2`; -0 from about -10 down.
#[inline(always)]
pub fn gelu_erf<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let z = s.min(s.splat(GELU_ERF_LIMIT), s.abs(x));
    let t = s.mul_add(polynomial(s, z, &GELU_ERF), s.neg(z), s.splat(-1.0));
    let (power, p) = exp2_parts(s, t);
    let half_erfc = s.mul_add(power, p, power);
    s.mul_add(s.neg(z), half_erfc, relu(s, x))
}
