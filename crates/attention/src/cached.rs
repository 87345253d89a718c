//! One step of decoding: new queries over cached keys and values.

use core::array;
use core::ops::Range;

use kernform_simd::Isa;
use kernform_tensor::{Arena, Parallel, split_ranges};

use crate::attend::MAX_TILES;
use crate::cache::CacheView;
use crate::kernels::tile::{Tile, Work, all_scratch_len, step_scratch_len};
use crate::{AttentionError, CacheKind, Heads, KvCache, Operand, Rows, RowsMut, ScoreTerms};

/// Rows under which a tile is not cut further.
const LEAST_ROWS: usize = 16;

/// What each query row of [`attend_cached`] sees of its slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visible<'a> {
    /// For each row, the place behind the last key of its slot that it sees; the slot's length where there is no list. Rows of one
    /// slot with ascending lengths are a causal prefill in pieces.
    pub lengths: Option<&'a [usize]>,
    /// A row sees only its last keys, so many of them.
    pub window: Option<usize>,
    /// What is done to the scores. Rows count as queries of one segment, keys from their slot's first; a row stands at the
    /// last key that it sees.
    pub terms: ScoreTerms<'a>,
}

/// A step with all shapes checked, shared by its tiles.
pub(crate) struct Step<'a> {
    pub(crate) heads: Heads,
    /// The scale times `log2(e)`.
    pub(crate) factor: f32,
    pub(crate) query: Rows<'a>,
    pub(crate) cache: CacheView<'a>,
    pub(crate) slots: &'a [usize],
    pub(crate) visible: Visible<'a>,
    pub(crate) out_stride: usize,
}

impl Step<'_> {
    fn check(&self, out: &RowsMut<'_>) -> Result<(), AttentionError> {
        self.heads.check()?;
        let cached = self.cache.heads;
        if (cached.kv_heads, cached.head_dim) != (self.heads.kv_heads, self.heads.head_dim) {
            return Err(AttentionError::CacheHeads { kv_heads: cached.kv_heads, head_dim: cached.head_dim });
        }
        let rows = self.slots.len();
        self.query.check(Operand::Query, rows, self.heads.query_width())?;
        out.check(rows, self.heads.query_width())?;
        let slots = self.cache.slots();
        let mut longest = 0;
        for &slot in self.slots {
            if slot >= slots {
                return Err(AttentionError::Slot { slot, slots });
            }
            longest = longest.max(self.cache.tokens(slot).end);
        }
        if let Some(lengths) = self.visible.lengths {
            if lengths.len() != rows {
                return Err(AttentionError::ListLength { needed: rows, len: lengths.len() });
            }
            for (index, (&kept, &slot)) in lengths.iter().zip(self.slots).enumerate() {
                let keys = self.cache.tokens(slot).end;
                if kept > keys {
                    return Err(AttentionError::KeptLength { index, kept, keys });
                }
            }
        }
        self.visible.terms.check(1, self.heads.query_heads, rows, longest)
    }

    /// Whether a row sees from 1 to `most` keys from the first on, with nothing special to it.
    #[inline(always)]
    pub(crate) fn is_short(&self, row: usize, most: usize) -> bool {
        let sees = self.sees(row);
        let is_plain = self.cache.kind() == CacheKind::F32 && self.heads.group() == 1 && self.visible.terms.is_none();
        is_plain && sees.start == 0 && (1..=most).contains(&sees.end)
    }

    /// The keys that a row sees.
    #[inline(always)]
    pub(crate) fn sees(&self, row: usize) -> Range<usize> {
        let held = self.cache.tokens(self.slots[row]);
        let end = self.visible.lengths.map_or(held.end, |lengths| lengths[row]);
        let start = self.visible.window.map_or(0, |window| end.saturating_sub(window));
        start.max(held.start).min(end)..end
    }
}

/// Attention of new queries over the cached keys and values of their sequences: row `i` attends to slot `slots[i]`.
///
/// `query` and `out` have `heads.query_heads * heads.head_dim` elements a row. Several rows may name the same slot, as
/// the beams of one source sentence do. `scratch` needs [`attend_cached_scratch_len`] elements and may hold anything.
///
/// The bits are those of [`crate::attend`] on the same keys and values, decoded where they are not stored in `f32`; so are the error bound and the rules for odd
/// input.
///
/// # Errors
/// [`AttentionError`] where heads, slots or lengths do not fit; nothing is written then.
pub fn attend_cached<S, B>(
    isa: Isa,
    parallel: &impl Parallel,
    heads: Heads,
    scale: f32,
    query: Rows<'_>,
    cache: &KvCache<S, B>,
    slots: &[usize],
    visible: Visible<'_>,
    mut out: RowsMut<'_>,
    scratch: &mut [f32],
) -> Result<(), AttentionError>
where
    S: AsMut<[f32]> + AsRef<[f32]>,
    B: AsMut<[usize]> + AsRef<[usize]>,
{
    let factor = scale * core::f32::consts::LOG2_E;
    let step = Step { heads, factor, query, cache: cache.view(), slots, visible, out_stride: out.stride };
    step.check(&out)?;
    // Asked once: each tile needs its scratch, whatever the second answer would be.
    let (most, each) = (tiles(parallel), step_scratch_len(heads.head_dim, cache.kind())?);
    let needed = all_scratch_len(each, most)?;
    if scratch.len() < needed {
        return Err(AttentionError::TooShort { operand: Operand::Scratch, needed, len: scratch.len() });
    }
    let width = heads.query_width();
    if width == 0 || slots.is_empty() {
        return Ok(());
    }

    let parts = most.min(slots.len().div_ceil(LEAST_ROWS));
    let mut tiles: [Option<Tile<'_>>; MAX_TILES] = array::from_fn(|_| None);
    let mut rest = out.range(0..slots.len(), width);
    let mut arena = Arena::aligned(scratch);
    let mut free = arena.rest();
    let mut count = 0;
    for tokens in split_ranges(slots.len(), parts, 1) {
        let take = if tokens.end == slots.len() { rest.len() } else { tokens.len() * step.out_stride };
        let (out, after) = core::mem::take(&mut rest).split_at_mut(take);
        rest = after;
        let (scratch, after) = core::mem::take(&mut free).split_at_mut(each);
        free = after;
        tiles[count] = Some(Tile { work: Work::Step(&step), tokens, out, scratch });
        count += 1;
    }
    parallel.for_each(&mut tiles[..count], |_, tile| {
        if let Some(tile) = tile {
            tile.run(isa);
        }
    });
    Ok(())
}

fn tiles(parallel: &impl Parallel) -> usize {
    parallel.threads().clamp(1, MAX_TILES)
}

/// How many elements of scratch memory [`attend_cached`] needs, for any number of rows and keys.
///
/// # Errors
/// [`AttentionError::Overflow`] for a head size beyond the address space.
pub fn attend_cached_scratch_len(
    heads: Heads,
    kind: CacheKind,
    parallel: &impl Parallel,
) -> Result<usize, AttentionError> {
    all_scratch_len(step_scratch_len(heads.head_dim, kind)?, tiles(parallel))
}
