//! Attention over ragged batches: any heads, segments, masks and values give the same bits on every level, and a causal
//! row those of a cached step.
#![no_main]

use kernform_attention::{
    Bias, CacheKind, Heads, KeptKeys, KvCache, Mask, Rows, RowsMut, ScoreTerms, Segment, Visible,
};
use kernform_attention::{attend, attend_cached, attend_cached_scratch_len, attend_scratch_len};
use kernform_fuzz::{floats, levels_agree};
use kernform_tensor::Serial;
use kernform_tensor::parallel::Threads;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = attention(&mut Unstructured::new(input));
});

fn attention(input: &mut Unstructured<'_>) -> Result<()> {
    let kv_heads = input.int_in_range(1..=3)?;
    let heads =
        Heads { query_heads: kv_heads * input.int_in_range(1..=3)?, kv_heads, head_dim: input.int_in_range(0..=40)? };
    let (query_width, kv_width) = (heads.query_heads * heads.head_dim, kv_heads * heads.head_dim);
    let (mut queries, mut keys, mut segments) = (0, 0, Vec::new());
    for _ in 0..input.int_in_range(1..=3)? {
        let (new, seen) = (input.int_in_range(0..=40)?, input.int_in_range(0..=150)?);
        segments.push(Segment { query: queries..queries + new, key: keys..keys + seen });
        (queries, keys) = (queries + new, keys + seen);
    }
    let kept: Vec<bool> = (0..keys).map(|_| input.ratio(7, 8)).collect::<Result<_>>()?;
    let (causal, has_padding, has_bias): (bool, bool, bool) =
        (input.arbitrary()?, input.arbitrary()?, input.arbitrary()?);
    let window = if input.ratio(1, 4)? { Some(input.int_in_range(0..=60)?) } else { None };
    let scale = floats(input, 1)?[0];
    let bias = floats(input, queries * keys)?;
    let (query, key, value) =
        (floats(input, queries * query_width)?, floats(input, keys * kv_width)?, floats(input, keys * kv_width)?);
    let (q, k, v) = (Rows::new(&query, query_width), Rows::new(&key, kv_width), Rows::new(&value, kv_width));
    let mask = Mask {
        causal,
        keys: if has_padding { KeptKeys::Flags(&kept) } else { KeptKeys::All },
        window,
        terms: ScoreTerms { bias: has_bias.then(|| Bias::shared(&bias, keys)), ..ScoreTerms::NONE },
    };
    levels_agree("attend", |isa| {
        let parallel = Threads(2);
        let mut out = vec![0.0; queries * query_width];
        let mut scratch = vec![f32::NAN; attend_scratch_len(heads, &parallel).expect("small heads")];
        let rows = RowsMut::new(&mut out, query_width);
        attend(isa, &parallel, heads, scale, q, k, v, &segments, mask, rows, &mut scratch).expect("shapes that fit");
        out
    });
    // The last segment's queries one by one over a cache of its keys.
    let Some(segment) = segments.last().filter(|segment| !segment.query.is_empty()) else { return Ok(()) };
    levels_agree("attend_cached", |isa| {
        let capacity = segment.key.len();
        let storage = vec![f32::NAN; KvCache::storage_len(heads, 1, capacity).expect("a small cache")];
        let lists = vec![0; KvCache::bookkeeping_len(1, capacity)];
        let mut cache = KvCache::new(heads, 1, capacity, storage, lists).expect("memory of the size asked for");
        cache.append_rows(0, k, v, segment.key.clone()).expect("room for all keys");
        let rows = segment.query.len();
        let run = |cached: bool| {
            let mut out = vec![0.0; rows * query_width];
            let from = Rows::new(&query[segment.query.start * query_width..], query_width);
            if cached {
                let mut scratch =
                    vec![f32::NAN; attend_cached_scratch_len(heads, CacheKind::F32, &Serial).expect("small heads")];
                let (slots, to) = (vec![0; rows], RowsMut::new(&mut out, query_width));
                attend_cached(isa, &Serial, heads, scale, from, &cache, &slots, Visible::default(), to, &mut scratch)
                    .expect("shapes that fit");
            } else {
                let mut scratch = vec![f32::NAN; attend_scratch_len(heads, &Serial).expect("small heads")];
                let alone = [Segment { query: 0..rows, key: segment.key.clone() }];
                let to = RowsMut::new(&mut out, query_width);
                attend(isa, &Serial, heads, scale, from, k, v, &alone, Mask::NONE, to, &mut scratch)
                    .expect("shapes that fit");
            }
            out
        };
        let (one, other) = (run(true), run(false));
        let same = |(x, y): (&f32, &f32)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
        assert!(one.iter().zip(&other).all(same), "{isa}: a cached row differs");
        one
    });
    Ok(())
}
