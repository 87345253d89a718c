//! Encoding and decoding, step by step, in one buffer that the caller gives.

use alloc::vec::Vec;
use core::ops::Range;

use kernform_attention::{CacheKind, KvCache, Mask, RowsMut, Segment, attend_cached_scratch_len, attention_weights};
use kernform_tensor::{Arena, Parallel, ScratchPlan};

use super::output::Output;
use super::table::MOST_POSITIONS;
use super::{DecoderLayer, MarianStudent, StudentWeights, engine};
use crate::error::ModelError;
use crate::layers::Activations;
use crate::plan::Limits;
use crate::session::{Cache, Source};

/// A layout of one buffer that holds all a [`StudentSession`] works with.
#[derive(Clone, Copy, Debug)]
pub struct StudentPlan {
    limits: Limits,
    cross_len: usize,
    states_len: usize,
    work_len: usize,
    total: usize,
}

impl StudentPlan {
    /// The layout for `limits`, for the threads of `parallel`.
    ///
    /// # Errors
    /// Limits of 0, sequences longer than there are positions, or more memory than can be addressed.
    pub fn new(model: &MarianStudent, limits: Limits, parallel: &impl Parallel) -> Result<Self, ModelError> {
        let Limits { rows, sources, source_len, target_len, encode_tokens } = limits;
        for (what, asked) in
            [("rows", rows), ("sources", sources), ("source tokens", source_len), ("target tokens", target_len)]
        {
            if asked == 0 {
                return Err(ModelError::Capacity { what, asked, limit: 0 });
            }
        }
        let limits = Limits { encode_tokens: encode_tokens.max(source_len), ..limits };
        let tokens = source_len.max(target_len);
        if tokens > MOST_POSITIONS {
            return Err(ModelError::TooLong { tokens, limit: MOST_POSITIONS });
        }
        let cross_len = KvCache::storage_len(model.heads(), sources, source_len)?;
        let states_len = rows.saturating_mul(model.config.width);
        let work_len = work_len(model, rows.max(limits.encode_tokens), source_len, parallel)?;
        let mut layout = ScratchPlan::new();
        for _ in &model.decoder {
            layout = layout.take(cross_len).take(states_len);
        }
        let total = layout.take(work_len).finish_aligned()?;
        Ok(Self { limits, cross_len, states_len, work_len, total })
    }

    /// Elements of the buffer that [`StudentSession::new`] takes.
    pub fn scratch_len(&self) -> usize {
        self.total
    }

    /// What the session will have room for.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

/// Elements for the activations of `tokens` rows, with the kernels' scratch.
fn work_len(
    model: &MarianStudent,
    tokens: usize,
    source_len: usize,
    parallel: &impl Parallel,
) -> Result<usize, ModelError> {
    let (threads, config) = (parallel.threads(), &model.config);
    let output = Output::scratch_len(&model.table, config.width, tokens, config.vocab_size, threads);
    let cross = attend_cached_scratch_len(model.heads(), CacheKind::F32, parallel)?;
    let mut scratch = cross.max(output).max(model.encoder.scratch_len(tokens, parallel)?);
    if model.weights == StudentWeights::Engine {
        scratch = scratch.max(engine::attend_scratch_len(model.heads(), source_len));
    }
    for layer in &model.decoder {
        scratch = scratch.max(layer.recurrence.scratch_len(tokens, threads));
        scratch = scratch.max(layer.cross.scratch_len(tokens, parallel)?);
        scratch = scratch.max(layer.feed_forward.scratch_len(tokens, threads));
    }
    Ok(model.widths().layout(tokens, scratch).finish_aligned()?)
}

/// One row of a decoding step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StudentRow {
    /// The slot of the row's own state.
    pub slot: usize,
    /// The slot of the source that the row attends to.
    pub source: usize,
    /// The token to append; `None` begins a target, and forgets what the slot held.
    pub token: Option<u32>,
}

/// A student with a place to work: encoded sources in some slots, partly decoded targets in others.
///
/// What a row gives depends on its source and its own tokens alone: not on the batch, the slots or the threads.
pub struct StudentSession<'a> {
    model: &'a MarianStudent,
    limits: Limits,
    /// Keys and values of the sources, a decoder layer each.
    cross: Vec<Cache<'a>>,
    /// The states of the recurrent units, a decoder layer each: `[rows, width]`.
    states: Vec<&'a mut [f32]>,
    /// The words of each source slot.
    outputs: Vec<Option<Output>>,
    /// Tokens that each row slot has.
    lens: Vec<usize>,
    work: &'a mut [f32],
    segments: Vec<Segment>,
    slots: Vec<usize>,
    sources: Vec<usize>,
}

impl<'a> StudentSession<'a> {
    /// A session in `buffer`, which has at least [`StudentPlan::scratch_len`] elements.
    ///
    /// # Errors
    /// A buffer that is too short.
    pub fn new(model: &'a MarianStudent, plan: &StudentPlan, buffer: &'a mut [f32]) -> Result<Self, ModelError> {
        let limits = plan.limits;
        let mut arena = Arena::aligned(buffer);
        let (mut cross, mut states) = (Vec::new(), Vec::new());
        for _ in &model.decoder {
            let bookkeeping = alloc::vec![0; KvCache::bookkeeping_len(limits.sources, limits.source_len)];
            let storage = arena.take(plan.cross_len)?;
            cross.push(KvCache::new(model.heads(), limits.sources, limits.source_len, storage, bookkeeping)?);
            states.push(arena.take(plan.states_len)?);
        }
        let work = arena.take(plan.work_len)?;
        Ok(Self {
            model,
            limits,
            cross,
            states,
            outputs: (0..limits.sources).map(|_| None).collect(),
            lens: alloc::vec![0; limits.rows],
            work,
            segments: Vec::new(),
            slots: Vec::new(),
            sources: Vec::new(),
        })
    }

    /// What the session has room for.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The words that the targets of a source slot are made of, ascending; none for an empty slot.
    pub fn words(&self, source: usize) -> &[u32] {
        self.outputs.get(source).and_then(Option::as_ref).map_or(&[], |output| &output.words)
    }

    /// Whether a source can be encoded: it has tokens, not too many, and all of the vocabulary.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_source(&self, ids: &[u32]) -> Result<(), ModelError> {
        if ids.is_empty() {
            return Err(ModelError::EmptySequence);
        }
        if ids.len() > self.limits.source_len {
            return Err(ModelError::TooLong { tokens: ids.len(), limit: self.limits.source_len });
        }
        let vocab_size = self.model.config.vocab_size;
        match ids.iter().find(|id| **id as usize >= vocab_size) {
            Some(token) => Err(ModelError::Token { token: *token, vocab_size }),
            None => Ok(()),
        }
    }

    /// Encodes sources of any lengths together and keeps what the decoder needs of them in their slots. `words[i]` are
    /// the words that targets of source `i` may be made of, ascending.
    ///
    /// # Errors
    /// More tokens or sources than there is room for, a slot that does not exist, a range outside `ids`, words outside
    /// the vocabulary, or [`StudentSession::check_source`].
    pub fn encode<P: Parallel>(
        &mut self,
        parallel: &P,
        ids: &[u32],
        sources: &[Source],
        words: Vec<Vec<u32>>,
    ) -> Result<(), ModelError> {
        let count = self.check_sources(ids, sources)?;
        if words.len() != sources.len() {
            return Err(ModelError::Length { what: "the lists of words", found: words.len(), expected: sources.len() });
        }
        if sources.is_empty() {
            return Ok(());
        }
        let model = self.model;
        let width = model.config.width;
        let context = model.context(parallel);
        let mut a = Activations::cut(Arena::aligned(self.work), count, model.widths())?;
        self.segments.clear();
        let mut start = 0;
        for source in sources {
            let end = start + source.tokens.len();
            let rows = a.x[start * width..end * width].chunks_exact_mut(width);
            for ((position, id), row) in ids[source.tokens.clone()].iter().enumerate().zip(rows) {
                model.table.embed(Some(*id), position, row)?;
            }
            self.segments.push(Segment::of(start..end));
            start = end;
        }
        model.encode(&context, &mut a, &self.segments)?;
        for (layer, cache) in model.decoder.iter().zip(&mut self.cross) {
            let projected = &mut a.projected[..count * 2 * width];
            layer.cross.project(&context, a.x, projected, a.scratch)?;
            let (k, v) = layer.cross.keys_and_values(projected);
            for (source, segment) in sources.iter().zip(&self.segments) {
                cache.truncate(source.slot, 0)?;
                cache.append_rows(source.slot, k, v, segment.key.clone())?;
            }
        }
        for (source, words) in sources.iter().zip(words) {
            let before = self.outputs[source.slot].take();
            self.outputs[source.slot] = Some(Output::new(&model.table, width, words, before)?);
        }
        Ok(())
    }

    /// The tokens of all sources.
    fn check_sources(&self, ids: &[u32], sources: &[Source]) -> Result<usize, ModelError> {
        let limits = self.limits;
        if sources.len() > limits.sources {
            return Err(ModelError::Capacity { what: "sources", asked: sources.len(), limit: limits.sources });
        }
        let mut count = 0;
        for source in sources {
            let what = "the source token ids";
            let outside = || ModelError::Length { what, found: ids.len(), expected: source.tokens.end };
            self.check_source(ids.get(source.tokens.clone()).ok_or_else(outside)?)?;
            if source.slot >= limits.sources {
                return Err(ModelError::Slot { slot: source.slot, problem: "is none of the session's source slots" });
            }
            count += source.tokens.len();
        }
        if count > limits.encode_tokens {
            return Err(ModelError::Capacity { what: "source tokens", asked: count, limit: limits.encode_tokens });
        }
        Ok(count)
    }

    /// Appends a token to each row and writes the logits of the token after it, as many a row as its source has
    /// [`words`](Self::words), one row after the other.
    ///
    /// # Errors
    /// More rows than there is room for, a slot that does not exist or (as a source) is empty, a token outside the
    /// vocabulary, a target that is too long.
    pub fn step<P: Parallel>(
        &mut self,
        parallel: &P,
        rows: &[StudentRow],
        logits: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        logits.clear();
        self.check_rows(rows)?;
        if rows.is_empty() {
            return Ok(());
        }
        let model = self.model;
        let width = model.config.width;
        let context = model.context(parallel);
        let mut a = Activations::cut(Arena::aligned(self.work), rows.len(), model.widths())?;
        embed(model, rows, &mut self.lens, &mut self.states, a.x)?;
        for (i, layer) in model.decoder.iter().enumerate() {
            layer.recurrence.step(&context, &mut a, self.states[i], &self.slots)?;
            let source = (&self.cross[i], self.sources.as_slice());
            layer.cross.run(&context, &mut a, |q, out, scratch| {
                model.mix_source(&context, &layer.cross, q, source, out, scratch)
            })?;
            layer.feed_forward.forward(&context, &mut a)?;
        }
        // Rows of one source stand together, as many as it has beams, and share its words.
        let mut from = 0;
        for group in rows.chunk_by(|a, b| a.source == b.source) {
            let states = &a.x[from * width..(from + group.len()) * width];
            from += group.len();
            let Some(Some(output)) = self.outputs.get(group[0].source) else { continue };
            let start = logits.len();
            logits.resize(start + group.len() * output.words.len(), 0.0);
            output.apply(&context, &model.table, states, width, &mut logits[start..], a.scratch)?;
        }
        Ok(())
    }

    /// Checks a step, and spreads its rows over the lists that the kernels take.
    fn check_rows(&mut self, rows: &[StudentRow]) -> Result<(), ModelError> {
        let limits = self.limits;
        if rows.len() > limits.rows {
            return Err(ModelError::Capacity { what: "rows", asked: rows.len(), limit: limits.rows });
        }
        self.slots.clear();
        self.sources.clear();
        for row in rows {
            let bad = |slot, problem| Err(ModelError::Slot { slot, problem });
            if row.slot >= limits.rows {
                return bad(row.slot, "is none of the session's row slots");
            }
            if row.source >= limits.sources {
                return bad(row.source, "is none of the session's source slots");
            }
            if self.outputs[row.source].is_none() {
                return bad(row.source, "holds no source; encode one first");
            }
            if row.token.is_some() && self.lens[row.slot] >= limits.target_len {
                return Err(ModelError::TooLong { tokens: self.lens[row.slot] + 1, limit: limits.target_len });
            }
            self.slots.push(row.slot);
            self.sources.push(row.source);
        }
        Ok(())
    }

    /// Makes the row slot `to` a copy of `from`.
    ///
    /// # Errors
    /// A slot that does not exist.
    pub fn copy_row(&mut self, from: usize, to: usize) -> Result<(), ModelError> {
        let rows = self.limits.rows;
        if let Some(slot) = [from, to].into_iter().find(|slot| *slot >= rows) {
            return Err(ModelError::Slot { slot, problem: "is none of the session's row slots" });
        }
        let width = self.model.config.width;
        let place = |slot: usize| -> Range<usize> { slot * width..(slot + 1) * width };
        for states in &mut self.states {
            states.copy_within(place(from), to * width);
        }
        self.lens[to] = self.lens[from];
        Ok(())
    }

    /// The weights with which each token of `target` was written from each token of `source`: `[target, source]`, by the
    /// first head of the last layer, which students are trained to align words with. It uses the first slots.
    ///
    /// # Errors
    /// As [`StudentSession::encode`] and [`StudentSession::step`].
    pub fn alignment<P: Parallel>(
        &mut self,
        parallel: &P,
        source: &[u32],
        target: &[u32],
    ) -> Result<Vec<f32>, ModelError> {
        let model = self.model;
        self.encode(parallel, source, &[Source { slot: 0, tokens: 0..source.len() }], alloc::vec![Vec::new()])?;
        let Some(last) = model.decoder.len().checked_sub(1) else { return Ok(Vec::new()) };
        let keys = self.last_keys(parallel, &model.decoder[last], source.len())?;
        let panel = model.config.heads * source.len();
        let mut weights = alloc::vec![0.0; panel];
        let mut alignment = Vec::with_capacity(target.len() * source.len());
        let mut token = None;
        for next in target {
            let rows = [StudentRow { slot: 0, source: 0, token }];
            self.check_rows(&rows)?;
            let context = model.context(parallel);
            let mut a = Activations::cut(Arena::aligned(self.work), 1, model.widths())?;
            embed(model, &rows, &mut self.lens, &mut self.states, a.x)?;
            for (i, layer) in model.decoder.iter().enumerate() {
                layer.recurrence.step(&context, &mut a, self.states[i], &self.slots)?;
                let (cache, sources) = (&self.cross[i], self.sources.as_slice());
                layer.cross.run(&context, &mut a, |q, out: RowsMut<'_>, scratch| {
                    let (heads, scale) = (layer.cross.heads, layer.cross.scale);
                    if i == last {
                        let segment = Segment { query: 0..1, key: 0..source.len() };
                        let (keys, _) = layer.cross.keys_and_values(&keys);
                        attention_weights(model.isa, heads, scale, q, keys, &segment, Mask::NONE, &mut weights)?;
                    }
                    model.mix_source(&context, &layer.cross, q, (cache, sources), out, scratch)
                })?;
                layer.feed_forward.forward(&context, &mut a)?;
            }
            alignment.extend_from_slice(&weights[..source.len()]);
            token = Some(*next);
        }
        Ok(alignment)
    }

    /// The keys and values of the source that was encoded last and alone, for one layer.
    fn last_keys<P: Parallel>(
        &mut self,
        parallel: &P,
        layer: &DecoderLayer,
        tokens: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let mut keys = alloc::vec![0.0; 2 * tokens * self.model.config.width];
        let a = Activations::cut(Arena::aligned(self.work), tokens, self.model.widths())?;
        layer.cross.project(&self.model.context(parallel), a.x, &mut keys, a.scratch)?;
        Ok(keys)
    }
}

/// Embeds the tokens of a step, each at its place.
fn embed(
    model: &MarianStudent,
    rows: &[StudentRow],
    lens: &mut [usize],
    states: &mut [&mut [f32]],
    x: &mut [f32],
) -> Result<(), ModelError> {
    let width = model.config.width;
    for (row, out) in rows.iter().zip(x.chunks_exact_mut(width)) {
        if row.token.is_none() {
            lens[row.slot] = 0;
            for states in states.iter_mut() {
                states[row.slot * width..(row.slot + 1) * width].fill(0.0);
            }
        }
        model.table.embed(row.token, lens[row.slot], out)?;
        lens[row.slot] += 1;
    }
    Ok(())
}
