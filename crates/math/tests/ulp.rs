//! The table of errors: every function against an f64 truth, held to the number that the README states.
//!
//! `KERNFORM_EXHAUSTIVE=1` goes through all bit patterns instead of a sweep (minutes, in a release build).

use kernform_math as math;
use kernform_simd::{Class, Isa};
use kernform_testkit::{isa_tests, ulp_error};

type InPlace = fn(Isa, &mut [f32]);

/// A function, its truth, a domain, and the most ULP that it is off there.
struct Row(&'static str, InPlace, fn(f64) -> f64, [f32; 2], f64);

/// As [`Row`], with an absolute bound.
struct AbsoluteRow(&'static str, InPlace, fn(f64) -> f64, [f32; 2], f64);

fn sigmoid(x: f64) -> f64 {
    // The larger of the two forms, neither of which cancels.
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

fn gelu_erf(x: f64) -> f64 {
    0.5 * x * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2)
}

fn gelu_tanh(x: f64) -> f64 {
    x * sigmoid((8.0 / core::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x))
}

const ALL: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

const TABLE: [Row; 9] = [
    Row("exp", math::exp_in_place, f64::exp, ALL, 1.0),
    Row("log", math::log_in_place, f64::ln, [0.0, f32::INFINITY], 1.0),
    Row("tanh", math::tanh_in_place, libm::tanh, ALL, 3.5),
    Row("erf", math::erf_in_place, libm::erf, ALL, 3.0),
    Row("sigmoid", math::sigmoid_in_place, sigmoid, ALL, 2.5),
    Row("silu", math::silu_in_place, silu, [-87.0, f32::MAX], 3.5),
    Row("gelu_erf", math::gelu_erf_in_place, gelu_erf, [-1.0, f32::MAX], 3.0),
    Row("gelu_tanh", math::gelu_tanh_in_place, gelu_tanh, [-1.0, f32::MAX], 3.5),
    Row("relu", math::relu_in_place, |x| x.max(0.0), ALL, 0.0),
];

const TAILS: [AbsoluteRow; 3] = [
    AbsoluteRow("silu", math::silu_in_place, silu, [f32::MIN, -87.0], 8e-37),
    AbsoluteRow("gelu_erf", math::gelu_erf_in_place, gelu_erf, [f32::MIN, -1.0], 5e-8),
    AbsoluteRow("gelu_tanh", math::gelu_tanh_in_place, gelu_tanh, [f32::MIN, -1.0], 5e-8),
];

/// The largest `error(x, f(x))` over the domain, and where it is.
fn worst(isa: Isa, f: InPlace, [from, to]: [f32; 2], error: impl Fn(f32, f32) -> f64) -> (f64, f32) {
    let exhaustive = std::env::var("KERNFORM_EXHAUSTIVE").is_ok_and(|v| v == "1");
    let step = if exhaustive { 1 } else { 4093 };
    let mut worst = (0.0, 0.0);
    let mut patterns = (0..=u32::MAX).step_by(step).chain((0..512).flat_map(|e| (e << 23)..(e << 23) + 8)).peekable();
    while patterns.peek().is_some() {
        let x: Vec<f32> = patterns.by_ref().take(4096).map(f32::from_bits).filter(|x| from <= *x && *x <= to).collect();
        let mut y = x.clone();
        f(isa, &mut y);
        for (x, y) in x.into_iter().zip(y) {
            let error = error(x, y);
            if error > worst.0 {
                worst = (error, x);
            }
        }
    }
    worst
}

fn errors_stay_below_the_stated_ones(isa: Isa) {
    // Without a fused multiply-add, each step of a polynomial rounds once more.
    let allowance = if isa.class() == Class::Fused { 1.0 } else { UNFUSED_ALLOWANCE };
    for Row(name, f, truth, domain, stated) in TABLE {
        let (error, x) = worst(isa, f, domain, |x, y| ulp_error(y, truth(f64::from(x))));
        println!("{name:10} {error:.3} ULP at {x:e}");
        assert!(error <= stated * allowance, "{name}: {error:.3} ULP at {x:e}, stated {stated}");
    }
    for AbsoluteRow(name, f, truth, domain, stated) in TAILS {
        let (error, x) = worst(isa, f, domain, |x, y| (f64::from(y) - truth(f64::from(x))).abs());
        println!("{name:10} {error:.2e} at {x:e}");
        assert!(error <= stated * allowance, "{name}: {error:e} at {x:e}, stated {stated:e}");
    }
}

/// How much larger the errors of the unfused class may be.
const UNFUSED_ALLOWANCE: f64 = 1.5;

isa_tests!(errors_stay_below_the_stated_ones);
