//! One step of decoding: new queries over cached keys and values.

use core::array;
use core::ops::Range;

use kernform_simd::{Isa, Kernel, Simd};
use kernform_tensor::{Parallel, split_ranges};

use crate::attend::MAX_TILES;
use crate::cache::CacheView;
use crate::kernels::step;
use crate::{AttentionError, Bias, Heads, KvCache, Operand, Rows, RowsMut};

/// Rows under which a tile is not cut further.
const LEAST_ROWS: usize = 16;

/// What each query row of [`attend_cached`] sees of its slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visible<'a> {
    /// For each row, how many of its slot's keys it sees, from the first on; all where there is no list. Rows of one
    /// slot with ascending lengths are a causal prefill in pieces.
    pub lengths: Option<&'a [usize]>,
    /// Added to the scaled scores. Rows count as queries of one segment, keys from their slot's first.
    pub bias: Option<Bias<'a>>,
}

/// A step with all shapes checked, shared by its tiles.
pub(crate) struct Step<'a> {
    pub(crate) heads: Heads,
    pub(crate) scale: f32,
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
            longest = longest.max(self.cache.len(slot));
        }
        if let Some(lengths) = self.visible.lengths {
            if lengths.len() != rows {
                return Err(AttentionError::ListLength { needed: rows, len: lengths.len() });
            }
            for (index, (&kept, &slot)) in lengths.iter().zip(self.slots).enumerate() {
                let keys = self.cache.len(slot);
                if kept > keys {
                    return Err(AttentionError::KeptLength { index, kept, keys });
                }
            }
        }
        self.visible.bias.map_or(Ok(()), |bias| bias.check(1, self.heads.query_heads, rows, longest))
    }

    /// Keys that a row sees.
    #[inline(always)]
    pub(crate) fn keys(&self, row: usize) -> usize {
        self.visible.lengths.map_or_else(|| self.cache.len(self.slots[row]), |lengths| lengths[row])
    }
}

/// A range of rows, with the output and scratch memory that belong to it alone.
struct Tile<'a> {
    rows: Range<usize>,
    out: &'a mut [f32],
    scratch: &'a mut [f32],
}

struct RunTile<'t, 'a> {
    step: &'t Step<'a>,
    tile: &'t mut Tile<'a>,
}

impl Kernel for RunTile<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        step::run(s, self.step, self.tile.rows.clone(), self.tile.out, self.tile.scratch);
    }
}

/// Attention of new queries over the cached keys and values of their sequences: row `i` attends to slot `slots[i]`.
///
/// `query` and `out` have `heads.query_heads * heads.head_dim` elements a row. Several rows may name the same slot, as
/// the beams of one source sentence do. `scratch` needs [`attend_cached_scratch_len`] elements and may hold anything.
///
/// The bits are those of [`crate::attend`] on the same keys and values; so are the error bound and the rules for odd
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
    let step = Step { heads, scale, query, cache: cache.view(), slots, visible, out_stride: out.stride };
    step.check(&out)?;
    let needed = attend_cached_scratch_len(parallel);
    if scratch.len() < needed {
        return Err(AttentionError::TooShort { operand: Operand::Scratch, needed, len: scratch.len() });
    }
    let width = heads.query_width();
    if width == 0 || slots.is_empty() {
        return Ok(());
    }

    let parts = tiles(parallel).min(slots.len().div_ceil(LEAST_ROWS));
    let mut tiles: [Option<Tile<'_>>; MAX_TILES] = array::from_fn(|_| None);
    let mut rest = out.range(0..slots.len(), width);
    let mut scratches = scratch.chunks_exact_mut(step::SCRATCH_LEN);
    let mut count = 0;
    for (tile, rows) in tiles.iter_mut().zip(split_ranges(slots.len(), parts, 1)) {
        let take = if rows.end == slots.len() { rest.len() } else { rows.len() * step.out_stride };
        let (out, after) = core::mem::take(&mut rest).split_at_mut(take);
        rest = after;
        *tile = scratches.next().map(|scratch| Tile { rows, out, scratch });
        count += 1;
    }
    parallel.for_each(&mut tiles[..count], |_, tile| {
        if let Some(tile) = tile {
            isa.dispatch(RunTile { step: &step, tile });
        }
    });
    Ok(())
}

fn tiles(parallel: &impl Parallel) -> usize {
    parallel.threads().clamp(1, MAX_TILES)
}

/// How many elements of scratch memory [`attend_cached`] needs, for any number of rows and keys.
#[must_use]
pub fn attend_cached_scratch_len(parallel: &impl Parallel) -> usize {
    step::SCRATCH_LEN * tiles(parallel)
}
