//! How much memory a session needs, worked out before it begins.

use kernform_attention::{CacheKind, KvCache, attend_cached_scratch_len};
use kernform_tensor::{Parallel, ScratchPlan};

use crate::encoder_decoder::EncoderDecoder;
use crate::error::ModelError;

/// What a session has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a decoding step: inputs times beams.
    pub rows: usize,
    /// Encoded sources held at a time.
    pub sources: usize,
    /// Most tokens of a source.
    pub source_len: usize,
    /// Most tokens of a target.
    pub target_len: usize,
    /// Most source tokens encoded together; at least `source_len`.
    pub encode_tokens: usize,
}

/// A layout of one buffer that holds all a [`crate::Session`] works with.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(crate) limits: Limits,
    pub(crate) cross_len: usize,
    pub(crate) own_len: usize,
    pub(crate) work_len: usize,
    /// Of the encoder's and the decoder's first layer.
    pub(crate) projections_len: [usize; 2],
    layout: ScratchPlan,
    total: usize,
}

impl Plan {
    /// The layout for `limits`, for the threads of `parallel`.
    ///
    /// # Errors
    /// Limits of 0, sequences longer than the model has positions, or more memory than can be addressed.
    pub fn new(model: &EncoderDecoder, limits: Limits, parallel: &impl Parallel) -> Result<Self, ModelError> {
        let Limits { rows, sources, source_len, target_len, encode_tokens } = limits;
        for (what, asked) in
            [("rows", rows), ("sources", sources), ("source tokens", source_len), ("target tokens", target_len)]
        {
            if asked == 0 {
                return Err(ModelError::Capacity { what, asked, limit: 0 });
            }
        }
        let encode_tokens = encode_tokens.max(source_len);
        let limits = Limits { encode_tokens, ..limits };
        let (tokens, limit) = (source_len.max(target_len), model.config.max_positions);
        if tokens > limit {
            return Err(ModelError::TooLong { tokens, limit });
        }
        let heads = model.decoder_heads();
        let cross_len = KvCache::storage_len(heads, sources, source_len)?;
        let own_len = KvCache::storage_len(heads, rows, target_len)?;
        let work_len = work_len(model, rows.max(encode_tokens), parallel)?;
        let mut layout = ScratchPlan::new();
        for _ in 0..model.decoder.layers.len() {
            layout = layout.take(cross_len).take(own_len);
        }
        let layout = layout.take(work_len);
        let total = layout.finish_aligned()?;
        Ok(Self { limits, cross_len, own_len, work_len, projections_len: [0; 2], layout, total })
    }

    /// With room to keep what the first layers of encoder and decoder project, for `rows` pairs of a token and its position
    /// each (or all that there are, where these are fewer).
    ///
    /// Changes no bit of any result. It saves time where the vocabulary is small, so that a pair comes again while it is
    /// kept: 5 % with the 101 letters and phonemes of the embedded model. Takes `12 rows` times the model's width bytes a
    /// layer.
    ///
    /// # Errors
    /// More memory than can be addressed.
    pub fn with_projection_cache(self, model: &EncoderDecoder, rows: usize) -> Result<Self, ModelError> {
        let Limits { source_len, target_len, .. } = self.limits;
        let config = &model.config;
        let stacks = [(config.vocab_size, source_len), (config.decoder_vocab_size, target_len)];
        let len = |(vocab_size, tokens): (usize, usize)| {
            rows.min(vocab_size.saturating_mul(tokens)).saturating_mul(3 * config.width)
        };
        let projections_len = stacks.map(len);
        // From the layout without a cache, so that a second call replaces the first.
        let total = self.layout.take(projections_len[0]).take(projections_len[1]).finish_aligned()?;
        Ok(Self { projections_len, total, ..self })
    }

    /// Elements of the buffer that [`crate::Session::new`] takes.
    pub fn scratch_len(&self) -> usize {
        self.total
    }

    /// What the session will have room for.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

/// Elements for the activations of `tokens` rows, with the kernels' scratch.
pub(crate) fn work_len(model: &EncoderDecoder, tokens: usize, parallel: &impl Parallel) -> Result<usize, ModelError> {
    let threads = parallel.threads();
    let mut scratch = attend_cached_scratch_len(model.decoder_heads(), CacheKind::F32, parallel)?
        .max(model.decoder.output.scratch_len(tokens, threads));
    scratch = scratch.max(model.encoder.stack.scratch_len(tokens, parallel)?);
    for layer in &model.decoder.layers {
        scratch = scratch.max(layer.attention.scratch_len(tokens, parallel)?);
        scratch = scratch.max(layer.cross.scratch_len(tokens, parallel)?);
        scratch = scratch.max(layer.feed_forward.scratch_len(tokens, threads));
    }
    Ok(model.config.widths().layout(tokens, scratch).finish_aligned()?)
}
