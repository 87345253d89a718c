//! Every operation of every level against its definition in plain scalar Rust, to the bit.

use kernform_simd::{Arithmetic, Class, Fused, Isa, Kernel, Level, Pair, REDUCTION_LANES, Simd, Unfused};
use kernform_testkit::strategies::hostile_f32;
use kernform_testkit::{assert_same_bits, isa_tests, isa_tests_integer};
use proptest::prelude::*;

/// Runs a kernel on pairs of vectors, and on pairs of those.
struct Paired<K>(K);

impl<K: Kernel + Clone> Kernel for Paired<K> {
    type Output = [K::Output; 2];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [K::Output; 2] {
        [self.0.clone().run(Pair(s)), self.0.run(Pair(Pair(s)))]
    }
}

/// Runs every operation on three vectors of values; the results in a fixed order.
#[derive(Clone)]
struct Operations<'a>(&'a [f32], &'a [f32], &'a [f32]);

type Results = Vec<(&'static str, Vec<f32>)>;

impl Kernel for Operations<'_> {
    type Output = Results;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Results {
        let mut results = Results::new();
        let truth = |mask: S::Mask| s.select(mask, s.splat(1.0), s.splat(0.0));
        let mut elementwise = |name, op: &dyn Fn(S::F32, S::F32, S::F32) -> S::F32| {
            let mut out = vec![0.0; self.0.len()];
            for (((a, b), c), out) in
                (self.0.chunks(S::LANES).zip(self.1.chunks(S::LANES)).zip(self.2.chunks(S::LANES)))
                    .zip(out.chunks_mut(S::LANES))
            {
                let v = op(s.load_or(a, 1.0), s.load_or(b, 1.0), s.load_or(c, 1.0));
                s.store_partial(v, out);
            }
            results.push((name, out));
        };
        elementwise("load and store", &|a, _, _| a);
        elementwise("add", &|a, b, _| s.add(a, b));
        elementwise("sub", &|a, b, _| s.sub(a, b));
        elementwise("mul", &|a, b, _| s.mul(a, b));
        elementwise("div", &|a, b, _| s.div(a, b));
        elementwise("sqrt", &|a, _, _| s.sqrt(a));
        elementwise("mul_add", &|a, b, c| s.mul_add(a, b, c));
        elementwise("abs", &|a, _, _| s.abs(a));
        elementwise("neg", &|a, _, _| s.neg(a));
        elementwise("max", &|a, b, _| s.max(a, b));
        elementwise("min", &|a, b, _| s.min(a, b));
        elementwise("copysign", &|a, b, _| s.copysign(a, b));
        elementwise("lt", &|a, b, _| truth(s.lt(a, b)));
        elementwise("le", &|a, b, _| truth(s.le(a, b)));
        elementwise("eq", &|a, b, _| truth(s.eq(a, b)));
        elementwise("is_nan", &|a, _, _| truth(s.is_nan(a)));
        elementwise("mask_and", &|a, b, c| truth(s.mask_and(s.lt(a, b), s.lt(b, c))));
        elementwise("mask_or", &|a, b, c| truth(s.mask_or(s.lt(a, b), s.lt(b, c))));
        elementwise("select", &|a, b, c| s.select(s.lt(a, b), b, c));
        elementwise("integer add", &|a, b, _| s.float_of_bits(s.add_i32(s.bits(a), s.bits(b))));
        elementwise("integer sub", &|a, b, _| s.float_of_bits(s.sub_i32(s.bits(a), s.bits(b))));
        elementwise("float_of_i32", &|a, _, _| s.float_of_i32(s.bits(a)));
        elementwise("shl", &|a, _, _| s.float_of_bits(s.shl_i32::<23>(s.bits(a))));
        elementwise("shr", &|a, _, _| s.float_of_bits(s.shr_i32::<3>(s.bits(a))));
        elementwise("splat_i32", &|_, _, _| s.float_of_bits(s.splat_i32(0x3f80_0001)));
        results
    }
}

fn expected<A: Arithmetic>(a: &[f32], b: &[f32], c: &[f32]) -> Results {
    let flag = |b: bool| if b { 1.0 } else { 0.0 };
    let each = |name, op: &dyn Fn(f32, f32, f32) -> f32| -> (&'static str, Vec<f32>) {
        (name, (0..a.len()).map(|i| op(a[i], b[i], c[i])).collect())
    };
    vec![
        each("load and store", &|a, _, _| a),
        each("add", &|a, b, _| a + b),
        each("sub", &|a, b, _| a - b),
        each("mul", &|a, b, _| a * b),
        each("div", &|a, b, _| a / b),
        each("sqrt", &|a, _, _| a.sqrt()),
        each("mul_add", &|a, b, c| A::mul_add(a, b, c)),
        each("abs", &|a, _, _| a.abs()),
        each("neg", &|a, _, _| -a),
        each("max", &|a, b, _| if a > b { a } else { b }),
        each("min", &|a, b, _| if a < b { a } else { b }),
        each("copysign", &|a, b, _| a.copysign(b)),
        each("lt", &|a, b, _| flag(a < b)),
        each("le", &|a, b, _| flag(a <= b)),
        each("eq", &|a, b, _| flag(a == b)),
        each("is_nan", &|a, _, _| flag(a.is_nan())),
        each("mask_and", &|a, b, c| flag(a < b && b < c)),
        each("mask_or", &|a, b, c| flag(a < b || b < c)),
        each("select", &|a, b, c| if a < b { b } else { c }),
        each("integer add", &|a, b, _| f32::from_bits(a.to_bits().wrapping_add(b.to_bits()))),
        each("integer sub", &|a, b, _| f32::from_bits(a.to_bits().wrapping_sub(b.to_bits()))),
        each("float_of_i32", &|a, _, _| a.to_bits().cast_signed() as f32),
        each("shl", &|a, _, _| f32::from_bits(a.to_bits() << 23)),
        each("shr", &|a, _, _| f32::from_bits((a.to_bits().cast_signed() >> 3).cast_unsigned())),
        each("splat_i32", &|_, _, _| f32::from_bits(0x3f80_0001)),
    ]
}

fn every_operation_has_its_defined_bits(isa: Isa) {
    let triples = prop::collection::vec((hostile_f32(), hostile_f32(), hostile_f32()), 0..40);
    proptest!(|(triples in triples)| {
        let a: Vec<f32> = triples.iter().map(|t| t.0).collect();
        let b: Vec<f32> = triples.iter().map(|t| t.1).collect();
        let c: Vec<f32> = triples.iter().map(|t| t.2).collect();
        let expected = match isa.class() {
            Class::Fused => expected::<Fused>(&a, &b, &c),
            Class::Unfused => expected::<Unfused>(&a, &b, &c),
        };
        let operations = Operations(&a, &b, &c);
        let [paired, twice_paired] = isa.dispatch(Paired(operations.clone()));
        for actual in [isa.dispatch(operations), paired, twice_paired] {
            for ((name, actual), (_, expected)) in actual.iter().zip(&expected) {
                assert_same_bits(name, actual, expected);
            }
        }
    });
}

/// The low bytes of integers, at every alignment.
struct LowBytes<'a>(&'a [f32], &'a mut [i8]);

impl Kernel for LowBytes<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        s.store_low_bytes(s.bits(s.load(self.0)), self.1);
        S::LANES
    }
}

fn low_bytes_are_stored_side_by_side(isa: Isa) {
    let integers: Vec<i32> = (0..40).map(|i| 0x0102_0380 + i * 0x0103_0507).collect();
    let source: Vec<f32> = integers.iter().map(|i| f32::from_bits(i.cast_unsigned())).collect();
    for offset in 0..17 {
        let mut bytes = vec![99; 40];
        let lanes = isa.dispatch(LowBytes(&source[offset..], &mut bytes[offset..]));
        let mut expected = vec![99; 40];
        for (expected, integer) in expected[offset..offset + lanes].iter_mut().zip(&integers[offset..]) {
            *expected = integer.to_le_bytes()[0].cast_signed();
        }
        assert_eq!(bytes, expected);
    }
}

#[derive(Clone)]
struct Folds<'a>(&'a [f32]);

impl Kernel for Folds<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; 2] {
        let mut lanes = s.lanes(0.0);
        for (lane, x) in lanes.as_mut().iter_mut().zip(self.0.chunks_exact(S::LANES)) {
            *lane = s.load(x);
        }
        [s.fold(lanes, |a, b| s.add(a, b)), s.fold(lanes, |a, b| s.max(a, b))]
    }
}

fn folds_follow_the_fixed_tree(isa: Isa) {
    proptest!(|(x in prop::collection::vec(hostile_f32(), REDUCTION_LANES))| {
        let tree = |op: &dyn Fn(f32, f32) -> f32| {
            let mut lanes = x.clone();
            while lanes.len() > 1 {
                let (low, high) = lanes.split_at(lanes.len() / 2);
                lanes = low.iter().zip(high).map(|(a, b)| op(*a, *b)).collect();
            }
            lanes[0]
        };
        let expected = [tree(&|a, b| a + b), tree(&|a, b| if a > b { a } else { b })];
        assert_same_bits("fold", &isa.dispatch(Folds(&x)), &expected);
        for folded in isa.dispatch(Paired(Folds(&x))) {
            assert_same_bits("fold of pairs", &folded, &expected);
        }
    });
}

/// Full loads and stores, checked and unchecked, at every alignment.
struct Copies<'a>(&'a [f32], &'a mut [f32], &'a mut [f32]);

impl Kernel for Copies<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        s.store(s.load(self.0), self.1);
        // SAFETY: the test passes slices of at least 16 elements, the most lanes that a level has.
        unsafe { s.store_ptr(s.load_ptr(self.0.as_ptr()), self.2.as_mut_ptr()) };
        S::LANES
    }
}

fn loads_and_stores_copy_one_vector(isa: Isa) {
    let source: Vec<f32> = (0..40u8).map(f32::from).collect();
    for offset in 0..17 {
        let (mut checked, mut unchecked) = (vec![-1.0; 40], vec![-1.0; 40]);
        let lanes = isa.dispatch(Copies(&source[offset..], &mut checked[offset..], &mut unchecked[offset..]));
        let mut expected = vec![-1.0; 40];
        expected[offset..offset + lanes].copy_from_slice(&source[offset..offset + lanes]);
        assert_same_bits("store", &checked, &expected);
        assert_same_bits("store_ptr", &unchecked, &expected);
    }
}

struct Partial<'a>(&'a [f32], &'a mut [f32]);

impl Kernel for Partial<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        s.store(s.load_or(self.0, 0.5), self.1);
        S::LANES
    }
}

/// Each length alone in an allocation of its size, or in none: emulators and memory checkers see a lane too many.
fn partial_loads_read_what_there_is(isa: Isa) {
    for len in 0..20u8 {
        let source: Vec<f32> = core::hint::black_box((1..=len).map(f32::from).collect());
        let mut out = [0.0; 16];
        let lanes = isa.dispatch(Partial(&source, &mut out));
        let expected: Vec<f32> = (0..lanes).map(|i| source.get(i).copied().unwrap_or(0.5)).collect();
        assert_same_bits("load_or", &out[..lanes], &expected);
    }
}

/// All numbers of 16 bits widened, by the checked and the unchecked loads.
struct Widen<'a>(&'a [u16]);

impl Kernel for Widen<'_> {
    type Output = [Vec<f32>; 2];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [Vec<f32>; 2] {
        let mut widened = [vec![0.0; self.0.len()], vec![0.0; self.0.len()]];
        for (i, bits) in self.0.chunks_exact(S::LANES).enumerate() {
            let at = i * S::LANES;
            s.store(s.load_f16(bits), &mut widened[0][at..]);
            s.store(s.load_bf16(bits), &mut widened[1][at..]);
        }
        widened
    }
}

fn halves_are_widened_exactly(isa: Isa) {
    let bits: Vec<u16> = (0..=u16::MAX).collect();
    let value = |bits: u16| {
        let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
        let magnitude = match exponent {
            0 => fraction * 2f64.powi(-24),
            0x1f if fraction == 0.0 => f64::INFINITY,
            0x1f => f64::NAN,
            _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
        };
        (if bits >> 15 == 0 { magnitude } else { -magnitude }) as f32
    };
    let [f16, bf16] = isa.dispatch(Widen(&bits));
    assert_same_bits("load_f16", &f16, &bits.iter().map(|bits| value(*bits)).collect::<Vec<f32>>());
    let upper = |bits: &u16| f32::from_bits(u32::from(*bits) << 16);
    assert_same_bits("load_bf16", &bf16, &bits.iter().map(upper).collect::<Vec<f32>>());
}

struct Which;

impl Kernel for Which {
    type Output = (Level, Class);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (Level, Class) {
        (S::LEVEL, S::Class::CLASS)
    }
}

fn the_forced_level_is_the_one_that_runs(isa: Isa) {
    assert_eq!(isa.dispatch(Which), (isa.level().base(), isa.class()));
}

isa_tests!(
    every_operation_has_its_defined_bits,
    folds_follow_the_fixed_tree,
    loads_and_stores_copy_one_vector,
    low_bytes_are_stored_side_by_side,
    halves_are_widened_exactly,
    partial_loads_read_what_there_is,
);
isa_tests_integer!(the_forced_level_is_the_one_that_runs);
