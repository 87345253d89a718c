//! Every elementwise function on every level: the bits of the reference, and the odd inputs.

use kernform_math::{self as math, Activation, ShapeError, reference};
use kernform_simd::{Arithmetic, Class, Fused, Isa, Unfused};
use kernform_testkit::strategies::{hostile_f32, length_around};
use kernform_testkit::{assert_same_bits, isa_tests, up_to};
use proptest::prelude::*;

type Slices = fn(Isa, &[f32], &mut [f32]) -> Result<(), ShapeError>;
type InPlace = fn(Isa, &mut [f32]);
type Scalar = fn(f32) -> f32;

fn functions<A: Arithmetic>() -> Vec<(&'static str, Slices, InPlace, Scalar)> {
    vec![
        ("exp", math::exp, math::exp_in_place, reference::exp::<A>),
        ("log", math::log, math::log_in_place, reference::log::<A>),
        ("tanh", math::tanh, math::tanh_in_place, reference::tanh::<A>),
        ("erf", math::erf, math::erf_in_place, reference::erf::<A>),
        ("sigmoid", math::sigmoid, math::sigmoid_in_place, reference::sigmoid::<A>),
        ("silu", math::silu, math::silu_in_place, reference::silu::<A>),
        ("gelu_erf", math::gelu_erf, math::gelu_erf_in_place, reference::gelu_erf::<A>),
        ("gelu_tanh", math::gelu_tanh, math::gelu_tanh_in_place, reference::gelu_tanh::<A>),
        ("relu", math::relu, math::relu_in_place, reference::relu),
    ]
}

fn functions_of(isa: Isa) -> Vec<(&'static str, Slices, InPlace, Scalar)> {
    match isa.class() {
        Class::Fused => functions::<Fused>(),
        Class::Unfused => functions::<Unfused>(),
    }
}

/// A value every 2^13 bit patterns, which is 1024 an exponent, and the neighbours of every power of two.
fn sweep() -> Vec<f32> {
    let strided = (0..=u32::MAX).step_by((1 << 13) - 1);
    let powers = (0..512u32).flat_map(|e| [(e << 23).wrapping_sub(1), e << 23, (e << 23) + 1]);
    strided.chain(powers).map(f32::from_bits).collect()
}

fn functions_have_the_bits_of_the_reference(isa: Isa) {
    let x = sweep();
    for (name, slices, in_place, scalar) in functions_of(isa) {
        let expected: Vec<f32> = x.iter().map(|x| scalar(*x)).collect();
        let mut out = vec![-7.0; x.len()];
        slices(isa, &x, &mut out).unwrap();
        assert_same_bits(name, &out, &expected);
        out.copy_from_slice(&x);
        in_place(isa, &mut out);
        assert_same_bits(name, &out, &expected);
    }
}

fn functions_write_every_element_and_no_other(isa: Isa) {
    let vectors = length_around(16, 0).prop_flat_map(|n| prop::collection::vec(hostile_f32(), n));
    proptest!(up_to(64), |(x in vectors)| {
        for (name, slices, in_place, scalar) in functions_of(isa) {
            let expected: Vec<f32> = x.iter().map(|x| scalar(*x)).collect();
            let mut out = vec![-7.0; x.len() + 2];
            slices(isa, &x, &mut out[1..=x.len()]).unwrap();
            assert_same_bits(name, &out[1..=x.len()], &expected);
            assert_eq!((out[0], out[x.len() + 1]), (-7.0, -7.0));
            out[1..=x.len()].copy_from_slice(&x);
            in_place(isa, &mut out[1..=x.len()]);
            assert_same_bits(name, &out[1..=x.len()], &expected);
            assert_eq!((out[0], out[x.len() + 1]), (-7.0, -7.0));
        }
    });
}

fn odd_inputs_have_their_stated_results(isa: Isa) {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let of = |f: InPlace, x: f32| {
        let mut x = [x];
        f(isa, &mut x);
        x[0]
    };
    let table: [(&str, InPlace, [f32; 5]); 9] = [
        ("exp", math::exp_in_place, [1.0, 1.0, inf, 0.0, nan]),
        ("log", math::log_in_place, [-inf, -inf, inf, nan, nan]),
        ("tanh", math::tanh_in_place, [0.0, -0.0, 1.0, -1.0, nan]),
        ("erf", math::erf_in_place, [0.0, -0.0, 1.0, -1.0, nan]),
        ("sigmoid", math::sigmoid_in_place, [0.5, 0.5, 1.0, 0.0, nan]),
        ("silu", math::silu_in_place, [0.0, -0.0, inf, -0.0, nan]),
        ("gelu_erf", math::gelu_erf_in_place, [0.0, -0.0, inf, 0.0, nan]),
        ("gelu_tanh", math::gelu_tanh_in_place, [0.0, -0.0, inf, -0.0, nan]),
        ("relu", math::relu_in_place, [0.0, -0.0, inf, 0.0, nan]),
    ];
    for (name, f, expected) in table {
        assert_same_bits(name, &[0.0, -0.0, inf, -inf, nan].map(|x| of(f, x)), &expected);
        // A denormal and its opposite keep what they are worth.
        if matches!(name, "tanh") {
            assert_eq!([of(f, 1e-40), of(f, -1e-40)], [1e-40, -1e-40]);
        }
    }
    assert_eq!(of(math::exp_in_place, -103.9), f32::from_bits(1));
    assert_eq!(of(math::exp_in_place, 88.722_84), inf);
    assert_eq!(of(math::log_in_place, f32::from_bits(1)), -103.278_93);
}

fn activations_are_the_functions_of_their_names(isa: Isa) {
    let x: Vec<f32> = (-40..40i16).map(|i| f32::from(i) / 7.0).collect();
    let copy: Slices = |_, x, out| {
        out.copy_from_slice(x);
        Ok(())
    };
    let table: [(Activation, Slices); 5] = [
        (Activation::Identity, copy),
        (Activation::Relu, math::relu),
        (Activation::GeluErf, math::gelu_erf),
        (Activation::GeluTanh, math::gelu_tanh),
        (Activation::Silu, math::silu),
    ];
    for (activation, f) in table {
        let (mut expected, mut out, mut in_place) = (vec![0.0; x.len()], vec![0.0; x.len()], x.clone());
        f(isa, &x, &mut expected).unwrap();
        math::activate(isa, activation, &x, &mut out).unwrap();
        math::activate_in_place(isa, activation, &mut in_place);
        assert_same_bits("activate", &out, &expected);
        assert_same_bits("activate_in_place", &in_place, &expected);
        let scalar: Vec<f32> = match isa.class() {
            Class::Fused => x.iter().map(|x| reference::activate::<Fused>(activation, *x)).collect(),
            Class::Unfused => x.iter().map(|x| reference::activate::<Unfused>(activation, *x)).collect(),
        };
        assert_same_bits("reference::activate", &out, &scalar);
    }
}

fn scaled_sums_have_their_defined_bits(isa: Isa) {
    let pairs = length_around(16, 0).prop_flat_map(|n| prop::collection::vec((hostile_f32(), hostile_f32()), n));
    proptest!(|(pairs in pairs, scale in hostile_f32())| {
        let (x, y): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
        let mut out = y.clone();
        math::scale_add(isa, scale, &x, &mut out).unwrap();
        let expected: Vec<f32> = match isa.class() {
            Class::Fused => pairs.iter().map(|(x, y)| Fused::mul_add(scale, *x, *y)).collect(),
            Class::Unfused => pairs.iter().map(|(x, y)| Unfused::mul_add(scale, *x, *y)).collect(),
        };
        assert_same_bits("scale_add", &out, &expected);
        out.copy_from_slice(&y);
        math::add(isa, &x, &mut out).unwrap();
        let expected: Vec<f32> = pairs.iter().map(|(x, y)| x + y).collect();
        assert_same_bits("add", &out, &expected);
    });
}

isa_tests!(
    functions_have_the_bits_of_the_reference,
    functions_write_every_element_and_no_other,
    odd_inputs_have_their_stated_results,
    activations_are_the_functions_of_their_names,
    scaled_sums_have_their_defined_bits,
);

#[test]
fn lengths_that_differ_are_errors_that_say_so() {
    let error = math::exp(Isa::best(), &[0.0; 3], &mut [0.0; 2]).unwrap_err();
    assert_eq!(error, ShapeError::Length { operand: "out", expected: 3, actual: 2 });
    assert_eq!(error.to_string(), "out has 2 elements, but must have 3");
    assert!(math::add(Isa::best(), &[0.0; 3], &mut [0.0; 4]).is_err());
    assert!(math::activate(Isa::best(), Activation::Identity, &[0.0; 3], &mut [0.0; 4]).is_err());
}
