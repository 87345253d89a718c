//! Both normalizations on every level: the bits of the reference, error bounds, odd rows, untouched gaps.

use kernform_norm::{self as norm, LayerNorm, RmsNorm, Rows, ShapeError, reference};
use kernform_simd::{Class, Fused, Isa, Unfused};
use kernform_testkit::strategies::{hostile_f32, length_around, ordinary_f32};
use kernform_testkit::{UNIT_ROUNDOFF, assert_same_bits, isa_tests, up_to};
use proptest::prelude::*;

/// Rows with gaps, a residual, and parameters.
#[derive(Clone, Debug)]
struct Case {
    rows: Rows,
    x: Vec<f32>,
    residual: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

fn case(value: impl Strategy<Value = f32> + Clone) -> impl Strategy<Value = Case> {
    (0usize..10, length_around(64, 0), 0usize..3).prop_flat_map(move |(count, width, gap)| {
        let rows = Rows { count, width, stride: width + gap };
        let many = |n| prop::collection::vec(value.clone(), n);
        let epsilon = prop::sample::select(vec![1e-5f32, 1e-12, 0.0]);
        (Just(rows), many(count * rows.stride), many(count * rows.stride), many(width), many(width), epsilon)
            .prop_map(|(rows, x, residual, weight, bias, epsilon)| Case { rows, x, residual, weight, bias, epsilon })
    })
}

/// A function of each row of a copy of `x`.
fn each_row(rows: Rows, x: &[f32], mut f: impl FnMut(usize, &mut [f32])) -> Vec<f32> {
    let mut x = x.to_vec();
    for i in 0..rows.count {
        f(i * rows.stride, &mut x[i * rows.stride..][..rows.width]);
    }
    x
}

fn dense(rows: Rows, x: &[f32]) -> Vec<f32> {
    (0..rows.count).flat_map(|i| x[i * rows.stride..][..rows.width].to_vec()).collect()
}

type Reference<'a> = Box<dyn Fn(&mut [f32]) + 'a>;

fn layer_norm_reference<'a>(isa: Isa, p: LayerNorm<'a>) -> Reference<'a> {
    match isa.class() {
        Class::Fused => Box::new(move |x| reference::layer_norm::<Fused, f32>(x, p.gamma, p.beta, p.epsilon)),
        Class::Unfused => Box::new(move |x| reference::layer_norm::<Unfused, f32>(x, p.gamma, p.beta, p.epsilon)),
    }
}

fn rms_norm_reference<'a>(isa: Isa, p: RmsNorm<'a>) -> Reference<'a> {
    match isa.class() {
        Class::Fused => Box::new(move |x| reference::rms_norm::<Fused, f32>(x, p.weight, p.weight_offset, p.epsilon)),
        Class::Unfused => {
            Box::new(move |x| reference::rms_norm::<Unfused, f32>(x, p.weight, p.weight_offset, p.epsilon))
        }
    }
}

/// Checks the four functions of a normalization against its reference.
macro_rules! check {
    ($isa:expr, $case:expr, $p:expr, $reference:expr, $plain:ident, $in_place:ident, $add:ident, $add_in_place:ident) => {{
        let (isa, Case { rows, x, residual, .. }, p, reference) = ($isa, $case, $p, $reference);
        let (rows, width) = (*rows, rows.width);
        let expected = each_row(rows, x, |_, row| reference(row));
        let sums = each_row(rows, x, |at, row| reference::add(row, &residual[at..][..width]));
        let expected_of_sums = each_row(rows, &sums, |_, row| reference(row));
        let empty = || vec![0.0; rows.count * width];

        let mut out = empty();
        norm::$plain(isa, &p, x, rows, &mut out, width).unwrap();
        assert_same_bits(stringify!($plain), &out, &dense(rows, &expected));
        let mut out = x.clone();
        norm::$in_place(isa, &p, &mut out, rows).unwrap();
        assert_same_bits(stringify!($in_place), &out, &expected);
        let (mut sum, mut out) = (x.clone(), empty());
        norm::$add(isa, &p, &mut sum, rows, residual, rows.stride, &mut out, width).unwrap();
        assert_same_bits("stored sum", &sum, &sums);
        assert_same_bits(stringify!($add), &out, &dense(rows, &expected_of_sums));
        let mut out = x.clone();
        let dense_residual = dense(rows, residual);
        norm::$add_in_place(isa, &p, &mut out, rows, &dense_residual, width).unwrap();
        assert_same_bits(stringify!($add_in_place), &out, &expected_of_sums);
    }};
}

fn check_case(isa: Isa, case: &Case) {
    for beta in [None, Some(&case.bias[..])] {
        let p = LayerNorm { gamma: &case.weight, beta, epsilon: case.epsilon };
        let reference = layer_norm_reference(isa, p);
        check!(isa, case, p, &reference, layer_norm, layer_norm_in_place, add_layer_norm, add_layer_norm_in_place);
    }
    for weight_offset in [0.0, 1.0] {
        let p = RmsNorm { weight: &case.weight, weight_offset, epsilon: case.epsilon };
        let reference = rms_norm_reference(isa, p);
        check!(isa, case, p, &reference, rms_norm, rms_norm_in_place, add_rms_norm, add_rms_norm_in_place);
    }
}

fn rows_have_the_bits_of_the_reference(isa: Isa) {
    proptest!(up_to(48), |(case in case(ordinary_f32()))| check_case(isa, &case));
    proptest!(up_to(48), |(case in case(hostile_f32()))| check_case(isa, &case));
}

/// Widths at which groups of rows become smaller.
fn wide_rows_have_the_bits_of_the_reference(isa: Isa) {
    for width in [512, 1024, 1025, 1366, 2048, 2049, 4096, 4097] {
        let value = |i: usize| ((i * 7919 % 1009) as f32 - 500.0) / 321.0;
        let many = |n: usize| (0..n).map(value).collect::<Vec<_>>();
        let rows = Rows::dense(5, width);
        let (x, residual) = (many(5 * width), many(5 * width + 3)[3..].to_vec());
        let case = Case { rows, x, residual, weight: many(width), bias: many(width), epsilon: 1e-5 };
        check_case(isa, &case);
    }
}

fn results_stay_in_their_bounds(isa: Isa) {
    proptest!(up_to(128), |(case in case(ordinary_f32()))| {
        let Case { rows, x, weight, bias, epsilon, .. } = &case;
        prop_assume!(*epsilon > 0.0);
        let wide = |x: &[f32]| x.iter().copied().map(f64::from).collect::<Vec<_>>();
        let (gamma, beta) = (wide(weight), wide(bias));
        let mut layer = x.clone();
        norm::layer_norm_in_place(isa, &LayerNorm { gamma: weight, beta: Some(bias), epsilon: *epsilon }, &mut layer, *rows)
            .unwrap();
        let mut rms = x.clone();
        let p = RmsNorm { weight, weight_offset: 0.0, epsilon: *epsilon };
        norm::rms_norm_in_place(isa, &p, &mut rms, *rows).unwrap();
        let (u, width) = (UNIT_ROUNDOFF, rows.width as f64);
        let k = (rows.width / 64 + 10) as f64;
        for i in 0..rows.count {
            let row = wide(&x[i * rows.stride..][..rows.width]);
            let mean = row.iter().sum::<f64>() / width;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
            let deviation = (variance + f64::from(*epsilon)).sqrt();
            let e = k * u * row.iter().fold(0.0, |m: f64, x| m.max(x.abs())) / deviation;
            let mut truth = row.clone();
            reference::rms_norm::<Fused, f64>(&mut truth, &gamma, 0.0, f64::from(*epsilon));
            for j in 0..rows.width {
                let y = (row[j] - mean) / deviation;
                let bound = gamma[j].abs() * (e + y.abs() * (2.0 * e + k * u)) + 2.0 * u * ((gamma[j] * y).abs() + beta[j].abs());
                let error = f64::from(layer[i * rows.stride + j]) - (gamma[j] * y + beta[j]);
                assert!(error.abs() <= bound + 1e-44, "layer_norm: {error:e}, bound {bound:e}");
                let bound = truth[j].abs() * u * (width / 128.0 + 10.0);
                let error = f64::from(rms[i * rows.stride + j]) - truth[j];
                assert!(error.abs() <= bound + 1e-44, "rms_norm: {error:e}, bound {bound:e}");
            }
        }
    });
}

fn odd_rows_have_their_stated_results(isa: Isa) {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for width in [1, 7, 64, 130] {
        let (gamma, beta) = (vec![2.0; width], vec![0.5; width]);
        let layer = |value: f32, place: usize, rest: f32| {
            // The odd row stands between two ordinary ones, which it must not touch.
            let mut x: Vec<f32> = (0..3 * width).map(|i| (i % 5) as f32).collect();
            x[width..2 * width].fill(rest);
            x[width + place] = value;
            let p = LayerNorm { gamma: &gamma, beta: Some(&beta), epsilon: 1e-5 };
            norm::layer_norm_in_place(isa, &p, &mut x, Rows::dense(3, width)).unwrap();
            assert!(x[..width].iter().chain(&x[2 * width..]).all(|x| x.is_finite()));
            x[width..2 * width].to_vec()
        };
        let rms = |value: f32, place: usize, rest: f32| {
            let mut x = vec![rest; width];
            x[place] = value;
            let p = RmsNorm { weight: &gamma, weight_offset: 0.0, epsilon: 1e-6 };
            norm::rms_norm_in_place(isa, &p, &mut x, Rows::dense(1, width)).unwrap();
            x
        };
        for place in [0, width / 2, width - 1] {
            for odd in [nan, inf, -inf] {
                assert_same_bits("layer_norm of an odd row", &layer(odd, place, 1.0), &vec![nan; width]);
            }
            assert!(rms(nan, place, 1.0).iter().all(|x| x.is_nan()));
            let infinite = rms(inf, place, 1.0);
            assert!(infinite[place].is_nan());
            assert!(infinite.iter().enumerate().all(|(i, x)| i == place || *x == 0.0));
        }
        assert_same_bits("layer_norm of a constant row", &layer(3.0, 0, 3.0), &vec![0.5; width]);
        if width > 1 {
            // The squares overflow, the sum does not.
            assert_same_bits("layer_norm of a huge row", &layer(1e30, 0, 0.0), &vec![0.5; width]);
            assert!(layer(3e38, 0, 3e38).iter().all(|x| x.is_nan()));
        }
        assert_same_bits("rms_norm of a huge row", &rms(1e30, 0, 1e30), &vec![0.0; width]);
        // Without epsilon, a constant row is 0 / 0.
        let mut x = vec![f32::from_bits(1); width];
        let p = LayerNorm { gamma: &gamma, beta: None, epsilon: 0.0 };
        norm::add_layer_norm_in_place(isa, &p, &mut x, Rows::dense(1, width), &vec![1.0; width], width).unwrap();
        assert!(x.iter().all(|x| x.is_nan()));
    }
}

isa_tests!(
    rows_have_the_bits_of_the_reference,
    wide_rows_have_the_bits_of_the_reference,
    results_stay_in_their_bounds,
    odd_rows_have_their_stated_results,
);

#[test]
fn shapes_that_do_not_fit_are_errors_that_say_so() {
    let isa = Isa::best();
    let (gamma, rows) = ([1.0; 4], Rows::dense(2, 4));
    let p = LayerNorm { gamma: &gamma, beta: Some(&[0.0; 3]), epsilon: 0.0 };
    let error = norm::layer_norm_in_place(isa, &p, &mut [0.0; 8], rows).unwrap_err();
    assert_eq!(error, ShapeError::Length { operand: "beta", expected: 4, actual: 3 });
    let p = RmsNorm { weight: &gamma, weight_offset: 0.0, epsilon: 0.0 };
    assert!(norm::rms_norm(isa, &p, &[0.0; 8], rows, &mut [0.0; 7], 4).is_err());
    assert!(norm::rms_norm(isa, &p, &[0.0; 7], rows, &mut [0.0; 8], 4).is_err());
    assert!(norm::add_rms_norm_in_place(isa, &p, &mut [0.0; 8], rows, &[0.0; 7], 4).is_err());
    let error = norm::rms_norm(isa, &p, &[0.0; 8], rows, &mut [0.0; 8], 3).unwrap_err();
    assert_eq!(error, ShapeError::Stride { stride: 3, width: 4 });
    let p = RmsNorm { weight: &[], weight_offset: 0.0, epsilon: 0.0 };
    assert_eq!(norm::rms_norm_in_place(isa, &p, &mut [], Rows::dense(5, 0)), Ok(()));
}
