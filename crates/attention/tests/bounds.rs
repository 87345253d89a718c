//! The stated error bound against exact arithmetic, and the weights for drawing.

mod common;

use common::{Case, Values, cases, run};
use kernform_attention::{KEY_BLOCK, attention_weights, reference};
use kernform_simd::{Class, Fused, Isa, Unfused};
use kernform_tensor::Serial;
use kernform_testkit::{UNIT_ROUNDOFF, assert_same_bits, gamma, isa_tests, up_to};
use proptest::prelude::*;

fn widened(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Scores of a row in `f64` and the largest error that the `f32` ones can have, `e` of the documentation.
fn scores(case: &Case, number: usize, head: usize, query: usize, seen: &[usize]) -> (Vec<f64>, f64) {
    let q = widened(case.query_part(number, head, query));
    let scale = f64::from(case.scale);
    let mut errors = vec![];
    let scores: Vec<f64> = seen
        .iter()
        .map(|&j| {
            let k = widened(case.key_part(&case.key, number, head, j));
            let bias = case.bias_at(number, head, query, j).map(f64::from);
            let s = reference::score::<Fused, f64>(&q, &k, scale, bias);
            let sum: f64 = q.iter().zip(&k).map(|(q, k)| (q * k).abs()).sum();
            if s.is_finite() {
                // An unfused chain rounds each term twice.
                errors
                    .push(gamma(2 * q.len()) * scale.abs() * sum + 2.0 * UNIT_ROUNDOFF * (s.abs() + scale.abs() * sum));
            }
            s
        })
        .collect();
    let finite = scores.iter().filter(|s| s.is_finite()).fold(0.0f64, |m, s| m.max(s.abs()));
    (scores, errors.iter().fold(0.0f64, |m, e| m.max(*e)) + 2.0 * UNIT_ROUNDOFF * finite)
}

fn the_stated_bound_holds(isa: Isa) {
    proptest!(up_to(24), |(case in cases(Values::Ordinary))| {
        let out = run(isa, &Serial, &case);
        let head_dim = case.heads.head_dim;
        case.for_each_row(|number, head, query| {
            let seen = case.seen(number, query);
            let (scores, e) = scores(&case, number, head, query, &seen);
            let mut weights = scores.clone();
            reference::softmax::<Fused, f64>(&mut weights);
            let start = (case.segments[number].query.start + query) * case.out_stride + head * head_dim;
            let b = KEY_BLOCK.min(seen.len()) + seen.len().div_ceil(KEY_BLOCK);
            for d in 0..head_dim {
                let value = |j: usize| f64::from(case.key_part(&case.value, number, head, seen[j])[d]);
                let truth: f64 = weights.iter().enumerate().map(|(j, w)| w * value(j)).sum();
                let size: f64 = weights.iter().enumerate().map(|(j, w)| w * value(j).abs()).sum();
                let bound = ((2.0 * e).exp_m1() + gamma(4 * b + 12)) * size + 1e-38;
                let error = (f64::from(out[start + d]) - truth).abs();
                assert!(error <= bound, "error {error:e} over the bound {bound:e} with {} keys", seen.len());
            }
        });
    });
}

fn weights_are_a_softmax_of_the_same_scores(isa: Isa) {
    proptest!(up_to(24), |(case in cases(Values::Ordinary))| {
        let Some(segment) = case.segments.first() else { return Ok(()) };
        let mut case = case.clone();
        case.segments = vec![segment.clone()];
        if let common::Kept::Lengths(lengths) = &mut case.kept {
            lengths.truncate(1);
        }
        let (queries, keys) = (segment.query.len(), segment.key.len());
        let mut actual = vec![f32::NAN; case.heads.query_heads * queries * keys];
        let (query, key) = (case.query_rows(), case.key_rows());
        let segment = &case.segments[0];
        attention_weights(isa, case.heads, case.scale, query, key, segment, case.mask(), &mut actual).unwrap();
        case.for_each_row(|number, head, query| {
            let seen = case.seen(number, query);
            let mut weights: Vec<f32> = seen.iter().map(|&j| {
                let (q, k) = (case.query_part(number, head, query), case.key_part(&case.key, number, head, j));
                let bias = case.bias_at(number, head, query, j);
                match isa.class() {
                    Class::Fused => reference::score::<Fused, f32>(q, k, case.scale, bias),
                    Class::Unfused => reference::score::<Unfused, f32>(q, k, case.scale, bias),
                }
            }).collect();
            match isa.class() {
                Class::Fused => reference::softmax::<Fused, f32>(&mut weights),
                Class::Unfused => reference::softmax::<Unfused, f32>(&mut weights),
            }
            let mut row = vec![0.0; keys];
            for (j, weight) in seen.iter().zip(weights) {
                row[*j] = weight;
            }
            let start = (head * queries + query) * keys;
            assert_same_bits("weights", &actual[start..start + keys], &row);
            let sum: f32 = row.iter().sum();
            assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-4);
        });
    });
}

isa_tests!(the_stated_bound_holds, weights_are_a_softmax_of_the_same_scores);
