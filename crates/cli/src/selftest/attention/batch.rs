//! Queries, keys and values, what queries see of them, and what the reference gives for that.

use kernform_attention::{
    Bias, Heads, KeptKeys, Mask, RelativeBias, Rows, RowsMut, ScoreTerms, Segment, attend, attend_scratch_len,
    reference,
};
use kernform_simd::{Arithmetic, Isa};
use kernform_tensor::Serial;

use super::super::data::Random;
use super::super::probe::in_class;
use super::BoxError;

/// What queries see, and what is done to their scores.
#[derive(Default)]
pub(super) struct Terms {
    pub(super) causal: bool,
    pub(super) window: Option<usize>,
    /// How many keys of each segment are real tokens.
    pub(super) lengths: Option<Vec<usize>>,
    /// Which tokens are real.
    pub(super) flags: Option<Vec<bool>>,
    pub(super) softcap: Option<f32>,
    /// A slope a head.
    pub(super) slopes: Option<Vec<f32>>,
    /// By head and distance: as many elements as there are distances, that of 0 in the middle.
    pub(super) by_distance: Option<Vec<f32>>,
    /// `[heads, queries, keys]` of the longest segment.
    pub(super) bias: Option<Vec<f32>>,
}

impl Terms {
    pub(super) fn causal() -> Self {
        Self { causal: true, ..Self::default() }
    }
}

/// Sequences one behind the other.
pub(super) struct Batch {
    pub(super) heads: Heads,
    pub(super) segments: Vec<Segment>,
    pub(super) query: Vec<f32>,
    pub(super) key: Vec<f32>,
    pub(super) value: Vec<f32>,
}

impl Batch {
    /// A batch of sequences of so many tokens.
    pub(super) fn new(random: &mut Random, heads: Heads, lengths: &[usize], hostile: bool) -> Self {
        let ends = lengths.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        });
        let segments: Vec<_> = ends.zip(lengths).map(|(end, len)| Segment::of(end - len..end)).collect();
        let tokens: usize = lengths.iter().sum();
        let mut values = |width: usize| random.values(tokens * width, hostile);
        let (query_width, kv_width) = (heads.query_heads * heads.head_dim, heads.kv_heads * heads.head_dim);
        Self { query: values(query_width), key: values(kv_width), value: values(kv_width), heads, segments }
    }

    pub(super) fn query_width(&self) -> usize {
        self.heads.query_heads * self.heads.head_dim
    }

    pub(super) fn kv_width(&self) -> usize {
        self.heads.kv_heads * self.heads.head_dim
    }

    pub(super) fn scale(&self) -> f32 {
        1.0 / (self.heads.head_dim as f32).sqrt()
    }

    /// Tokens of the longest sequence.
    pub(super) fn longest(&self) -> usize {
        self.segments.iter().map(|segment| segment.key.len()).max().unwrap_or(0)
    }

    pub(super) fn rows(&self) -> [Rows<'_>; 3] {
        [
            Rows::new(&self.query, self.query_width()),
            Rows::new(&self.key, self.kv_width()),
            Rows::new(&self.value, self.kv_width()),
        ]
    }

    fn mask<'t>(&self, terms: &'t Terms) -> Mask<'t> {
        let keys = match (&terms.lengths, &terms.flags) {
            (Some(lengths), _) => KeptKeys::Lengths(lengths),
            (None, Some(flags)) => KeptKeys::Flags(flags),
            (None, None) => KeptKeys::All,
        };
        let longest = self.longest();
        let relative = |data: &'t Vec<f32>| RelativeBias { data, head_stride: 2 * longest - 1, zero: longest - 1 };
        let terms_of_scores = ScoreTerms {
            softcap: terms.softcap,
            alibi: terms.slopes.as_deref(),
            relative: terms.by_distance.as_ref().map(relative),
            bias: terms.bias.as_ref().map(|data| Bias::per_head(data, longest, longest)),
        };
        Mask { causal: terms.causal, window: terms.window, keys, terms: terms_of_scores }
    }

    pub(super) fn scratch(&self) -> Result<Vec<f32>, BoxError> {
        Ok(vec![0.0; attend_scratch_len(self.heads, &Serial)?])
    }

    pub(super) fn attend(&self, isa: Isa, terms: &Terms, out: &mut [f32], scratch: &mut [f32]) -> Result<(), BoxError> {
        let [query, key, value] = self.rows();
        let (out, mask) = (RowsMut::new(out, self.query_width()), self.mask(terms));
        attend(isa, &Serial, self.heads, self.scale(), query, key, value, &self.segments, mask, out, scratch)?;
        Ok(())
    }

    /// The keys that a query of a segment sees, as indices into the segment, and the place of the first of them among
    /// those that are there.
    pub(super) fn seen(&self, terms: &Terms, number: usize, query: usize) -> (Vec<usize>, usize) {
        let keys = self.segments[number].key.clone();
        let is_kept = |key: &usize| match (&terms.lengths, &terms.flags) {
            (Some(lengths), _) => *key < lengths[number],
            (None, Some(flags)) => flags[keys.start + key],
            (None, None) => true,
        };
        let seen: Vec<usize> = (0..keys.len())
            .filter(|key| !terms.causal || *key <= query)
            .filter(|key| terms.window.is_none_or(|window| key.abs_diff(query) < window))
            .filter(is_kept)
            .collect();
        let first = (0..seen.first().copied().unwrap_or(0)).filter(is_kept).count();
        (seen, first)
    }

    /// What the reference gives for a query of a segment, all heads.
    pub(super) fn expected(&self, isa: Isa, terms: &Terms, number: usize, query: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.query_width()];
        in_class!(isa, Class => self.expected_in::<Class>(terms, number, query, &mut out));
        out
    }

    fn expected_in<A: Arithmetic>(&self, terms: &Terms, number: usize, query: usize, out: &mut [f32]) {
        let Heads { query_heads, kv_heads, head_dim } = self.heads;
        let (segment, longest) = (&self.segments[number], self.longest());
        let (seen, first) = self.seen(terms, number, query);
        for (head, out) in out.chunks_mut(head_dim).enumerate() {
            let at =
                |j: usize| (segment.key.start + seen[j]) * self.kv_width() + head / (query_heads / kv_heads) * head_dim;
            let adjust = |j: usize, mut score: f32| {
                let key = seen[j];
                if let Some(cap) = terms.softcap {
                    score = reference::softcap::<A, f32>(score, cap);
                }
                if let Some(slopes) = &terms.slopes {
                    score = reference::add_alibi::<A, f32>(score, slopes[head], key.abs_diff(query) as f32);
                }
                if let Some(data) = &terms.by_distance {
                    let bias = data[head * (2 * longest - 1) + longest - 1 + key - query];
                    score = reference::add_bias::<A, f32>(score, bias);
                }
                if let Some(data) = &terms.bias {
                    score = reference::add_bias::<A, f32>(score, data[(head * longest + query) * longest + key]);
                }
                score
            };
            let start = (segment.query.start + query) * self.query_width() + head * head_dim;
            reference::attend_query::<A, f32>(
                &self.query[start..][..head_dim],
                self.scale(),
                first,
                seen.len(),
                |j| &self.key[at(j)..][..head_dim],
                |j| &self.value[at(j)..][..head_dim],
                adjust,
                out,
            );
        }
    }
}
