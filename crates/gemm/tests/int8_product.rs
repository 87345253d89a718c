//! The int8 product against its reference on every level: integers exactly, floats to the bit.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "../../simd/tests/avx_vnni/emulator.rs"]
mod emulator;
mod stored;

use kernform_gemm::int8::{
    PackedI8, Rows, SaturatingI8, Scale, gemm_i8, gemm_i8_i32, gemm_i8_saturating, gemm_i8_scratch_len, reference,
};
use kernform_gemm::{Activation, Epilogue};
use kernform_simd::{Class, Fused, Isa, Kernel, Scalar, Simd, Unfused};
use kernform_tensor::parallel::Threads;
use kernform_tensor::{MatrixMut, MatrixRef, Serial};
use kernform_testkit::strategies::{extent_near, threads};
use kernform_testkit::{Guarded, assert_same_bits, avx_vnni_tests, isa_tests_integer, up_to};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use stored::{PLAIN, Placement, Stored, placement};

/// The activation on one value in the class of the level.
fn activate(class: Class, activation: Activation, x: f32) -> f32 {
    struct One(Activation, f32);
    impl Kernel for One {
        type Output = f32;
        fn run<S: Simd>(self, s: S) -> f32 {
            let mut y = [0.0; 64];
            s.store(kernform_math::vector::activate(s, self.0, s.splat(self.1)), &mut y);
            y[0]
        }
    }
    match class {
        Class::Fused => Scalar::<Fused>::new().vectorize(One(activation, x)),
        Class::Unfused => Scalar::<Unfused>::new().vectorize(One(activation, x)),
    }
}

/// Where A comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Bytes,
    Dynamic,
    Static,
}

#[derive(Clone, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    source: Source,
    a: Placement,
    b: Placement,
    c: Placement,
    residual: Option<Placement>,
    bias: bool,
    one_scale: bool,
    activation: Activation,
    threads: usize,
    seed: u64,
    hostile: bool,
}

fn extent() -> impl Strategy<Value = usize> {
    prop_oneof![2 => 0usize..=20, 2 => 0usize..=70, 1 => prop::sample::select(vec![1usize, 4, 6, 12, 16, 31, 32, 33, 48])]
}

/// Shapes of which none is large.
fn small() -> impl Strategy<Value = (usize, usize, usize)> {
    (extent(), extent(), prop_oneof![8 => extent(), 1 => 250usize..270])
}

/// Shapes around the edges of blocks of A: of 256 rows, of 240 KiB, and of the 12 rows that are the fewest (rows of A take
/// `k` or `2 k` bytes and a little); of tiles; and of what is quantised at once.
fn near_blocks() -> impl Strategy<Value = (usize, usize, usize)> {
    const M: [usize; 4] = [6, 12, 24, 256];
    const N: [usize; 4] = [16, 24, 64, 128];
    let long = |k: usize, bytes: usize| {
        let rows = ((240 << 10) / (k.next_multiple_of(64) * bytes + 64)).clamp(12, 256);
        (rows.saturating_sub(2)..=rows + 2, Just(k))
    };
    let rows = (prop::sample::select(vec![440usize, 448, 512, 1000, 2048, 4095]), 1usize..=2, 1usize..=2)
        .prop_flat_map(move |(k, bytes, times)| {
            let (rows, k) = long(k, bytes);
            (rows.prop_map(move |rows| rows * times), k)
        });
    prop_oneof![
        4 => (extent_near(&M), 1usize..=20, 0usize..=20),
        3 => (1usize..=20, extent_near(&N), 0usize..=40),
        3 => (1usize..=20, 1usize..=20, extent_near(&[64, 256])),
        2 => (rows, 1usize..=3).prop_map(|((m, k), n)| (m, n, k)),
        1 => (11usize..=14, 1usize..=3, prop::sample::select(vec![10_176usize, 10_208, 10_209, 20_416, 20_417])),
        1 => (23usize..=26, 1usize..=2, 10_176usize..=10_240),
    ]
}

fn case(shape: impl Strategy<Value = (usize, usize, usize)>) -> impl Strategy<Value = Case> {
    let activation = prop::sample::select(vec![Activation::Identity, Activation::Relu, Activation::GeluErf]);
    let source = prop::sample::select(vec![Source::Bytes, Source::Dynamic, Source::Static]);
    (
        shape,
        (source, placement(), placement(), placement(), prop::option::of(placement())),
        (any::<bool>(), any::<bool>(), activation, threads(), any::<u64>(), any::<bool>()),
    )
        .prop_map(|((m, n, k), (source, a, b, c, residual), rest)| {
            let (bias, one_scale, activation, threads, seed, hostile) = rest;
            Case { m, n, k, source, a, b, c, residual, bias, one_scale, activation, threads, seed, hostile }
        })
}

/// Values that do not need a strategy each.
struct Values {
    state: u64,
    hostile: bool,
}

impl Values {
    fn bits(&mut self) -> u32 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as u32
    }
    /// Any byte; where extremes are asked for, those of the range half of the time.
    fn byte(&mut self) -> i8 {
        let bits = self.bits();
        if self.hostile && bits & 0x100 == 0 {
            return [-128, -127, 127, -128][(bits >> 9 & 3) as usize];
        }
        bits.to_le_bytes()[0].cast_signed()
    }
    fn float(&mut self) -> f32 {
        const EXTREMES: [f32; 8] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-45, -0.0, 1e-38];
        let bits = self.bits();
        if self.hostile && bits.is_multiple_of(197) {
            return EXTREMES[(bits / 197 % 8) as usize];
        }
        (bits >> 7) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Exactly as long as it should be.
fn scratch(case: &Case) -> Guarded {
    Guarded::new(gemm_i8_scratch_len(case.threads, case.m, case.n, case.k), (case.seed % 17) as usize)
}

fn check_integers(isa: Isa, case: &Case) {
    let Case { m, n, k, .. } = *case;
    let mut values = Values { state: case.seed, hostile: case.hostile };
    let a = Stored::new(m, k, case.a, || values.byte());
    let b = Stored::new(k, n, case.b, || values.byte());
    let c = Stored::new(m, n, case.c, || values.bits().cast_signed());
    let packed = PackedI8::pack(b.view()).unwrap();
    assert!(packed.has_right_sums());
    let (mut expected, mut actual) = (c.clone(), c);
    reference::gemm_i8_i32(a.view(), b.view(), expected.view_mut()).unwrap();
    let mut scratch = scratch(case);
    gemm_i8_i32(isa, &Threads(case.threads), a.view(), &packed, actual.view_mut(), scratch.slice()).unwrap();
    scratch.check();
    // The storage between the elements too: nothing else may be written.
    assert_eq!(actual.data, expected.data, "{case:?}");
}

fn check(isa: Isa, case: &Case) {
    check_integers(isa, case);
    let Case { m, n, k, .. } = *case;
    let mut values = Values { state: case.seed, hostile: case.hostile };
    let bytes = Stored::new(m, k, case.a, || values.byte());
    let floats = Stored::new(m, k, case.a, || values.float());
    let b = Stored::new(k, n, case.b, || values.byte());
    let scales = |len, values: &mut Values| -> Vec<f32> {
        let one = values.float();
        (0..len).map(|_| if case.one_scale { one } else { values.float() }).collect()
    };
    let (given_scale, col_scale) = (scales(m, &mut values), scales(n, &mut values));
    let bias: Option<Vec<f32>> = case.bias.then(|| (0..n).map(|_| values.float()).collect());
    let residual = case.residual.map(|at| Stored::new(m, n, at, || values.float()));
    let c = Stored::new(m, n, case.c, || values.float());
    let (multiplier, one_scale) = (values.float() * 200.0, values.float());

    let mut a = bytes.clone();
    let mut row_scale = given_scale.clone();
    for (i, row_scale) in row_scale.iter_mut().enumerate() {
        let row: Vec<f32> = (0..k).map(|j| *floats.view().get(i, j).unwrap()).collect();
        let mut q = vec![0; k];
        match case.source {
            Source::Bytes => continue,
            Source::Dynamic => *row_scale = reference::quantize_row(&row, &mut q),
            Source::Static => {
                reference::quantize_with(&row, multiplier, &mut q);
                *row_scale = one_scale;
            }
        }
        let mut view = a.view_mut();
        for (j, q) in q.into_iter().enumerate() {
            *view.get_mut(i, j).unwrap() = q;
        }
    }

    let mut expected = c.clone();
    let residual = residual.as_ref().map(Stored::view);
    let act = |x| activate(isa.class(), case.activation, x);
    let out = expected.view_mut();
    match isa.class() {
        Class::Fused => reference::gemm_i8::<f32, Fused>(
            a.view(),
            &row_scale,
            b.view(),
            &col_scale,
            out,
            bias.as_deref(),
            act,
            residual,
        ),
        Class::Unfused => reference::gemm_i8::<f32, Unfused>(
            a.view(),
            &row_scale,
            b.view(),
            &col_scale,
            out,
            bias.as_deref(),
            act,
            residual,
        ),
    }
    .unwrap();

    let mut epilogue = Epilogue::bias(bias.as_deref()).with_activation(case.activation);
    epilogue.residual = residual;
    let packed = PackedI8::pack(b.view()).unwrap();
    let scale_of = |scales: &'_ [f32]| -> Option<f32> { scales.first().copied().filter(|_| case.one_scale) };
    let row = scale_of(&given_scale).map_or(Scale::Each(&given_scale), Scale::One);
    let col = scale_of(&col_scale).map_or(Scale::Each(&col_scale), Scale::One);
    let rows = match case.source {
        Source::Bytes => Rows::Quantized { values: bytes.view(), scale: row },
        Source::Dynamic => Rows::Dynamic(floats.view()),
        Source::Static => Rows::Static { values: floats.view(), multiplier, scale: one_scale },
    };
    let mut actual = c.clone();
    let mut scratch = scratch(case);
    let out = actual.view_mut();
    gemm_i8(isa, &Threads(case.threads), rows, &packed, col, out, &epilogue, scratch.slice()).unwrap();
    scratch.check();
    assert_same_bits(&format!("{case:?}"), &actual.data, &expected.data);
}

/// The product whose pairs saturate.
fn check_saturating(isa: Isa, case: &Case) {
    let Case { m, n, k, .. } = *case;
    let mut values = Values { state: case.seed, hostile: case.hostile };
    let floats = Stored::new(m, k, case.a, || values.float());
    let b = Stored::new(k, n, case.b, || values.byte());
    let scale = values.float();
    let col_scale: Vec<f32> = (0..n).map(|_| if case.one_scale { scale } else { values.float() }).collect();
    let bias: Option<Vec<f32>> = case.bias.then(|| (0..n).map(|_| values.float()).collect());
    let residual = case.residual.map(|at| Stored::new(m, n, at, || values.float()));
    let c = Stored::new(m, n, case.c, || values.float());
    // A multiple of a half now and then, so that ties are rounded.
    let multiplier = if case.seed.is_multiple_of(3) { 127.5 } else { values.float() * 200.0 };

    let mut bytes = vec![0; m * k];
    for (i, q) in bytes.chunks_exact_mut(k.max(1)).enumerate() {
        let row: Vec<f32> = (0..k).map(|j| *floats.view().get(i, j).unwrap()).collect();
        reference::quantize_with(&row, multiplier, q);
    }
    let a = MatrixRef::new(&bytes, m, k).unwrap();
    let residual = residual.as_ref().map(Stored::view);
    let relu = case.activation == Activation::Relu;
    let act = |x| if relu { activate(isa.class(), Activation::Relu, x) } else { x };
    let (mut expected, mut actual) = (c.clone(), c);
    let out = expected.view_mut();
    reference::gemm_i8_saturating(a, b.view(), &col_scale, out, bias.as_deref(), act, residual).unwrap();
    let packed = SaturatingI8::new(PackedI8::pack(b.view()).unwrap());
    let col = if case.one_scale { Scale::One(scale) } else { Scale::Each(&col_scale) };
    let mut scratch = scratch(case);
    let (a, out, then) = ((floats.view(), multiplier), actual.view_mut(), (bias.as_deref(), relu, residual));
    gemm_i8_saturating(isa, &Threads(case.threads), a, &packed, col, out, then, scratch.slice()).unwrap();
    scratch.check();
    assert_same_bits(&format!("saturating, {case:?}"), &actual.data, &expected.data);
}

fn equals_reference(isa: Isa) {
    TestRunner::new(up_to(150))
        .run(&case(small()), |case| {
            check(isa, &case);
            check_saturating(isa, &case);
            Ok(())
        })
        .unwrap();
}

fn equals_reference_at_the_edges_of_blocks(isa: Isa) {
    near_blocks_of_at_most(usize::MAX, isa);
}

/// Of the largest blocks only those that are one panel wide.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn equals_reference_at_the_edges_of_small_blocks(isa: Isa) {
    near_blocks_of_at_most(6 << 20, isa);
}

fn near_blocks_of_at_most(products: usize, isa: Isa) {
    let shapes = near_blocks().prop_filter("large", move |(m, n, k)| m * n.next_multiple_of(16) * k <= products);
    TestRunner::new(up_to(120))
        .run(&case(shapes), |case| {
            check(isa, &case);
            check_saturating(isa, &case);
            Ok(())
        })
        .unwrap();
}

/// Of a matrix without elements, or with one row or column, the strides may be anything.
fn strides_that_nothing_uses_may_be_huge(isa: Isa) {
    let (data, huge) = ([1; 64], usize::MAX / 2);
    let view = |rows, cols, row_stride, col_stride| {
        MatrixRef::<i8>::with_strides(&data, rows, cols, row_stride, col_stride).unwrap()
    };
    for (a, b) in [
        (view(40, 0, huge, 1), view(0, 32, huge, 1)),
        (view(40, 0, huge, 2), view(0, 32, 1, huge)),
        (view(1, 1, huge, huge), view(1, 1, huge, huge)),
        (view(40, 1, 1, huge), view(1, 32, huge, 1)),
        (view(1, 5, huge, 1), view(5, 1, 1, huge)),
    ] {
        let (m, k, n) = (a.rows(), a.cols(), b.cols());
        let packed = PackedI8::pack(b).unwrap();
        let mut c = vec![-1; m * n];
        let mut scratch = Guarded::new(gemm_i8_scratch_len(1, m, n, k), 1);
        let out = MatrixMut::new(&mut c, m, n).unwrap();
        gemm_i8_i32(isa, &Serial, a, &packed, out, scratch.slice()).unwrap();
        assert!(c.iter().all(|c| *c == k as i32), "{m} x {n} x {k}: {c:?}");
    }
}

fn large(m: usize, n: usize, k: usize, threads: usize) -> Case {
    Case {
        m,
        n,
        k,
        source: Source::Dynamic,
        a: PLAIN,
        b: Placement { transposed: true, ..PLAIN },
        c: PLAIN,
        residual: Some(PLAIN),
        bias: true,
        one_scale: false,
        activation: Activation::Relu,
        threads,
        seed: (m * n + k) as u64,
        hostile: false,
    }
}

/// Shapes beyond a block of rows, and large enough that they are cut for threads.
fn equals_reference_across_blocks(isa: Isa) {
    for (m, n, k, threads) in [
        (270, 33, 130, 1),
        (300, 70, 100, 3),
        (5, 600, 800, 2),
        (13, 17, 12_000, 1),
        (100, 300, 256, 65),
        (23, 701, 512, 1000),
    ] {
        check(isa, &large(m, n, k, threads));
        check_saturating(isa, &large(m, n, k, threads));
    }
}

/// Every number of rows up to beyond the tallest tile, with every width up to beyond the widest one.
fn every_tile_is_exact(isa: Isa) {
    for m in 1..=26 {
        for n in [1, 7, 8, 9, 16, 17, 24, 40, 56, 72, 100, 120, 129, 144] {
            let seed = (m * 1000 + n) as u64;
            let case = Case { hostile: true, seed, ..large(m, n, 3 + (m + n) % 29, 1) };
            check_integers(isa, &case);
            check_saturating(isa, &case);
        }
    }
}

/// Named extremes: products that saturate 16 bits in pairs, sums at the end of 32 bits.
fn extremes_are_exact(isa: Isa) {
    extremes(isa, 3, 20, &[1, 2, 3, 4, 5, 8, 64, 1023, 131_071]);
}

/// The same, of the longest sums one.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn extremes_in_few_tiles_are_exact(isa: Isa) {
    extremes(isa, 3, 20, &[1, 2, 3, 4, 5, 8, 64, 1023]);
    extremes(isa, 1, 1, &[131_071]);
}

fn extremes(isa: Isa, m: usize, n: usize, depths: &[usize]) {
    for k in depths.iter().copied() {
        let mut scratch = vec![0.0; gemm_i8_scratch_len(1, m, n, k)];
        for (x, y) in [(-128i8, -128i8), (-128, 127), (127, -128), (127, 127), (-127, -127), (-1, -128), (-128, 0)] {
            let a = MatrixRef::with_strides(core::slice::from_ref(&x), m, k, 0, 0).unwrap();
            let b = MatrixRef::with_strides(core::slice::from_ref(&y), k, n, 0, 0).unwrap();
            let packed = PackedI8::pack(b).unwrap();
            let mut c = vec![0; m * n];
            gemm_i8_i32(isa, &Serial, a, &packed, MatrixMut::new(&mut c, m, n).unwrap(), &mut scratch).unwrap();
            let expected = i32::try_from(i64::from(x) * i64::from(y) * k as i64).unwrap();
            assert!(c.iter().all(|c| *c == expected), "{c:?}, expected {expected}, {k} times {x} x {y}");
        }
        // Signs that alternate: pairs of opposite extremes.
        let a: Vec<i8> = (0..k).map(|i| if i % 2 == 0 { -128 } else { 127 }).collect();
        let b: Vec<i8> = (0..k).map(|i| if i % 3 == 0 { 127 } else { -128 }).collect();
        let packed = PackedI8::pack(MatrixRef::new(&b, k, 1).unwrap()).unwrap();
        let mut c = [0];
        let a_row = MatrixRef::new(&a, 1, k).unwrap();
        gemm_i8_i32(isa, &Serial, a_row, &packed, MatrixMut::new(&mut c, 1, 1).unwrap(), &mut scratch).unwrap();
        let expected: i64 = a.iter().zip(&b).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
        assert_eq!(i64::from(c[0]), expected, "{k} alternating");
    }
}

isa_tests_integer!(
    equals_reference,
    equals_reference_at_the_edges_of_blocks,
    equals_reference_across_blocks,
    every_tile_is_exact,
    extremes_are_exact,
    strides_that_nothing_uses_may_be_huge,
);
avx_vnni_tests!(
    equals_reference,
    equals_reference_at_the_edges_of_small_blocks,
    every_tile_is_exact,
    extremes_in_few_tiles_are_exact,
    strides_that_nothing_uses_may_be_huge,
);
