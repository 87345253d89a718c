//! Floats to int8 against the reference, to the bit, and against exact arithmetic.

use kernform_gemm::GemmError;
use kernform_gemm::int8::{LEAST_MAGNITUDE, quantize_rows, quantize_with, reference};
use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef};
use kernform_testkit::strategies::{hostile_f32, length_around};
use kernform_testkit::{UNIT_ROUNDOFF, assert_same_bits, isa_tests_integer, up_to};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Rows of a matrix with a step between columns and a gap between rows, and the same rows packed.
fn strided(rows: &[Vec<f32>], step: usize) -> (Vec<f32>, usize) {
    let stride = rows[0].len() * step + 3;
    let mut data = vec![f32::NAN; rows.len() * stride];
    for (row, data) in rows.iter().zip(data.chunks_mut(stride)) {
        for (x, place) in row.iter().zip(data.iter_mut().step_by(step)) {
            *place = *x;
        }
    }
    (data, stride)
}

/// What is quantised: any values, rows without anything odd, tiny rows.
fn rows() -> impl Strategy<Value = Vec<Vec<f32>>> {
    let value = prop_oneof![
        2 => hostile_f32().boxed(),
        3 => (-4.0f32..4.0).boxed(),
        1 => (-2e-36f32..2e-36).boxed(),
        1 => (-1e-40f32..1e-40).boxed(),
        1 => (-3e38f32..3e38).boxed(),
    ];
    (length_around(64, 0), 1usize..4, 0usize..5).prop_flat_map(move |(cols, rows, kind)| {
        // All values of a matrix are of one kind, or of all.
        let value = match kind {
            0 => value.clone().boxed(),
            1 => (-4.0f32..4.0).boxed(),
            2 => (-2e-36f32..2e-36).boxed(),
            3 => (-1e-40f32..1e-40).boxed(),
            _ => (-3e38f32..3e38).boxed(),
        };
        prop::collection::vec(prop::collection::vec(value, cols), rows)
    })
}

fn equals_reference(isa: Isa) {
    let multiplier = prop_oneof![Just(127.0f32), Just(0.0), 0.01f32..1e4, hostile_f32()];
    TestRunner::new(up_to(300))
        .run(&(rows(), multiplier, 1usize..3), |(rows, multiplier, step)| {
            let (m, k) = (rows.len(), rows[0].len());
            let (data, stride) = strided(&rows, step);
            let x = MatrixRef::with_strides(&data, m, k, stride, step).unwrap();
            let (mut q, mut scales) = (vec![99; m * stride], vec![7.0; m]);
            let place = |q| MatrixMut::with_strides(q, m, k, stride, step).unwrap();
            quantize_rows(isa, x, place(&mut q), &mut scales).unwrap();
            let mut given = vec![99; m * stride];
            quantize_with(isa, x, multiplier, place(&mut given)).unwrap();

            let (mut expected, mut expected_given) = (vec![99; m * stride], vec![99; m * stride]);
            let mut expected_scales = vec![7.0; m];
            for (i, row) in rows.iter().enumerate() {
                let (mut bytes, mut given) = (vec![0; k], vec![0; k]);
                expected_scales[i] = reference::quantize_row(row, &mut bytes);
                reference::quantize_with(row, multiplier, &mut given);
                for j in 0..k {
                    expected[i * stride + j * step] = bytes[j];
                    expected_given[i * stride + j * step] = given[j];
                }
            }
            // The storage between the elements too: nothing else may be written.
            prop_assert_eq!(q, expected, "by rows: {:?}", rows);
            prop_assert_eq!(given, expected_given, "with {:e}: {:?}", multiplier, rows);
            assert_same_bits("scales", &scales, &expected_scales);
            Ok(())
        })
        .unwrap();
}

/// `|x - q * scale| <= scale * (0.5 + 127 * 4 u)`, exactly computed.
fn stays_within_its_bound(isa: Isa) {
    let row = prop_oneof![-4.0f32..4.0, -1e-3f32..1e-3, -1e30f32..1e30];
    TestRunner::new(up_to(100))
        .run(&prop::collection::vec(row, 1..100), |x| {
            let (mut q, mut scale) = (vec![0; x.len()], [0.0]);
            let view = MatrixRef::new(&x, 1, x.len()).unwrap();
            quantize_rows(isa, view, MatrixMut::new(&mut q, 1, x.len()).unwrap(), &mut scale).unwrap();
            let scale = f64::from(scale[0]);
            let largest = x.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(*x).abs()));
            prop_assert!((scale * 127.0 - largest).abs() <= largest * UNIT_ROUNDOFF);
            for (x, q) in x.iter().zip(q) {
                let error = (f64::from(*x) - f64::from(q) * scale).abs();
                prop_assert!(error <= scale * (0.5 + 127.0 * 4.0 * UNIT_ROUNDOFF), "{x:e} became {q} times {scale:e}");
            }
            Ok(())
        })
        .unwrap();
}

fn odd_rows_have_their_defined_results(isa: Isa) {
    let tiny = f32::from_bits(LEAST_MAGNITUDE.to_bits() - 1);
    let denormal = f32::from_bits(1);
    // The row, its bytes, its scale.
    let cases: &[(&[f32], &[i8], f32)] = &[
        (&[], &[], 0.0),
        (&[0.0, -0.0], &[0, 0], 0.0),
        (&[denormal, -denormal], &[0, 0], 0.0),
        (&[tiny, -tiny, 0.0], &[0, 0, 0], 0.0),
        (&[LEAST_MAGNITUDE, 0.0], &[127, 0], LEAST_MAGNITUDE / 127.0),
        (&[1.0, f32::NAN, -1.0], &[0, 0, 0], f32::NAN),
        (&[1.0, f32::INFINITY], &[0, 0], f32::NAN),
        (&[f32::NEG_INFINITY, f32::INFINITY], &[0, 0], f32::NAN),
        (&[f32::MAX, f32::MIN, 0.0], &[127, -127, 0], f32::MAX / 127.0),
        // Ties go to even.
        (&[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, -126.5], &[127, 0, 2, 2, 0, -2, -2, 126, -126], 1.0),
    ];
    for (row, bytes, scale) in cases {
        // Alone, at every place behind zeros, and with zeros behind.
        for before in [0, 1, 15, 63, 70] {
            let x: Vec<f32> = core::iter::repeat_n(0.0, before).chain(row.iter().copied()).chain([0.0; 9]).collect();
            let (mut q, mut scales) = (vec![1; x.len()], [1.0]);
            let view = MatrixRef::new(&x, 1, x.len()).unwrap();
            quantize_rows(isa, view, MatrixMut::new(&mut q, 1, x.len()).unwrap(), &mut scales).unwrap();
            assert_eq!(&q[before..before + row.len()], *bytes, "{row:?}");
            assert!(q[..before].iter().chain(&q[before + row.len()..]).all(|q| *q == 0));
            assert_same_bits("scale", &scales, &[*scale]);
        }
    }
    let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 63.49, 63.5, -1e30, 0.25, 0.75, -0.25, f32::MAX, 1.0, -63.75];
    let mut q = [1; 12];
    let view = MatrixRef::new(&x, 1, 12).unwrap();
    quantize_with(isa, view, 2.0, MatrixMut::new(&mut q, 1, 12).unwrap()).unwrap();
    assert_eq!(q, [0, 127, -127, 127, 127, -127, 0, 2, 0, 127, 2, -127]);
}

isa_tests_integer!(equals_reference, stays_within_its_bound, odd_rows_have_their_defined_results);

#[test]
fn shapes_that_do_not_fit_are_refused_and_nothing_is_written() {
    let x = [1.0; 6];
    let (mut q, mut scales) = ([5; 6], [5.0; 2]);
    let x = MatrixRef::new(&x, 2, 3).unwrap();
    let shape = Err(GemmError::OutputShape { needed: (2, 3), found: (3, 2) });
    assert_eq!(quantize_rows(Isa::best(), x, MatrixMut::new(&mut q, 3, 2).unwrap(), &mut scales), shape);
    assert_eq!(quantize_with(Isa::best(), x, 1.0, MatrixMut::new(&mut q, 3, 2).unwrap()), shape);
    let length = Err(GemmError::ScaleLength { needed: 2, found: 1 });
    assert_eq!(quantize_rows(Isa::best(), x, MatrixMut::new(&mut q, 2, 3).unwrap(), &mut scales[..1]), length);
    assert_eq!((q, scales), ([5; 6], [5.0; 2]));
}
