//! Attention over rows: the reference's bits on every level, whatever is around a row.

mod common;

use common::{Case, Kept, Values, cases, cases_near_blocks, cases_of_whole_blocks, run};
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use kernform_attention::{AttentionError, Heads, Operand, RowsMut, Segment, attend, attend_range, attend_scratch_len};
use kernform_simd::Isa;
use kernform_tensor::parallel::Threads;
use kernform_tensor::{Parallel, Serial};
use kernform_testkit::strategies::threads;
use kernform_testkit::{assert_same_bits, isa_tests, up_to};
use proptest::prelude::*;

fn bits_are_the_references(isa: Isa) {
    proptest!(up_to(40), |(case in cases(Values::Ordinary))| {
        assert_same_bits("attend", &run(isa, &Serial, &case), &case.expected(isa.class(), 7.0));
    });
}

fn hostile_values_have_the_references_bits(isa: Isa) {
    proptest!(up_to(40), |(case in cases(Values::Hostile))| {
        assert_same_bits("attend", &run(isa, &Serial, &case), &case.expected(isa.class(), 7.0));
    });
}

fn threads_do_not_change_bits(isa: Isa) {
    proptest!(up_to(12), |(case in cases(Values::Ordinary), threads in 2usize..6)| {
        assert_same_bits("attend", &run(isa, &Threads(threads), &case), &run(isa, &Serial, &case));
    });
}

fn bits_are_the_references_at_the_edges_of_blocks(isa: Isa) {
    proptest!(up_to(40), |(case in cases_near_blocks(Values::Ordinary), threads in threads())| {
        assert_same_bits("attend", &run(isa, &Threads(threads), &case), &case.expected(isa.class(), 7.0));
    });
}

fn whole_blocks_have_the_references_bits(isa: Isa) {
    proptest!(up_to(60), |(case in cases_of_whole_blocks(), threads in 1usize..3)| {
        assert_same_bits("attend", &run(isa, &Threads(threads), &case), &case.expected(isa.class(), 7.0));
    });
}

/// A pool that says another number each time it is asked, as one does that grows and shrinks.
struct Fickle(AtomicUsize);

impl Parallel for Fickle {
    fn threads(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn for_each<T: Send, F: Fn(usize, &mut T) + Sync>(&self, items: &mut [T], f: F) {
        Serial.for_each(items, f);
    }
}

fn threads_may_come_and_go(isa: Isa) {
    let case = plain(200, 20);
    // Enough for as many threads as are asked for.
    let mut scratch = vec![f32::NAN; attend_scratch_len(case.heads, &Threads(64)).unwrap()];
    let mut out = vec![7.0; case.out_len()];
    let (parallel, rows) = (Fickle(AtomicUsize::new(1)), RowsMut::new(&mut out, case.out_stride));
    let (q, k, v) = (case.query_rows(), case.key_rows(), case.value_rows());
    let given = attend_scratch_len(case.heads, &Threads(1)).unwrap();
    let (heads, segments) = (case.heads, &case.segments);
    attend(isa, &parallel, heads, case.scale, q, k, v, segments, case.mask(), rows, &mut scratch[..given]).unwrap();
    assert_same_bits("attend", &out, &run(isa, &Serial, &case));
}

/// Ranges of queries, of which some are in no segment, one after the other, each with its own piece of the output.
fn ranges_of_queries_give_the_bits_of_all(isa: Isa) {
    proptest!(up_to(40), |(case in cases(Values::Ordinary), each in 1usize..40, parallel in threads())| {
        let parallel = Threads(parallel);
        let mut scratch = vec![f32::NAN; attend_scratch_len(case.heads, &parallel).unwrap()];
        let mut out = vec![7.0; case.out_len()];
        let (q, k, v) = (case.query_rows(), case.key_rows(), case.value_rows());
        let (heads, scale, segments, stride) = (case.heads, case.scale, &case.segments, case.out_stride);
        let mut first = 0;
        // The last row ends with its last element.
        for piece in out.chunks_mut((each * stride).max(1)) {
            let (queries, rows) = (first..first + each, RowsMut::new(piece, stride));
            let mask = case.mask();
            attend_range(isa, &parallel, heads, scale, q, k, v, segments, mask, queries, rows, &mut scratch).unwrap();
            first += each;
        }
        assert_same_bits("ranges", &out, &run(isa, &Serial, &case));
    });
    // A range that reaches beyond the output, one that is empty, and one behind all queries.
    let case = plain(9, 20);
    let mut scratch = vec![f32::NAN; attend_scratch_len(case.heads, &Serial).unwrap()];
    let mut out = vec![7.0; 3 * case.out_stride];
    let mut attend = |queries: Range<usize>| {
        let (q, k, v) = (case.query_rows(), case.key_rows(), case.value_rows());
        let (heads, scale, segments, mask) = (case.heads, case.scale, &case.segments, case.mask());
        let rows = RowsMut::new(&mut out, case.out_stride);
        attend_range(isa, &Serial, heads, scale, q, k, v, segments, mask, queries, rows, &mut scratch)
    };
    assert!(matches!(attend(2..6), Err(AttentionError::TooShort { operand: Operand::Output, .. })));
    for queries in [4..4, 9..30, usize::MAX - 1..usize::MAX] {
        attend(queries).unwrap();
    }
    assert_same_bits("nothing", &out, &vec![7.0; out.len()]);
}

/// `queries` and `keys` tokens of two heads with values that differ everywhere.
fn plain(queries: usize, keys: usize) -> Case {
    let heads = Heads::new(2, 9);
    let values = |n: usize, seed: usize| (0..n).map(|i| ((i * 37 + seed) % 101) as f32 / 50.0 - 1.0).collect();
    Case {
        heads,
        scale: 0.4,
        query: values(queries * 18, 1),
        key: values(keys * 18, 2),
        value: values(keys * 18, 3),
        query_stride: 18,
        key_stride: 18,
        out_stride: 18,
        segments: vec![Segment { query: 0..queries, key: 0..keys }],
        causal: false,
        window: None,
        kept: Kept::All,
        bias: None,
        softcap: None,
        alibi: None,
        relative: None,
    }
}

fn absent_keys_leave_no_trace(isa: Isa) {
    for keys in [1, 5, 16, 17, 127, 128, 129, 200] {
        let case = plain(11, keys);
        let bare = run(isa, &Serial, &case);
        // Padding in front, behind and in between, all NaN.
        for (front, every, behind) in [(3, 0, 0), (0, 0, 4), (130, 3, 0), (1, 2, 129)] {
            let mut padded = Case { key: vec![], value: vec![], ..case.clone() };
            let mut flags = vec![];
            let nan = [f32::NAN; 18];
            let mut push = |key: &[f32], value: &[f32], kept| {
                padded.key.extend(key);
                padded.value.extend(value);
                flags.push(kept);
            };
            (0..front).for_each(|_| push(&nan, &nan, false));
            for j in 0..keys {
                if every > 0 && j % every == 0 {
                    push(&nan, &nan, false);
                }
                push(&case.key[j * 18..][..18], &case.value[j * 18..][..18], true);
            }
            (0..behind).for_each(|_| push(&nan, &nan, false));
            padded.segments[0].key = 0..flags.len();
            padded.kept = Kept::Flags(flags);
            assert_same_bits("padded", &run(isa, &Serial, &padded), &bare);
        }
    }
}

fn a_causal_row_is_attention_over_its_past(isa: Isa) {
    let mut case = plain(140, 140);
    case.causal = true;
    // Where a query does not look, anything may stand.
    case.value[139 * 18] = f32::NAN;
    let all = run(isa, &Serial, &case);
    for query in [0, 1, 7, 31, 127, 128, 138] {
        let mut one = plain(140, 140);
        one.query = one.query[query * 18..][..18].to_vec();
        one.segments = vec![Segment { query: 0..1, key: 0..query + 1 }];
        assert_same_bits("causal row", &all[query * 18..][..18], &run(isa, &Serial, &one));
    }
    assert!(all[139 * 18].is_nan() && !all[138 * 18].is_nan());
}

fn rows_that_see_nothing_are_zero(isa: Isa) {
    let mut case = plain(9, 20);
    case.kept = Kept::Lengths(vec![0]);
    case.value.fill(f32::NAN);
    assert_same_bits("padding only", &run(isa, &Serial, &case), &[0.0; 9 * 18]);

    let mut case = plain(9, 20);
    let bias = vec![f32::NEG_INFINITY; 20];
    case.bias = Some(common::Added { data: bias, strides: [0, 0, 0, 1] });
    case.value[5] = f32::INFINITY;
    assert_same_bits("minus infinity only", &run(isa, &Serial, &case), &[0.0; 9 * 18]);

    // More queries than keys: under the causal rule the first ones see nothing.
    let mut case = plain(20, 5);
    case.causal = true;
    let out = run(isa, &Serial, &case);
    assert_same_bits("before the first key", &out[..15 * 18], &[0.0; 15 * 18]);
    assert!(out[15 * 18..].chunks(18).all(|row| row.iter().any(|x| *x != 0.0)));
}

fn scores_at_the_ends_of_the_range_are_exact(isa: Isa) {
    let mut case = plain(3, 4);
    let bias = vec![f32::NEG_INFINITY, 2.3e38, 0.0, f32::NEG_INFINITY];
    case.bias = Some(common::Added { data: bias, strides: [0, 0, 0, 1] });
    let out = run(isa, &Serial, &case);
    for row in out.chunks(18) {
        assert_same_bits("one key has all the weight", row, &case.value[18..36]);
    }
    case.bias = Some(common::Added { data: vec![0.0, f32::INFINITY, 0.0, 0.0], strides: [0, 0, 0, 1] });
    assert!(run(isa, &Serial, &case).iter().all(|x| x.is_nan()));
    case.bias = Some(common::Added { data: vec![f32::NEG_INFINITY, f32::NAN, 0.0, 0.0], strides: [0, 0, 0, 1] });
    assert!(run(isa, &Serial, &case).iter().all(|x| x.is_nan()));
}

isa_tests!(
    bits_are_the_references,
    hostile_values_have_the_references_bits,
    bits_are_the_references_at_the_edges_of_blocks,
    whole_blocks_have_the_references_bits,
    threads_do_not_change_bits,
    threads_may_come_and_go,
    ranges_of_queries_give_the_bits_of_all,
    absent_keys_leave_no_trace,
    a_causal_row_is_attention_over_its_past,
    rows_that_see_nothing_are_zero,
    scores_at_the_ends_of_the_range_are_exact,
);
