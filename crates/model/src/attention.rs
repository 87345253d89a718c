//! Multi-head attention with its projections (Vaswani et al. 2017, section 3.2.2).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use kernform_attention::rope::{Rope, RopePairing, RopeScaling, rotate};
use kernform_attention::{
    Heads, KeptKeys, Mask, Rows, RowsMut, ScoreTerms, Segment, Visible, attend, attend_cached, attend_range,
    attend_scratch_len,
};
use kernform_simd::Isa;
use kernform_tensor::Parallel;

use crate::embedding::table_len;
use crate::error::ModelError;
use crate::layers::{Activations, Context, Residual};
use crate::linear::{Extra, Linear};
use crate::projections::FirstLayer;
use crate::session::Cache;

/// Rotary positions (Su et al. 2021), with as many angles as a sequence may have tokens.
pub(crate) struct Rotary {
    head_dim: usize,
    /// `[positions, head_dim]`.
    table: Vec<f32>,
    /// 0, 1, 2 …: the places of a sequence's tokens.
    positions: Vec<usize>,
}

impl Rotary {
    pub(crate) fn new(base: f64, head_dim: usize, positions: usize) -> Result<Self, ModelError> {
        let mut table = alloc::vec![0.0; table_len(positions, head_dim)?];
        Rope { rotary_dim: head_dim, base, scaling: RopeScaling::None }.table(0, &mut table)?;
        Ok(Self { head_dim, table, positions: (0..positions).collect() })
    }

    /// Turns the queries and keys at the beginning of rows of `stride` elements, the first of which is that of token `first`.
    fn turn(
        &self,
        isa: Isa,
        heads: Heads,
        segments: &[Segment],
        first: usize,
        rows: &mut [f32],
        stride: usize,
    ) -> Result<(), ModelError> {
        let (head_dim, count) = (self.head_dim, heads.query_heads + heads.kv_heads);
        let end = first + rows.len() / stride;
        for segment in segments {
            let whole = &segment.query;
            let tokens = whole.start.max(first)..whole.end.min(end);
            if tokens.is_empty() {
                continue;
            }
            let (places, limit) = (tokens.start - whole.start..tokens.end - whole.start, self.positions.len());
            let too_long = ModelError::TooLong { tokens: whole.len(), limit };
            let positions = self.positions.get(places).ok_or(too_long)?;
            let rows = RowsMut::new(rows.get_mut((tokens.start - first) * stride..).unwrap_or_default(), stride);
            rotate(isa, RopePairing::Halves, count, head_dim, head_dim, &self.table, positions, rows)?;
        }
        Ok(())
    }
}

/// Attention among the tokens of a sequence. Queries, keys and values come from one product.
pub(crate) struct SelfAttention {
    qkv: Linear,
    out: Linear,
    pub(crate) heads: Heads,
    scale: f32,
    /// How positions turn queries and keys, where they enter so.
    rotary: Option<Arc<Rotary>>,
    /// How far a token sees to either side, where that is not all of its sequence.
    window: Option<usize>,
    residual: Residual,
}

impl SelfAttention {
    pub(crate) fn new(qkv: Linear, out: Linear, heads: Heads, residual: Residual) -> Self {
        Self { qkv, out, heads, scale: scale(heads.head_dim), rotary: None, window: None, residual }
    }

    /// Queries and keys are turned by their positions.
    pub(crate) fn with_rotary(self, rotary: Arc<Rotary>) -> Self {
        Self { rotary: Some(rotary), ..self }
    }

    /// Tokens see so far to either side, or all of their sequence.
    pub(crate) fn with_window(self, window: Option<usize>) -> Self {
        Self { window, ..self }
    }

    /// Elements of a row of the residual stream.
    pub(crate) fn width(&self) -> usize {
        self.heads.query_heads * self.heads.head_dim
    }

    /// [`Linear::least_rows`], which is the same for all maps of a model.
    pub(crate) fn least_rows(&self) -> usize {
        self.qkv.least_rows()
    }

    pub(crate) fn memory(&self) -> usize {
        self.qkv.memory() + self.out.memory()
    }

    pub(crate) fn scratch_len<P: Parallel>(&self, tokens: usize, parallel: &P) -> Result<usize, ModelError> {
        let products =
            self.qkv.scratch_len(tokens, parallel.threads()).max(self.out.scratch_len(tokens, parallel.threads()));
        Ok(products.max(attend_scratch_len(self.heads, parallel)?))
    }

    /// Elements of a token's queries, keys and values, side by side.
    pub(crate) fn projected_width(&self) -> usize {
        3 * self.width()
    }

    /// Attention among the tokens of each segment, to those of them that are kept. `first` where this is the first layer and its
    /// projections are kept.
    pub(crate) fn forward<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        first: Option<FirstLayer<'_, '_>>,
        segments: &[Segment],
        keys: KeptKeys<'_>,
        causal: bool,
    ) -> Result<(), ModelError> {
        self.project(context, a, first, segments, 0)?;
        let (q, k, v) = self.parts(a.projected);
        let (out, mask) = (RowsMut::new(a.mixed, self.width()), self.mask(keys, causal));
        attend(context.isa, context.parallel, self.heads, self.scale, q, k, v, segments, mask, out, a.scratch)?;
        self.output(context, a)
    }

    /// The first half of [`SelfAttention::forward`]: queries, keys and values of rows, the first of which is that of token
    /// `token`.
    pub(crate) fn project<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        first: Option<FirstLayer<'_, '_>>,
        segments: &[Segment],
        token: usize,
    ) -> Result<(), ModelError> {
        let width = self.width();
        self.residual.enter(context.isa, a)?;
        let input = self.residual.input(a.x, a.mixed);
        match first {
            None => self.qkv.apply(context, input, a.projected, Extra::default(), a.scratch)?,
            Some(FirstLayer { cache, keys }) => cache.fill(keys, a.projected, |rows, out| {
                let input = &input[rows.start * width..rows.end * width];
                self.qkv.apply(context, input, out, Extra::default(), a.scratch)
            })?,
        }
        let Some(rotary) = &self.rotary else { return Ok(()) };
        let stride = self.projected_width();
        let rows = &mut a.projected[..a.x.len() / width * stride];
        rotary.turn(context.isa, self.heads, segments, token, rows, stride)
    }

    /// The second half of [`SelfAttention::forward`] for the rows of `tokens`, which `a` holds; `projected` are the queries, keys
    /// and values of all.
    pub(crate) fn attend<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        projected: &[f32],
        tokens: Range<usize>,
        segments: &[Segment],
        keys: KeptKeys<'_>,
    ) -> Result<(), ModelError> {
        let (isa, parallel, heads, scale) = (context.isa, context.parallel, self.heads, self.scale);
        let (q, k, v) = self.parts(projected);
        let (out, mask) = (RowsMut::new(a.mixed, self.width()), self.mask(keys, false));
        attend_range(isa, parallel, heads, scale, q, k, v, segments, mask, tokens, out, a.scratch)?;
        self.output(context, a)
    }

    /// One new token a row: its key and value go to the row's slot, then it attends to all that the slot holds. `first` as for
    /// [`SelfAttention::forward`].
    pub(crate) fn step<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        first: Option<FirstLayer<'_, '_>>,
        cache: &mut Cache<'_>,
        slots: &[usize],
    ) -> Result<(), ModelError> {
        self.project(context, a, first, &[], 0)?;
        let (q, k, v) = self.parts(a.projected);
        cache.append_step(slots, k, v)?;
        let (out, seen) = (RowsMut::new(a.mixed, self.width()), Visible::default());
        let (isa, parallel, heads, scale) = (context.isa, context.parallel, self.heads, self.scale);
        attend_cached(isa, parallel, heads, scale, q, cache, slots, seen, out, a.scratch)?;
        self.output(context, a)
    }

    /// Queries, keys and values in what [`SelfAttention::project`] gives.
    pub(crate) fn parts<'p>(&self, projected: &'p [f32]) -> (Rows<'p>, Rows<'p>, Rows<'p>) {
        let (width, stride) = (self.width(), self.projected_width());
        let part = |i: usize| Rows::new(projected.get(i * width..).unwrap_or_default(), stride);
        (part(0), part(1), part(2))
    }

    fn mask<'k>(&self, keys: KeptKeys<'k>, causal: bool) -> Mask<'k> {
        let window = self.window.map(|window| window.saturating_add(1));
        Mask { causal, window, keys, terms: ScoreTerms::NONE }
    }

    /// The map of the mixed values, and what stands behind it.
    pub(crate) fn output<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
    ) -> Result<(), ModelError> {
        self.out.apply(context, a.mixed, a.y, Extra::residual(a.x), a.scratch)?;
        self.residual.leave(context.isa, a)
    }
}

/// Attention of decoder tokens to encoder tokens.
pub(crate) struct CrossAttention {
    query: Linear,
    key_value: Linear,
    out: Linear,
    pub(crate) heads: Heads,
    pub(crate) scale: f32,
    residual: Residual,
}

impl CrossAttention {
    pub(crate) fn new(query: Linear, key_value: Linear, out: Linear, heads: Heads, residual: Residual) -> Self {
        Self { query, key_value, out, heads, scale: scale(heads.head_dim), residual }
    }

    fn width(&self) -> usize {
        self.heads.query_heads * self.heads.head_dim
    }

    pub(crate) fn scratch_len<P: Parallel>(&self, tokens: usize, parallel: &P) -> Result<usize, ModelError> {
        let maps = [&self.query, &self.key_value, &self.out];
        let products = maps.map(|map| map.scratch_len(tokens, parallel.threads())).into_iter().max().unwrap_or(0);
        Ok(products.max(attend_scratch_len(self.heads, parallel)?))
    }

    pub(crate) fn memory(&self) -> usize {
        self.query.memory() + self.key_value.memory() + self.out.memory()
    }

    /// Keys and values of encoder states `[tokens, width]`, side by side in `projected`: `[tokens, 2 width]`.
    pub(crate) fn project<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        states: &[f32],
        projected: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), ModelError> {
        self.key_value.apply(context, states, projected, Extra::default(), scratch)
    }

    /// Keys and values as [`CrossAttention::project`] left them.
    pub(crate) fn keys_and_values<'p>(&self, projected: &'p [f32]) -> (Rows<'p>, Rows<'p>) {
        let width = self.width();
        let part = |i: usize| Rows::new(projected.get(i * width..).unwrap_or_default(), 2 * width);
        (part(0), part(1))
    }

    /// Attention to projected keys and values, with `mix` as the kernel that mixes the values for queries `[tokens, width]`.
    pub(crate) fn run<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        mix: impl FnOnce(Rows<'_>, RowsMut<'_>, &mut [f32]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let width = self.width();
        self.residual.run(context, a, |s| {
            let queries = &mut s.projected[..s.residual.len()];
            self.query.apply(context, s.input.unwrap_or(s.mixed), queries, Extra::default(), s.scratch)?;
            mix(Rows::new(queries, width), RowsMut::new(s.mixed, width), s.scratch)?;
            self.out.apply(context, s.mixed, s.out, Extra::residual(s.residual), s.scratch)
        })
    }

    /// Each row attends to the keys of its source's slot.
    pub(crate) fn step<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        cache: &Cache<'_>,
        sources: &[usize],
    ) -> Result<(), ModelError> {
        self.run(context, a, |q, out, scratch| {
            let seen = Visible::default();
            Ok(attend_cached(
                context.isa,
                context.parallel,
                self.heads,
                self.scale,
                q,
                cache,
                sources,
                seen,
                out,
                scratch,
            )?)
        })
    }
}

/// `1 / sqrt(head_dim)`, in double precision and rounded once.
fn scale(head_dim: usize) -> f32 {
    (1.0 / libm::sqrt(head_dim as f64)) as f32
}
