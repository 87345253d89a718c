//! What holds beside the bits: error bound, refusals, scratch, packed data from elsewhere.

use kernform_gemm::{Epilogue, GemmError, Layout, Operand, PANEL, PackedB, gemm, gemm_scratch_len, reference};
use kernform_simd::{Class, Fused, Isa};
use kernform_tensor::{MatrixMut, MatrixRef, Serial};
use kernform_testkit::strategies::ordinary_f32;
use kernform_testkit::{assert_same_bits, gamma, isa_tests};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn view(data: &[f32], rows: usize, cols: usize) -> MatrixRef<'_, f32> {
    MatrixRef::new(data, rows, cols).unwrap()
}

/// `|c - truth| <= gamma_r (|bias| + sum |a||b|)` with `r` roundings on the longest path, and half a unit of the smallest
/// denormal for each operation that may underflow.
fn stays_within_its_bound(isa: Isa) {
    let shape = (1usize..8, 1usize..40, 1usize..600);
    let values = shape.prop_flat_map(|(m, n, k)| {
        let vector = |len| prop::collection::vec(ordinary_f32(), len);
        (Just((m, n, k)), vector(m * k), vector(k * n), vector(n))
    });
    TestRunner::new(Config { cases: 24, ..Config::default() })
        .run(&values, |((m, n, k), a, b, bias)| {
            let packed = PackedB::pack(view(&b, k, n)).unwrap();
            let mut c = vec![0.0; m * n];
            let out = MatrixMut::new(&mut c, m, n).unwrap();
            let epilogue = Epilogue::bias(Some(&bias));
            gemm(isa, &Serial, view(&a, m, k), Operand::Packed(&packed), out, &epilogue, &mut []).unwrap();

            let wide = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
            let absolute = |x: &[f64]| x.iter().map(|x| x.abs()).collect::<Vec<f64>>();
            let product = |a: &[f64], b: &[f64], bias: &[f64]| {
                let mut c = vec![0.0; m * n];
                let (a, b) = (MatrixRef::new(a, m, k).unwrap(), MatrixRef::new(b, k, n).unwrap());
                let out = MatrixMut::new(&mut c, m, n).unwrap();
                reference::gemm::<f64, Fused>(a, b, out, Some(bias), |x| x, None).unwrap();
                c
            };
            let (a, b, bias) = (wide(&a), wide(&b), wide(&bias));
            let truth = product(&a, &b, &bias);
            let magnitude = product(&absolute(&a), &absolute(&b), &absolute(&bias));
            let roundings = if isa.class() == Class::Fused { k } else { k + 1 };
            for ((c, truth), magnitude) in c.iter().zip(truth).zip(magnitude) {
                let bound = gamma(roundings) * magnitude + k as f64 * f64::from(f32::from_bits(1));
                let error = (f64::from(*c) - truth).abs();
                prop_assert!(
                    error <= bound,
                    "[{m},{k}] x [{k},{n}]: {c:e} is {error:e} from {truth:e}, bound {bound:e}"
                );
            }
            Ok(())
        })
        .unwrap();
}

isa_tests!(stays_within_its_bound);

#[test]
fn shapes_that_do_not_fit_are_refused_and_nothing_is_written() {
    let (a, b, bias) = ([1.0; 6], [1.0; 12], [0.0; 5]);
    let mut c = [7.0; 8];
    let mut run = |a, b, shape: (usize, usize), epilogue: Epilogue<'_>, scratch: &mut [f32]| {
        let out = MatrixMut::new(&mut c, shape.0, shape.1).unwrap();
        gemm(Isa::best(), &Serial, a, Operand::Strided(b), out, &epilogue, scratch)
    };
    let (a, b, none) = (view(&a, 2, 3), view(&b, 3, 4), Epilogue::NONE);
    let inner = GemmError::InnerDimension { a_cols: 2, b_rows: 3 };
    assert_eq!(run(a.transpose(), b, (3, 2), none, &mut []), Err(inner));
    let shape = GemmError::OutputShape { needed: (2, 4), found: (4, 2) };
    assert_eq!(run(a, b, (4, 2), none, &mut []), Err(shape));
    let length = GemmError::BiasLength { needed: 4, found: 5 };
    assert_eq!(run(a, b, (2, 4), Epilogue::bias(Some(&bias)), &mut []), Err(length));
    let residual = GemmError::ResidualShape { needed: (2, 4), found: (2, 3) };
    assert_eq!(run(a, b, (2, 4), none.with_residual(a), &mut []), Err(residual));
    let needed = gemm_scratch_len(1, 2, 4, 3, Layout::RowMajor, Layout::RowMajor);
    let short = GemmError::ScratchTooShort { needed, found: needed - 1 };
    assert_eq!(run(a, b, (2, 4), none, &mut vec![0.0; needed - 1]), Err(short));
    assert_eq!(c, [7.0; 8]);
    for error in [inner, shape, length, residual, short, GemmError::TooLarge] {
        assert!(error.to_string().len() > 20, "{error:?}");
    }
}

#[test]
fn no_steps_leave_bias_and_residual() {
    let residual = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0];
    let mut c = [f32::NAN; 6];
    let epilogue = Epilogue::bias(Some(&[1.0, 2.0, 3.0])).with_residual(view(&residual, 2, 3));
    for operand in [Operand::Strided(view(&[], 0, 3)), Operand::Packed(&PackedB::pack(view(&[], 0, 3)).unwrap())] {
        let out = MatrixMut::new(&mut c, 2, 3).unwrap();
        gemm(Isa::best(), &Serial, view(&[], 2, 0), operand, out, &epilogue, &mut [0.0; 64]).unwrap();
        assert_eq!(c, [11.0, 22.0, 33.0, 41.0, 52.0, 63.0]);
    }
}

#[test]
fn packed_data_travel_as_a_slice() {
    let b: Vec<f32> = (0..7 * 21).map(|i| i as f32).collect();
    let transposed: Vec<f32> = (0..21 * 7).map(|i| b[i % 7 * 21 + i / 7]).collect();
    let owned = PackedB::pack(view(&b, 7, 21)).unwrap();
    let len = PackedB::packed_len(7, 21).unwrap();
    assert_eq!((owned.shape(), owned.as_slice().len(), len), ((7, 21), 2 * 7 * PANEL, 2 * 7 * PANEL));
    let at = |i: usize, j: usize| owned.as_slice()[(j / PANEL * 7 + i) * PANEL + j % PANEL];
    assert_eq!((at(3, 5), at(6, 20), at(2, 16), at(0, 21)), (68.0, 146.0, 58.0, 0.0));

    let mut memory = vec![f32::NAN; len + 3];
    let lent = PackedB::pack_into(view(&transposed, 21, 7).transpose(), &mut memory).unwrap();
    assert_same_bits("packed from the transposed matrix", lent.as_slice(), owned.as_slice());
    let mapped = PackedB::from_slice(7, 21, owned.as_slice()).unwrap();
    assert_eq!(mapped.shape(), (7, 21));

    let length = |found| Err(GemmError::PackedLength { needed: len, found });
    assert_eq!(PackedB::from_slice(7, 21, &owned.as_slice()[1..]).map(|_| ()), length(len - 1));
    assert_eq!(PackedB::pack_into(view(&b, 7, 21), &mut memory[..len - 1]).map(|_| ()), length(len - 1));
    assert_eq!(PackedB::packed_len(usize::MAX / 8, 64), Err(GemmError::TooLarge));
    assert_eq!(PackedB::packed_len(1, usize::MAX), Err(GemmError::TooLarge));
    let endless = MatrixRef::with_strides(&[1.0], usize::MAX / 64, 1, 0, 1).unwrap();
    assert!(matches!(PackedB::pack(endless), Err(GemmError::OutOfMemory { .. })));
}

#[test]
fn scratch_never_shrinks_as_a_shape_grows() {
    let sizes = [0, 1, 5, 23, 24, 64, 240, 241, 255, 256, 257, 511, 512, 513, 5000];
    let layouts = [Layout::RowMajor, Layout::Strided, Layout::Packed];
    for (a, b) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
        let len = |t, m, n, k| gemm_scratch_len(t, m, n, k, layouts[a], layouts[b]);
        for w in sizes.windows(2) {
            for x in sizes {
                for t in [1, 3] {
                    assert!(len(t, w[0], x, 300) <= len(t, w[1], x, 300));
                    assert!(len(t, x, w[0], 300) <= len(t, x, w[1], 300));
                    assert!(len(t, x, 300, w[0]) <= len(t + 1, x, 300, w[1]));
                }
            }
        }
    }
    assert!(gemm_scratch_len(usize::MAX, usize::MAX, usize::MAX, usize::MAX, Layout::Strided, Layout::Strided) > 0);
}

#[test]
fn repeated_rows_and_columns_are_legal_operands() {
    // Strides of 0: all rows of A, of B and of the residual are one row.
    let (row, sum) = ([1.0, 2.0, 3.0], 6.0);
    let repeated = |rows, cols, data| MatrixRef::with_strides(data, rows, cols, 0, 1).unwrap();
    let a = repeated(20, 3, &row);
    let b: Vec<f32> = (0..19).map(|j| j as f32).collect();
    let b = repeated(3, 19, &b);
    let residual = MatrixRef::with_strides(&[0.5], 20, 19, 0, 0).unwrap();
    let mut c = vec![0.0; 20 * 19];
    let out = MatrixMut::new(&mut c, 20, 19).unwrap();
    let mut scratch = vec![0.0; gemm_scratch_len(1, 20, 19, 3, Layout::of(&a), Layout::of(&b))];
    let epilogue = Epilogue::NONE.with_residual(residual);
    gemm(Isa::best(), &Serial, a, Operand::Strided(b), out, &epilogue, &mut scratch).unwrap();
    assert!(c.iter().enumerate().all(|(i, c)| *c == sum * (i % 19) as f32 + 0.5));
}
