//! Attention over rows, and one decoding step over a cache.

use kernform_attention::{
    CacheKind, Heads, KvCache, Mask, Rows, RowsMut, Segment, Visible, attend, attend_cached, attend_cached_scratch_len,
    attend_scratch_len,
};
use kernform_simd::Isa;
use kernform_tensor::{Arena, ScratchPlan, Serial};

use super::CANDLE;
#[cfg(feature = "peers")]
use super::candle;
use crate::Settings;
use crate::alternate::{Contestant, alternate};
use crate::machine;
use crate::report::{Ratio, Row, Table};

/// `[batch, heads, tokens, head_dim]`, and whether it is causal.
const SHAPES: &[(usize, usize, usize, usize, bool)] = &[
    (1, 12, 512, 32, false),
    (8, 12, 128, 32, false),
    (1, 8, 2048, 64, true),
    (1, 12, 128, 64, false),
    (1, 8, 1024, 128, true),
    (1, 4, 512, 256, true),
];

/// Query heads, key-value heads, keys and `head_dim` of one new token.
const STEPS: &[(usize, usize, usize, usize)] = &[(32, 8, 4096, 128), (32, 8, 512, 128), (12, 12, 1024, 64)];

/// Rows and keys of the pronunciation model's steps, 4 heads of 32.
const MODEL_STEPS: &[(usize, usize)] = &[(1, 8), (1, 16), (1, 40), (64, 8), (64, 16), (64, 40)];

const TOKEN_MAJOR: &str = "token-major";
const HEAD_MAJOR: &str = "head-major";
const PEAK: &str = "FMA peak";
const READ: &str = "read";

fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 31) % 1009) as f32 / 252.0 - 2.0).collect()
}

/// `len` elements of an operand from its first cache line on.
fn aligned(operand: &mut [f32], len: usize) -> &mut [f32] {
    Arena::aligned(operand).take(len).expect("room for a line more")
}

/// One call of `attend` over rows of all heads, or with each head of each sequence as a segment of its own.
fn rows_contestant(
    (batch, heads, tokens, head_dim, causal): (usize, usize, usize, usize, bool),
    head_major: bool,
) -> Contestant<'static> {
    let (name, shape, count) = if head_major {
        (HEAD_MAJOR, Heads::new(1, head_dim), batch * heads)
    } else {
        (TOKEN_MAJOR, Heads::new(heads, head_dim), batch)
    };
    let width = shape.query_heads * head_dim;
    let segments: Vec<Segment> = (0..count).map(|i| Segment::of(i * tokens..(i + 1) * tokens)).collect();
    let len = batch * heads * tokens * head_dim;
    // Each operand begins with a cache line, as PyTorch's do.
    let operand_len = ScratchPlan::new().take(len).finish_aligned().expect("a few megabytes");
    let mut operands = [1, 2, 3, 4].map(|seed| {
        let mut operand = vec![0.0; operand_len];
        aligned(&mut operand, len).copy_from_slice(&values(len, seed));
        operand
    });
    let mut scratch = vec![0.0; attend_scratch_len(shape, &Serial).expect("a small head")];
    let mask = if causal { Mask::CAUSAL } else { Mask::NONE };
    let scale = 1.0 / (head_dim as f32).sqrt();
    Contestant::new(name, move || {
        let [query, key, value, out] = operands.each_mut().map(|operand| aligned(operand, len));
        let [query, key, value] = [&*query, &*key, &*value].map(|operand| Rows::new(operand, width));
        let out = RowsMut::new(out, width);
        attend(Isa::best(), &Serial, shape, scale, query, key, value, &segments, mask, out, &mut scratch)
            .expect("shapes that fit");
    })
}

#[cfg(feature = "peers")]
fn peers(shape: (usize, usize, usize, usize, bool)) -> Option<Contestant<'static>> {
    let (batch, heads, tokens, head_dim, _) = shape;
    let [query, key, value] = [1, 2, 3].map(|seed| values(batch * heads * tokens * head_dim, seed));
    Some(candle::attention([&query, &key, &value], shape))
}

#[cfg(not(feature = "peers"))]
fn peers(_: (usize, usize, usize, usize, bool)) -> Option<Contestant<'static>> {
    None
}

fn rows_table(settings: &Settings) -> Table {
    let (mut peak, peak_work) = machine::fma_peak();
    let mut rows = Vec::new();
    for &shape in SHAPES {
        let (batch, heads, tokens, head_dim, causal) = shape;
        let name = format!("{batch},{heads},{tokens},{head_dim}{}", if causal { " causal" } else { "" });
        if !name.contains(&settings.case) {
            continue;
        }
        let mut contestants = vec![rows_contestant(shape, true), rows_contestant(shape, false)];
        contestants.extend(peers(shape));
        contestants.push(Contestant::new(PEAK, &mut peak));
        let pairs = (batch * heads * tokens * tokens) as f64 / if causal { 2.0 } else { 1.0 };
        let timings = alternate(&mut contestants, settings.rounds);
        rows.push(Row { case: name, work: 4.0 * pairs * head_dim as f64, timings });
    }
    let ratio = |title, ours: &str, peer: &str| Ratio { title, ours: ours.into(), peers: vec![peer.into()] };
    let mut ratios = vec![ratio("head-major / token-major", HEAD_MAJOR, TOKEN_MAJOR)];
    if cfg!(feature = "peers") {
        ratios.push(ratio("token-major / candle", TOKEN_MAJOR, CANDLE));
    }
    let limit = Some((PEAK.to_owned(), peak_work));
    let title = "attention over rows, case batch,heads,tokens,head_dim".to_owned();
    let table = Table { title, unit: "GFLOP/s", ratios, limit, rows };
    table.print();
    table
}

/// `rows` rows, each over a slot of its own with `keys` keys.
fn step_contestant(kind: CacheKind, heads: Heads, rows: usize, keys: usize) -> Contestant<'static> {
    let Heads { query_heads, kv_heads, head_dim } = heads;
    let storage = vec![0.0; KvCache::storage_len_of(kind, heads, rows, keys).expect("a small cache")];
    let bookkeeping = vec![0; KvCache::bookkeeping_len(rows, keys)];
    let mut cache = KvCache::new_of(kind, heads, rows, keys, storage, bookkeeping).expect("memory that was asked for");
    let (key, value) = (values(keys * kv_heads * head_dim, 2), values(keys * kv_heads * head_dim, 3));
    for slot in 0..rows {
        let [key, value] = [&key, &value].map(|data| Rows::new(data, kv_heads * head_dim));
        cache.append_rows(slot, key, value, 0..keys).expect("room");
    }
    let width = query_heads * head_dim;
    let (query, mut out) = (values(rows * width, 1), vec![0.0; rows * width]);
    let mut scratch = vec![0.0; attend_cached_scratch_len(heads, kind, &Serial).expect("a small head")];
    let slots: Vec<usize> = (0..rows).collect();
    let scale = 1.0 / (head_dim as f32).sqrt();
    Contestant::new(format!("{kind:?}"), move || {
        let (query, out) = (Rows::new(&query, width), RowsMut::new(&mut out, width));
        attend_cached(Isa::best(), &Serial, heads, scale, query, &cache, &slots, Visible::default(), out, &mut scratch)
            .expect("shapes that fit");
    })
}

fn steps_table(settings: &Settings) -> Table {
    let long = STEPS
        .iter()
        .map(|&(query_heads, kv_heads, keys, head_dim)| (Heads { query_heads, kv_heads, head_dim }, 1, keys));
    let short = MODEL_STEPS.iter().map(|&(rows, keys)| (Heads::new(4, 32), rows, keys));
    let mut rows = Vec::new();
    for (heads, batch, keys) in long.chain(short) {
        let Heads { query_heads, kv_heads, head_dim } = heads;
        let name = format!("{batch},{query_heads}/{kv_heads},{keys},{head_dim}");
        if !name.contains(&settings.case) {
            continue;
        }
        let data = values(batch * keys * kv_heads * head_dim * 2, 1);
        let mut contestants = [CacheKind::F32, CacheKind::F16, CacheKind::Int8]
            .map(|kind| step_contestant(kind, heads, batch, keys))
            .into_iter()
            .collect::<Vec<_>>();
        contestants.push(Contestant::new(READ, machine::read_all(&data)));
        let timings = alternate(&mut contestants, settings.rounds);
        rows.push(Row { case: name, work: 4.0 * data.len() as f64, timings });
    }
    let ratio = |title, ours: &str| Ratio { title, ours: ours.into(), peers: vec![READ.into()] };
    let ratios = vec![ratio("F32 / read", "F32"), ratio("F16 / read", "F16"), ratio("Int8 / read", "Int8")];
    let title = "attention over a cache, case rows,heads/kv heads,keys,head_dim".to_owned();
    let table = Table { title, unit: "GB/s, as if in f32", ratios, limit: None, rows };
    table.print();
    table
}

pub(crate) fn run(settings: &Settings) -> Vec<Table> {
    vec![rows_table(settings), steps_table(settings)]
}
