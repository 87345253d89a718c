//! Attention over rows and over caches of all kinds.

use alloc::string::{String, ToString};
use alloc::{format, vec};

use kernform::Isa;
use kernform::attention::{
    AttentionError, CacheKind, Heads, KvCache, Mask, Rows, RowsMut, Segment, Visible, attend, attend_cached,
    attend_cached_scratch_len, attend_scratch_len,
};
use kernform::tensor::Serial;

use crate::digest::{Random, digest};

/// Query heads, key-value heads, head width, tokens: one with more keys than a block.
const SHAPES: [(usize, usize, usize, usize); 4] = [(1, 1, 8, 1), (4, 2, 16, 17), (2, 1, 64, 31), (1, 1, 20, 150)];

pub(crate) fn run(isa: Isa, line: &mut dyn FnMut(&str, u64)) -> crate::Result {
    let mut random = Random(3);
    for (query_heads, kv_heads, head_dim, tokens) in SHAPES {
        let heads = Heads { query_heads, kv_heads, head_dim };
        let mut rows = |heads: usize| random.ordinary(tokens * heads * head_dim);
        let (query, key, value) = (rows(query_heads), rows(kv_heads), rows(kv_heads));
        let shape = format!("{query_heads} / {kv_heads} heads of {head_dim}, {tokens} tokens");
        let wrong = |error: AttentionError| -> String { error.to_string() };
        line(&format!("attention, {shape}"), causal(isa, heads, tokens, &query, &key, &value).map_err(wrong)?);
        for kind in [CacheKind::F32, CacheKind::F16, CacheKind::Int8] {
            let found = cached(isa, kind, heads, tokens, &query, &key, &value).map_err(wrong)?;
            line(&format!("attention over a cache of {kind:?}, {shape}"), found);
        }
    }
    Ok(())
}

fn causal(
    isa: Isa,
    heads: Heads,
    tokens: usize,
    query: &[f32],
    key: &[f32],
    value: &[f32],
) -> Result<u64, AttentionError> {
    let (width, kv_width) = (heads.query_heads * heads.head_dim, heads.kv_heads * heads.head_dim);
    let (query, key, value) = (Rows::new(query, width), Rows::new(key, kv_width), Rows::new(value, kv_width));
    let mut out = vec![0.0; tokens * width];
    let mut scratch = vec![f32::NAN; attend_scratch_len(heads, &Serial)?];
    let (segments, rows) = ([Segment::of(0..tokens)], RowsMut::new(&mut out, width));
    attend(isa, &Serial, heads, 0.3, query, key, value, &segments, Mask::CAUSAL, rows, &mut scratch)?;
    Ok(digest(&out))
}

fn cached(
    isa: Isa,
    kind: CacheKind,
    heads: Heads,
    tokens: usize,
    query: &[f32],
    key: &[f32],
    value: &[f32],
) -> Result<u64, AttentionError> {
    let (width, kv_width) = (heads.query_heads * heads.head_dim, heads.kv_heads * heads.head_dim);
    let storage = vec![0.0; KvCache::storage_len_of(kind, heads, 1, tokens)?];
    let mut cache = KvCache::new_of(kind, heads, 1, tokens, storage, vec![0; KvCache::bookkeeping_len(1, tokens)])?;
    cache.append_rows(0, Rows::new(key, kv_width), Rows::new(value, kv_width), 0..tokens)?;
    let mut out = vec![0.0; width];
    let mut scratch = vec![f32::NAN; attend_cached_scratch_len(heads, kind, &Serial)?];
    let (last, rows) = (Rows::new(&query[(tokens - 1) * width..], width), RowsMut::new(&mut out, width));
    attend_cached(isa, &Serial, heads, 0.3, last, &cache, &[0], Visible::default(), rows, &mut scratch)?;
    Ok(digest(&out))
}
