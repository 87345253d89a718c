//! Softmax, its relatives and the reductions on every level: the bits of the reference, error bounds, odd inputs.

use kernform_math::{self as math, Rows, ShapeError, reference};
use kernform_simd::{Class, Fused, Isa, Unfused};
use kernform_testkit::strategies::{hostile_f32, length_around, ordinary_f32, vector_around};
use kernform_testkit::{UNIT_ROUNDOFF, assert_same_bits, gamma, isa_tests, ulp_of, up_to};
use proptest::prelude::*;

/// Calls a function that is generic over the class with the class of a level.
macro_rules! in_class {
    ($isa:expr, reference::$f:ident($($arg:expr),*)) => {
        match $isa.class() {
            Class::Fused => reference::$f::<Fused>($($arg),*),
            Class::Unfused => reference::$f::<Unfused>($($arg),*),
        }
    };
}

/// Rows with gaps between them: shape and elements.
fn rows(value: impl Strategy<Value = f32> + Clone) -> impl Strategy<Value = (Rows, Vec<f32>)> {
    (0usize..4, length_around(64, 0), 0usize..5).prop_flat_map(move |(count, width, gap)| {
        let rows = Rows { count, width, stride: width + gap };
        (Just(rows), prop::collection::vec(value.clone(), count * (width + gap)))
    })
}

fn rows_have_the_bits_of_the_reference(isa: Isa) {
    proptest!(up_to(128), |((rows, x) in rows(hostile_f32()))| {
        let (mut softmax, mut log_softmax) = (x.clone(), x.clone());
        let mut log_sum_exp = Vec::new();
        for i in 0..rows.count {
            let at = i * rows.stride..i * rows.stride + rows.width;
            in_class!(isa, reference::softmax(&mut softmax[at.clone()]));
            in_class!(isa, reference::log_softmax(&mut log_softmax[at.clone()]));
            log_sum_exp.push(in_class!(isa, reference::log_sum_exp(&x[at])));
        }
        let dense = |x: &[f32]| -> Vec<f32> {
            (0..rows.count).flat_map(|i| x[i * rows.stride..][..rows.width].to_vec()).collect()
        };
        let mut out = x.clone();
        math::softmax_in_place(isa, &mut out, rows).unwrap();
        assert_same_bits("softmax_in_place", &out, &softmax);
        out.copy_from_slice(&x);
        math::log_softmax_in_place(isa, &mut out, rows).unwrap();
        assert_same_bits("log_softmax_in_place", &out, &log_softmax);

        let mut out = vec![0.0; rows.count * rows.width];
        math::softmax(isa, &x, rows, &mut out).unwrap();
        assert_same_bits("softmax", &out, &dense(&softmax));
        math::log_softmax(isa, &x, rows, &mut out).unwrap();
        assert_same_bits("log_softmax", &out, &dense(&log_softmax));
        let mut out = vec![0.0; rows.count];
        math::log_sum_exp(isa, &x, rows, &mut out).unwrap();
        assert_same_bits("log_sum_exp", &out, &log_sum_exp);
    });
}

fn reductions_have_the_bits_of_the_reference(isa: Isa) {
    let pairs = length_around(64, 0).prop_flat_map(|n| prop::collection::vec((hostile_f32(), hostile_f32()), n));
    proptest!(|(pairs in pairs)| {
        let (x, y): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let actual = [math::sum(isa, &x), math::max(isa, &x), math::dot(isa, &x, &y).unwrap()];
        let expected = [reference::sum(&x), reference::max(&x), in_class!(isa, reference::dot(&x, &y))];
        assert_same_bits("sum, max and dot", &actual, &expected);
    });
}

/// A NaN or a -0 in a lane whose last vector is filled up, which differs from level to level.
fn tails_leave_odd_lanes_alone(isa: Isa) {
    for n in 1..200usize {
        for at in [n - 1, n / 2, n.saturating_sub(60), 0] {
            let mut x = vec![-2.0; n];
            x[at] = f32::NAN;
            let largest = if n == 1 { f32::NEG_INFINITY } else { -2.0 };
            assert_same_bits("max", &[math::max(isa, &x), reference::max(&x)], &[largest; 2]);
        }
        // Zeros of both signs: which of them is the largest depends on the order.
        for sign in [0.0, -0.0] {
            let mut x = vec![-sign; n];
            x[n / 3] = sign;
            assert_same_bits("max of zeros", &[math::max(isa, &x)], &[reference::max(&x)]);
        }
        // Products that round to -0.
        let (x, y) = (vec![1e-30; n], vec![-1e-30; n]);
        let expected = in_class!(isa, reference::dot(&x, &y));
        assert_same_bits("dot", &[math::dot(isa, &x, &y).unwrap()], &[expected]);
    }
}

fn reductions_stay_in_their_bounds(isa: Isa) {
    proptest!(|(x in vector_around(64, ordinary_f32()))| {
        let y: Vec<f32> = x.iter().rev().copied().collect();
        let steps = x.len() / 64;
        let wide = |x: &[f32]| x.iter().copied().map(f64::from).collect::<Vec<_>>();
        let (wide_x, wide_y) = (wide(&x), wide(&y));
        let magnitude: f64 = wide_x.iter().map(|x| x.abs()).sum();
        let error = f64::from(math::sum(isa, &x)) - wide_x.iter().sum::<f64>();
        assert!(error.abs() <= gamma(6 + steps) * magnitude, "sum: {error:e} of {magnitude:e}");
        let products = || wide_x.iter().zip(&wide_y).map(|(x, y)| x * y);
        let magnitude: f64 = products().map(f64::abs).sum();
        let error = f64::from(math::dot(isa, &x, &y).unwrap()) - products().sum::<f64>();
        // Products of the smallest elements may fall below the normal range.
        assert!(error.abs() <= gamma(8 + steps) * magnitude + 1e-40, "dot: {error:e} of {magnitude:e}");
    });
}

fn softmax_stays_in_its_bounds(isa: Isa) {
    proptest!(|(x in vector_around(64, -80.0f32..80.0))| {
        let rows = Rows::dense(1, x.len());
        let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // The subtraction of the maximum rounds once, at the magnitude of the difference.
        let shifted = |x: f32| f64::from(x) - f64::from(max);
        let sum: f64 = x.iter().map(|x| shifted(*x).exp()).sum();
        let spread = x.iter().map(|x| -shifted(*x)).fold(0.0, f64::max);
        let relative = UNIT_ROUNDOFF * (2.0 * spread + 10.0 + (x.len() / 64) as f64);

        let (mut weights, mut logs) = (x.clone(), x.clone());
        math::softmax_in_place(isa, &mut weights, rows).unwrap();
        math::log_softmax_in_place(isa, &mut logs, rows).unwrap();
        for ((x, weight), log) in x.iter().zip(&weights).zip(&logs) {
            let truth = shifted(*x).exp() / sum;
            // Weights below the normal range are 0.
            let bound = truth * relative + 2e-38;
            assert!((f64::from(*weight) - truth).abs() <= bound, "softmax: {weight:e} for {truth:e}");
            let truth = shifted(*x) - sum.ln();
            let bound = 1.5 * ulp_of(truth) + ulp_of(shifted(*x)) + 2.0 * ulp_of(sum.ln()) + relative;
            assert!((f64::from(*log) - truth).abs() <= bound, "log_softmax: {log:e} for {truth:e}");
        }
    });
}

fn odd_rows_have_their_stated_results(isa: Isa) {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let softmax = |row: &[f32]| {
        let (mut row, width) = (row.to_vec(), row.len());
        math::softmax_in_place(isa, &mut row, Rows::dense(1, width)).unwrap();
        row
    };
    let log_softmax = |row: &[f32]| {
        let (mut row, width) = (row.to_vec(), row.len());
        math::log_softmax_in_place(isa, &mut row, Rows::dense(1, width)).unwrap();
        row
    };
    let log_sum_exp = |row: &[f32]| {
        let mut out = [0.0];
        math::log_sum_exp(isa, row, Rows::dense(1, row.len()), &mut out).unwrap();
        out[0]
    };
    for n in [1, 5, 64, 130] {
        assert_same_bits("all masked", &softmax(&vec![-inf; n]), &vec![0.0; n]);
        assert_same_bits("all masked", &log_softmax(&vec![-inf; n]), &vec![-inf; n]);
        assert_eq!(log_sum_exp(&vec![-inf; n]), -inf);
        for odd in [nan, inf] {
            for place in [0, n / 2, n - 1] {
                for other in [0.5, -inf] {
                    let mut row = vec![other; n];
                    row[place] = odd;
                    assert_same_bits("a NaN or infinity", &softmax(&row), &vec![nan; n]);
                    assert!(log_sum_exp(&row).is_nan());
                    let masked_infinity = |x: f32| x.is_nan() || (odd == inf && x == -inf);
                    assert!(log_softmax(&row).into_iter().all(masked_infinity));
                }
            }
        }
    }
    assert_eq!(softmax(&[3e38, -3e38, 3e38]), [0.5, 0.0, 0.5]);
    assert_eq!(softmax(&[-3e38, -3e38, -inf]), [0.5, 0.5, 0.0]);
    assert_eq!(softmax(&[1000.0]), [1.0]);
    assert_eq!(log_softmax(&[3e38]), [0.0]);
    assert_eq!(log_sum_exp(&[]), -inf);
    assert_eq!((math::sum(isa, &[]), math::max(isa, &[])), (0.0, -inf));
    assert_eq!(math::dot(isa, &[], &[]), Ok(0.0));
}

isa_tests!(
    rows_have_the_bits_of_the_reference,
    reductions_have_the_bits_of_the_reference,
    tails_leave_odd_lanes_alone,
    reductions_stay_in_their_bounds,
    softmax_stays_in_its_bounds,
    odd_rows_have_their_stated_results,
);

#[test]
fn shapes_that_do_not_fit_are_errors_that_say_so() {
    let isa = Isa::best();
    let overlapping = Rows { count: 2, width: 4, stride: 3 };
    let error = math::softmax_in_place(isa, &mut [0.0; 16], overlapping).unwrap_err();
    assert_eq!(error, ShapeError::Stride { stride: 3, width: 4 });
    let rows = Rows::dense(3, 4);
    let error = math::log_softmax_in_place(isa, &mut [0.0; 11], rows).unwrap_err();
    assert_eq!(error, ShapeError::TooShort { operand: "x", rows, len: 11 });
    assert_eq!(error.to_string(), "x has 11 elements, too few for 3 rows of 4 at a stride of 4");
    let endless = Rows { count: usize::MAX, width: 2, stride: usize::MAX };
    assert!(math::softmax(isa, &[0.0; 4], endless, &mut []).is_err());
    assert!(math::softmax(isa, &[0.0; 4], Rows::dense(2, 2), &mut [0.0; 3]).is_err());
    assert!(math::log_sum_exp(isa, &[0.0; 4], Rows::dense(2, 2), &mut [0.0; 3]).is_err());
    assert!(math::dot(isa, &[0.0; 4], &[0.0; 3]).is_err());
    assert_eq!(math::softmax_in_place(isa, &mut [], Rows::dense(9, 0)), Ok(()));
}
