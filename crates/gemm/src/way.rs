//! How B gets to the kernels, and what that means for the blocks.

use kernform_tensor::MatrixRef;

use crate::blocking::{DEEP_KC, IN_PLACE_KC, KC, STREAMS, row_block};
use crate::driver::Source;
use crate::tiles::Tiling;

/// How the kernels get B.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is packed.
    Packed,
    /// They read it where it lies: it is used so few times that it is not worth packing.
    InPlace,
    /// Its blocks are packed first.
    Copied,
}

/// Whether `rows` rows of A read B so few times, in rows near enough to one another, that packing it takes longer than it
/// saves.
fn is_seldom_read<W>(b: &MatrixRef<'_, W>, tiling: &Tiling, rows: usize) -> bool {
    /// Rows of a tile whose steps take so long that B comes from the second-level cache meanwhile, wherever its rows lie.
    const TALL: usize = 12;
    /// Bytes that stay in the second-level cache.
    const NEAR: usize = 640 << 10;
    /// Bytes read by all blocks of rows together.
    const READ: usize = 8 << 20;
    let bytes = size_of_val(b.as_slice());
    if tiling.max_rows >= TALL {
        let row_block = row_block(tiling, rows, KC);
        let read = || bytes.saturating_mul(rows.div_ceil(row_block));
        rows <= row_block || !is_far(b) && (bytes <= NEAR || read() <= READ)
    } else {
        tiling.strips(rows) <= 2 || !is_far(b) && bytes <= NEAR
    }
}

/// Whether each row of B is a run of its own for the machine's prefetchers.
pub(crate) fn is_far<W>(b: &MatrixRef<'_, W>) -> bool {
    b.row_stride() >= 1024
}

/// Whether `rows` rows of A take so little time that B, in rows that are far apart, comes as fast as memory gives it.
pub(crate) fn is_streamed<W>(b: &MatrixRef<'_, W>, rows: usize) -> bool {
    /// Bytes that the outermost cache of a core may hold.
    const CACHE: usize = 16 << 20;
    rows < Tiling::PREFETCH_FROM && is_far(b) && size_of_val(b.as_slice()) > CACHE
}

impl Way {
    /// The way of B to `rows` rows of A.
    pub(crate) fn new<W>(b: &Source<'_, W>, tiling: &Tiling, rows: usize) -> Way {
        match b {
            Source::Packed(_) => Way::Packed,
            Source::Strided(b) if b.col_stride() == 1 && is_seldom_read(b, tiling, rows) => Way::InPlace,
            Source::Strided(_) => Way::Copied,
        }
    }

    /// Steps of `k` in a block at most.
    pub(crate) fn most_steps<W>(
        self,
        b: &Source<'_, W>,
        tiling: &Tiling,
        rows: usize,
        k: usize,
        packs_a: bool,
    ) -> usize {
        let is_lone = tiling.strips(rows) == 1;
        match (self, b) {
            (Way::InPlace, Source::Strided(b)) if is_streamed(b, rows) => STREAMS,
            (Way::InPlace, Source::Strided(b)) if is_far(b) && tiling.strips(rows) <= 2 => IN_PLACE_KC,
            // One strip uses B once: the blocks keep A in the first-level cache.
            (Way::Packed, _) if is_lone && rows < Tiling::PREFETCH_FROM && !packs_a => k.max(1),
            (Way::Packed, _) if is_lone => DEEP_KC,
            (Way::InPlace, _) => tiling.steps,
            _ => tiling.packed_steps,
        }
    }
}
