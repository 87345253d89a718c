//! The product against its reference, to the bit, on every level; and against exact arithmetic.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "../../simd/tests/avx_vnni/emulator.rs"]
mod emulator;

mod common;

use common::{Random, random_blocks};
use kernform_quant::{Activations, Format, PackedWeights, QuantError, decode, multiply, multiply_quantized, reference};
use kernform_simd::{Class, Fused, Isa, Unfused};
use kernform_tensor::parallel::Threads;
use kernform_tensor::{MatrixMut, MatrixRef, Serial};
use kernform_testkit::strategies::{extent_near, threads};
use kernform_testkit::{assert_same_bits, avx_vnni_tests, gamma, isa_tests_integer, up_to};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn view(data: &[f32], rows: usize, cols: usize) -> MatrixRef<'_, f32> {
    MatrixRef::new(data, rows, cols).unwrap()
}

fn expected(
    isa: Isa,
    a: MatrixRef<'_, f32>,
    format: Format,
    weights: &[u8],
    n: usize,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let mut c = vec![0.0; a.rows() * n];
    let out = MatrixMut::new(&mut c, a.rows(), n).unwrap();
    match isa.class() {
        Class::Fused => reference::multiply::<Fused>(a, format, weights, out, bias),
        Class::Unfused => reference::multiply::<Unfused>(a, format, weights, out, bias),
    }
    .unwrap();
    c
}

fn actual(
    isa: Isa,
    a: MatrixRef<'_, f32>,
    weights: &PackedWeights<'_>,
    bias: Option<&[f32]>,
    threads: usize,
) -> Vec<f32> {
    let (n, k) = weights.shape();
    let mut c = vec![f32::NAN; a.rows() * n];
    let out = MatrixMut::new(&mut c, a.rows(), n).unwrap();
    // Exactly as long as it should be, and guards behind it.
    const GUARD: i32 = 0x7fc5_a5a5;
    let len = Activations::words_len(weights.format().activation(), a.rows(), k).unwrap();
    let mut memory = vec![GUARD; len + 64];
    multiply(isa, &Threads(threads), a, weights, out, bias, &mut memory[..len]).unwrap();
    assert!(memory[len..].iter().all(|word| *word == GUARD), "words behind the memory were written");
    c
}

#[derive(Clone, Debug)]
struct Case {
    m: usize,
    n: usize,
    blocks: usize,
    bias: bool,
    threads: usize,
    seed: u64,
    hostile: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let rows = prop_oneof![3 => 0usize..=6, 2 => 7usize..=26];
    let cols = prop_oneof![3 => 1usize..=34, 1 => Just(16usize), 1 => 0usize..=1];
    (rows, cols, 0usize..=4, any::<bool>(), threads(), any::<u64>(), any::<bool>())
        .prop_map(|(m, n, blocks, bias, threads, seed, hostile)| Case { m, n, blocks, bias, threads, seed, hostile })
}

fn check(isa: Isa, format: Format, case: &Case) {
    const EXTREMES: [f32; 8] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-45, -0.0, 1e-36, -3e38];
    let Case { m, n, .. } = *case;
    // Blocks of 256 take eight times as long.
    let k = case.blocks.div_ceil(format.block_len() / 128 + 1) * format.block_len();
    let mut random = Random(case.seed);
    let weights = random_blocks(format, n * k / format.block_len(), &mut random, case.hostile);
    let mut value = || match random.bits() {
        bits if case.hostile && bits.is_multiple_of(997) => EXTREMES[(bits / 997 % 8) as usize],
        _ => random.float(),
    };
    let a: Vec<f32> = (0..m * k).map(|_| value()).collect();
    let bias: Vec<f32> = (0..n).map(|_| value()).collect();
    let bias = case.bias.then_some(&bias[..]);
    let packed = PackedWeights::pack(format, n, k, &weights).unwrap();
    let a = view(&a, m, k);
    assert_same_bits(
        &format!("{format} k {k} {case:?}"),
        &actual(isa, a, &packed, bias, case.threads),
        &expected(isa, a, format, &weights, n, bias),
    );
}

/// Rows around the edges of groups and tiles, columns around those of panels and of the tiles of several, and rows so
/// long that they are cut into chunks of 512 KiB or of 12 or 16: (m, n, k), of which k becomes whole blocks.
fn near_blocks() -> impl Strategy<Value = (usize, usize, usize)> {
    // About 1.4 bytes a value.
    let chunks = prop::sample::select(vec![3072usize, 8192, 31_744, 40_960]).prop_flat_map(|k| {
        let rows = ((512 << 10) * 8 / 11 / k).max(12);
        (prop_oneof![2 => rows - 2..=rows + 3, 1 => 2 * rows - 2..=2 * rows + 3], 1usize..=2, Just(k))
    });
    prop_oneof![
        4 => (extent_near(&[4, 8, 12, 16]), 1usize..=20, 0usize..=512),
        4 => (prop_oneof![2 => Just(1usize), 1 => 1usize..=6], extent_near(&[16, 32, 64]), 0usize..=512),
        2 => chunks,
    ]
}

fn equals_reference_at_the_edges_of_blocks(isa: Isa) {
    near_blocks_of_at_most(usize::MAX, isa);
}

/// Without the longest rows.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn equals_reference_at_the_edges_of_small_blocks(isa: Isa) {
    near_blocks_of_at_most(6 << 20, isa);
}

fn near_blocks_of_at_most(products: usize, isa: Isa) {
    let formats = prop::sample::select(Format::ALL.to_vec());
    let shapes = near_blocks().prop_filter("large", move |(m, n, k)| m * n.next_multiple_of(16) * k <= products);
    let cases = (shapes, formats, threads(), any::<bool>(), any::<u64>());
    TestRunner::new(up_to(120))
        .run(&cases, |((m, n, k), format, threads, bias, seed)| {
            // Undoes what `check` does to keep blocks of 256 few.
            let blocks = k.div_ceil(format.block_len()) * (format.block_len() / 128 + 1);
            check(isa, format, &Case { m, n, blocks, bias, threads, seed, hostile: false });
            Ok(())
        })
        .unwrap();
}

fn equals_reference(isa: Isa) {
    for format in Format::ALL {
        TestRunner::new(up_to(24))
            .run(&case(), |case| {
                check(isa, format, &case);
                Ok(())
            })
            .unwrap();
    }
}

/// Large enough to be cut for threads, and for every tile of every level.
fn equals_reference_in_every_tile(isa: Isa) {
    for format in [Format::Q4_0, Format::Q5_1, Format::Q4K, Format::Q6K] {
        for (m, n, blocks, threads) in [(35, 150, 8, 65), (1, 1100, 16, 2)] {
            check(isa, format, &Case { m, n, blocks, bias: true, threads, seed: 9, hostile: false });
        }
    }
}

/// Codes and activations where sums of products are largest: -128 against -127 and the like, in runs that a saturating
/// addition of pairs would cut off.
fn extremes_do_not_saturate(isa: Isa) {
    for format in Format::ALL {
        let k = 2 * format.block_len();
        for byte in [0x00, 0x7f, 0x80, 0x81, 0x88, 0xf0, 0x0f, 0xff] {
            let mut weights = vec![byte; 17 * format.row_bytes(k).unwrap()];
            for block in weights.chunks_exact_mut(format.block_bytes()) {
                common::halves(format).iter().for_each(|at| block[*at..at + 2].copy_from_slice(&[0x00, 0x3c]));
                if format == Format::Q8K {
                    block[..4].copy_from_slice(&1.0f32.to_le_bytes());
                }
            }
            let packed = PackedWeights::pack(format, 17, k, &weights).unwrap();
            for (even, odd) in [(127.0, 127.0), (-127.0, -127.0), (127.0, -127.0), (-127.0, 127.0)] {
                let a: Vec<f32> = (0..5 * k).map(|i| if i % 2 == 0 { even } else { odd }).collect();
                let a = view(&a, 5, k);
                let what = format!("{format}, bytes {byte:#x}, {even} and {odd}");
                let expected = expected(isa, a, format, &weights, 17, None);
                assert_same_bits(&what, &actual(isa, a, &packed, None, 1), &expected);
                // All values are integers and the scales are 1, so the sum is known.
                let mut decoded = vec![0.0; k];
                decode(isa, format, &weights[..format.row_bytes(k).unwrap()], &mut decoded).unwrap();
                let exact: f64 =
                    a.row(0).unwrap().iter().zip(&decoded).map(|(a, w)| f64::from(*a) * f64::from(*w)).sum();
                assert!((f64::from(expected[0]) - exact).abs() <= 1e-6 * exact.abs().max(1.0), "{what}: {exact}");
            }
        }
    }
}

/// Scales that are denormal, infinite or NaN, of weights and of activations.
fn odd_scales_follow_ieee_754(isa: Isa) {
    for format in Format::ALL {
        let k = format.block_len();
        for half in [0x0001u16, 0x8001, 0x03ff, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x7d01] {
            let mut weights = random_blocks(format, 3, &mut Random(half.into()), false);
            for at in common::halves(format) {
                weights[*at..at + 2].copy_from_slice(&half.to_le_bytes());
            }
            if format == Format::Q8K {
                weights[..4].copy_from_slice(&(u32::from(half) << 16).to_le_bytes());
            }
            let packed = PackedWeights::pack(format, 3, k, &weights).unwrap();
            for odd in [1.0, f32::NAN, f32::INFINITY, -f32::INFINITY, 1e-40, f32::MAX] {
                let mut a = vec![1e-3 * odd; 2 * k];
                a[5] = odd;
                let a = view(&a, 2, k);
                let c = actual(isa, a, &packed, None, 1);
                let what = format!("{format} {half:#x} {odd:e}");
                assert_same_bits(&what, &c, &expected(isa, a, format, &weights, 3, None));
                assert!(odd.is_finite() || c.iter().all(|c| c.is_nan()), "{what}: {c:?}");
            }
        }
    }
}

/// Against the decoded weights, in f64: what quantising A costs, and the roundings of the chain.
fn stays_within_its_bound(isa: Isa) {
    for format in Format::ALL {
        let (m, n, k) = (3, 5, 2 * format.block_len());
        let mut random = Random(77);
        let weights = random_blocks(format, n * k / format.block_len(), &mut random, false);
        let a: Vec<f32> = (0..m * k).map(|_| random.float()).collect();
        let packed = PackedWeights::pack(format, n, k, &weights).unwrap();
        let c = actual(isa, view(&a, m, k), &packed, None, 1);
        let mut w = vec![0.0; n * k];
        decode(isa, format, &weights, &mut w).unwrap();
        for (i, a) in a.chunks_exact(k).enumerate() {
            for (j, w) in w.chunks_exact(k).enumerate() {
                let (mut truth, mut quantising, mut magnitude) = (0.0, 0.0, 0.0);
                for (a, w) in a.chunks_exact(format.block_len()).zip(w.chunks_exact(format.block_len())) {
                    let mut q = vec![0; a.len()];
                    let scale = f64::from(reference::quantize_block(a, &mut q));
                    for ((a, q), w) in a.iter().zip(q).zip(w) {
                        let (a, w) = (f64::from(*a), f64::from(*w));
                        assert!((a - scale * f64::from(q)).abs() <= scale * (0.5 + 2f64.powi(-15)));
                        truth += a * w;
                        quantising += scale * (0.5 + 2f64.powi(-15)) * w.abs();
                        magnitude += (scale * f64::from(q) * w).abs();
                    }
                }
                // Parts of a sum may cancel inside a block: its integers are exact, but each link is as large as its
                // scale times the sum of what it adds, which is at most three times the sum of the magnitudes here.
                let bound = quantising + gamma(2 * k / format.block_len() + 6) * 3.0 * magnitude + 1e-5 * magnitude;
                let error = (f64::from(c[i * n + j]) - truth).abs();
                assert!(error <= bound, "{format} {i},{j}: {error:e} above {bound:e}");
            }
        }
    }
}

isa_tests_integer!(
    equals_reference,
    equals_reference_at_the_edges_of_blocks,
    equals_reference_in_every_tile,
    extremes_do_not_saturate,
    odd_scales_follow_ieee_754,
    stays_within_its_bound,
);
avx_vnni_tests!(
    equals_reference,
    equals_reference_at_the_edges_of_small_blocks,
    equals_reference_in_every_tile,
    extremes_do_not_saturate,
    odd_scales_follow_ieee_754,
    stays_within_its_bound,
);

#[test]
fn c_may_have_any_strides_and_activations_are_shared() {
    let (m, n, k) = (6, 21, 64);
    let mut random = Random(1);
    let a: Vec<f32> = (0..m * k).map(|_| random.float()).collect();
    let a = view(&a, m, k);
    let mut memory = vec![0; Activations::words_len(Format::Q4_0.activation(), m, k).unwrap()];
    let shared = Activations::quantize(Isa::best(), Format::Q4_0.activation(), a, &mut memory).unwrap();
    assert_eq!(shared.shape(), (m, k));
    for format in [Format::Q4_0, Format::Q8_0] {
        let weights = random_blocks(format, n * k / 32, &mut random, false);
        let packed = PackedWeights::pack(format, n, k, &weights).unwrap();
        let expected = expected(Isa::best(), a, format, &weights, n, None);
        for (row_stride, col_stride) in [(n + 3, 1), (1, m + 2), (2 * n, 2)] {
            let mut c = vec![7.0; 400];
            let out = MatrixMut::with_strides(&mut c, m, n, row_stride, col_stride).unwrap();
            multiply_quantized(Isa::best(), &Serial, &shared, &packed, out, None).unwrap();
            for (at, c) in c.iter().enumerate() {
                let place = (0..m * n).find(|x| x / n * row_stride + x % n * col_stride == at);
                assert_same_bits("an element", &[*c], &[place.map_or(7.0, |x| expected[x])]);
            }
        }
    }
}

#[test]
fn packed_weights_travel_as_a_slice() {
    for format in Format::ALL {
        let (n, k) = (19, 256);
        let weights = random_blocks(format, n * k / format.block_len(), &mut Random(4), false);
        let owned = PackedWeights::pack(format, n, k, &weights).unwrap();
        let len = PackedWeights::packed_len(format, n, k).unwrap();
        // A panel is as large as its blocks, but for scales that are unpacked, and sums in Q8_K that are left out.
        let blocks = weights.len() * 32 / n;
        assert!(len >= blocks * 88 / 100 && len <= blocks * 106 / 100 + 128, "{format}: {len} for {blocks}");
        let mut memory = vec![7; len + 9];
        let lent = PackedWeights::pack_into(format, n, k, &weights, &mut memory).unwrap();
        assert_eq!(lent.as_slice(), owned.as_slice());
        let mapped = PackedWeights::from_slice(format, n, k, lent.as_slice()).unwrap();
        assert_eq!((mapped.shape(), mapped.format()), ((n, k), format));
        let short = |found| Err(QuantError::ByteLength { needed: len, found });
        assert_eq!(PackedWeights::from_slice(format, n, k, &owned.as_slice()[1..]).map(|_| ()), short(len - 1));
        assert_eq!(
            PackedWeights::pack_into(format, n, k, &weights, &mut [0; 8]).map(|_| ()),
            Err(QuantError::MemoryTooShort { needed: len, found: 8 })
        );
        let found = weights.len() - 1;
        assert_eq!(
            PackedWeights::pack(format, n, k, &weights[1..]).map(|_| ()),
            Err(QuantError::ByteLength { needed: weights.len(), found })
        );
        let partial = QuantError::PartialBlock { len: 16, block_len: format.block_len() };
        assert_eq!(PackedWeights::packed_len(format, 1, 16), Err(partial));
        assert_eq!(PackedWeights::packed_len(format, usize::MAX, 1 << 20), Err(QuantError::TooLarge));
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused_and_nothing_is_written() {
    let packed = PackedWeights::pack(Format::Q8_0, 4, 64, &[0; 4 * 68]).unwrap();
    let wide = PackedWeights::pack(Format::Q4K, 4, 256, &[0; 4 * 144]).unwrap();
    let data = vec![0.0; 512];
    let mut c = [7.0; 16];
    let mut run = |a: MatrixRef<'_, f32>, w: &PackedWeights<'_>, shape: (usize, usize), bias: Option<&[f32]>, words| {
        let out = MatrixMut::new(&mut c, shape.0, shape.1).unwrap();
        multiply(Isa::best(), &Serial, a, w, out, bias, &mut vec![0; words])
    };
    let a = view(&data, 2, 64);
    let inner = QuantError::InnerDimension { a_cols: 32, k: 64 };
    assert_eq!(run(view(&data, 2, 32), &packed, (2, 4), None, 999), Err(inner));
    let shape = QuantError::OutputShape { needed: (2, 4), found: (4, 2) };
    assert_eq!(run(a, &packed, (4, 2), None, 999), Err(shape));
    let bias = QuantError::BiasLength { needed: 4, found: 3 };
    assert_eq!(run(a, &packed, (2, 4), Some(&[0.0; 3]), 999), Err(bias));
    let short = QuantError::MemoryTooShort { needed: 44, found: 43 };
    assert_eq!(run(a, &packed, (2, 4), None, 43), Err(short));
    let columns = MatrixRef::with_strides(&data, 2, 64, 1, 2).unwrap();
    let strided = QuantError::StridedRows { col_stride: 2 };
    assert_eq!(run(columns, &packed, (2, 4), None, 44), Err(strided));
    let mut memory = [0; 999];
    let a = view(&data, 2, 256);
    let of_32 = Activations::quantize(Isa::best(), Format::Q8_0.activation(), a, &mut memory).unwrap();
    let out = MatrixMut::new(&mut c, 2, 4).unwrap();
    let format = QuantError::ActivationFormat { found: 32, needed: 256 };
    assert_eq!(multiply_quantized(Isa::best(), &Serial, &of_32, &wide, out, None), Err(format));
    assert_eq!(c, [7.0; 16]);
    for error in
        [inner, shape, bias, short, strided, format, QuantError::TooLarge, QuantError::NoEncoder(Format::Iq4Nl)]
    {
        assert!(error.to_string().len() > 20, "{error:?}");
    }
    assert_eq!(
        Activations::words_len(Format::Q4K.activation(), 2, 32),
        Err(QuantError::PartialBlock { len: 32, block_len: 256 })
    );
    assert_eq!(Activations::words_len(Format::Q4K.activation(), usize::MAX, 256), Err(QuantError::TooLarge));
}
