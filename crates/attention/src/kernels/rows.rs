//! Rows of queries over the keys of one sequence, block by block.
//!
//! Some rows, at most [`ROWS`], go through all blocks of keys together, so that what it costs to lay out a block is
//! shared by them. The query heads of a group use the same keys, so their rows are rows like others.

use core::ops::Range;

use kernform_math::vector::map;
use kernform_simd::{Simd, prefetch};

use super::block::{KeyBlock, MAX_ROWS, RowBlock, State, attend_block, finish};
use super::pack::pack_tile;
use super::whole::{self, Groups};
use crate::attend::Problem;
use crate::cache::HeadView;
use crate::cached::Step;
use crate::reference::{KEY_BLOCK, KEY_TILE};
use crate::scores::{BlockKeys, RowTerms, ScoreTerms};
use crate::stored::decode;
use crate::{AttentionError, CacheKind, KeptKeys, Rows, Segment};

/// Rows that go through the blocks together. More of them share what it costs to lay out a block, and need more memory.
pub(crate) const ROWS: usize = if cfg!(target_arch = "x86_64") { 512 } else { 256 };

/// Rows whose weights there is room for: those of two groups where the vectors are that may work on two.
const WEIGHT_ROWS: usize = if cfg!(target_arch = "x86_64") { 2 * whole::ROWS } else { MAX_ROWS };

/// Elements of scratch memory.
pub(crate) fn scratch_len(head_dim: usize, rows: usize, packs: bool) -> Result<usize, AttentionError> {
    let packed = if packs { 2 * KEY_BLOCK } else { 0 };
    let by_head_dim = head_dim.checked_mul(rows + packed).ok_or(AttentionError::Overflow)?;
    by_head_dim.checked_add(rows * (1 + KEY_TILE) + WEIGHT_ROWS * KEY_BLOCK).ok_or(AttentionError::Overflow)
}

/// Where keys and values come from, and who sees which of them.
pub(crate) enum Source<'a> {
    /// A segment of rows.
    Segment { problem: &'a Problem<'a>, number: usize, segment: &'a Segment },
    /// A slot of a cache; tokens are rows of the step.
    Slot { step: &'a Step<'a>, view: HeadView<'a> },
}

impl Source<'_> {
    /// The keys that a token sees, by index.
    #[inline(always)]
    fn sees(&self, token: usize) -> Range<usize> {
        match self {
            Source::Segment { problem, number, segment } => {
                problem.mask.sees(*number, segment, token - segment.query.start)
            }
            Source::Slot { step, .. } => step.sees(token),
        }
    }

    fn terms(&self) -> &ScoreTerms<'_> {
        match self {
            Source::Segment { problem, .. } => &problem.mask.terms,
            Source::Slot { step, .. } => &step.visible.terms,
        }
    }

    #[inline(always)]
    fn row_terms<'t>(&'t self, token: usize, head: usize, keys: BlockKeys<'t>) -> RowTerms<'t> {
        let terms = *self.terms();
        match self {
            Source::Segment { number, segment, .. } => {
                let query = token - segment.query.start;
                let position = query.wrapping_add(segment.key.len()).wrapping_sub(segment.query.len()).cast_signed();
                RowTerms { terms, keys, segment: *number, head, query, position }
            }
            Source::Slot { step, .. } => {
                let position = step.sees(token).end.cast_signed() - 1;
                RowTerms { terms, keys, segment: 0, head, query: token, position }
            }
        }
    }
}

/// Some tokens' queries of the heads that share a key-value head.
pub(crate) struct Group<'a> {
    pub(crate) source: Source<'a>,
    /// The scale of the scores times `log2(e)`.
    pub(crate) factor: f32,
    pub(crate) query: Rows<'a>,
    pub(crate) head_dim: usize,
    pub(crate) tokens: Range<usize>,
    /// The first query head, and how many.
    pub(crate) heads: (usize, usize),
    pub(crate) kv_head: usize,
    /// The token with which the output begins.
    pub(crate) out_start: usize,
    pub(crate) out_stride: usize,
}

/// The scratch memory of [`Group::attend`], cut up.
struct Scratch<'a> {
    query: &'a mut [f32],
    keys: &'a mut [f32],
    values: &'a mut [f32],
    m: &'a mut [f32],
    l: &'a mut [[f32; KEY_TILE]],
    weights: &'a mut [[f32; KEY_BLOCK]],
}

/// What is known of the rows that go together. It is large, so one is made for all groups of a tile.
pub(crate) struct RowList {
    len: usize,
    token: [usize; ROWS],
    head: [usize; ROWS],
    out: [usize; ROWS],
    /// The keys that a row sees, by index.
    sees: [(usize, usize); ROWS],
}

impl RowList {
    pub(crate) const EMPTY: Self =
        Self { len: 0, token: [0; ROWS], head: [0; ROWS], out: [0; ROWS], sees: [(0, 0); ROWS] };
}

impl Group<'_> {
    /// Attends with `at_once` rows at a time, listed in `rows`; `scratch` is of [`scratch_len`].
    #[inline(always)]
    pub(crate) fn attend<S: Simd>(
        &self,
        s: S,
        at_once: usize,
        packs: bool,
        rows: &mut RowList,
        out: &mut [f32],
        scratch: &mut [f32],
    ) {
        let head_dim = self.head_dim;
        let packed = if packs { KEY_BLOCK * head_dim } else { 0 };
        let (query, rest) = scratch.split_at_mut(at_once * head_dim);
        let (keys, rest) = rest.split_at_mut(packed);
        let (values, rest) = rest.split_at_mut(packed);
        let (m, rest) = rest.split_at_mut(at_once);
        let (l, weights) = rest.split_at_mut(at_once * KEY_TILE);
        let mut scratch =
            Scratch { query, keys, values, m, l: l.as_chunks_mut().0, weights: weights.as_chunks_mut().0 };
        let total = self.tokens.len() * self.heads.1;
        for first in (0..total).step_by(at_once) {
            self.list(first..total.min(first + at_once), rows);
            self.begin(s, rows, &mut scratch);
            self.run(s, rows, out, &mut scratch);
            for (l, place) in scratch.l.iter().zip(&rows.out[..rows.len]) {
                finish(s, l, &mut out[*place..][..head_dim]);
                if self.out_stride > head_dim {
                    fetch(out, *place + head_dim, head_dim);
                }
            }
        }
    }

    fn list(&self, range: Range<usize>, rows: &mut RowList) {
        rows.len = range.len();
        // Counted on, since divisions are slow.
        let (mut token, mut head) = (self.tokens.start + range.start / self.heads.1, range.start % self.heads.1);
        let mut sees = 0..0;
        for r in 0..rows.len {
            if r == 0 || head == 0 {
                sees = self.source.sees(token);
            }
            (rows.token[r], rows.head[r]) = (token, self.heads.0 + head);
            rows.out[r] = (token - self.out_start) * self.out_stride + (self.heads.0 + head) * self.head_dim;
            rows.sees[r] = (sees.start, sees.end);
            head += 1;
            if head == self.heads.1 {
                (token, head) = (token + 1, 0);
            }
        }
    }

    /// Scales the queries, and sets the state to its beginning.
    #[inline(always)]
    fn begin<S: Simd>(&self, s: S, rows: &RowList, scratch: &mut Scratch<'_>) {
        let head_dim = self.head_dim;
        let factor = s.splat(self.factor);
        for (r, scaled) in scratch.query.chunks_exact_mut(head_dim).enumerate().take(rows.len) {
            let query = self.query.part(rows.token[r], rows.head[r] * head_dim, head_dim);
            map(s, query, scaled, |query| s.mul(query, factor));
            self.fetch(&self.query, rows.token[r], (rows.head[r] + self.heads.1) * head_dim);
        }
        scratch.m[..rows.len].fill(f32::NEG_INFINITY);
        scratch.l[..rows.len].fill([0.0; KEY_TILE]);
    }

    #[inline(always)]
    fn run<S: Simd>(&self, s: S, rows: &RowList, out: &mut [f32], scratch: &mut Scratch<'_>) {
        // What some and what all rows see.
        let mut some = Range { start: usize::MAX, end: 0 };
        let mut all = 0..usize::MAX;
        for (start, end) in &rows.sees[..rows.len] {
            if start < end {
                (some.start, some.end) = (some.start.min(*start), some.end.max(*end));
            }
            (all.start, all.end) = (all.start.max(*start), all.end.min(*end));
        }
        let mut is_first = true;
        let mut list = [0; KEY_BLOCK];
        let mut cursor = some.start / KEY_BLOCK * KEY_BLOCK;
        let kept = match &self.source {
            Source::Segment { problem, segment, .. } => match problem.mask.keys {
                KeptKeys::Flags(kept) => Some(&kept[segment.key.clone()]),
                _ => None,
            },
            Source::Slot { .. } => None,
        };
        if kept.is_some() {
            // Places count the keys that are there, so those before the first one that is seen count too.
            cursor = 0;
        }
        while cursor < some.end {
            let mut places = some.start.saturating_sub(cursor)..(some.end - cursor).min(KEY_BLOCK);
            let mut block_keys = BlockKeys::From(cursor);
            if let Some(kept) = kept {
                let mut len = 0;
                while cursor < some.end && len < KEY_BLOCK {
                    list[len] = cursor;
                    len += usize::from(kept[cursor]);
                    cursor += 1;
                }
                if len == 0 || list[len - 1] < some.start {
                    continue;
                }
                (places, block_keys) = (0..len, BlockKeys::Listed(&list[..len]));
            } else {
                cursor += KEY_BLOCK;
            }
            let keys = core::mem::take(&mut scratch.keys);
            let values = core::mem::take(&mut scratch.values);
            let block = self.lay_out(s, block_keys, places.clone(), &mut *keys, &mut *values);
            self.rows_over(s, rows, &block, block_keys, places.end, &all, is_first, out, scratch);
            is_first = false;
            (scratch.keys, scratch.values) = (keys, values);
        }
        if is_first {
            self.clear(s, rows, 0..rows.len, out);
        }
    }

    /// The block's keys and values in tiles: as they are where they stand so already, else in the memory given.
    #[inline(always)]
    fn lay_out<'b, S: Simd>(
        &'b self,
        s: S,
        block_keys: BlockKeys<'_>,
        places: Range<usize>,
        keys: &'b mut [f32],
        values: &'b mut [f32],
    ) -> KeyBlock<'b> {
        let head_dim = self.head_dim;
        let column = self.kv_head * head_dim;
        let mut block = KeyBlock::EMPTY;
        let mut memory = keys.chunks_exact_mut(KEY_TILE * head_dim).zip(values.chunks_exact_mut(KEY_TILE * head_dim));
        for tile in places.start / KEY_TILE..places.end.div_ceil(KEY_TILE) {
            let first = tile * KEY_TILE;
            let (problem, segment) = match &self.source {
                Source::Slot { view, .. } => {
                    let tile_of_slot = (block_keys.index(0) / KEY_TILE) + tile;
                    let (stored_keys, stored_values) = (view.keys(tile_of_slot), view.values(tile_of_slot));
                    if view.layout.kind == CacheKind::F32 {
                        (block.keys[tile], block.values[tile]) = (stored_keys, stored_values);
                    } else if let Some((keys, values)) = memory.next() {
                        decode(view.layout.kind, head_dim, true, stored_keys, keys);
                        decode(view.layout.kind, head_dim, false, stored_values, values);
                        (block.keys[tile], block.values[tile]) = (keys, values);
                    }
                    continue;
                }
                Source::Segment { problem, segment, .. } => (problem, segment),
            };
            let Some((keys, values)) = memory.next() else { break };
            let token = |place: usize| segment.key.start + block_keys.index(place);
            let count = (places.end - first).min(KEY_TILE);
            pack_tile(s, head_dim, count, |j| problem.key.part(token(first + j), column, head_dim), keys);
            block.keys[tile] = keys;
            let is_dense = matches!(block_keys, BlockKeys::From(_)) && problem.value.stride == head_dim;
            block.values[tile] = if is_dense {
                &problem.value.data[token(first) * head_dim + column..][..count * head_dim]
            } else {
                for j in 0..count {
                    self.fetch(&problem.key, token(first + j), column + head_dim);
                    self.fetch(&problem.value, token(first + j), column + head_dim);
                }
                for (j, copy_of) in values.chunks_exact_mut(head_dim).enumerate().take(count) {
                    copy(s, problem.value.part(token(first + j), column, head_dim), copy_of);
                }
                &values[..count * head_dim]
            };
        }
        block
    }

    /// Fetches the next head of a row, whose turn comes next. Where rows lie apart, the hardware does not see it coming, and
    /// each row may be in a page of its own, which is at hand now.
    #[inline(always)]
    fn fetch(&self, rows: &Rows<'_>, token: usize, column: usize) {
        if rows.stride > self.head_dim {
            fetch(rows.data, token * rows.stride + column, self.head_dim);
        }
    }

    /// Sets the outputs of some rows to 0.
    #[inline(always)]
    fn clear<S: Simd>(&self, s: S, rows: &RowList, which: Range<usize>, out: &mut [f32]) {
        for place in &rows.out[which] {
            clear(s, &mut out[*place..][..self.head_dim]);
        }
    }

    /// All rows over one block of `len` places, which `is_first` for them.
    #[inline(always)]
    fn rows_over<S: Simd>(
        &self,
        s: S,
        rows: &RowList,
        block: &KeyBlock<'_>,
        block_keys: BlockKeys<'_>,
        len: usize,
        all: &Range<usize>,
        is_first: bool,
        out: &mut [f32],
        scratch: &mut Scratch<'_>,
    ) {
        let full = block_keys.below(all.start, len) == 0 && block_keys.below(all.end, len) == len;
        let part = Part { group: self, rows, block, block_keys, len, full };
        let whole = part.attend_whole(s, is_first, out, scratch);
        if is_first {
            self.clear(s, rows, 0..whole.start, out);
            self.clear(s, rows, whole.end..rows.len, out);
        }
        let mut r = 0;
        while r < rows.len {
            let left = if r < whole.start { whole.start } else { rows.len } - r;
            // Scalars share little, and each height is code of its own, for which a microcontroller has little room.
            let is_vector = S::LANES > 1;
            if r == whole.start && !whole.is_empty() {
                r = whole.end;
            } else if is_vector && S::REGISTERS >= 32 && left >= 8 {
                part.attend::<S, 8>(s, r, out, scratch);
                r += 8;
            } else if is_vector && S::REGISTERS < 32 && left >= 6 {
                part.attend::<S, 6>(s, r, out, scratch);
                r += 6;
            } else if is_vector && left >= 4 {
                part.attend::<S, 4>(s, r, out, scratch);
                r += 4;
            } else if left >= 2 {
                part.attend::<S, 2>(s, r, out, scratch);
                r += 2;
            } else {
                part.attend::<S, 1>(s, r, out, scratch);
                r += 1;
            }
        }
    }
}

/// A block of keys and the rows that go over it.
struct Part<'a> {
    group: &'a Group<'a>,
    rows: &'a RowList,
    block: &'a KeyBlock<'a>,
    block_keys: BlockKeys<'a>,
    len: usize,
    /// Whether every row sees all of it.
    full: bool,
}

impl Part<'_> {
    /// The rows that go over a whole block in groups: all but a remainder where every row sees all of it, and on the diagonal
    /// of a causal mask those below it. None where something is added to the scores.
    #[inline(always)]
    fn attend_whole<S: Simd>(&self, s: S, is_first: bool, out: &mut [f32], scratch: &mut Scratch<'_>) -> Range<usize> {
        let (rows, head_dim) = (self.rows, self.group.head_dim);
        if !Groups::are_for::<S>() || self.len < KEY_BLOCK || !self.group.source.terms().is_none() {
            return 0..0;
        }
        let mut first = 0;
        if !self.full {
            let sees_all = |sees: &&(usize, usize)| {
                self.block_keys.below(sees.0, self.len) == 0 && self.block_keys.below(sees.1, self.len) == self.len
            };
            let whole = rows.sees[..rows.len].iter().rev().take_while(sees_all).count();
            first = (rows.len - whole).next_multiple_of(whole::ROWS).min(rows.len);
        }
        let places = &rows.out[first..rows.len];
        let queries = &scratch.query[first * head_dim..][..places.len() * head_dim];
        let groups = Groups { block: self.block, head_dim, queries, places, is_first };
        let state = State { m: &mut scratch.m[first..], l: &mut scratch.l[first..] };
        first..first + groups.attend(s, state, out, scratch.weights)
    }

    /// Rows `first .. first + R`.
    #[inline(always)]
    fn attend<S: Simd, const R: usize>(&self, s: S, first: usize, out: &mut [f32], scratch: &mut Scratch<'_>) {
        let (rows, head_dim) = (self.rows, self.group.head_dim);
        let mut block = RowBlock { query: [&[]; R], out: [0; R], seen: [(0, self.len); R] };
        for (r, query) in scratch.query[first * head_dim..].chunks_exact(head_dim).take(R).enumerate() {
            block.query[r] = query;
            block.out[r] = rows.out[first + r];
        }
        if !self.full {
            for (seen, sees) in block.seen.iter_mut().zip(&rows.sees[first..]) {
                *seen = (self.block_keys.below(sees.0, self.len), self.block_keys.below(sees.1, self.len));
            }
        }
        let state = State { m: &mut scratch.m[first..][..R], l: &mut scratch.l[first..][..R] };
        let source = &self.group.source;
        let row_terms = |r: usize| source.row_terms(rows.token[first + r], rows.head[first + r], self.block_keys);
        let terms: Option<[RowTerms<'_>; R]> = (!source.terms().is_none()).then(|| core::array::from_fn(row_terms));
        attend_block(s, self.block, &block, terms.as_ref(), state, out, scratch.weights);
    }
}

/// Fetches elements, if they are there.
#[inline(always)]
fn fetch(data: &[f32], first: usize, len: usize) {
    prefetch(data.get(first..first + len).unwrap_or_default());
}

/// Sets elements to 0, as [`copy`] copies them.
#[inline(always)]
fn clear<S: Simd>(s: S, to: &mut [f32]) {
    for to in to.chunks_mut(S::LANES) {
        if to.len() == S::LANES {
            s.store(s.splat(0.0), to);
        } else {
            s.store_partial(s.splat(0.0), to);
        }
    }
}

/// Copies elements; a call to the system's copy costs more than the few vectors of a head.
#[inline(always)]
fn copy<S: Simd>(s: S, from: &[f32], to: &mut [f32]) {
    for (to, from) in to.chunks_mut(S::LANES).zip(from.chunks(S::LANES)) {
        if from.len() == S::LANES {
            s.store(s.load(from), to);
        } else {
            to.copy_from_slice(from);
        }
    }
}
