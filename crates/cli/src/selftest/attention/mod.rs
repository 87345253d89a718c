//! Attention over rows and over a cache.

use core::hint::black_box;

use kernform_attention::{
    CacheKind, Heads, KvCache, Mask, Rows, RowsMut, Segment, Visible, attend, attend_cached, attend_cached_scratch_len,
    attend_scratch_len, reference,
};
use kernform_simd::Isa;
use kernform_tensor::Serial;

use super::data::Random;
use super::probe::{Effort, Outcome, Probe, Unit, Workload, in_class};

type BoxError = Box<dyn core::error::Error>;

pub(crate) const PROBES: [Probe; 2] = [
    Probe { name: "attention, causal", unit: Unit::Gflops, check: check_rows, workload: rows_workload },
    Probe { name: "attention, cached", unit: Unit::GbPerSecond, check: check_cached, workload: cached_workload },
];

/// Query heads, key-value heads, head width and tokens: tile edges, grouped heads, more than one block of keys.
const SHAPES: [(usize, usize, usize, usize); 12] = [
    (1, 1, 1, 1),
    (2, 2, 8, 5),
    (4, 4, 32, 16),
    (4, 2, 16, 17),
    (3, 3, 5, 7),
    (2, 1, 64, 31),
    (6, 2, 12, 33),
    (2, 2, 20, 129),
    (1, 1, 64, 127),
    (1, 1, 40, 257),
    (8, 8, 16, 9),
    (2, 2, 128, 12),
];

/// Queries, keys and values of one sequence.
struct Sequence {
    heads: Heads,
    tokens: usize,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
}

impl Sequence {
    fn new(random: &mut Random, heads: Heads, tokens: usize, hostile: bool) -> Self {
        let mut values = |heads: usize, head_dim: usize| random.values(tokens * heads * head_dim, hostile);
        Self {
            query: values(heads.query_heads, heads.head_dim),
            key: values(heads.kv_heads, heads.head_dim),
            value: values(heads.kv_heads, heads.head_dim),
            heads,
            tokens,
        }
    }

    fn query_width(&self) -> usize {
        self.heads.query_heads * self.heads.head_dim
    }

    fn kv_width(&self) -> usize {
        self.heads.kv_heads * self.heads.head_dim
    }

    fn scale(&self) -> f32 {
        1.0 / (self.heads.head_dim as f32).sqrt()
    }

    fn rows(&self) -> [Rows<'_>; 3] {
        [
            Rows::new(&self.query, self.query_width()),
            Rows::new(&self.key, self.kv_width()),
            Rows::new(&self.value, self.kv_width()),
        ]
    }

    /// Causal attention of all tokens.
    fn attend(&self, isa: Isa, out: &mut [f32], scratch: &mut [f32]) -> Result<(), BoxError> {
        let [query, key, value] = self.rows();
        let out = RowsMut::new(out, self.query_width());
        let segments = [Segment::of(0..self.tokens)];
        attend(isa, &Serial, self.heads, self.scale(), query, key, value, &segments, Mask::CAUSAL, out, scratch)?;
        Ok(())
    }

    fn scratch(&self) -> Result<Vec<f32>, BoxError> {
        Ok(vec![0.0; attend_scratch_len(self.heads, &Serial)?])
    }

    /// What the reference gives for the token `query`, which sees the first `keys` keys.
    fn expected(&self, isa: Isa, query: usize, keys: usize) -> Vec<f32> {
        let Heads { query_heads, kv_heads, head_dim } = self.heads;
        let mut out = vec![0.0; self.query_width()];
        for (head, out) in out.chunks_mut(head_dim).enumerate() {
            let shared = head / (query_heads / kv_heads);
            let row = |data: &'_ [f32], token: usize| -> Vec<f32> {
                data[token * self.kv_width() + shared * head_dim..][..head_dim].to_vec()
            };
            let all: Vec<_> = (0..keys).map(|token| (row(&self.key, token), row(&self.value, token))).collect();
            let query = &self.query[query * self.query_width() + head * head_dim..][..head_dim];
            let (key, value) = (|token: usize| all[token].0.as_slice(), |token: usize| all[token].1.as_slice());
            in_class!(isa, Class => {
                reference::attend_query::<Class, f32>(query, self.scale(), 0, keys, key, value, |_, s| s, out);
            });
        }
        out
    }

    /// A cache of two slots that holds the sequence in the second.
    fn cache(&self) -> Result<KvCache<Vec<f32>, Vec<usize>>, BoxError> {
        let storage = vec![0.0; KvCache::storage_len(self.heads, 2, self.tokens)?];
        let mut cache =
            KvCache::new(self.heads, 2, self.tokens, storage, vec![0; KvCache::bookkeeping_len(2, self.tokens)])?;
        let [_, key, value] = self.rows();
        cache.append_rows(1, key, value, 0..self.tokens)?;
        Ok(cache)
    }

    /// The last token attends to the cache.
    fn attend_cached(
        &self,
        isa: Isa,
        cache: &KvCache<Vec<f32>, Vec<usize>>,
        out: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), BoxError> {
        let last = &self.query[(self.tokens - 1) * self.query_width()..];
        let (query, out) = (Rows::new(last, self.query_width()), RowsMut::new(out, self.query_width()));
        attend_cached(isa, &Serial, self.heads, self.scale(), query, cache, &[1], Visible::default(), out, scratch)?;
        Ok(())
    }
}

/// Runs `compare` for each shape, in turn with ordinary and with hostile values.
fn for_shapes(
    random: &mut Random,
    effort: Effort,
    compare: impl Fn(&Sequence, &str) -> Result<Outcome, BoxError>,
) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, (query_heads, kv_heads, head_dim, tokens)) in effort.shapes(SHAPES).enumerate() {
        let heads = Heads { query_heads, kv_heads, head_dim };
        let sequence = Sequence::new(random, heads, tokens, number % 3 == 2);
        let shape = format!("{query_heads} heads, {kv_heads} key-value heads, width {head_dim}, {tokens} tokens");
        outcome += compare(&sequence, &shape).unwrap_or_else(|error| Outcome::refused(&shape, error));
    }
    outcome
}

fn check_rows(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    for_shapes(random, effort, |sequence, shape| {
        let mut found = vec![0.0; sequence.query.len()];
        sequence.attend(isa, &mut found, &mut sequence.scratch()?)?;
        let expected: Vec<f32> =
            (0..sequence.tokens).flat_map(|token| sequence.expected(isa, token, token + 1)).collect();
        Ok(Outcome::compare(shape, &found, &expected))
    })
}

fn check_cached(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    for_shapes(random, effort, |sequence, shape| {
        let mut found = vec![0.0; sequence.query_width()];
        let mut scratch = vec![0.0; attend_cached_scratch_len(sequence.heads, CacheKind::F32, &Serial)?];
        sequence.attend_cached(isa, &sequence.cache()?, &mut found, &mut scratch)?;
        let expected = sequence.expected(isa, sequence.tokens - 1, sequence.tokens);
        Ok(Outcome::compare(shape, &found, &expected))
    })
}

fn rows_workload(effort: Effort) -> Workload {
    let tokens = if effort == Effort::Quick { 64 } else { 256 };
    let sequence = Sequence::new(&mut Random::new(4), Heads::new(2, 64), tokens, false);
    let mut out = vec![0.0; sequence.query.len()];
    let mut scratch = sequence.scratch().unwrap_or_default();
    // Two products over the keys that are seen: half of all pairs.
    let pairs = (tokens * (tokens + 1) / 2) as f64;
    let amount = 4.0 * pairs * sequence.query_width() as f64;
    // What is refused shows in the comparison.
    let run = move |isa: Isa| drop(sequence.attend(isa, black_box(&mut out), &mut scratch));
    Workload { amount, run: Box::new(run) }
}

fn cached_workload(_: Effort) -> Workload {
    // 16 KiB of keys and values.
    let sequence = Sequence::new(&mut Random::new(5), Heads::new(2, 32), 32, false);
    let cache = sequence.cache().ok();
    let mut out = vec![0.0; sequence.query_width()];
    let mut scratch = vec![0.0; attend_cached_scratch_len(sequence.heads, CacheKind::F32, &Serial).unwrap_or_default()];
    let amount = (2 * sequence.key.len() * size_of::<f32>()) as f64;
    let run = move |isa: Isa| {
        if let Some(cache) = &cache {
            drop(sequence.attend_cached(isa, black_box(cache), &mut out, &mut scratch));
        }
    };
    Workload { amount, run: Box::new(run) }
}
