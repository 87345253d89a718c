//! The blocks of Vaswani et al. 2017, section 3: attention, feed-forward, and the layers made of them.

use kernform_attention::{Heads, Mask, Rows, RowsMut, Segment, Visible, attend, attend_cached};
use kernform_math::Activation;
use kernform_simd::Isa;
use kernform_tensor::{Arena, Parallel};

use crate::config::{EncoderDecoderConfig, NormPlacement, StackConfig};
use crate::error::ModelError;
use crate::linear::{Extra, Linear};
use crate::norm::LayerNorm;
use crate::session::Cache;
use crate::weights::Weights;

/// What every block needs beside its weights.
pub(crate) struct Context<'c, P: Parallel> {
    pub(crate) isa: Isa,
    pub(crate) parallel: &'c P,
    pub(crate) norm: NormPlacement,
}

/// The activations of `tokens` rows; a block reads `x`, leaves its result in `x`, and may use the rest.
pub(crate) struct Activations<'a> {
    /// `[tokens, width]`: the residual stream.
    pub(crate) x: &'a mut [f32],
    /// `[tokens, width]`: the next state of the stream, swapped in or normalised into `x`.
    pub(crate) y: &'a mut [f32],
    /// `[tokens, width]`: a sublayer's input when normalised before, later the mixed values.
    pub(crate) mixed: &'a mut [f32],
    /// `[tokens, 3 width]`: queries, keys and values side by side.
    pub(crate) projected: &'a mut [f32],
    /// `[tokens, feed_forward]`: the inner layer of the feed-forward network.
    pub(crate) hidden: &'a mut [f32],
    /// What the kernels ask for.
    pub(crate) scratch: &'a mut [f32],
}

impl<'a> Activations<'a> {
    /// Cuts the buffers for `tokens` rows from the front of `arena`; the kernels' scratch takes the rest.
    pub(crate) fn cut(arena: Arena<'a>, tokens: usize, config: &EncoderDecoderConfig) -> Result<Self, ModelError> {
        let mut arena = arena;
        let width = config.width;
        let inner = config.inner_width();
        Ok(Self {
            x: arena.take(tokens * width)?,
            y: arena.take(tokens * width)?,
            mixed: arena.take(tokens * width)?,
            projected: arena.take(tokens * 3 * width)?,
            hidden: arena.take(tokens * inner)?,
            scratch: arena.take(arena.left())?,
        })
    }

    /// Runs a sublayer that maps its input and adds the residual stream, with the norm where the model has it.
    fn sublayer<P: Parallel>(
        &mut self,
        context: &Context<'_, P>,
        norm: &LayerNorm,
        map: impl FnOnce(Sublayer<'_>) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let before = context.norm == NormPlacement::Pre;
        if before {
            norm.apply(context.isa, self.x, self.mixed)?;
        }
        map(Sublayer {
            input: (!before).then_some(&*self.x),
            residual: self.x,
            mixed: self.mixed,
            projected: self.projected,
            hidden: self.hidden,
            scratch: self.scratch,
            out: self.y,
        })?;
        if before {
            core::mem::swap(&mut self.x, &mut self.y);
            Ok(())
        } else {
            norm.apply(context.isa, self.y, self.x)
        }
    }
}

/// The buffers of one sublayer.
struct Sublayer<'s> {
    /// The input; `None` where it stands in `mixed`, normalised.
    input: Option<&'s [f32]>,
    residual: &'s [f32],
    mixed: &'s mut [f32],
    projected: &'s mut [f32],
    hidden: &'s mut [f32],
    scratch: &'s mut [f32],
    out: &'s mut [f32],
}

/// Multi-head self-attention with its projections (section 3.2.2). Queries, keys and values come from one product.
pub(crate) struct SelfAttention {
    qkv: Linear,
    out: Linear,
    norm: LayerNorm,
    heads: Heads,
    scale: f32,
}

impl SelfAttention {
    fn load(
        weights: &Weights<'_>,
        prefix: &str,
        config: &EncoderDecoderConfig,
        heads: usize,
    ) -> Result<Self, ModelError> {
        let width = config.width;
        let head_dim = width / heads;
        Ok(Self {
            qkv: weights.fused(prefix, &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], width, width)?,
            out: weights.linear(prefix, "self_attn.out_proj", width, width)?,
            norm: weights.norm(prefix, "self_attn_layer_norm", config)?,
            heads: Heads::new(heads, head_dim),
            scale: scale(head_dim),
        })
    }

    fn width(&self) -> usize {
        self.heads.query_heads * self.heads.head_dim
    }

    fn memory(&self) -> usize {
        self.qkv.memory() + self.out.memory()
    }

    /// Attention among the tokens of each segment.
    pub(crate) fn forward<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        segments: &[Segment],
        mask: Mask<'_>,
    ) -> Result<(), ModelError> {
        self.run(context, a, |q, k, v, out, scratch| {
            Ok(attend(context.isa, context.parallel, self.heads, self.scale, q, k, v, segments, mask, out, scratch)?)
        })
    }

    /// One new token a row: its key and value go to the row's slot, then it attends to all that the slot holds.
    pub(crate) fn step<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        cache: &mut Cache<'_>,
        slots: &[usize],
    ) -> Result<(), ModelError> {
        self.run(context, a, |q, k, v, out, scratch| {
            cache.append_step(slots, k, v)?;
            let seen = Visible::default();
            Ok(attend_cached(
                context.isa,
                context.parallel,
                self.heads,
                self.scale,
                q,
                cache,
                slots,
                seen,
                out,
                scratch,
            )?)
        })
    }

    fn run<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        mix: impl FnOnce(Rows<'_>, Rows<'_>, Rows<'_>, RowsMut<'_>, &mut [f32]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let width = self.width();
        a.sublayer(context, &self.norm, |s| {
            self.qkv.apply(context, s.input.unwrap_or(s.mixed), s.projected, Extra::default(), s.scratch)?;
            let stride = 3 * width;
            let part = |i: usize| Rows::new(s.projected.get(i * width..).unwrap_or_default(), stride);
            mix(part(0), part(1), part(2), RowsMut::new(s.mixed, width), s.scratch)?;
            self.out.apply(context, s.mixed, s.out, Extra::residual(s.residual), s.scratch)
        })
    }
}

/// Attention of decoder tokens to encoder tokens.
pub(crate) struct CrossAttention {
    query: Linear,
    key_value: Linear,
    out: Linear,
    norm: LayerNorm,
    pub(crate) heads: Heads,
    pub(crate) scale: f32,
}

impl CrossAttention {
    fn load(weights: &Weights<'_>, prefix: &str, config: &EncoderDecoderConfig) -> Result<Self, ModelError> {
        let width = config.width;
        let heads = config.decoder.heads;
        let head_dim = width / heads;
        Ok(Self {
            query: weights.linear(prefix, "encoder_attn.q_proj", width, width)?,
            key_value: weights.fused(prefix, &["encoder_attn.k_proj", "encoder_attn.v_proj"], width, width)?,
            out: weights.linear(prefix, "encoder_attn.out_proj", width, width)?,
            norm: weights.norm(prefix, "encoder_attn_layer_norm", config)?,
            heads: Heads::new(heads, head_dim),
            scale: scale(head_dim),
        })
    }

    fn width(&self) -> usize {
        self.heads.query_heads * self.heads.head_dim
    }

    fn memory(&self) -> usize {
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
        a.sublayer(context, &self.norm, |s| {
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

/// The position-wise feed-forward network (section 3.3).
pub(crate) struct FeedForward {
    inner: Linear,
    outer: Linear,
    norm: LayerNorm,
    activation: Activation,
}

impl FeedForward {
    fn load(
        weights: &Weights<'_>,
        prefix: &str,
        config: &EncoderDecoderConfig,
        stack: &StackConfig,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            inner: weights.linear(prefix, "fc1", config.width, stack.feed_forward)?,
            outer: weights.linear(prefix, "fc2", stack.feed_forward, config.width)?,
            norm: weights.norm(prefix, "final_layer_norm", config)?,
            activation: config.activation,
        })
    }

    fn memory(&self) -> usize {
        self.inner.memory() + self.outer.memory()
    }

    pub(crate) fn forward<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
    ) -> Result<(), ModelError> {
        a.sublayer(context, &self.norm, |s| {
            let hidden = &mut s.hidden[..s.residual.len() / self.inner.inputs() * self.inner.outputs()];
            let input = s.input.unwrap_or(s.mixed);
            self.inner.apply(context, input, hidden, Extra::activation(self.activation), s.scratch)?;
            self.outer.apply(context, hidden, s.out, Extra::residual(s.residual), s.scratch)
        })
    }
}

/// Self-attention and feed-forward.
pub(crate) struct EncoderLayer {
    pub(crate) attention: SelfAttention,
    pub(crate) feed_forward: FeedForward,
}

impl EncoderLayer {
    pub(crate) fn load(weights: &Weights<'_>, prefix: &str, config: &EncoderDecoderConfig) -> Result<Self, ModelError> {
        Ok(Self {
            attention: SelfAttention::load(weights, prefix, config, config.encoder.heads)?,
            feed_forward: FeedForward::load(weights, prefix, config, &config.encoder)?,
        })
    }

    /// Bytes of packed weights.
    pub(crate) fn memory(&self) -> usize {
        self.attention.memory() + self.feed_forward.memory()
    }
}

/// Self-attention, attention to the encoder, and feed-forward.
pub(crate) struct DecoderLayer {
    pub(crate) attention: SelfAttention,
    pub(crate) cross: CrossAttention,
    pub(crate) feed_forward: FeedForward,
}

impl DecoderLayer {
    pub(crate) fn load(weights: &Weights<'_>, prefix: &str, config: &EncoderDecoderConfig) -> Result<Self, ModelError> {
        Ok(Self {
            attention: SelfAttention::load(weights, prefix, config, config.decoder.heads)?,
            cross: CrossAttention::load(weights, prefix, config)?,
            feed_forward: FeedForward::load(weights, prefix, config, &config.decoder)?,
        })
    }

    /// Bytes of packed weights.
    pub(crate) fn memory(&self) -> usize {
        self.attention.memory() + self.cross.memory() + self.feed_forward.memory()
    }
}

/// `1 / sqrt(head_dim)`, in double precision and rounded once.
fn scale(head_dim: usize) -> f32 {
    (1.0 / libm::sqrt(head_dim as f64)) as f32
}
