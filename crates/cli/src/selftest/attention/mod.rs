//! Attention over rows and over a cache, and rotary positions.

mod batch;
mod cached;
mod rotary;

use core::hint::black_box;

use kernform_attention::Heads;
use kernform_attention::relative::alibi_slopes;
use kernform_simd::Isa;

use self::batch::{Batch, Terms};
use super::data::Random;
use super::probe::{Effort, Outcome, Probe, Unit, Workload};

type BoxError = Box<dyn core::error::Error>;

macro_rules! rows {
    ($name:literal, $kind:ident) => {
        Probe {
            name: $name,
            unit: Unit::Gflops,
            check: |isa, random, effort| check(isa, random, effort, Kind::$kind),
            workload: |effort| workload(effort, Kind::$kind),
        }
    };
}

pub(crate) const PROBES: [Probe; 4] = [
    rows!("attention, causal", Causal),
    rows!("attention, window", Window),
    rows!("attention, biases", Biased),
    rows!("attention, ragged", Ragged),
];
pub(crate) use cached::PROBES as CACHED;
pub(crate) use rotary::PROBES as ROTARY;

/// What distinguishes a probe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One sequence, causal.
    Causal,
    /// The same with a sliding window.
    Window,
    /// Scores with a cap, with slopes by distance (ALiBi), with a bias by distance (T5), with a bias of their own.
    Biased,
    /// Sequences of different lengths in one call, padding among their keys.
    Ragged,
}

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

/// Runs `compare` for each shape, in turn with ordinary and with hostile values.
fn for_shapes(
    random: &mut Random,
    effort: Effort,
    compare: impl Fn(&mut Random, usize, Heads, usize, bool) -> Result<Outcome, BoxError>,
) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, (query_heads, kv_heads, head_dim, tokens)) in effort.shapes(SHAPES).enumerate() {
        let heads = Heads { query_heads, kv_heads, head_dim };
        outcome += compare(random, number, heads, tokens, number % 3 == 2)
            .unwrap_or_else(|error| Outcome::refused(shape(heads, tokens), error));
    }
    outcome
}

fn shape(Heads { query_heads, kv_heads, head_dim }: Heads, tokens: usize) -> String {
    format!("{query_heads} heads, {kv_heads} key-value heads, width {head_dim}, {tokens} tokens")
}

/// The lengths of the sequences of a case; those of a ragged batch have `tokens` together, and one is empty.
fn lengths(kind: Kind, tokens: usize) -> Vec<usize> {
    if kind == Kind::Ragged { vec![tokens / 4, 0, tokens - tokens / 4 - tokens / 3, tokens / 3] } else { vec![tokens] }
}

/// What the queries of case `number` see.
fn terms(kind: Kind, random: &mut Random, number: usize, batch: &Batch) -> Terms {
    let (heads, longest) = (batch.heads.query_heads, batch.longest());
    let tokens = batch.query.len() / batch.query_width().max(1);
    match kind {
        Kind::Causal => Terms::causal(),
        // With and without causality; a window of 0 lets nothing through.
        Kind::Window => {
            Terms { causal: number.is_multiple_of(2), window: Some([16, 3, 140, 0][number % 4]), ..Terms::default() }
        }
        Kind::Ragged => {
            let lengths = batch.segments.iter().map(|segment| random.below(segment.key.len() + 1)).collect();
            let flags = (0..tokens).map(|_| random.below(4) > 0).collect();
            let causal = number % 4 < 2;
            if number.is_multiple_of(2) {
                Terms { causal, lengths: Some(lengths), ..Terms::default() }
            } else {
                Terms { causal, flags: Some(flags), ..Terms::default() }
            }
        }
        Kind::Biased => {
            let mut slopes = vec![0.0; heads];
            alibi_slopes(&mut slopes);
            let mut data = |len: usize| random.ordinary_values(len);
            let mut bias = data(heads * longest * longest);
            bias.iter_mut().step_by(7).for_each(|bias| *bias = f32::NEG_INFINITY);
            Terms {
                causal: number.is_multiple_of(2),
                softcap: (number % 3 == 1).then_some(5.0),
                slopes: (number % 4 != 3).then_some(slopes),
                by_distance: number.is_multiple_of(3).then(|| data(heads * (2 * longest).saturating_sub(1))),
                bias: number.is_multiple_of(2).then_some(bias),
                ..Terms::default()
            }
        }
    }
}

fn check(isa: Isa, random: &mut Random, effort: Effort, kind: Kind) -> Outcome {
    for_shapes(random, effort, |random, number, heads, tokens, hostile| {
        let batch = Batch::new(random, heads, &lengths(kind, tokens), hostile);
        let terms = terms(kind, random, number, &batch);
        let mut found = vec![0.0; batch.query.len()];
        batch.attend(isa, &terms, &mut found, &mut batch.scratch()?)?;
        let mut expected = Vec::with_capacity(found.len());
        for (number, segment) in batch.segments.iter().enumerate() {
            (0..segment.query.len()).for_each(|query| expected.extend(batch.expected(isa, &terms, number, query)));
        }
        Ok(Outcome::compare(shape(heads, tokens), &found, &expected))
    })
}

fn workload(effort: Effort, kind: Kind) -> Workload {
    let tokens = if effort == Effort::Quick { 64 } else { 256 };
    let mut random = Random::new(4);
    let batch = Batch::new(&mut random, Heads::new(2, 64), &lengths(kind, tokens), false);
    let terms = terms(kind, &mut random, 0, &batch);
    let mut out = vec![0.0; batch.query.len()];
    let mut scratch = batch.scratch().unwrap_or_default();
    // Two products over the keys that are seen.
    let queries =
        batch.segments.iter().enumerate().flat_map(|(n, segment)| (0..segment.query.len()).map(move |q| (n, q)));
    let pairs: usize = queries.map(|(number, query)| batch.seen(&terms, number, query).0.len()).sum();
    let amount = 4.0 * (pairs * batch.query_width()) as f64;
    // What is refused shows in the comparison.
    let run = move |isa: Isa| drop(batch.attend(isa, &terms, black_box(&mut out), &mut scratch));
    Workload { amount, run: Box::new(run) }
}
