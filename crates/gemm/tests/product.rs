//! The product against its reference, to the bit, on every level.

mod stored;

use kernform_gemm::{Activation, Epilogue, Layout, Operand, PackedB, Weight, gemm, gemm_scratch_len, reference};
use kernform_simd::{Class, Fused, Isa, Kernel, Scalar, Simd, Unfused};
use kernform_tensor::parallel::Threads;
use kernform_tensor::{MatrixMut, MatrixRef, bf16, f16};
use kernform_testkit::strategies::{extent_near, threads};
use kernform_testkit::{Guarded, assert_same_bits, isa_tests, up_to};
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

#[derive(Clone, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    a: Placement,
    b: Placement,
    c: Placement,
    residual: Option<Placement>,
    bias: bool,
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
    (extent(), extent(), prop_oneof![8 => extent(), 1 => 250usize..270, 1 => 500usize..530])
}

/// Shapes around the edges of blocks of rows (168; 140 where `k` is cut late), of columns (1024, of which 128 are gone through
/// at once) and of `k` (1024, 512, 256, or 12), and those from which on row-major A may be copied.
fn near_blocks() -> impl Strategy<Value = (usize, usize, usize)> {
    const M: [usize; 4] = [14, 24, 140, 168];
    const N: [usize; 4] = [16, 64, 128, 1024];
    const K: [usize; 4] = [12, 256, 512, 1024];
    prop_oneof![
        4 => (extent_near(&M), 1usize..=20, 0usize..=20),
        3 => (extent_near(&M[2..]), 1usize..=3, extent_near(&K[1..])),
        3 => (1usize..=20, 1usize..=20, extent_near(&K)),
        3 => (1usize..=40, extent_near(&N), 0usize..=12),
        1 => (1usize..=2, extent_near(&N[3..]), extent_near(&K[1..])),
        // Several blocks of rows, and rows of B that are far apart: B is packed, whatever the level.
        1 => (169usize..=171, extent_near(&N[3..]), 0usize..=6),
        1 => (7usize..=30, 64usize..=66, prop_oneof![255usize..=260, 511usize..=515]),
        1 => (prop_oneof![139usize..=142, 165usize..=170, 334usize..=338], 64usize..=66, 513usize..=514),
        1 => (prop_oneof![15usize..=29, 139usize..=142], 16usize..=33, 1023usize..=1030),
    ]
}

fn case(shape: impl Strategy<Value = (usize, usize, usize)>) -> impl Strategy<Value = Case> {
    let activation = prop::sample::select(vec![
        Activation::Identity,
        Activation::Relu,
        Activation::GeluErf,
        Activation::GeluTanh,
        Activation::Silu,
    ]);
    (
        shape,
        (placement(), placement(), placement(), prop::option::of(placement())),
        (any::<bool>(), activation, threads(), any::<u64>(), any::<bool>()),
    )
        .prop_map(|((m, n, k), (a, b, c, residual), (bias, activation, threads, seed, hostile))| Case {
            m,
            n,
            k,
            a,
            b,
            c,
            residual,
            bias,
            activation,
            threads,
            seed,
            hostile,
        })
}

/// Values that do not need a strategy each: ordinary ones, and extremes among them where asked for.
fn values(seed: u64, hostile: bool) -> impl FnMut() -> f32 {
    const EXTREMES: [f32; 8] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-45, -0.0, 1e-38];
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = (state >> 33) as u32;
        if hostile && bits.is_multiple_of(97) {
            return EXTREMES[(bits / 97 % 8) as usize];
        }
        (bits >> 7) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// The product of weights that are `narrow`ed values equals the reference product of the same weights, widened.
fn check<W: Weight>(isa: Isa, case: &Case, narrow: impl Fn(f32) -> W) {
    let Case { m, n, k, .. } = *case;
    let mut value = values(case.seed, case.hostile);
    let a = Stored::new(m, k, case.a, &mut value);
    let weights = Stored::new(k, n, case.b, || narrow(value()));
    let b = weights.map(|x: &W| x.to_f32());
    let bias: Option<Vec<f32>> = case.bias.then(|| (0..n).map(|_| value()).collect());
    let residual = case.residual.map(|at| Stored::new(m, n, at, &mut value));
    let c = Stored::new(m, n, case.c, &mut value);

    let mut expected = c.clone();
    let residual = residual.as_ref().map(Stored::view);
    let act = |x| activate(isa.class(), case.activation, x);
    match isa.class() {
        Class::Fused => {
            reference::gemm::<f32, Fused>(a.view(), b.view(), expected.view_mut(), bias.as_deref(), act, residual)
        }
        Class::Unfused => {
            reference::gemm::<f32, Unfused>(a.view(), b.view(), expected.view_mut(), bias.as_deref(), act, residual)
        }
    }
    .unwrap();

    let mut epilogue = Epilogue::bias(bias.as_deref()).with_activation(case.activation);
    epilogue.residual = residual;
    let packed = PackedB::pack(weights.view()).unwrap();
    for operand in [Operand::Packed(&packed), Operand::Strided(weights.view())] {
        let layouts = (Layout::of(&a.view()), operand.layout());
        let len = gemm_scratch_len(case.threads, m, n, k, layouts.0, layouts.1);
        // Exactly as long as it should be; and none, where none is needed.
        let none = layouts == (Layout::RowMajor, Layout::Packed) && len > 0;
        for len in [Some(len), none.then_some(0)].into_iter().flatten() {
            let mut scratch = Guarded::new(len, (case.seed % 17) as usize);
            let mut actual = c.clone();
            let out = actual.view_mut();
            gemm(isa, &Threads(case.threads), a.view(), operand, out, &epilogue, scratch.slice()).unwrap();
            scratch.check();
            // The storage between the elements too: nothing else may be written.
            assert_same_bits(&format!("{layouts:?}, scratch of {len}, {case:?}"), &actual.data, &expected.data);
        }
    }
}

fn equals_reference(isa: Isa) {
    TestRunner::new(up_to(150))
        .run(&case(small()), |case| {
            check(isa, &case, |x| x);
            check(isa, &case, f16::from_f32);
            check(isa, &case, bf16::from_f32);
            Ok(())
        })
        .unwrap();
}

fn equals_reference_at_the_edges_of_blocks(isa: Isa) {
    TestRunner::new(up_to(160))
        .run(&case(near_blocks()), |case| {
            match case.seed % 4 {
                0 => check(isa, &case, f16::from_f32),
                1 => check(isa, &case, bf16::from_f32),
                _ => check(isa, &case, |x| x),
            }
            Ok(())
        })
        .unwrap();
}

/// Enough work for as many parts as there are, cut by rows and by columns.
fn equals_reference_in_many_parts(isa: Isa) {
    for (m, n, k, threads) in [(1537, 65, 176, 65), (17, 4097, 256, 1000)] {
        let (residual, activation, seed) = (None, Activation::Identity, 5);
        let (a, b, c) = (PLAIN, PLAIN, PLAIN);
        let case = Case { m, n, k, a, b, c, residual, bias: true, activation, threads, seed, hostile: false };
        check(isa, &case, |x| x);
    }
}

/// Of a matrix without elements, or with one row or column, the strides may be anything.
fn strides_that_nothing_uses_may_be_huge(isa: Isa) {
    let (data, huge) = ([1.0; 64], usize::MAX / 2);
    let view = |rows, cols, row_stride, col_stride| {
        MatrixRef::<f32>::with_strides(&data, rows, cols, row_stride, col_stride).unwrap()
    };
    for (a, b) in [
        (view(40, 0, huge, 1), view(0, 32, huge, 1)),
        (view(40, 0, huge, 2), view(0, 32, 1, huge)),
        (view(1, 1, huge, huge), view(1, 1, huge, huge)),
        (view(40, 1, 1, huge), view(1, 32, huge, 1)),
        (view(1, 3, huge, 1), view(3, 1, 1, huge)),
    ] {
        let (m, k, n) = (a.rows(), a.cols(), b.cols());
        let packed = PackedB::pack(b).unwrap();
        for operand in [Operand::Strided(b), Operand::Packed(&packed)] {
            let mut c = vec![f32::NAN; m * n];
            let len = gemm_scratch_len(1, m, n, k, Layout::of(&a), operand.layout());
            let out = MatrixMut::new(&mut c, m, n).unwrap();
            gemm(isa, &Threads(1), a, operand, out, &Epilogue::NONE, Guarded::new(len, 1).slice()).unwrap();
            assert!(c.iter().all(|c| *c == k as f32), "{m} x {n} x {k}: {c:?}");
        }
    }
}

/// Shapes beyond a block of rows, of columns and of `k`, large enough that they are cut for threads.
fn equals_reference_across_blocks(isa: Isa) {
    let plain = PLAIN;
    let transposed = Placement { transposed: true, gap: 3, step: 1 };
    for (m, n, k) in [
        (250, 70, 270),
        (13, 540, 300),
        (100, 101, 530),
        (3, 1100, 260),
        (700, 16, 64),
        (336, 64, 257),
        (335, 5, 3),
        (145, 33, 1029),
    ] {
        for (a, b, threads) in [(plain, plain, 1), (transposed, transposed, 2), (plain, transposed, 3)] {
            let (c, residual) = (plain, Some(plain));
            let (activation, seed) = (Activation::Relu, (m * n + k) as u64);
            let case = Case { m, n, k, a, b, c, residual, bias: true, activation, threads, seed, hostile: false };
            check(isa, &case, |x| x);
            check(isa, &case, f16::from_f32);
            check(isa, &case, bf16::from_f32);
        }
    }
}

/// Row-major A whose rows all begin in the same cache set, which is copied, and one step beside it, which is not.
fn equals_reference_where_rows_of_a_share_their_cache_set(isa: Isa) {
    for (m, n, k) in [(7, 64, 257), (13, 70, 513), (170, 65, 300), (12, 63, 300), (6, 64, 300)] {
        for row_stride in [1024, 1025, 2048] {
            let a = Placement { transposed: false, gap: row_stride - k, step: 1 };
            let (b, c, residual, activation) = (PLAIN, PLAIN, None, Activation::Identity);
            for (threads, seed) in [(1, 3), (3, 4)] {
                let case = Case { m, n, k, a, b, c, residual, bias: true, activation, threads, seed, hostile: false };
                check(isa, &case, |x| x);
            }
        }
    }
}

isa_tests!(
    equals_reference,
    equals_reference_where_rows_of_a_share_their_cache_set,
    equals_reference_at_the_edges_of_blocks,
    equals_reference_in_many_parts,
    equals_reference_across_blocks,
    strides_that_nothing_uses_may_be_huge,
);
