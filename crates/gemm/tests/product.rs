//! The product against its reference, to the bit, on every level.

use kernform_gemm::{Activation, Epilogue, Layout, Operand, PackedB, Weight, gemm, gemm_scratch_len, reference};
use kernform_simd::{Class, Fused, Isa, Kernel, Scalar, Simd, Unfused};
use kernform_tensor::parallel::Threads;
use kernform_tensor::{MatrixMut, MatrixRef, bf16, f16};
use kernform_testkit::{assert_same_bits, isa_tests, up_to};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// A matrix in a layout of its own: row-major, column-major, with gaps in either direction.
#[derive(Clone, Debug)]
struct Stored<T = f32> {
    data: Vec<T>,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

#[derive(Clone, Copy, Debug)]
struct Placement {
    transposed: bool,
    gap: usize,
    step: usize,
}

fn placement() -> impl Strategy<Value = Placement> {
    (any::<bool>(), prop_oneof![3 => Just(0usize), 1 => 1usize..20], prop_oneof![4 => Just(1usize), 1 => 2usize..4])
        .prop_map(|(transposed, gap, step)| Placement { transposed, gap, step })
}

impl<T: Copy> Stored<T> {
    fn new(rows: usize, cols: usize, at: Placement, mut value: impl FnMut() -> T) -> Stored<T> {
        let (outer, inner) = if at.transposed { (cols, rows) } else { (rows, cols) };
        let outer_stride = inner * at.step + at.gap;
        let (row_stride, col_stride) = if at.transposed { (at.step, outer_stride) } else { (outer_stride, at.step) };
        let data = (0..outer * outer_stride).map(|_| value()).collect();
        Stored { data, rows, cols, row_stride, col_stride }
    }
    fn map<U>(&self, to: impl Fn(T) -> U) -> Stored<U> {
        let Stored { rows, cols, row_stride, col_stride, .. } = *self;
        Stored { data: self.data.iter().map(|x| to(*x)).collect(), rows, cols, row_stride, col_stride }
    }
    fn view(&self) -> MatrixRef<'_, T> {
        MatrixRef::with_strides(&self.data, self.rows, self.cols, self.row_stride, self.col_stride).unwrap()
    }
    fn view_mut(&mut self) -> MatrixMut<'_, T> {
        MatrixMut::with_strides(&mut self.data, self.rows, self.cols, self.row_stride, self.col_stride).unwrap()
    }
}

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

fn case() -> impl Strategy<Value = Case> {
    let shape = (extent(), extent(), prop_oneof![8 => extent(), 1 => 250usize..270, 1 => 500usize..530]);
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
        (any::<bool>(), activation, 1usize..=3, any::<u64>(), any::<bool>()),
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
    let b = weights.map(|x| x.to_f32());
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
        let mut actual = c.clone();
        let len = gemm_scratch_len(case.threads, m, n, k, Layout::of(&a.view()), operand.layout());
        let mut scratch = vec![f32::NAN; len];
        let run = |actual: &mut Stored, scratch: &mut [f32], parallel: &Threads| {
            gemm(isa, parallel, a.view(), operand, actual.view_mut(), &epilogue, scratch).unwrap();
        };
        run(&mut actual, &mut scratch, &Threads(case.threads));
        // The storage between the elements too: nothing else may be written.
        assert_same_bits(&format!("{:?} {case:?}", operand.layout()), &actual.data, &expected.data);
    }
}

fn equals_reference(isa: Isa) {
    TestRunner::new(up_to(150))
        .run(&case(), |case| {
            check(isa, &case, |x| x);
            check(isa, &case, f16::from_f32);
            check(isa, &case, bf16::from_f32);
            Ok(())
        })
        .unwrap();
}

/// Shapes beyond a block of rows, of columns and of `k`, large enough that they are cut for threads.
fn equals_reference_across_blocks(isa: Isa) {
    let plain = Placement { transposed: false, gap: 0, step: 1 };
    let transposed = Placement { transposed: true, gap: 3, step: 1 };
    for (m, n, k) in
        [(250, 70, 270), (13, 540, 300), (100, 101, 530), (3, 1100, 260), (700, 16, 64), (480, 64, 257), (479, 5, 3)]
    {
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

isa_tests!(equals_reference, equals_reference_across_blocks);
