//! bf16 arithmetic: its error bound, its edges, and that threads and layouts do not show.
#![cfg(feature = "alloc")]

mod stored;

use kernform_gemm::fast_bf16::{FastBf16, PackedBf16, gemm_fast_bf16, gemm_fast_bf16_scratch_len};
use kernform_gemm::{Activation, Epilogue, GemmError};
use kernform_tensor::parallel::Threads;
use kernform_tensor::{MatrixMut, MatrixRef, Serial};
use kernform_testkit::strategies::{extent_near, threads};
use kernform_testkit::{Guarded, assert_same_bits, up_to};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use stored::{Placement, Stored, placement};

/// The token, or `None` after saying that nothing runs.
fn token() -> Option<FastBf16> {
    let token = FastBf16::new();
    if token.is_none() {
        eprintln!("NOT RUN: this CPU does not multiply bf16");
    }
    token
}

fn values(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn stays_within_its_bound_whatever_threads_and_strides() {
    let Some(token) = token() else { return };
    let extent = |most: usize| prop_oneof![3 => 0..=40usize, 1 => 0..=most];
    let shapes = (extent(460), extent(70), extent(600), any::<u64>());
    TestRunner::new(ProptestConfig::with_cases(60))
        .run(&shapes, |(m, n, k, seed)| {
            let (a, b, bias) = (values(seed, m * k), values(seed ^ 1, k * n), values(seed ^ 2, n));
            let residual = values(seed ^ 3, m * n);
            let packed = PackedBf16::pack(MatrixRef::new(&b, k, n).unwrap()).unwrap();
            let epilogue = Epilogue::bias(Some(&bias));
            let run = |threads: usize, epilogue: &Epilogue<'_>| {
                let mut c = vec![f32::NAN; m * n];
                let mut scratch = vec![f32::NAN; gemm_fast_bf16_scratch_len(threads, m, k)];
                let (a, out) = (MatrixRef::new(&a, m, k).unwrap(), MatrixMut::new(&mut c, m, n).unwrap());
                gemm_fast_bf16(token, &Threads(threads), a, &packed, out, epilogue, &mut scratch).unwrap();
                c
            };
            let found = run(1, &epilogue);
            let u = f64::from(f32::EPSILON) / 2.0;
            for (index, found) in found.iter().enumerate() {
                let (i, j) = (index / n, index % n);
                let product = |l: usize| f64::from(a[i * k + l]) * f64::from(b[l * n + j]);
                let truth = f64::from(bias[j]) + (0..k).map(product).sum::<f64>();
                let size: f64 = (0..k).map(|l| product(l).abs()).sum();
                let roundings = 2.0 * k as f64 * u;
                let factor = 2f64.powi(-7) + 2f64.powi(-18) + roundings / (1.0 - roundings);
                let bound = factor * size + roundings / (1.0 - roundings) * f64::from(bias[j].abs());
                let error = (f64::from(*found) - truth).abs();
                prop_assert!(error <= bound, "{m} x {n} x {k}: {found} is {error:e} from {truth}, bound {bound:e}");
            }
            assert_same_bits("three threads", &run(3, &epilogue), &found);

            // Activation and residual, and operands and result in columns.
            let all =
                epilogue.with_activation(Activation::Relu).with_residual(MatrixRef::new(&residual, m, n).unwrap());
            let expected: Vec<f32> = found.iter().zip(&residual).map(|(c, r)| c.max(0.0) + r).collect();
            assert_same_bits("activation and residual", &run(2, &all), &expected);
            let turned: Vec<f32> = (0..m * k).map(|at| a[at % m * k + at / m]).collect();
            let mut c = vec![f32::NAN; m * n];
            let mut scratch = vec![f32::NAN; gemm_fast_bf16_scratch_len(2, m, k)];
            let (a, out) =
                (MatrixRef::new(&turned, k, m).unwrap().transpose(), MatrixMut::new(&mut c, n, m).unwrap().transpose());
            gemm_fast_bf16(token, &Threads(2), a, &packed, out, &all, &mut scratch).unwrap();
            let turned: Vec<f32> = (0..m * n).map(|at| c[at % n * m + at / n]).collect();
            assert_same_bits("columns", &turned, &expected);
            Ok(())
        })
        .unwrap();
}

/// Shapes around the edges of tiles (14 rows, two panels of 16 columns), of blocks (224 rows, 256 steps of `k`), of what is
/// rounded at once (16 steps), and of parts for threads (2^19 products).
fn near_blocks() -> impl Strategy<Value = (usize, usize, usize)> {
    const M: [usize; 2] = [14, 224];
    const N: [usize; 2] = [16, 32];
    const K: [usize; 2] = [16, 256];
    prop_oneof![
        4 => (extent_near(&M), 1usize..=20, 0usize..=20),
        3 => (1usize..=30, extent_near(&N), 0usize..=40),
        3 => (1usize..=20, 1usize..=20, extent_near(&K)),
        3 => (extent_near(&M), 1usize..=3, extent_near(&K[1..])),
        2 => (extent_near(&M[1..]), 31usize..=33, 255usize..=258),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    shape: (usize, usize, usize),
    a: Placement,
    b: Placement,
    c: Placement,
    residual: Option<Placement>,
    bias: bool,
    relu: bool,
    threads: usize,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let placements = (placement(), placement(), placement(), prop::option::of(placement()));
    (near_blocks(), placements, any::<bool>(), any::<bool>(), threads(), any::<u64>()).prop_map(
        |(shape, (a, b, c, residual), bias, relu, threads, seed)| Case {
            shape,
            a,
            b,
            c,
            residual,
            bias,
            relu,
            threads,
            seed,
        },
    )
}

/// Integers below 2^7 are exact in bf16, and so are their sums in any order: the result has one value, whatever the
/// instruction does.
fn check_integers(token: FastBf16, case: &Case) {
    let (m, n, k) = case.shape;
    let mut state = case.seed;
    let mut value = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % 255) as i32 as f32 - 127.0
    };
    let a = Stored::new(m, k, case.a, &mut value);
    let b = Stored::new(k, n, case.b, &mut value);
    let bias: Option<Vec<f32>> = case.bias.then(|| (0..n).map(|_| value()).collect());
    let residual = case.residual.map(|at| Stored::new(m, n, at, &mut value));
    let residual = residual.as_ref().map(Stored::view);
    let c = Stored::new(m, n, case.c, &mut value);

    let mut expected = c.clone();
    let (a, b, mut out) = (a.view(), b.view(), expected.view_mut());
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let product = |l| a.get(i, l).unwrap() * b.get(l, j).unwrap();
        let mut sum = bias.as_ref().map_or(0.0, |bias| bias[j]) + (0..k).map(product).sum::<f32>();
        if case.relu {
            sum = sum.max(0.0);
        }
        *out.get_mut(i, j).unwrap() = sum + residual.map_or(0.0, |residual| *residual.get(i, j).unwrap());
    }

    let mut epilogue = Epilogue::bias(bias.as_deref());
    epilogue.activation = if case.relu { Activation::Relu } else { Activation::Identity };
    epilogue.residual = residual;
    let packed = PackedBf16::pack(b).unwrap();
    let mut actual = c;
    // Exactly as long as it should be.
    let len = gemm_fast_bf16_scratch_len(case.threads, m, k);
    let mut scratch = Guarded::new(len, (case.seed % 17) as usize);
    gemm_fast_bf16(token, &Threads(case.threads), a, &packed, actual.view_mut(), &epilogue, scratch.slice()).unwrap();
    scratch.check();
    // The storage between the elements too: nothing else may be written.
    assert_same_bits(&format!("{case:?}"), &actual.data, &expected.data);
}

#[test]
fn integers_are_exact_at_the_edges_of_blocks() {
    let Some(token) = token() else { return };
    TestRunner::new(up_to(200))
        .run(&case(), |case| {
            check_integers(token, &case);
            Ok(())
        })
        .unwrap();
}

#[test]
fn odd_values_go_through() {
    let Some(token) = token() else { return };
    let a = [1.0, f32::NAN, 1.0, f32::INFINITY, 0.0, 1.0, 2.0, 3.0, 4.0];
    let packed = PackedBf16::pack(MatrixRef::new(&[1.0f32, 1.0, 1.0], 3, 1).unwrap()).unwrap();
    let (mut c, mut scratch) = ([0.0; 3], vec![0.0; gemm_fast_bf16_scratch_len(1, 3, 3)]);
    let (a, out) = (MatrixRef::new(&a, 3, 3).unwrap(), MatrixMut::new(&mut c, 3, 1).unwrap());
    gemm_fast_bf16(token, &Serial, a, &packed, out, &Epilogue::NONE, &mut scratch).unwrap();
    assert!(c[0].is_nan() && c[1] == f32::INFINITY && c[2] == 9.0, "{c:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(token) = token() else { return };
    let packed = PackedBf16::pack(MatrixRef::new(&[0.0f32; 6], 3, 2).unwrap()).unwrap();
    assert_eq!(packed.shape(), (3, 2));
    let mut c = [7.0; 4];
    let mut run = |k: usize, scratch: &mut [f32]| {
        let (a, out) = (MatrixRef::new(&[0.0; 8][..2 * k], 2, k).unwrap(), MatrixMut::new(&mut c, 2, 2).unwrap());
        gemm_fast_bf16(token, &Serial, a, &packed, out, &Epilogue::NONE, scratch)
    };
    assert_eq!(run(4, &mut []), Err(GemmError::InnerDimension { a_cols: 4, b_rows: 3 }));
    let needed = gemm_fast_bf16_scratch_len(1, 2, 3);
    assert_eq!(run(3, &mut []), Err(GemmError::ScratchTooShort { needed, found: 0 }));
    assert_eq!(c, [7.0; 4]);
}
