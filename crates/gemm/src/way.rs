//! How B gets to the kernels, and what that means for the blocks.

use kernform_tensor::MatrixRef;

use crate::blocking::{IN_PLACE_KC, LONE_KC, STREAMS};
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

/// Whether all of B stays in the second-level cache, in rows that do not fall into the same sets.
fn fits_cache<W>(b: &MatrixRef<'_, W>) -> bool {
    const BYTES: usize = 640 << 10;
    !is_far(b) && b.rows() * b.row_stride() * size_of::<W>() <= BYTES
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
    pub(crate) fn new<W>(b: &Source<'_, W>, strips: usize) -> Way {
        match b {
            Source::Packed(_) => Way::Packed,
            Source::Strided(b) if b.col_stride() == 1 && (strips <= 2 || fits_cache(b)) => Way::InPlace,
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
            (Way::InPlace, Source::Strided(b)) if is_far(b) => IN_PLACE_KC,
            // One strip uses B once: the blocks keep A in the first-level cache.
            (Way::Packed, _) if is_lone && rows < Tiling::PREFETCH_FROM && !packs_a => k.max(1),
            (Way::Packed, _) if is_lone => LONE_KC,
            _ => tiling.steps,
        }
    }
}
