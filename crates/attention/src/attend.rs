//! Attention over rows of queries, keys and values.

use core::array;
use core::ops::Range;

use kernform_simd::Isa;
use kernform_tensor::{Arena, Parallel, split_ranges};

use crate::kernels::tile::{Tile, Work, all_scratch_len, rows_scratch_len};
use crate::{AttentionError, Heads, Mask, Operand, Rows, RowsMut, Segment};

/// The most tiles that one call is cut into.
pub(crate) const MAX_TILES: usize = 16;
/// Tiles a thread, so that causal rows of different lengths spread evenly.
const TILES_PER_THREAD: usize = 4;
/// Queries under which a tile is not cut further, where every thread has one.
const LEAST_QUERIES: usize = 32;
/// Queries under which no tile is cut: each brings the keys into order for itself.
const FEWEST_QUERIES: usize = 8;

/// An attention with all shapes checked, shared by its tiles.
pub(crate) struct Problem<'a> {
    pub(crate) heads: Heads,
    /// The scale of the scores times `log2(e)`.
    pub(crate) factor: f32,
    pub(crate) query: Rows<'a>,
    pub(crate) key: Rows<'a>,
    pub(crate) value: Rows<'a>,
    pub(crate) segments: &'a [Segment],
    pub(crate) mask: Mask<'a>,
    pub(crate) out_stride: usize,
}

impl Problem<'_> {
    /// Checks all but the output; gives the queries from the first segment's first to the last one's last.
    fn check(&self) -> Result<Range<usize>, AttentionError> {
        self.heads.check()?;
        let (mut queries, mut keys) = (0, 0);
        for (index, segment) in self.segments.iter().enumerate() {
            let reversed = segment.query.start > segment.query.end || segment.key.start > segment.key.end;
            if reversed || segment.query.start < queries {
                return Err(AttentionError::SegmentOrder { segment: index });
            }
            queries = segment.query.end;
            keys = keys.max(segment.key.end);
        }
        self.query.check(Operand::Query, queries, self.heads.query_width())?;
        self.key.check(Operand::Key, keys, self.heads.kv_width())?;
        self.value.check(Operand::Value, keys, self.heads.kv_width())?;
        self.mask.check(self.heads, self.segments)?;
        Ok(self.segments.first().map_or(0, |first| first.query.start)..queries)
    }
}

/// Scaled dot-product attention: `softmax(scale * q k^T + bias) v` for each head and each segment, without a matrix of
/// scores.
///
/// `query` and `out` have `heads.query_heads * heads.head_dim` elements a token, `key` and `value`
/// `heads.kv_heads * heads.head_dim`. Rows of `out` that belong to no segment are left alone. `scratch` needs
/// [`attend_scratch_len`] elements and may hold anything.
///
/// Order of operations: [`crate::reference`]. The result depends neither on `isa` within its class, nor on
/// `parallel`, strides, padding, or the other segments. NaN or infinity in a query, a seen key or its value shows in
/// the rows that see it; a row that sees no key, or only scores of minus infinity, is 0; a score of plus infinity
/// gives NaN.
///
/// Error, for finite operands none of whose products underflows: with `n` keys, `u = 2^-24`,
/// `gamma_k = k u / (1 - k u)`, `S = |scale| sum |q| |k|`, `B` the sizes of the terms added to a score and of the cap,
/// `e = max(gamma_(2d + 8) S + 8 u (S + B)) + 2 u max |s|` over the keys' exact scores `s`, and
/// `b = min(n, KEY_BLOCK) + ceil(n / KEY_BLOCK) + 1`, each element is within
/// `(exp(2 e) - 1 + gamma_(4 b + 16)) sum p |v| + n 2^-125 max |v| + 1e-38` of the exact one, `p` being the exact weights.
/// (An unfused level rounds twice where a fused one rounds once; the bound covers both.)
///
/// # Errors
/// [`AttentionError`] where heads, segments, mask or lengths do not fit; nothing is written then.
pub fn attend(
    isa: Isa,
    parallel: &impl Parallel,
    heads: Heads,
    scale: f32,
    query: Rows<'_>,
    key: Rows<'_>,
    value: Rows<'_>,
    segments: &[Segment],
    mask: Mask<'_>,
    out: RowsMut<'_>,
    scratch: &mut [f32],
) -> Result<(), AttentionError> {
    let all = 0..usize::MAX;
    attend_range(isa, parallel, heads, scale, query, key, value, segments, mask, all, out, scratch)
}

/// [`attend`] for some of the queries: the rows that `queries` names, of which `out` holds the first at its beginning.
///
/// For callers whose threads have rows of their own. The bits are those of [`attend`]; queries that belong to no segment are
/// none, and their rows are left alone.
///
/// # Errors
/// As [`attend`].
pub fn attend_range(
    isa: Isa,
    parallel: &impl Parallel,
    heads: Heads,
    scale: f32,
    query: Rows<'_>,
    key: Rows<'_>,
    value: Rows<'_>,
    segments: &[Segment],
    mask: Mask<'_>,
    queries: Range<usize>,
    mut out: RowsMut<'_>,
    scratch: &mut [f32],
) -> Result<(), AttentionError> {
    let factor = scale * core::f32::consts::LOG2_E;
    let problem = Problem { heads, factor, query, key, value, segments, mask, out_stride: out.stride };
    let (all, first, width) = (problem.check()?, queries.start, heads.query_width());
    let queries = first.max(all.start)..queries.end.min(all.end);
    out.check(queries.end.saturating_sub(first), width)?;
    // Asked once: each tile needs its scratch, whatever the second answer would be.
    let (most, each) = (tiles(parallel), rows_scratch_len(heads.head_dim)?);
    let needed = all_scratch_len(each, most)?;
    if scratch.len() < needed {
        return Err(AttentionError::TooShort { operand: Operand::Scratch, needed, len: scratch.len() });
    }
    if width == 0 || queries.is_empty() {
        return Ok(());
    }

    let parts = queries.len().div_ceil(LEAST_QUERIES).max(parallel.threads().min(queries.len() / FEWEST_QUERIES));
    let parts = parts.min(most);
    let mut tiles: [Option<Tile<'_>>; MAX_TILES] = array::from_fn(|_| None);
    let mut rest = out.range(queries.start - first..queries.end - first, width);
    let mut arena = Arena::aligned(scratch);
    let mut free = arena.rest();
    let mut count = 0;
    for range in split_ranges(queries.len(), parts, 1) {
        let tokens = queries.start + range.start..queries.start + range.end;
        let take = if tokens.end == queries.end { rest.len() } else { range.len() * problem.out_stride };
        let (out, after) = core::mem::take(&mut rest).split_at_mut(take);
        rest = after;
        let (scratch, after) = core::mem::take(&mut free).split_at_mut(each);
        free = after;
        tiles[count] = Some(Tile { work: Work::Rows(&problem), tokens, out, scratch });
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
    match parallel.threads() {
        0 | 1 => 1,
        threads => threads.saturating_mul(TILES_PER_THREAD).min(MAX_TILES),
    }
}

/// How many elements of scratch memory [`attend`] needs, for any number of tokens.
///
/// # Errors
/// [`AttentionError::Overflow`] for a head size beyond the address space.
pub fn attend_scratch_len(heads: Heads, parallel: &impl Parallel) -> Result<usize, AttentionError> {
    all_scratch_len(rows_scratch_len(heads.head_dim)?, tiles(parallel))
}
