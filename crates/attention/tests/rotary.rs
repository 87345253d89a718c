//! Rotary positions, and biases by distance.

use kernform_attention::RowsMut;
use kernform_attention::relative::{RelativeError, T5Buckets, alibi_slopes};
use kernform_attention::rope::{Rope, RopeError, RopePairing, RopeScaling, rotate, rotate_pair, yarn_attention_factor};
use kernform_simd::{Class, Fused, Isa, Unfused};
use kernform_testkit::strategies::hostile_f32;
use kernform_testkit::{assert_same_bits, gamma, isa_tests, up_to};
use proptest::prelude::*;

const PLAIN: Rope = Rope { rotary_dim: 64, base: 10_000.0, scaling: RopeScaling::None };

fn expected(class: Class, pairing: RopePairing, head: &[f32], angles: &[f32]) -> Vec<f32> {
    let half = angles.len() / 2;
    let mut out = head.to_vec();
    for i in 0..half {
        let (first, second) = match pairing {
            RopePairing::Interleaved => (2 * i, 2 * i + 1),
            RopePairing::Halves => (i, half + i),
        };
        let (a, b, c, s) = (head[first], head[second], angles[i], angles[half + i]);
        (out[first], out[second]) = match class {
            Class::Fused => rotate_pair::<Fused, f32>(a, b, c, s),
            Class::Unfused => rotate_pair::<Unfused, f32>(a, b, c, s),
        };
    }
    out
}

fn bits_are_the_references(isa: Isa) {
    let shapes = (1usize..4, 0usize..40, 1usize..37, 0usize..3, any::<bool>());
    let cases = shapes.prop_flat_map(|(heads, rest, half, gap, interleaved)| {
        let head_dim = 2 * half + rest;
        let data = prop::collection::vec(hostile_f32(), 3 * (heads * head_dim + gap));
        (Just((heads, head_dim, half, gap, interleaved)), data, prop::collection::vec(0usize..9, 3))
    });
    proptest!(up_to(60), |(((heads, head_dim, half, gap, interleaved), data, positions) in cases)| {
        let pairing = if interleaved { RopePairing::Interleaved } else { RopePairing::Halves };
        let mut table = vec![0.0; 9 * 2 * half];
        Rope { rotary_dim: 2 * half, ..PLAIN }.table(0, &mut table).unwrap();
        let stride = heads * head_dim + gap;
        let mut found = data.clone();
        rotate(isa, pairing, heads, head_dim, 2 * half, &table, &positions, RowsMut::new(&mut found, stride)).unwrap();
        let mut wanted = data.clone();
        for (row, position) in wanted.chunks_mut(stride).zip(&positions) {
            for head in row[..heads * head_dim].chunks_mut(head_dim) {
                let angles = &table[position * 2 * half..][..2 * half];
                head.copy_from_slice(&expected(isa.class(), pairing, head, angles));
            }
        }
        assert_same_bits("rotate", &found, &wanted);
    });
}

fn the_stated_bound_holds(isa: Isa) {
    let mut table = vec![0.0; 2 * 64];
    PLAIN.table(1000, &mut table).unwrap();
    let data: Vec<f32> = (0..128).map(|i| (i as f32 * 0.77).sin() * 3.0).collect();
    let mut found = data.clone();
    rotate(isa, RopePairing::Halves, 1, 64, 64, &table, &[0, 1], RowsMut::new(&mut found, 64)).unwrap();
    for (row, position) in [1000.0f64, 1001.0].into_iter().enumerate() {
        for i in 0..32 {
            let angle = position / 10_000f64.powf(i as f64 / 32.0);
            let (a, b) = (f64::from(data[row * 64 + i]), f64::from(data[row * 64 + 32 + i]));
            let table_error = 2f64.powi(-25) + position * 2f64.powi(-49);
            let bound = gamma(3) * (a.abs() + b.abs()) + table_error * (a.abs() + b.abs());
            let first = a * angle.cos() - b * angle.sin();
            let second = b * angle.cos() + a * angle.sin();
            assert!((f64::from(found[row * 64 + i]) - first).abs() <= bound);
            assert!((f64::from(found[row * 64 + 32 + i]) - second).abs() <= bound);
        }
    }
}

isa_tests!(bits_are_the_references, the_stated_bound_holds);

/// Frequencies that transformers 4 computes in double precision for the same settings: pairs 0, 5, 12, 20 and 31.
#[test]
fn scaled_frequencies_are_those_of_their_papers() {
    let pairs = [0, 5, 12, 20, 31];
    let of = |scaling| pairs.map(|i| Rope { scaling, ..PLAIN }.frequency(i));
    let plain = of(RopeScaling::None);
    for (found, i) in plain.into_iter().zip(pairs) {
        assert!((found - 10_000f64.powf(-(i as f64) / 32.0)).abs() < 1e-15);
    }
    let linear = of(RopeScaling::Linear { factor: 4.0 });
    assert!(linear.iter().zip(plain).all(|(l, p)| (l * 4.0 - p).abs() < 1e-15));

    // Within the trained length nothing changes; at twice of it the base has grown by 3^(64 / 62) for a factor of 2.
    let ntk = |tokens| of(RopeScaling::DynamicNtk { factor: 2.0, trained: 2048, tokens });
    assert_eq!(ntk(100), plain);
    for (found, i) in ntk(4096).into_iter().zip(pairs) {
        let base = 10_000.0 * 3f64.powf(64.0 / 62.0);
        assert!((found / base.powf(-(i as f64) / 32.0) - 1.0).abs() < 1e-12);
    }

    // Short wavelengths are kept, long ones divided, those between lie between.
    let llama = of(RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, trained: 8192 });
    assert_eq!(llama[..3], plain[..3]);
    assert!(
        (llama[4] / plain[4]
            - 0.125
            - 0.875 * ((8192.0 * plain[4] / core::f64::consts::TAU - 1.0) / 3.0).clamp(0.0, 1.0))
        .abs()
            < 1e-12
    );

    let (beta_fast, beta_slow) = (32.0, 1.0);
    let attention_factor = yarn_attention_factor(4.0);
    assert!((attention_factor - 1.138_629_436_111_989).abs() < 1e-12);
    let yarn = of(RopeScaling::Yarn { factor: 4.0, trained: 4096, beta_fast, beta_slow, attention_factor });
    // The ramp runs from pair floor(10.46) to pair ceil(22.51).
    for ((found, plain), i) in yarn.into_iter().zip(plain).zip(pairs) {
        let divided = ((i as f64 - 10.0) / 13.0).clamp(0.0, 1.0);
        assert!((found / plain - (1.0 - divided * 0.75)).abs() < 1e-12, "pair {i}");
    }
}

#[test]
fn yarn_scales_sines_and_cosines() {
    let yarn = RopeScaling::Yarn { factor: 1.0, trained: 64, beta_fast: 32.0, beta_slow: 1.0, attention_factor: 2.0 };
    let (mut scaled, mut plain) = ([0.0; 256], [0.0; 256]);
    Rope { scaling: yarn, ..PLAIN }.table(7, &mut scaled).unwrap();
    PLAIN.table(7, &mut plain).unwrap();
    assert!(scaled.iter().zip(plain).all(|(s, p)| (s - 2.0 * p).abs() <= 1e-7));
}

#[test]
fn mistakes_are_named() {
    let mut out = [0.0; 12];
    let rope = |rotary_dim| Rope { rotary_dim, ..PLAIN };
    assert_eq!(rope(3).table(0, &mut out), Err(RopeError::RotaryDim { rotary_dim: 3, head_dim: 3 }));
    assert_eq!(rope(0).table(0, &mut out), Err(RopeError::Table { len: 12, width: 0 }));
    assert_eq!(rope(8).table(0, &mut out), Err(RopeError::Table { len: 12, width: 8 }));
    assert!(matches!(rope(4).table(usize::MAX, &mut out), Err(RopeError::Position { .. })));
    assert_eq!(Rope { base: 0.0, ..rope(4) }.table(0, &mut out), Err(RopeError::Scaling));
    assert_eq!(Rope { base: f64::NAN, ..rope(4) }.table(0, &mut out), Err(RopeError::Scaling));
    let linear = RopeScaling::Linear { factor: f64::INFINITY };
    assert_eq!(Rope { scaling: linear, ..rope(4) }.table(0, &mut out), Err(RopeError::Scaling));

    let table = [1.0; 8];
    let mut call = |heads, head_dim, rotary_dim, positions: &[usize], stride| {
        let rows = RowsMut::new(&mut out, stride);
        rotate(Isa::best(), RopePairing::Halves, heads, head_dim, rotary_dim, &table, positions, rows)
    };
    assert_eq!(call(1, 4, 6, &[0], 4), Err(RopeError::RotaryDim { rotary_dim: 6, head_dim: 4 }));
    assert_eq!(call(1, 4, 4, &[2], 4), Err(RopeError::Position { position: 2, positions: 2 }));
    assert_eq!(call(2, 4, 4, &[0, 1], 8), Err(RopeError::Rows { needed: 16, len: 12 }));
    assert_eq!(call(2, 4, 4, &[0, 1], 4), Err(RopeError::Rows { needed: 12, len: 12 }));
    assert_eq!(call(usize::MAX, 4, 4, &[0], 4), Err(RopeError::Rows { needed: usize::MAX, len: 12 }));
    assert_eq!(call(1, 4, 4, &[], 4), Ok(()));
}

#[test]
fn buckets_are_those_of_t5() {
    let both = T5Buckets { buckets: 32, max_distance: 128, bidirectional: true };
    let buckets =
        |b: T5Buckets, distances: &[isize]| -> Vec<usize> { distances.iter().map(|d| b.bucket(*d).unwrap()).collect() };
    // As transformers' T5Attention._relative_position_bucket gives them.
    assert_eq!(
        buckets(both, &[0, -1, -7, -8, -11, -12, -16, -23, -64, -127, -128, -9999]),
        [0, 1, 7, 8, 8, 9, 10, 11, 14, 15, 15, 15]
    );
    assert_eq!(buckets(both, &[1, 7, 8, 16, 128]), [17, 23, 24, 26, 31]);
    let one = T5Buckets { bidirectional: false, ..both };
    assert_eq!(buckets(one, &[5, 0, -1, -15, -16, -19, -20, -127, -500]), [0, 0, 1, 15, 16, 17, 17, 31, 31]);

    let table: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let mut out = [0.0; 2 * 7];
    both.biases(&table, 2, 3, 3, &mut out).unwrap();
    assert_eq!(out, [6.0, 4.0, 2.0, 0.0, 34.0, 36.0, 38.0, 7.0, 5.0, 3.0, 1.0, 35.0, 37.0, 39.0]);
    assert_eq!(both.biases(&table, 2, 3, 4, &mut out), Err(RelativeError::Length { needed: 16, len: 14 }));
    assert_eq!(both.biases(&table[1..], 2, 3, 3, &mut out), Err(RelativeError::Length { needed: 64, len: 63 }));
    assert_eq!(T5Buckets { buckets: 3, ..both }.bucket(0), Err(RelativeError::Buckets { buckets: 3 }));
    assert_eq!(
        T5Buckets { max_distance: 8, ..both }.bucket(0),
        Err(RelativeError::Distance { max_distance: 8, least: 8 })
    );
}

#[test]
fn slopes_are_those_of_alibi() {
    let mut eight = [0.0; 8];
    alibi_slopes(&mut eight);
    assert_eq!(eight, [0.5, 0.25, 0.125, 0.0625, 0.031_25, 0.015_625, 0.007_812_5, 0.003_906_25]);
    let mut twelve = [0.0; 12];
    alibi_slopes(&mut twelve);
    assert_eq!(twelve[..8], eight);
    for (h, slope) in twelve[8..].iter().enumerate() {
        assert_eq!(*slope, 2f64.powf(-0.5 * (2 * h + 1) as f64) as f32);
    }
    alibi_slopes(&mut []);
}
