use alloc::vec::Vec;

use kernform_attention::{Heads, KEY_TILE, Rows, RowsMut, Segment};
use kernform_testkit::{assert_same_bits, isa_tests_integer};

use super::attend::softmax;
use super::*;

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + 13) % 1009) as f32 / 100.0 - 5.0).collect()
}

/// Results of the engine's two exponential functions, the second as it is in vectors.
#[test]
fn exponentials_are_the_engines() {
    let known = [
        (-0.1, 0x3f67_a36d),
        (-1.0, 0x3ebc_5ab2),
        (-core::f32::consts::E, 0x3d87_24bd),
        (-10.3, 0x380d_1141),
        (-30.7, 0x2951_4696),
        (-87.3, 0x0084_c38b),
        (0.0, 0x3f80_0000),
    ];
    struct Exp(f32);
    impl Kernel for Exp {
        type Output = f32;
        fn run<S: Simd>(self, s: S) -> f32 {
            let mut lanes = [0.0; 16];
            s.store(exp(s, s.splat(self.0)), &mut lanes);
            lanes[0]
        }
    }
    for (x, bits) in known {
        assert_eq!(exp_of_one(x).to_bits(), bits, "{x}");
        assert_eq!(Isa::best().dispatch(Exp(x)).to_bits(), bits, "{x}, in vectors");
    }
    for (x, bits) in [(-95.0, 0xf64), (-103.9, 1), (-104.0, 0), (-1e30, 0)] {
        assert_eq!(exp_of_one(x).to_bits(), bits, "{x}");
    }
    for (x, bits) in [(-90.0, 0), (0.7, 0x4000_e153), (5.5, 0x4374_b122), (100.0, 0x7f35_04a4)] {
        assert_eq!(Isa::best().dispatch(Exp(x)).to_bits(), bits, "{x}, in vectors");
    }
}

/// Rows in any number against plain loops.
fn layer_norm_sums_from_first_to_last(isa: Isa) {
    for (rows, width) in [(1, 40), (2, 17), (16, 64), (19, 33), (35, 16)] {
        let (x, gamma, beta) = (numbers(rows * width), numbers(width), numbers(width + 3));
        let mut out = alloc::vec![f32::NAN; x.len()];
        layer_norm(isa, (&gamma, &beta[3..], EPSILON), &x, &mut out);
        let expected = x.chunks_exact(width).flat_map(|row| {
            let mean = row.iter().fold(0.0, |sum, x| sum + x) / width as f32;
            let square = row.iter().fold(0.0, |sum, x| sum + (x - mean) * (x - mean));
            let deviation = libm::sqrtf(square / width as f32 + EPSILON);
            let normal = row.iter().map(move |x| (x - mean) / deviation);
            normal.zip(&gamma).zip(&beta[3..]).map(|((x, gamma), beta)| beta + gamma * x).collect::<Vec<_>>()
        });
        assert_same_bits("rows", &out, &expected.collect::<Vec<_>>());
    }
}

/// Self-attention against plain loops in the engine's order.
fn attention_has_the_engines_order(isa: Isa) {
    let heads = Heads::new(3, 20);
    let width = 60;
    for tokens in [1, 2, 4, 7, 16, 18, 33] {
        let (q, k, v) = (numbers(tokens * width), numbers(tokens * width + 5), numbers(tokens * width + 9));
        let (k, v) = (&k[5..], &v[9..]);
        let mut out = alloc::vec![f32::NAN; tokens * width];
        let mut scratch = alloc::vec![f32::NAN; attend_scratch_len(heads, tokens)];
        let rows = [&q, k, v].map(|data| Rows::new(data, width));
        let segments = [Segment::of(0..tokens)];
        let to = RowsMut::new(&mut out, width);
        attend(isa, heads, (rows[0], rows[1], rows[2]), &segments, to, &mut scratch).expect("it fits");
        let part = |data: &'_ [f32], token: usize, head: usize| data[token * width + head * 20..][..20].to_vec();
        for (token, head) in (0..tokens).flat_map(|token| (0..3).map(move |head| (token, head))) {
            let query = part(&q, token, head);
            let score = |other: usize| {
                let key = part(k, other, head);
                let products: Vec<f32> = query.iter().zip(&key).map(|(q, k)| q * k).collect();
                let chain = |from: usize, step| products.iter().skip(from).step_by(step).fold(0.0, |a, b| a + b);
                let whole = tokens / 4 * 4;
                let sum = if token < whole && other >= whole {
                    (chain(3, 4) + chain(2, 4)) + (chain(1, 4) + chain(0, 4))
                } else {
                    chain(0, 1)
                };
                sum * (1.0 / libm::sqrtf(20.0))
            };
            let mut weights: Vec<f32> = (0..tokens).map(score).collect();
            weights.resize(tokens.next_multiple_of(KEY_TILE), 0.0);
            // The rows that are computed side by side.
            let mut weights = weights.repeat(4);
            struct Softmax<'w>(&'w mut [f32], usize);
            impl Kernel for Softmax<'_> {
                type Output = ();
                fn run<S: Simd>(self, s: S) {
                    softmax(s, self.0, self.1);
                }
            }
            isa.dispatch(Softmax(&mut weights, tokens));
            let total: f32 = weights[..tokens].iter().sum();
            assert!((total - 1.0).abs() < 1e-5, "{total}");
            let mixed: Vec<f32> = (0..20)
                .map(|d| (0..tokens).fold(0.0, |sum, other| sum + weights[other] * part(v, other, head)[d]))
                .collect();
            assert_same_bits("a token", &part(&out, token, head), &mixed);
        }
    }
}

isa_tests_integer!(layer_norm_sums_from_first_to_last, attention_has_the_engines_order);
