//! A tile of work, whatever it is made of: the one place from which the arithmetic is entered.

use core::ops::Range;

use kernform_math::vector::map;
use kernform_simd::{Isa, Kernel, Simd};
use kernform_tensor::ScratchPlan;

use super::block::MAX_ROWS;
use super::rows::{self, Group, RowList, Source};
use super::short;
use crate::attend::Problem;
use crate::cached::Step;
use crate::reference::KEY_BLOCK;
use crate::{AttentionError, CacheKind};

/// Rows of one slot that go through its keys together.
const SLOT_ROWS: usize = 32;

/// Fewer rows of one slot go one by one where they see few keys: what they would share is less than what it costs to list
/// them.
const SHARING_ROWS: usize = 8;

/// Elements of scratch memory for a tile of rows.
pub(crate) fn rows_scratch_len(head_dim: usize) -> Result<usize, AttentionError> {
    rows::scratch_len(head_dim, rows::ROWS, true)
}

/// Elements of scratch memory for a tile of a step.
pub(crate) fn step_scratch_len(head_dim: usize, kind: CacheKind) -> Result<usize, AttentionError> {
    rows::scratch_len(head_dim, SLOT_ROWS, kind != CacheKind::F32)
}

/// Scratch memory for `tiles` tiles that need `each`, for an [`Arena::aligned`](kernform_tensor::Arena::aligned): what the
/// kernels lay out begins with a cache line, so that no vector lies in two.
pub(crate) fn all_scratch_len(each: usize, tiles: usize) -> Result<usize, AttentionError> {
    let len = each.checked_mul(tiles).ok_or(AttentionError::Overflow)?;
    ScratchPlan::new().take(len).finish_aligned().map_err(|_| AttentionError::Overflow)
}

/// What is to be attended to.
#[derive(Clone, Copy)]
pub(crate) enum Work<'a> {
    /// Segments of rows.
    Rows(&'a Problem<'a>),
    /// Rows over the slots of a cache.
    Step(&'a Step<'a>),
}

/// A range of query rows, with the output and scratch memory that belong to it alone.
pub(crate) struct Tile<'a> {
    pub(crate) work: Work<'a>,
    pub(crate) tokens: Range<usize>,
    pub(crate) out: &'a mut [f32],
    pub(crate) scratch: &'a mut [f32],
}

impl Tile<'_> {
    /// Does the work. No function of a caller's type stands between here and the arithmetic, so that it is compiled once.
    pub(crate) fn run(&mut self, isa: Isa) {
        isa.dispatch(RunTile(self));
    }
}

struct RunTile<'t, 'a>(&'t mut Tile<'a>);

impl Kernel for RunTile<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Tile { work, tokens, out, scratch } = self.0;
        let (out_start, mut token, mut number) = (tokens.start, tokens.start, 0);
        let (heads, factor, query, out_stride, at_once) = match *work {
            Work::Rows(problem) => (problem.heads, problem.factor, problem.query, problem.out_stride, rows::ROWS),
            Work::Step(step) => (step.heads, step.factor, step.query, step.out_stride, SLOT_ROWS),
        };
        let mut list = None;
        loop {
            let mut first_head = 0;
            let range = match *work {
                Work::Rows(problem) => {
                    let Some(segment) = problem.segments.get(number) else { break };
                    segment.query.start.max(tokens.start)..segment.query.end.min(tokens.end)
                }
                Work::Step(step) => {
                    let Some(slot) = step.slots[..tokens.end].get(token) else { break };
                    let same = step.slots[token..tokens.end].iter().take_while(|other| *other == slot);
                    let mut range = token..token + same.count();
                    let is_short = step.is_short(token, short::VECTORS * S::LANES);
                    if is_short && range.len() < SHARING_ROWS {
                        range.end = token + 1;
                        let out = &mut out[(token - out_start) * out_stride..][..heads.query_width()];
                        first_head = short_heads(s, step, token, out, scratch);
                    }
                    token = range.end;
                    // Slots lie apart, and short sequences end before the hardware has seen a pattern.
                    if token < tokens.end && step.slots[token] != *slot {
                        step.cache.prefetch(step.slots[token], step.sees(token).end);
                    }
                    range
                }
            };
            if !range.is_empty() {
                for kv_head in first_head..heads.kv_heads {
                    let source = match *work {
                        Work::Rows(problem) => Source::Segment { problem, number, segment: &problem.segments[number] },
                        Work::Step(step) => {
                            Source::Slot { step, view: step.cache.head(step.slots[range.start], kv_head) }
                        }
                    };
                    let group = Group {
                        source,
                        factor,
                        query,
                        head_dim: heads.head_dim,
                        tokens: range.clone(),
                        heads: (kv_head * heads.group(), heads.group()),
                        kv_head,
                        out_start,
                        out_stride,
                    };
                    let packs = match *work {
                        Work::Rows(_) => true,
                        Work::Step(step) => step.cache.kind() != CacheKind::F32,
                    };
                    group.attend(s, at_once, packs, list.get_or_insert(RowList::EMPTY), out, scratch);
                }
            }
            number += 1;
        }
    }
}

/// As many heads of a row as are a multiple of those worked on at once; returns how many.
#[inline(always)]
fn short_heads<S: Simd>(s: S, step: &Step<'_>, row: usize, out: &mut [f32], scratch: &mut [f32]) -> usize {
    let keys = step.sees(row).end;
    let head_dim = step.heads.head_dim;
    let width = short::HEADS * head_dim;
    let (query, scratch) = scratch.split_at_mut(width);
    let weights = scratch.as_chunks_mut::<KEY_BLOCK>().0;
    let weights = &mut weights[..MAX_ROWS.min(short::HEADS)];
    let mut first = 0;
    while first + short::HEADS <= step.heads.query_heads {
        let unscaled = step.query.part(row, first * head_dim, width);
        let factor = s.splat(step.factor);
        map(s, unscaled, query, |query| s.mul(query, factor));
        let out = &mut out[first * head_dim..][..width];
        match keys.div_ceil(S::LANES) {
            1 => short::attend::<S, 1>(s, step, row, first, keys, query, out, weights),
            2 => short::attend::<S, 2>(s, step, row, first, keys, query, out, weights),
            _ => short::attend::<S, { short::VECTORS }>(s, step, row, first, keys, query, out, weights),
        }
        first += short::HEADS;
    }
    first
}
