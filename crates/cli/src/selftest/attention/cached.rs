//! One token over a cache of each kind.

use core::hint::black_box;

use kernform_attention::{CacheKind, Heads, KvCache, Rows, RowsMut, Visible, attend_cached, attend_cached_scratch_len};
use kernform_simd::Isa;
use kernform_tensor::{Serial, f16};

use super::super::data::Random;
use super::super::probe::{Effort, Outcome, Probe, Unit, Workload};
use super::batch::{Batch, Terms};
use super::{BoxError, for_shapes, shape};

macro_rules! cached {
    ($name:literal, $kind:ident) => {
        Probe {
            name: $name,
            unit: Unit::GbPerSecond,
            check: |isa, random, effort| check(isa, random, effort, CacheKind::$kind),
            workload: |_| workload(CacheKind::$kind),
        }
    };
}

pub(crate) const PROBES: [Probe; 3] = [
    cached!("attention, f32 cache", F32),
    cached!("attention, f16 cache", F16),
    cached!("attention, int8 cache", Int8),
];

type Cache = KvCache<Vec<f32>, Vec<usize>>;

/// A cache of two slots that holds the batch's sequence in the second.
fn cache(batch: &Batch, kind: CacheKind) -> Result<Cache, BoxError> {
    let (heads, tokens) = (batch.heads, batch.longest());
    let storage = vec![0.0; KvCache::storage_len_of(kind, heads, 2, tokens)?];
    let bookkeeping = vec![0; KvCache::bookkeeping_len(2, tokens)];
    let mut cache = KvCache::new_of(kind, heads, 2, tokens, storage, bookkeeping)?;
    let [_, key, value] = batch.rows();
    cache.append_rows(1, key, value, 0..tokens)?;
    Ok(cache)
}

/// The last token attends to the cache.
fn attend(
    isa: Isa,
    batch: &Batch,
    cache: &Cache,
    window: Option<usize>,
    out: &mut [f32],
    scratch: &mut [f32],
) -> Result<(), BoxError> {
    let last = &batch.query[(batch.longest() - 1) * batch.query_width()..];
    let (query, out) = (Rows::new(last, batch.query_width()), RowsMut::new(out, batch.query_width()));
    let visible = Visible { window, ..Visible::default() };
    attend_cached(isa, &Serial, batch.heads, batch.scale(), query, cache, &[1], visible, out, scratch)?;
    Ok(())
}

/// What a cache makes of rows: the rule of [`CacheKind`], element by element.
fn stored(kind: CacheKind, head_dim: usize, data: &[f32]) -> Vec<f32> {
    match kind {
        CacheKind::F32 => data.to_vec(),
        CacheKind::F16 => data.iter().map(|x| f16::from_f32(*x).to_f32()).collect(),
        CacheKind::Int8 => data.chunks(head_dim).flat_map(stored_in_bytes).collect(),
    }
}

/// One head of one token in eight bits.
fn stored_in_bytes(row: &[f32]) -> Vec<f32> {
    if row.iter().any(|x| !x.is_finite()) {
        return vec![f32::NAN; row.len()];
    }
    let scale = row.iter().fold(0.0, |largest: f32, x| largest.max(x.abs())) / 127.0;
    // The quotients of a row of zeros are NaN, which becomes 0.
    let byte = |x: &f32| (x / scale).clamp(-127.0, 127.0).round_ties_even() as i8;
    row.iter().map(|x| f32::from(byte(x)) * scale).collect()
}

fn check(isa: Isa, random: &mut Random, effort: Effort, kind: CacheKind) -> Outcome {
    for_shapes(random, effort, |random, number, heads, tokens, hostile| {
        let mut batch = Batch::new(random, heads, &[tokens], hostile);
        let terms = Terms { window: (number % 2 == 1).then_some(20), ..Terms::causal() };
        let mut found = vec![0.0; batch.query_width()];
        let mut scratch = vec![0.0; attend_cached_scratch_len(heads, kind, &Serial)?];
        attend(isa, &batch, &cache(&batch, kind)?, terms.window, &mut found, &mut scratch)?;
        batch.key = stored(kind, heads.head_dim, &batch.key);
        batch.value = stored(kind, heads.head_dim, &batch.value);
        Ok(Outcome::compare(shape(heads, tokens), &found, &batch.expected(isa, &terms, 0, tokens - 1)))
    })
}

/// 16 KiB of keys and values in f32; the speed counts them as if every cache were one.
fn workload(kind: CacheKind) -> Workload {
    let heads = Heads::new(2, 32);
    let batch = Batch::new(&mut Random::new(5), heads, &[32], false);
    let cache = cache(&batch, kind).ok();
    let mut out = vec![0.0; batch.query_width()];
    let mut scratch = vec![0.0; attend_cached_scratch_len(heads, kind, &Serial).unwrap_or_default()];
    let amount = (2 * batch.key.len() * size_of::<f32>()) as f64;
    let run = move |isa: Isa| {
        if let Some(cache) = &cache {
            drop(attend(isa, &batch, black_box(cache), None, &mut out, &mut scratch));
        }
    };
    Workload { amount, run: Box::new(run) }
}
