//! Selection against a full sort.

use kernform_decode::{Candidate, TopK, argmax};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => any::<i16>().prop_map(|x| f32::from(x) / 64.0),
        4 => (0_i8..4).prop_map(f32::from),
        1 => Just(f32::NEG_INFINITY),
        1 => Just(f32::INFINITY),
        1 => Just(f32::NAN),
        1 => Just(-0.0),
        1 => Just(f32::MIN_POSITIVE / 2.0),
        1 => any::<f32>(),
    ]
}

/// Larger means nearer to the front.
fn key(x: f32) -> (bool, f32) {
    (x.is_nan(), if x.is_nan() { 0.0 } else { x })
}

fn top_k(values: &[f32], k: usize, piece: usize) -> Vec<Candidate> {
    let mut buffer = vec![Candidate::default(); TopK::buffer_len(k, values.len())];
    let mut top = TopK::new(&mut buffer, k, values.len()).unwrap();
    for part in values.chunks(piece) {
        top.extend(part, 0.0);
    }
    top.finish().to_vec()
}

proptest! {
    #[test]
    fn top_k_are_the_first_of_a_sort(
        values in prop::collection::vec(value(), 1..900),
        k in 1_usize..40,
        piece in 1_usize..200,
    ) {
        let k = k.min(values.len());
        let found = top_k(&values, k, piece);
        let mut sorted: Vec<_> = values.iter().map(|&x| key(x)).collect();
        sorted.sort_by(|a, b| b.partial_cmp(a).unwrap());
        prop_assert_eq!(found.iter().map(|c| key(c.score)).collect::<Vec<_>>(), &sorted[..k]);
        let mut places: Vec<_> = found.iter().map(|c| c.index).collect();
        for c in &found {
            prop_assert_eq!(key(values[c.index as usize]), key(c.score));
        }
        places.sort_unstable();
        places.dedup();
        prop_assert_eq!(places.len(), k);
        // How the values are cut into pieces changes nothing, not even among equal ones.
        let whole = top_k(&values, k, values.len());
        prop_assert_eq!(
            whole.iter().map(|c| c.index).collect::<Vec<_>>(),
            found.iter().map(|c| c.index).collect::<Vec<_>>()
        );
    }

    #[test]
    fn argmax_is_the_first_largest(values in prop::collection::vec(value(), 0..300)) {
        let mut best: Option<usize> = None;
        for (i, &x) in values.iter().enumerate() {
            if best.is_none_or(|b| key(x) > key(values[b])) {
                best = Some(i);
            }
        }
        prop_assert_eq!(argmax(&values), best);
    }
}

#[test]
fn orders_that_are_bad_for_quicksort() {
    let n = 4000;
    let organ_pipe = (0..n).map(|i| i.min(n - i)).collect::<Vec<_>>();
    let sawtooth = (0..n).map(|i| i % 7).collect::<Vec<_>>();
    // Median of three takes the second smallest again and again (Musser's killer sequence).
    let half = n / 2;
    let killer = (0..n).map(|i| {
        if i >= half {
            2 * (i - half + 1)
        } else if i % 2 == 0 {
            i + 1
        } else {
            half + i
        }
    });
    for order in
        [(0..n).collect(), (0..n).rev().collect(), organ_pipe, sawtooth, killer.collect::<Vec<_>>(), vec![5; n]]
    {
        let values: Vec<f32> = order.iter().map(|&x| x as f32).collect();
        let mut sorted = values.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        for k in [1, 2, 100, n / 2, n - 1, n] {
            let found: Vec<f32> = top_k(&values, k, 77).iter().map(|c| c.score).collect();
            assert_eq!(found, sorted[..k]);
        }
    }
}

#[test]
fn what_cannot_be_selected_is_refused() {
    let mut buffer = [Candidate::default(); 8];
    assert!(TopK::new(&mut buffer, 0, 5).is_none());
    assert!(TopK::new(&mut buffer, 6, 5).is_none());
    assert!(TopK::new(&mut buffer, 4, 9).is_none(), "9 places are needed");
    // A token id is a `u32`, and there are no more of them.
    assert_eq!(TopK::new(&mut buffer, 2, usize::MAX).is_some(), usize::BITS == 32);
    assert!(TopK::new(&mut buffer, 8, 512).is_some());
}

#[test]
fn more_and_fewer_values_than_announced() {
    let mut buffer = [Candidate::default(); 6];
    let mut top = TopK::new(&mut buffer, 2, 4).unwrap();
    top.extend(&[1.0, 2.0, 3.0], 1.0);
    top.extend(&[0.0, 99.0], 0.0);
    assert_eq!(top.finish().iter().map(|c| c.score).collect::<Vec<_>>(), [4.0, 3.0]);
    for total in [4, 400] {
        let mut top = TopK::new(&mut buffer, 3, total).unwrap();
        top.extend(&[1.0, 2.0], 0.0);
        assert_eq!(top.finish().iter().map(|c| c.score).collect::<Vec<_>>(), [2.0, 1.0]);
    }
    assert!(TopK::new(&mut buffer, 3, 400).unwrap().finish().is_empty());
}
