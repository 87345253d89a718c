//! The cache, and attention over it: the bits of attention over rows.

mod common;

use common::{Added, Case, Kept, Values, head_dims, run};
use kernform_attention::{
    AttentionError, CacheKind, Heads, KvCache, Rows, RowsMut, ScoreTerms, Segment, Visible, attend_cached,
    attend_cached_scratch_len,
};
use kernform_simd::Isa;
use kernform_tensor::parallel::Threads;
use kernform_tensor::{Parallel, Serial};
use kernform_testkit::strategies::extent_near;
use kernform_testkit::{Guarded, assert_same_bits, isa_tests, up_to};
use proptest::prelude::*;

type Cache = KvCache<Vec<f32>, Vec<usize>>;

fn cache(heads: Heads, slots: usize, capacity: usize) -> Cache {
    cache_of(CacheKind::F32, heads, slots, capacity)
}

fn cache_of(kind: CacheKind, heads: Heads, slots: usize, capacity: usize) -> Cache {
    let storage = vec![f32::NAN; KvCache::storage_len_of(kind, heads, slots, capacity).unwrap()];
    KvCache::new_of(kind, heads, slots, capacity, storage, vec![99; KvCache::bookkeeping_len(slots, capacity)]).unwrap()
}

fn run_cached(
    isa: Isa,
    parallel: &impl Parallel,
    case: &Case,
    cache: &Cache,
    slots: &[usize],
    visible: Visible<'_>,
) -> Vec<f32> {
    let mut out = vec![7.0; case.out_len()];
    let mut scratch = Guarded::new(attend_cached_scratch_len(case.heads, cache.kind(), parallel).unwrap(), 1);
    let out_rows = RowsMut::new(&mut out, case.out_stride);
    let query = case.query_rows();
    let scratch_part = scratch.slice();
    attend_cached(isa, parallel, case.heads, case.scale, query, cache, slots, visible, out_rows, scratch_part).unwrap();
    scratch.check();
    out
}

/// Slots of some length, and rows that see a part of some slot each: as a case of `attend`, one segment a row.
fn steps(values: Values) -> impl Strategy<Value = (Case, Vec<usize>, Vec<usize>)> {
    let length = prop_oneof![6 => 0usize..40, 1 => 120usize..135, 1 => 250usize..260, 1 => extent_near(&[16, 128])];
    let heads = (1usize..4, 1usize..6, head_dims());
    let slots = prop::collection::vec(length, 1..4);
    let rows = prop_oneof![4 => 0usize..24, 1 => extent_near(&[16, 32])];
    (heads, slots, rows, 0usize..4, any::<bool>()).prop_flat_map(move |(heads, lengths, rows, bias, partly)| {
        let heads = Heads { query_heads: heads.0 * heads.1, kv_heads: heads.0, head_dim: heads.2 };
        prop::collection::vec((0..lengths.len(), any::<prop::sample::Index>()), rows).prop_flat_map(move |rows| {
            let starts: Vec<usize> = lengths.iter().scan(0, |sum, n| Some(core::mem::replace(sum, *sum + n))).collect();
            let (mut slots, mut segments) = (vec![], vec![]);
            for (row, (slot, part)) in rows.iter().enumerate() {
                let seen = if partly { part.index(lengths[*slot] + 1) } else { lengths[*slot] };
                slots.push(*slot);
                segments.push(Segment { query: row..row + 1, key: starts[*slot]..starts[*slot] + seen });
            }
            let longest = lengths.iter().copied().max().unwrap_or(0);
            // In `attend` each row is a segment, in `attend_cached` a query: the row's stride stands in both places.
            let strides =
                [[0; 4], [0, 0, 0, 1], [longest, 0, 0, 1], [heads.query_heads * longest, longest, 0, 1]][bias];
            let extents = [slots.len(), heads.query_heads, 1, longest];
            let bias_len =
                strides.iter().zip(extents).map(|(s, n): (&usize, usize)| s * n.saturating_sub(1)).sum::<usize>() + 1;
            let (query_width, key_width) = (heads.query_heads * heads.head_dim, heads.kv_heads * heads.head_dim);
            let keys = lengths.iter().sum::<usize>();
            let lengths = lengths.clone();
            (
                values.vector(slots.len() * (query_width + 3)),
                values.vector(keys * (key_width + 2)),
                values.vector(keys * (key_width + 2)),
                Values::Bias.vector(bias_len),
                -1.0f32..1.0,
            )
                .prop_map(move |(query, key, value, data, scale)| {
                    let case = Case {
                        heads,
                        scale,
                        query,
                        key,
                        value,
                        query_stride: query_width + 3,
                        key_stride: key_width + 2,
                        out_stride: query_width + 1,
                        segments: segments.clone(),
                        causal: false,
                        window: None,
                        softcap: None,
                        alibi: None,
                        relative: None,
                        kept: Kept::All,
                        bias: (bias != 0).then_some(Added { data, strides }),
                    };
                    (case, slots.clone(), lengths.clone())
                })
        })
    })
}

/// A cache that holds the case's keys, `lengths[i]` of them in slot `i`.
fn filled(kind: CacheKind, case: &Case, lengths: &[usize]) -> Cache {
    let mut cache = cache_of(kind, case.heads, lengths.len(), lengths.iter().copied().max().unwrap_or(0));
    let mut start = 0;
    for (slot, len) in lengths.iter().enumerate() {
        // In two pieces, to append behind something too.
        let middle = start + len / 3;
        cache.append_rows(slot, case.key_rows(), case.value_rows(), start..middle).unwrap();
        cache.append_rows(slot, case.key_rows(), case.value_rows(), middle..start + len).unwrap();
        start += len;
    }
    cache
}

fn check_against_rows(isa: Isa, case: &Case, slots: &[usize], lengths: &[usize]) {
    let cache = filled(CacheKind::F32, case, lengths);
    let seen: Vec<usize> = case.segments.iter().map(|segment| segment.key.len()).collect();
    let bias = case.bias.as_ref().map(|bias| {
        let mut bias = bias.view();
        (bias.query_stride, bias.segment_stride) = (bias.segment_stride, 0);
        bias
    });
    let visible = Visible { lengths: Some(&seen), window: None, terms: ScoreTerms { bias, ..ScoreTerms::NONE } };
    let actual = run_cached(isa, &Serial, case, &cache, slots, visible);
    assert_same_bits("cached against the reference", &actual, &case.expected(isa.class(), 7.0));
    assert_same_bits("cached against rows", &actual, &run(isa, &Serial, case));
    assert_same_bits("threads", &actual, &run_cached(isa, &Threads(3), case, &cache, slots, visible));
    if slots.iter().zip(&seen).all(|(slot, seen)| lengths[*slot] == *seen) {
        let all = Visible { lengths: None, ..visible };
        assert_same_bits("no lengths", &actual, &run_cached(isa, &Serial, case, &cache, slots, all));
    }
}

fn bits_are_those_of_rows(isa: Isa) {
    proptest!(up_to(40), |((case, slots, lengths) in steps(Values::Ordinary))| {
        check_against_rows(isa, &case, &slots, &lengths);
    });
}

fn hostile_values_too(isa: Isa) {
    proptest!(up_to(40), |((case, slots, lengths) in steps(Values::Hostile))| {
        check_against_rows(isa, &case, &slots, &lengths);
    });
}

/// A row of a head as a cache of some kind gives it back.
fn decoded(kind: CacheKind, row: &[f32]) -> Vec<f32> {
    match kind {
        CacheKind::F32 => row.to_vec(),
        CacheKind::F16 => row.iter().map(|x| half::f16::from_f32(*x).to_f32()).collect(),
        CacheKind::Int8 => {
            if row.iter().any(|x| !x.is_finite()) {
                return vec![f32::NAN; row.len()];
            }
            let scale = row.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0;
            let element = |x: &f32| if scale == 0.0 { 0.0 } else { (x / scale).clamp(-127.0, 127.0).round_ties_even() };
            row.iter().map(|x| element(x) * scale).collect()
        }
    }
}

fn other_kinds_have_the_bits_of_decoded_rows(isa: Isa) {
    let kinds = prop::sample::select(vec![CacheKind::F16, CacheKind::Int8]);
    proptest!(up_to(40), |((case, slots, lengths) in steps(Values::Hostile), kind in kinds)| {
        let mut decoded_case = case.clone();
        let width = case.heads.kv_heads * case.heads.head_dim;
        for rows in [&mut decoded_case.key, &mut decoded_case.value] {
            for row in rows.chunks_mut(case.key_stride) {
                for head in row[..width].chunks_mut(case.heads.head_dim) {
                    head.copy_from_slice(&decoded(kind, head));
                }
            }
        }
        let cache = filled(kind, &case, &lengths);
        let seen: Vec<usize> = case.segments.iter().map(|segment| segment.key.len()).collect();
        let visible = Visible { lengths: Some(&seen), window: None, terms: ScoreTerms::NONE };
        decoded_case.bias = None;
        let actual = run_cached(isa, &Serial, &case, &cache, &slots, visible);
        assert_same_bits("decoded", &actual, &run(isa, &Serial, &decoded_case));
    });
}

/// A sequence that keeps to a window, in a cache that is shorter than the sequence.
fn a_window_can_roll_for_ever(isa: Isa) {
    let heads = Heads { query_heads: 4, kv_heads: 2, head_dim: 8 };
    let (window, capacity, total) = (20, 48, 300);
    let values = |seed: usize| (0..total * 16).map(|i| ((i * 37 + seed) % 101) as f32 / 50.0 - 1.0).collect();
    let (key, value): (Vec<f32>, Vec<f32>) = (values(1), values(2));
    let query: Vec<f32> = (0..total * 32).map(|i| ((i * 29) % 97) as f32 / 48.0 - 1.0).collect();
    let case = Case {
        heads,
        scale: 0.7,
        query,
        key: key.clone(),
        value: value.clone(),
        query_stride: 32,
        key_stride: 16,
        out_stride: 32,
        segments: vec![Segment::of(0..total)],
        causal: true,
        window: Some(window),
        kept: Kept::All,
        bias: None,
        softcap: Some(3.0),
        alibi: Some(vec![0.5, 0.25, 0.125, 0.0625]),
        relative: None,
    };
    let wanted = run(isa, &Serial, &case);
    let mut cache = cache(heads, 2, capacity);
    let mut scratch = vec![0.0; attend_cached_scratch_len(heads, CacheKind::F32, &Serial).unwrap()];
    let terms = case.terms();
    let visible = Visible { window: Some(window), terms, ..Visible::default() };
    for token in 0..total {
        cache.append_rows(1, case.key_rows(), case.value_rows(), token..token + 1).unwrap();
        cache.forget(1, (token + 1).saturating_sub(window)).unwrap();
        let mut out = [0.0; 32];
        let query = Rows::new(&case.query[token * 32..], 32);
        let rows = RowsMut::new(&mut out, 32);
        attend_cached(isa, &Serial, heads, 0.7, query, &cache, &[1], visible, rows, &mut scratch).unwrap();
        assert_same_bits("rolled", &out, &wanted[token * 32..][..32]);
    }
    assert_eq!((cache.first(1), cache.len(1)), (total - window, total));
}

isa_tests!(
    bits_are_those_of_rows,
    hostile_values_too,
    other_kinds_have_the_bits_of_decoded_rows,
    a_window_can_roll_for_ever,
);

/// What a cache should hold, slot by slot: the first element of each key.
type Model = Vec<Vec<f32>>;

/// Reads the cache through attention: with a bias that lets one key through, the output is that key's value.
fn contents(cache: &Cache) -> Model {
    let heads = cache.heads();
    let width = heads.kv_heads * heads.head_dim;
    (0..cache.slots())
        .map(|slot| {
            (cache.first(slot)..cache.len(slot))
                .map(|j| {
                    let mut bias = vec![f32::NEG_INFINITY; cache.len(slot)];
                    bias[j] = 0.0;
                    let visible = Visible {
                        terms: ScoreTerms {
                            bias: Some(kernform_attention::Bias::shared(&bias, 0)),
                            ..ScoreTerms::NONE
                        },
                        ..Visible::default()
                    };
                    let query = vec![0.0; width];
                    let mut out = vec![0.0; width];
                    let mut scratch = vec![0.0; attend_cached_scratch_len(heads, CacheKind::F32, &Serial).unwrap()];
                    attend_cached(
                        Isa::best(),
                        &Serial,
                        heads,
                        1.0,
                        Rows::new(&query, width),
                        cache,
                        &[slot],
                        visible,
                        RowsMut::new(&mut out, width),
                        &mut scratch,
                    )
                    .unwrap();
                    assert!(out.iter().all(|x| *x == out[0]), "all elements of a value are alike");
                    out[0]
                })
                .collect()
        })
        .collect()
}

#[derive(Clone, Debug)]
enum Operation {
    Append(usize),
    AppendMany(usize, usize),
    Truncate(usize, prop::sample::Index),
    Forget(usize, prop::sample::Index),
    Copy(usize, usize),
    Reorder(Vec<usize>),
    Clear,
}

const SLOTS: usize = 5;
const CAPACITY: usize = 37;

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (0..SLOTS).prop_map(Operation::Append),
        3 => (0..SLOTS, 0usize..18).prop_map(|(slot, n)| Operation::AppendMany(slot, n)),
        2 => (0..SLOTS, any::<prop::sample::Index>()).prop_map(|(slot, len)| Operation::Truncate(slot, len)),
        3 => (0..SLOTS, any::<prop::sample::Index>()).prop_map(|(slot, len)| Operation::Forget(slot, len)),
        2 => (0..SLOTS, 0..SLOTS).prop_map(|(from, to)| Operation::Copy(from, to)),
        8 => prop::collection::vec(0..SLOTS, 0..=SLOTS).prop_map(Operation::Reorder),
        1 => Just(Operation::Clear),
    ]
}

proptest! {
    #![proptest_config(up_to(60))]

    #[test]
    fn the_cache_does_what_a_list_of_lists_does(operations in prop::collection::vec(operation(), 0..40)) {
        let heads = Heads::new(2, 3);
        let mut cache = cache(heads, SLOTS, CAPACITY);
        let mut model: Model = vec![vec![]; SLOTS];
        // Places of the first tokens that are not forgotten.
        let mut first = vec![0; SLOTS];
        let room = |model: &Model, first: &[usize], slot: usize| CAPACITY - (model[slot].len() - first[slot] / 16 * 16);
        let mut next = 1.0;
        for operation in operations {
            match operation {
                Operation::Append(slot) => {
                    let fits = room(&model, &first, slot) > 0;
                    prop_assert_eq!(cache.append(slot, &[next; 6], &[next; 6]).is_ok(), fits);
                    if fits {
                        model[slot].push(next);
                    }
                    next += 1.0;
                }
                Operation::AppendMany(slot, n) => {
                    let rows: Vec<f32> = (0..6 * n).map(|i| next + (i / 6) as f32).collect();
                    let fits = n <= room(&model, &first, slot);
                    let view = Rows::new(&rows, 6);
                    prop_assert_eq!(cache.append_rows(slot, view, view, 0..n).is_ok(), fits);
                    if fits {
                        model[slot].extend(rows.iter().step_by(6));
                    }
                    next += n as f32;
                }
                Operation::Truncate(slot, len) => {
                    let len = first[slot] + len.index(model[slot].len() - first[slot] + 1);
                    cache.truncate(slot, len).unwrap();
                    model[slot].truncate(len);
                }
                Operation::Forget(slot, place) => {
                    let place = place.index(model[slot].len() + 1);
                    cache.forget(slot, place).unwrap();
                    first[slot] = first[slot].max(place);
                }
                Operation::Copy(from, to) => {
                    cache.copy_slot(from, to).unwrap();
                    model[to] = model[from].clone();
                    first[to] = first[from];
                }
                Operation::Reorder(parents) => {
                    cache.reorder(&parents).unwrap();
                    let before = (model.clone(), first.clone());
                    for (slot, parent) in parents.into_iter().enumerate() {
                        model[slot] = before.0[parent].clone();
                        first[slot] = before.1[parent];
                    }
                }
                Operation::Clear => {
                    cache.clear();
                    model = vec![vec![]; SLOTS];
                    first = vec![0; SLOTS];
                }
            }
        }
        let held: Model = model.iter().zip(&first).map(|(tokens, first)| tokens[*first..].to_vec()).collect();
        prop_assert_eq!(contents(&cache), held);
    }
}

#[test]
fn mistakes_are_named() {
    let heads = Heads::new(2, 3);
    let mut cache = cache(heads, 2, 1);
    let full = [0.0; 6];
    assert_eq!(cache.append(2, &full, &full), Err(AttentionError::Slot { slot: 2, slots: 2 }));
    cache.append(1, &full, &full).unwrap();
    assert_eq!(
        cache.append(1, &full, &full),
        Err(AttentionError::CacheFull { slot: 1, len: 1, added: 1, capacity: 1 })
    );
    assert_eq!(cache.truncate(0, 1), Err(AttentionError::Truncate { slot: 0, len: 0, to: 1 }));
    assert_eq!(cache.reorder(&[0, 2]), Err(AttentionError::Slot { slot: 2, slots: 2 }));
    assert_eq!(cache.reorder(&[0, 0, 0]), Err(AttentionError::ListLength { needed: 2, len: 3 }));
    assert_eq!(cache.copy_slot(0, 7), Err(AttentionError::Slot { slot: 7, slots: 2 }));
    assert!(matches!(cache.append(0, &full[..5], &full), Err(AttentionError::TooShort { needed: 6, len: 5, .. })));
    assert_eq!((cache.len(0), cache.len(1), cache.len(9)), (0, 1, 0));
    assert!(matches!(
        KvCache::new(heads, 2, 1, vec![0.0; 10], vec![0; 17]),
        Err(AttentionError::TooShort { needed: 384, len: 10, .. })
    ));
    assert!(matches!(KvCache::storage_len(heads, usize::MAX, 2), Err(AttentionError::Overflow)));

    let step = |heads, slots: &[usize], visible, out: &mut [f32], scratch: &mut [f32]| {
        let query = Rows::new(&full, 6);
        attend_cached(Isa::best(), &Serial, heads, 1.0, query, &cache, slots, visible, RowsMut::new(out, 6), scratch)
    };
    let (mut out, mut scratch) =
        ([0.0; 6], vec![0.0; attend_cached_scratch_len(heads, CacheKind::F32, &Serial).unwrap()]);
    let all = Visible::default();
    assert_eq!(step(heads, &[1], all, &mut out, &mut scratch), Ok(()));
    assert_eq!(
        step(Heads::new(2, 2), &[1], all, &mut out, &mut scratch),
        Err(AttentionError::CacheHeads { kv_heads: 2, head_dim: 3 })
    );
    assert_eq!(step(heads, &[2], all, &mut out, &mut scratch), Err(AttentionError::Slot { slot: 2, slots: 2 }));
    let lengths = Visible { lengths: Some(&[2]), ..Visible::default() };
    assert_eq!(
        step(heads, &[1], lengths, &mut out, &mut scratch),
        Err(AttentionError::KeptLength { index: 0, kept: 2, keys: 1 })
    );
    assert!(step(heads, &[1, 1], all, &mut out, &mut scratch).is_err());
    assert!(step(heads, &[1], all, &mut out[..5], &mut scratch).is_err());
    assert!(step(heads, &[1], all, &mut out, &mut scratch[1..]).is_err());
}
