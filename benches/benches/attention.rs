//! Attention by criterion, level by level: prompts, steps over a cache of each kind, rotary positions.

mod common;

use common::{each_level, values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernform_attention::rope::{Rope, RopePairing, RopeScaling, rotate};
use kernform_attention::{
    CacheKind, Heads, KvCache, Mask, Rows, RowsMut, Segment, Visible, attend, attend_cached, attend_cached_scratch_len,
    attend_scratch_len,
};
use kernform_tensor::Serial;

const fn grouped(query_heads: usize, kv_heads: usize, head_dim: usize) -> Heads {
    Heads { query_heads, kv_heads, head_dim }
}

/// Heads, tokens of one sequence, and what they see.
const PROMPTS: [(Heads, usize, &str, Mask<'static>); 5] = [
    (Heads::new(4, 32), 128, "", Mask::NONE),
    (Heads::new(8, 64), 256, " causal", Mask::CAUSAL),
    (grouped(8, 2, 64), 256, " causal", Mask::CAUSAL),
    (Heads::new(4, 128), 256, " causal", Mask::CAUSAL),
    (Heads::new(8, 64), 256, " window", Mask { window: Some(64), ..Mask::CAUSAL }),
];

/// Cases are `heads/kv heads,tokens,head_dim`; the work is counted as if every query saw every key.
fn prompt(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    for (heads, tokens, name, mask) in PROMPTS {
        let Heads { query_heads, kv_heads, head_dim } = heads;
        let (width, kv_width) = (query_heads * head_dim, kv_heads * head_dim);
        let query = values(tokens * width, 1);
        let (key, value) = (values(tokens * kv_width, 2), values(tokens * kv_width, 3));
        let mut out = vec![0.0; tokens * width];
        let mut scratch = vec![0.0; attend_scratch_len(heads, &Serial).expect("a small head")];
        let scale = 1.0 / (head_dim as f32).sqrt();
        group.throughput(Throughput::Elements((4 * tokens * tokens * width) as u64));
        each_level(&mut group, &format!("{query_heads}/{kv_heads},{tokens},{head_dim}{name}"), |isa| {
            let [key, value] = [&key, &value].map(|data| Rows::new(data, kv_width));
            let (query, out) = (Rows::new(&query, width), RowsMut::new(&mut out, width));
            let segments = [Segment::of(0..tokens)];
            attend(isa, &Serial, heads, scale, query, key, value, &segments, mask, out, &mut scratch)
                .expect("shapes that fit");
        });
    }
    group.finish();
}

/// One new token; cases are `kind,heads/kv heads,keys,head_dim`, bytes are those that the cache would have in f32.
fn step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention_cached");
    for (heads, keys) in [(Heads::new(4, 32), 40), (Heads::new(12, 64), 512), (grouped(32, 8, 128), 512)] {
        for kind in [CacheKind::F32, CacheKind::F16, CacheKind::Int8] {
            let Heads { query_heads, kv_heads, head_dim } = heads;
            let (width, kv_width) = (query_heads * head_dim, kv_heads * head_dim);
            let storage = vec![0.0; KvCache::storage_len_of(kind, heads, 1, keys).expect("a small cache")];
            let bookkeeping = vec![0; KvCache::bookkeeping_len(1, keys)];
            let mut cache = KvCache::new_of(kind, heads, 1, keys, storage, bookkeeping).expect("memory of that length");
            let (key, value) = (values(keys * kv_width, 2), values(keys * kv_width, 3));
            let [key, value] = [&key, &value].map(|data| Rows::new(data, kv_width));
            cache.append_rows(0, key, value, 0..keys).expect("room");
            let (query, mut out) = (values(width, 1), vec![0.0; width]);
            let mut scratch = vec![0.0; attend_cached_scratch_len(heads, kind, &Serial).expect("a small head")];
            let scale = 1.0 / (head_dim as f32).sqrt();
            group.throughput(Throughput::Bytes((8 * keys * kv_width) as u64));
            each_level(&mut group, &format!("{kind:?},{query_heads}/{kv_heads},{keys},{head_dim}"), |isa| {
                let (query, out) = (Rows::new(&query, width), RowsMut::new(&mut out, width));
                attend_cached(isa, &Serial, heads, scale, query, &cache, &[0], Visible::default(), out, &mut scratch)
                    .expect("shapes that fit");
            });
        }
    }
    group.finish();
}

/// Rotary positions of 32 tokens with 8 heads, in place; cases are `pairing,head_dim`.
fn rotary(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rope");
    let (tokens, heads) = (32, 8);
    for pairing in [RopePairing::Halves, RopePairing::Interleaved] {
        for head_dim in [64, 128] {
            let rope = Rope { rotary_dim: head_dim, base: 10_000.0, scaling: RopeScaling::None };
            let mut table = vec![0.0; tokens * head_dim];
            rope.table(0, &mut table).expect("whole rows");
            let positions: Vec<usize> = (0..tokens).collect();
            let width = heads * head_dim;
            let mut rows = values(tokens * width, 1);
            group.throughput(Throughput::Elements((tokens * width) as u64));
            each_level(&mut group, &format!("{pairing:?},{head_dim}"), |isa| {
                let rows = RowsMut::new(&mut rows, width);
                rotate(isa, pairing, heads, head_dim, head_dim, &table, &positions, rows).expect("shapes that fit");
            });
        }
    }
    group.finish();
}

criterion_group!(benches, prompt, step, rotary);
criterion_main!(benches);
