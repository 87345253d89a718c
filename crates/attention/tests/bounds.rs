//! The stated error bound against exact arithmetic, and the weights for drawing.

mod common;

use common::{Case, Values, cases, run};
use kernform_attention::{KEY_BLOCK, attention_weights, reference};
use kernform_simd::{Arithmetic, Class, Fused, Isa, Unfused};
use kernform_tensor::Serial;
use kernform_testkit::{UNIT_ROUNDOFF, assert_same_bits, gamma, isa_tests, up_to};
use proptest::prelude::*;

fn widened(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Scores of a row in `f64`, to the base of 2, and the largest error that the `f32` ones can have, `e` of the
/// documentation.
fn scores(case: &Case, number: usize, head: usize, query: usize, seen: &[usize]) -> (Vec<f64>, f64) {
    let q = widened(case.query_part(number, head, query));
    let scale = f64::from(case.scale);
    let mut errors = vec![];
    let scores: Vec<f64> = seen
        .iter()
        .map(|&j| {
            let k = widened(case.key_part(&case.key, number, head, j));
            let product = reference::score::<Fused, f64>(&q, &k, scale);
            let s = case.adjust::<Fused, f64>((number, head, query), j, product);
            let sum: f64 = q.iter().zip(&k).map(|(q, k)| (q * k).abs()).sum();
            let product = scale.abs() * sum * core::f64::consts::LOG2_E;
            if s.is_finite() {
                // An unfused chain rounds each term twice. Each thing that is added is rounded as a product and a sum.
                let added = case.terms_added(number, head, query, j) * core::f64::consts::LOG2_E;
                errors.push(gamma(2 * q.len() + 8) * product + 8.0 * UNIT_ROUNDOFF * (product + added));
            }
            s
        })
        .collect();
    let finite = scores.iter().filter(|s| s.is_finite()).fold(0.0f64, |m, s| m.max(s.abs()));
    let e = errors.iter().fold(0.0f64, |m, e| m.max(*e)) + 2.0 * UNIT_ROUNDOFF * finite;
    (scores, e * core::f64::consts::LN_2)
}

fn the_stated_bound_holds(isa: Isa) {
    proptest!(up_to(24), |(case in cases(Values::Ordinary))| {
        let out = run(isa, &Serial, &case);
        let head_dim = case.heads.head_dim;
        case.for_each_row(|number, head, query| {
            let seen = case.seen(number, query);
            let (scores, e) = scores(&case, number, head, query, &seen);
            let mut weights = scores.clone();
            let first = case.first_place(number, &seen);
            reference::softmax::<Fused, f64>(first, &mut weights);
            let start = (case.segments[number].query.start + query) * case.out_stride + head * head_dim;
            let b = KEY_BLOCK.min(seen.len()) + seen.len().div_ceil(KEY_BLOCK) + 1;
            let largest = seen.iter().flat_map(|&j| case.key_part(&case.value, number, head, j)).fold(0f32, |m, v| m.max(v.abs()));
            let underflow = seen.len() as f64 * 2f64.powi(-125) * f64::from(largest);
            for d in 0..head_dim {
                let value = |j: usize| f64::from(case.key_part(&case.value, number, head, seen[j])[d]);
                let truth: f64 = weights.iter().enumerate().map(|(j, w)| w * value(j)).sum();
                let size: f64 = weights.iter().enumerate().map(|(j, w)| w * value(j).abs()).sum();
                let bound = ((2.0 * e).exp_m1() + gamma(4 * b + 16)) * size + underflow + 1e-38;
                let error = (f64::from(out[start + d]) - truth).abs();
                assert!(error <= bound, "error {error:e} over the bound {bound:e} with {} keys", seen.len());
            }
        });
    });
}

/// The softmax of the reference's scores.
fn softmax<A: Arithmetic>(case: &Case, row: (usize, usize, usize), seen: &[usize]) -> Vec<f32> {
    let (number, head, query) = row;
    let q = case.query_part(number, head, query);
    let score = |&j: &usize| {
        let product = reference::score::<A, f32>(q, case.key_part(&case.key, number, head, j), case.scale);
        case.adjust::<A, f32>(row, j, product)
    };
    let mut weights: Vec<f32> = seen.iter().map(score).collect();
    reference::softmax::<A, f32>(case.first_place(number, seen), &mut weights);
    weights
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
            let weights = match isa.class() {
                Class::Fused => softmax::<Fused>(&case, (number, head, query), &seen),
                Class::Unfused => softmax::<Unfused>(&case, (number, head, query), &seen),
            };
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
