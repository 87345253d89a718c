//! Encoding and decoding, step by step, in one buffer that the caller gives.

use alloc::vec::Vec;
use core::ops::Range;

use kernform_attention::{KeptKeys, KvCache, Segment};
use kernform_tensor::{Arena, Parallel};

use crate::encoder_decoder::EncoderDecoder;
use crate::error::ModelError;
use crate::layers::Activations;
use crate::plan::{Limits, Plan};
use crate::projections::{FirstLayer, KeyList, ProjectionCache};

/// Keys and values of one decoder layer, in a part of the session's buffer.
pub(crate) type Cache<'a> = KvCache<&'a mut [f32], Vec<usize>>;

/// A source sequence for [`Session::encode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The slot that will hold its keys and values; what it held is gone.
    pub slot: usize,
    /// Its place in the token ids.
    pub tokens: Range<usize>,
}

/// One row of a decoding step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The slot of the row's own keys and values; the tokens in it are the ones before this.
    pub slot: usize,
    /// The slot of the source that the row attends to.
    pub source: usize,
    /// The token to append.
    pub token: u32,
}

/// A model with a place to work: encoded sources in some slots, partly decoded targets in others.
///
/// Neither [`Session::encode`] nor [`Session::step`] allocates. What a row gives depends on its source and its own tokens
/// alone: not on the batch, the slots or the threads.
pub struct Session<'a> {
    model: &'a EncoderDecoder,
    limits: Limits,
    /// Keys and values of the sources, a decoder layer each.
    cross: Vec<Cache<'a>>,
    /// Keys and values of the targets, a decoder layer each.
    own: Vec<Cache<'a>>,
    /// What the first layers of encoder and decoder project, where the plan keeps it.
    projections: [Option<ProjectionCache<'a>>; 2],
    work: &'a mut [f32],
    segments: Vec<Segment>,
    slots: Vec<usize>,
    sources: Vec<usize>,
    tokens: Vec<u32>,
    places: Vec<usize>,
    /// For each row slot, whether a row of the step has it.
    taken: Vec<bool>,
}

impl<'a> Session<'a> {
    /// A session in `buffer`, which has at least [`Plan::scratch_len`] elements.
    ///
    /// # Errors
    /// A buffer that is too short.
    pub fn new(model: &'a EncoderDecoder, plan: &Plan, buffer: &'a mut [f32]) -> Result<Self, ModelError> {
        let limits = plan.limits;
        let layers = model.decoder.layers.len();
        let mut arena = Arena::aligned(buffer);
        let mut caches = |len: usize, slots, capacity| -> Result<Vec<Cache<'a>>, ModelError> {
            let heads = model.decoder_heads();
            let bookkeeping = alloc::vec![0; KvCache::bookkeeping_len(slots, capacity)];
            (0..layers)
                .map(|_| Ok(KvCache::new(heads, slots, capacity, arena.take(len)?, bookkeeping.clone())?))
                .collect()
        };
        let cross = caches(plan.cross_len, limits.sources, limits.source_len)?;
        let own = caches(plan.own_len, limits.rows, limits.target_len)?;
        let work = arena.take(plan.work_len)?;
        let config = &model.config;
        let mut projections = |len: usize, vocab_size| {
            let rows = arena.take(len)?;
            Ok::<_, ModelError>((len > 0).then(|| ProjectionCache::new(rows, vocab_size, 3 * config.width)))
        };
        let [encoder, decoder] = plan.projections_len;
        let projections = [projections(encoder, config.vocab_size)?, projections(decoder, config.decoder_vocab_size)?];
        Ok(Self {
            model,
            limits,
            cross,
            own,
            projections,
            work,
            segments: Vec::with_capacity(limits.sources),
            slots: Vec::with_capacity(limits.rows),
            sources: Vec::with_capacity(limits.rows),
            tokens: Vec::with_capacity(limits.rows.max(limits.encode_tokens)),
            places: Vec::with_capacity(limits.rows.max(limits.encode_tokens)),
            taken: alloc::vec![false; limits.rows],
        })
    }

    /// What the session has room for.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Logits a row.
    #[expect(clippy::misnamed_getters, reason = "what a session's rows of logits have is the decoder's vocabulary")]
    pub fn vocab_size(&self) -> usize {
        self.model.config.decoder_vocab_size
    }

    /// Whether a source can be encoded: it has tokens, not too many, and all of the vocabulary.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_source(&self, ids: &[u32]) -> Result<(), ModelError> {
        if ids.is_empty() {
            return Err(ModelError::EmptySequence);
        }
        let limit = self.limits.source_len;
        if ids.len() > limit {
            return Err(ModelError::TooLong { tokens: ids.len(), limit });
        }
        self.model.encoder.embedding.check(ids)
    }

    /// Encodes sources of any lengths together and keeps what the decoder needs of them in their slots.
    ///
    /// # Errors
    /// More tokens or sources than there is room for, a slot that does not exist, a range outside `ids`, or
    /// [`Session::check_source`]; nothing is changed then.
    pub fn encode<P: Parallel>(&mut self, parallel: &P, ids: &[u32], sources: &[Source]) -> Result<(), ModelError> {
        self.check_sources(ids, sources)?;
        if sources.is_empty() {
            return Ok(());
        }
        let model = self.model;
        let context = model.context(parallel);
        self.segments.clear();
        self.tokens.clear();
        for source in sources {
            let start = self.tokens.len();
            self.tokens.extend_from_slice(&ids[source.tokens.clone()]);
            self.segments.push(Segment::of(start..self.tokens.len()));
        }
        let Self { tokens, places, segments, .. } = self;
        let count = tokens.len();
        let mut a = Activations::cut(Arena::aligned(self.work), count, model.config.widths())?;
        model.encoder.embedding.segments(model.isa, tokens, None, segments, None, places, a.x)?;
        let first = self.projections[0].as_mut().map(|cache| FirstLayer { cache, keys: KeyList { tokens, places } });
        model.encoder.stack.run(&context, &mut a, segments, KeptKeys::All, first)?;
        for (layer, cache) in model.decoder.layers.iter().zip(&mut self.cross) {
            let projected = &mut a.projected[..count * 2 * model.config.width];
            layer.cross.project(&context, a.x, projected, a.scratch)?;
            let (k, v) = layer.cross.keys_and_values(projected);
            for (source, segment) in sources.iter().zip(&self.segments) {
                cache.truncate(source.slot, 0)?;
                cache.append_rows(source.slot, k, v, segment.key.clone())?;
            }
        }
        Ok(())
    }

    fn check_sources(&self, ids: &[u32], sources: &[Source]) -> Result<(), ModelError> {
        let limits = self.limits;
        if sources.len() > limits.sources {
            return Err(ModelError::Capacity { what: "sources", asked: sources.len(), limit: limits.sources });
        }
        let mut count = 0;
        for source in sources {
            let tokens = ids.get(source.tokens.clone()).ok_or(ModelError::Length {
                what: "the source token ids",
                found: ids.len(),
                expected: source.tokens.end,
            })?;
            self.check_source(tokens)?;
            if source.slot >= limits.sources {
                return Err(ModelError::Slot { slot: source.slot, problem: "is none of the session's source slots" });
            }
            count += tokens.len();
        }
        if count > limits.encode_tokens {
            return Err(ModelError::Capacity { what: "source tokens", asked: count, limit: limits.encode_tokens });
        }
        Ok(())
    }

    /// Appends a token to each row and writes the logits of the token after it: `[rows, vocabulary]`.
    ///
    /// # Errors
    /// More rows than there is room for, two rows with one slot, a slot that does not exist, is full or (as a source) empty,
    /// a token outside the vocabulary, logits of another length. Nothing is changed then.
    pub fn step<P: Parallel>(&mut self, parallel: &P, rows: &[Row], logits: &mut [f32]) -> Result<(), ModelError> {
        self.check_rows(rows, logits.len())?;
        if rows.is_empty() {
            return Ok(());
        }
        let model = self.model;
        let context = model.context(parallel);
        let mut a = Activations::cut(Arena::aligned(self.work), rows.len(), model.config.widths())?;
        model.decoder.embedding.steps(model.isa, &self.tokens, &mut self.places, a.x)?;
        let keys = KeyList { tokens: &self.tokens, places: &self.places };
        let mut first = self.projections[1].as_mut().map(|cache| FirstLayer { cache, keys });
        for (i, layer) in model.decoder.layers.iter().enumerate() {
            layer.attention.step(&context, &mut a, first.take(), &mut self.own[i], &self.slots)?;
            layer.cross.step(&context, &mut a, &self.cross[i], &self.sources)?;
            layer.feed_forward.forward(&context, &mut a)?;
        }
        model.logits(&context, &mut a, logits)
    }

    /// Checks a step, and spreads its rows over the lists that the kernels take.
    fn check_rows(&mut self, rows: &[Row], logits: usize) -> Result<(), ModelError> {
        let limits = self.limits;
        if rows.len() > limits.rows {
            return Err(ModelError::Capacity { what: "rows", asked: rows.len(), limit: limits.rows });
        }
        let expected = rows.len() * self.vocab_size();
        if logits != expected {
            return Err(ModelError::Length { what: "the logits", found: logits, expected });
        }
        for list in [&mut self.slots, &mut self.sources, &mut self.places] {
            list.clear();
        }
        self.tokens.clear();
        self.taken.fill(false);
        for row in rows {
            let bad = |slot, problem| Err(ModelError::Slot { slot, problem });
            if row.slot >= limits.rows {
                return bad(row.slot, "is none of the session's row slots");
            }
            if row.source >= limits.sources {
                return bad(row.source, "is none of the session's source slots");
            }
            let len = |caches: &[Cache<'_>], slot| caches.first().map_or(0, |cache| cache.len(slot));
            if core::mem::replace(&mut self.taken[row.slot], true) {
                return bad(row.slot, "is named by two rows of one step");
            }
            let place = len(&self.own, row.slot);
            if place >= limits.target_len {
                return Err(ModelError::TooLong { tokens: place + 1, limit: limits.target_len });
            }
            if len(&self.cross, row.source) == 0 {
                return bad(row.source, "holds no source; encode one first");
            }
            self.slots.push(row.slot);
            self.sources.push(row.source);
            self.tokens.push(row.token);
            self.places.push(place);
        }
        self.model.decoder.embedding.check(&self.tokens)
    }

    /// Forgets the tokens of a row slot.
    ///
    /// # Errors
    /// A slot that does not exist.
    pub fn clear_row(&mut self, slot: usize) -> Result<(), ModelError> {
        for cache in &mut self.own {
            cache.truncate(slot, 0)?;
        }
        Ok(())
    }

    /// Makes the row slot `to` a copy of `from`.
    ///
    /// # Errors
    /// A slot that does not exist.
    pub fn copy_row(&mut self, from: usize, to: usize) -> Result<(), ModelError> {
        for cache in &mut self.own {
            cache.copy_slot(from, to)?;
        }
        Ok(())
    }
}
