//! Cases of attention and what the reference gives for them.

#![allow(dead_code)] // each test binary uses its part

use core::ops::Range;
use kernform_attention::{Bias, Heads, KeptKeys, Mask, RelativeBias, Rows, ScoreTerms, Segment, reference};
use kernform_simd::{Arithmetic, Class, Fused, Isa, Unfused};
use kernform_testkit::Guarded;
use kernform_testkit::strategies::extent_near;
use proptest::prelude::*;
use reference::ReferenceFloat;

/// Owned operands of one call.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) heads: Heads,
    pub(crate) scale: f32,
    pub(crate) query: Vec<f32>,
    pub(crate) key: Vec<f32>,
    pub(crate) value: Vec<f32>,
    pub(crate) query_stride: usize,
    pub(crate) key_stride: usize,
    pub(crate) out_stride: usize,
    pub(crate) segments: Vec<Segment>,
    pub(crate) causal: bool,
    pub(crate) window: Option<usize>,
    pub(crate) kept: Kept,
    pub(crate) bias: Option<Added>,
    pub(crate) softcap: Option<f32>,
    /// One slope a head.
    pub(crate) alibi: Option<Vec<f32>>,
    /// Data, head stride and zero.
    pub(crate) relative: Option<(Vec<f32>, usize, usize)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kept {
    All,
    Flags(Vec<bool>),
    Lengths(Vec<usize>),
}

#[derive(Clone, Debug)]
pub(crate) struct Added {
    pub(crate) data: Vec<f32>,
    /// Segment, head, query, key.
    pub(crate) strides: [usize; 4],
}

impl Added {
    pub(crate) fn view(&self) -> Bias<'_> {
        let [segment_stride, head_stride, query_stride, key_stride] = self.strides;
        Bias { data: &self.data, segment_stride, head_stride, query_stride, key_stride }
    }
}

impl Case {
    pub(crate) fn mask(&self) -> Mask<'_> {
        let keys = match &self.kept {
            Kept::All => KeptKeys::All,
            Kept::Flags(flags) => KeptKeys::Flags(flags),
            Kept::Lengths(lengths) => KeptKeys::Lengths(lengths),
        };
        Mask { causal: self.causal, window: self.window, keys, terms: self.terms() }
    }

    pub(crate) fn terms(&self) -> ScoreTerms<'_> {
        ScoreTerms {
            softcap: self.softcap,
            alibi: self.alibi.as_deref(),
            relative: self.relative.as_ref().map(|(data, head_stride, zero)| RelativeBias {
                data,
                head_stride: *head_stride,
                zero: *zero,
            }),
            bias: self.bias.as_ref().map(Added::view),
        }
    }

    pub(crate) fn queries(&self) -> usize {
        self.segments.last().map_or(0, |segment| segment.query.end)
    }

    pub(crate) fn out_len(&self) -> usize {
        match self.queries() {
            0 => 0,
            n => (n - 1) * self.out_stride + self.heads.query_heads * self.heads.head_dim,
        }
    }

    pub(crate) fn query_rows(&self) -> Rows<'_> {
        Rows::new(&self.query, self.query_stride)
    }

    pub(crate) fn key_rows(&self) -> Rows<'_> {
        Rows::new(&self.key, self.key_stride)
    }

    pub(crate) fn value_rows(&self) -> Rows<'_> {
        Rows::new(&self.value, self.key_stride)
    }

    /// Whether a key is a real token.
    fn is_kept(&self, number: usize, key: usize) -> bool {
        match &self.kept {
            Kept::All => true,
            Kept::Flags(flags) => flags[self.segments[number].key.start + key],
            Kept::Lengths(lengths) => key < lengths[number],
        }
    }

    /// The key at which a query stands.
    pub(crate) fn position(&self, number: usize, query: usize) -> isize {
        let segment = &self.segments[number];
        query as isize + segment.key.len() as isize - segment.query.len() as isize
    }

    /// The keys that a query sees, as indices into its segment.
    pub(crate) fn seen(&self, number: usize, query: usize) -> Vec<usize> {
        let position = self.position(number, query);
        (0..self.segments[number].key.len())
            .filter(|&j| !self.causal || j as isize <= position)
            .filter(|&j| self.window.is_none_or(|window| (j as isize).abs_diff(position) < window))
            .filter(|&j| self.is_kept(number, j))
            .collect()
    }

    /// The place of the first key that a query sees among those that are there.
    pub(crate) fn first_place(&self, number: usize, seen: &[usize]) -> usize {
        (0..seen.first().copied().unwrap_or(0)).filter(|&j| self.is_kept(number, j)).count()
    }

    /// What is done to the score of a key.
    pub(crate) fn adjust<A: Arithmetic, T: ReferenceFloat>(
        &self,
        (number, head, query): (usize, usize, usize),
        key: usize,
        score: T,
    ) -> T {
        let float = |x: f32| T::from(x).unwrap();
        let mut score = score;
        if let Some(cap) = self.softcap {
            score = reference::softcap::<A, T>(score, float(cap));
        }
        let position = self.position(number, query);
        if let Some(slopes) = &self.alibi {
            let distance = (key as isize).abs_diff(position) as f32;
            score = reference::add_alibi::<A, T>(score, float(slopes[head]), float(distance));
        }
        if let Some((data, head_stride, zero)) = &self.relative {
            let at = (head * head_stride + zero) as isize + key as isize - position;
            score = reference::add_bias::<A, T>(score, float(data[at as usize]));
        }
        if let Some(bias) = self.bias_at(number, head, query, key) {
            score = reference::add_bias::<A, T>(score, float(bias));
        }
        score
    }

    pub(crate) fn bias_at(&self, number: usize, head: usize, query: usize, key: usize) -> Option<f32> {
        self.bias.as_ref().map(|bias| {
            let [s, h, q, k] = bias.strides;
            bias.data[number * s + head * h + query * q + key * k]
        })
    }

    /// The sizes of what is added to a score, infinite ones left out, and of the cap.
    pub(crate) fn terms_added(&self, number: usize, head: usize, query: usize, key: usize) -> f64 {
        let position = self.position(number, query);
        let distance = (key as isize).abs_diff(position) as f64;
        let alibi = self.alibi.as_ref().map_or(0.0, |slopes| f64::from(slopes[head]) * distance);
        let relative = self.relative.as_ref().map_or(0.0, |(data, head_stride, zero)| {
            f64::from(data[((head * head_stride + zero) as isize + key as isize - position) as usize])
        });
        let bias = self.bias_at(number, head, query, key).map_or(0.0, f64::from);
        let added = [alibi, relative, bias, f64::from(self.softcap.unwrap_or(0.0))];
        added.into_iter().map(f64::abs).filter(|x| x.is_finite()).sum()
    }

    /// Calls `each(segment, head, query)` for every output row of a head.
    pub(crate) fn for_each_row(&self, mut each: impl FnMut(usize, usize, usize)) {
        for (number, segment) in self.segments.iter().enumerate() {
            for head in 0..self.heads.query_heads {
                for query in 0..segment.query.len() {
                    each(number, head, query);
                }
            }
        }
    }

    pub(crate) fn query_part(&self, number: usize, head: usize, query: usize) -> &[f32] {
        let start = (self.segments[number].query.start + query) * self.query_stride + head * self.heads.head_dim;
        &self.query[start..][..self.heads.head_dim]
    }

    pub(crate) fn key_part<'a>(&self, data: &'a [f32], number: usize, head: usize, key: usize) -> &'a [f32] {
        let kv_head = head / (self.heads.query_heads / self.heads.kv_heads);
        let start = (self.segments[number].key.start + key) * self.key_stride + kv_head * self.heads.head_dim;
        &data[start..][..self.heads.head_dim]
    }

    /// The reference's output; elements that belong to no row are `fill`.
    pub(crate) fn expected(&self, class: Class, fill: f32) -> Vec<f32> {
        match class {
            Class::Fused => self.expected_in::<Fused>(fill),
            Class::Unfused => self.expected_in::<Unfused>(fill),
        }
    }

    fn expected_in<A: Arithmetic>(&self, fill: f32) -> Vec<f32> {
        let mut out = vec![fill; self.out_len()];
        self.for_each_row(|number, head, query| {
            let seen = self.seen(number, query);
            let start = (self.segments[number].query.start + query) * self.out_stride + head * self.heads.head_dim;
            reference::attend_query::<A, f32>(
                self.query_part(number, head, query),
                self.scale,
                self.first_place(number, &seen),
                seen.len(),
                |j| self.key_part(&self.key, number, head, seen[j]),
                |j| self.key_part(&self.value, number, head, seen[j]),
                |j, score| self.adjust::<A, f32>((number, head, query), seen[j], score),
                &mut out[start..][..self.heads.head_dim],
            );
        });
        out
    }
}

/// Runs `attend` with `parallel`, over output and scratch memory that held rubbish.
pub(crate) fn run(isa: Isa, parallel: &impl kernform_tensor::Parallel, case: &Case) -> Vec<f32> {
    let mut out = vec![7.0; case.out_len()];
    let mut scratch = Guarded::new(kernform_attention::attend_scratch_len(case.heads, parallel).unwrap(), 1);
    kernform_attention::attend(
        isa,
        parallel,
        case.heads,
        case.scale,
        case.query_rows(),
        case.key_rows(),
        case.value_rows(),
        &case.segments,
        case.mask(),
        kernform_attention::RowsMut::new(&mut out, case.out_stride),
        scratch.slice(),
    )
    .unwrap();
    scratch.check();
    out
}

/// What kind of elements a generated vector has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values {
    /// Finite ones of moderate size.
    Ordinary,
    /// Ordinary ones among which some are infinite, NaN, denormal or extreme.
    Hostile,
    /// Ordinary ones and minus infinity.
    Bias,
}

impl Values {
    /// Vectors of `len` elements, made from a seed: drawing thousands one by one would take most of the test's time.
    pub(crate) fn vector(self, len: usize) -> impl Strategy<Value = Vec<f32>> {
        any::<u64>().prop_map(move |seed| {
            let mut state = seed | 1;
            let mut next = || {
                // xorshift64* (Vigna 2016).
                state ^= state >> 12;
                state ^= state << 25;
                state ^= state >> 27;
                state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
            };
            let mut element = || {
                let ordinary = next() as f32 / (1u64 << 32) as f32 * 4.0 - 2.0;
                let dice = next();
                match self {
                    Values::Hostile if dice % 256 == 0 => HOSTILE[(dice >> 8) as usize % HOSTILE.len()],
                    Values::Bias if dice % 8 == 0 => f32::NEG_INFINITY,
                    _ => ordinary,
                }
            };
            (0..len).map(|_| element()).collect()
        })
    }
}

const HOSTILE: [f32; 14] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    1e-45,
    -1e-45,
    -0.0,
    1e20,
    -1e20,
    88.8,
    -104.0,
    1e-30,
];

pub(crate) fn head_dims() -> impl Strategy<Value = usize> {
    prop_oneof![3 => prop::sample::select(vec![1, 7, 14, 30, 32, 33, 64]), 1 => 1usize..80]
}

/// A window, a soft cap, and which of slopes and relative bias there are.
type Extras = (Option<usize>, Option<f32>, bool, bool);

fn extras() -> impl Strategy<Value = Extras> {
    let window = prop_oneof![3 => Just(None), 1 => (0usize..20).prop_map(Some), 1 => (100usize..200).prop_map(Some)];
    let softcap = prop_oneof![3 => Just(None), 1 => (0.5f32..30.0).prop_map(Some)];
    (window, softcap, prop::bool::weighted(0.25), prop::bool::weighted(0.25))
}

/// Numbers of queries or keys: few, around the width of a group, and now and then around a block of keys.
fn tokens() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0usize..20, 2 => 20usize..60, 1 => 125usize..132, 1 => 250usize..260]
}

pub(crate) fn heads() -> impl Strategy<Value = Heads> {
    (1usize..4, 1usize..4, head_dims()).prop_map(|(kv_heads, group, head_dim)| Heads {
        query_heads: kv_heads * group,
        kv_heads,
        head_dim,
    })
}

/// Queries, keys, and how many of both are skipped before them, of each segment.
type Lengths = Vec<(usize, usize, usize, usize)>;

/// Cases of every kind, with elements from `value`.
pub(crate) fn cases(values: Values) -> impl Strategy<Value = Case> {
    cases_of(values, prop::collection::vec((tokens(), tokens(), 0usize..2, 0usize..2), 0..4))
}

/// Cases around the edges of blocks of 128 keys in tiles of 16, of the 256 rows that go through them together (rows are
/// queries times heads of a group), of the least queries of a part for a thread, and of many short segments.
pub(crate) fn cases_near_blocks(values: Values) -> impl Strategy<Value = Case> {
    let skipped = || (0usize..2, 0usize..2);
    let with = |(queries, keys): (usize, usize), (q, k): (usize, usize)| (queries, keys, q, k);
    let long = (1usize..=3, extent_near(&[16, 128]));
    let tall = (extent_near(&[32, 64, 85, 128, 256]), 1usize..=5);
    let lengths = prop_oneof![
        3 => prop::collection::vec((long, skipped()).prop_map(move |(tokens, skip)| with(tokens, skip)), 1..3),
        2 => (tall, skipped()).prop_map(move |(tokens, skip)| vec![with(tokens, skip)]),
        2 => prop::collection::vec((0usize..4, 0usize..20, 0usize..2, 0usize..2), 20..80),
    ];
    cases_of(values, lengths)
}

/// Cases in which groups of rows see whole blocks of keys and nothing is added to their scores, with a few hostile
/// elements: so few that they decide single rows.
pub(crate) fn cases_of_whole_blocks() -> impl Strategy<Value = Case> {
    let head_dim = prop::sample::select(vec![16usize, 32, 48, 64, 128]);
    let heads = (1usize..3, 1usize..3, head_dim).prop_map(|(kv_heads, group, head_dim)| Heads {
        query_heads: kv_heads * group,
        kv_heads,
        head_dim,
    });
    let tokens = (prop_oneof![1usize..=45, extent_near(&[128, 256])], extent_near(&[128]));
    let lengths = tokens.prop_map(|(queries, keys)| vec![(queries, keys, 0, 0)]);
    let bare = Just((None, None, false, false));
    let hostile = prop::collection::vec((0usize..3, any::<prop::sample::Index>(), 0..HOSTILE.len()), 0..4);
    (cases_with(Values::Ordinary, heads, lengths, 0..1, bare), hostile).prop_map(|(mut case, hostile)| {
        for (operand, index, value) in hostile {
            let data = [&mut case.query, &mut case.key, &mut case.value];
            if let Some(element) = data.into_iter().nth(operand).filter(|data| !data.is_empty()) {
                let index = index.index(element.len());
                element[index] = HOSTILE[value];
            }
        }
        case
    })
}

fn cases_of(values: Values, lengths: impl Strategy<Value = Lengths>) -> impl Strategy<Value = Case> {
    cases_with(values, heads(), lengths, 0..5, extras())
}

fn cases_with(
    values: Values,
    heads: impl Strategy<Value = Heads>,
    lengths: impl Strategy<Value = Lengths>,
    biases: Range<usize>,
    extras: impl Strategy<Value = Extras>,
) -> impl Strategy<Value = Case> {
    (heads, lengths, 0usize..3, biases, 0usize..5, any::<bool>(), extras).prop_flat_map(
        move |(heads, lengths, kept, bias, gap, causal, (window, softcap, alibi, relative))| {
            let (mut q, mut k) = (0, 0);
            let mut segments = Vec::new();
            for (queries, keys, skipped_queries, skipped_keys) in lengths {
                q += skipped_queries;
                k += skipped_keys;
                segments.push(Segment { query: q..q + queries, key: k..k + keys });
                q += queries;
                k += keys;
            }
            let query_stride = heads.query_heads * heads.head_dim + gap;
            let key_stride = heads.kv_heads * heads.head_dim + 2 * gap;
            let most = |len: fn(&Segment) -> usize| segments.iter().map(len).max().unwrap_or(0);
            let (queries, keys) = (most(|s| s.query.len()), most(|s| s.key.len()));
            // None, [q, k], [heads, 1, k], [segments, 1, 1, k], all of them.
            let strides = [
                [0; 4],
                [0, 0, keys, 1],
                [0, keys, 0, 1],
                [keys, 0, 0, 1],
                [heads.query_heads * queries * keys, queries * keys, keys, 1],
            ][bias];
            let extents = [segments.len(), heads.query_heads, queries, keys];
            let bias_len = strides.iter().zip(extents).map(|(s, n)| s * n.saturating_sub(1)).sum::<usize>() + 1;
            let flags = prop::collection::vec(prop::bool::weighted(0.7), k);
            let distances = (queries + keys).saturating_sub(1).max(1);
            let parts: Vec<_> = segments.iter().map(|s| 0..=s.key.len()).collect();
            (
                values.vector(q * query_stride),
                values.vector(k * key_stride),
                values.vector(k * key_stride),
                Values::Bias.vector(if bias == 0 { 0 } else { bias_len }),
                flags,
                parts,
                -1.0f32..1.0,
                Values::Bias.vector(heads.query_heads * distances),
                Values::Ordinary.vector(heads.query_heads),
            )
                .prop_map(
                    move |(query, key, value, bias_data, flags, lengths, scale, by_distance, slopes)| Case {
                        heads,
                        scale,
                        query,
                        key,
                        value,
                        query_stride,
                        key_stride,
                        out_stride: heads.query_heads * heads.head_dim + gap / 2,
                        segments: segments.clone(),
                        causal,
                        window,
                        softcap,
                        alibi: alibi.then_some(slopes),
                        relative: relative.then_some((by_distance, distances, keys.max(1) - 1)),
                        kept: match kept {
                            0 => Kept::All,
                            1 => Kept::Flags(flags),
                            _ => Kept::Lengths(lengths),
                        },
                        bias: (bias != 0).then_some(Added { data: bias_data, strides }),
                    },
                )
        },
    )
}
