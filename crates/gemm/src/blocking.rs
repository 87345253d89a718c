//! The sizes of the blocks into which a product is cut, and the scratch that they need.

use crate::packed::PANEL;
use crate::tiles::Tiling;

/// Most steps of `k` in a block where B is read in place: C is read and written once for each, so they are many, though the
/// columns of B then come from the second-level cache.
pub(crate) const KC: usize = 512;
/// The same where B is packed, and where A is one strip of several rows: the more rows of a panel in one go, the better.
pub(crate) const DEEP_KC: usize = 1024;
/// The same where B is read in place, in rows that are far apart: each is a page of its own.
pub(crate) const IN_PLACE_KC: usize = 256;
/// The same where few rows of A meet a B from memory: as many runs as the machine's prefetchers follow side by side.
pub(crate) const STREAMS: usize = 12;
/// Rows of A in a block of up to [`KC`] steps: 344 KiB of a second-level cache.
pub(crate) const MC: usize = 168;
/// Rows of A in a block of more steps: 569 KiB.
pub(crate) const DEEP_MC: usize = 140;
/// Columns of B that are packed at once where more than one block of rows uses them.
pub(crate) const NC: usize = 1024;
/// Extra floats in a row of packed A, so that rows do not fall into the same cache sets.
const A_PAD: usize = 16;

/// Floats of scratch for the blocks of A and of B in a part of `rows` x `cols`: whole cache lines, and never less for
/// larger numbers.
pub(crate) fn scratch_len(rows: usize, cols: usize, k: usize, pack_a: bool, pack_b: bool) -> (usize, usize) {
    let block = |rows_at_most, steps| rows.min(rows_at_most) * a_stride(k.min(steps));
    let a = if pack_a { block(MC, KC).max(block(DEEP_MC, DEEP_KC)) } else { 0 };
    let b = if pack_b { k.min(DEEP_KC) * cols.min(NC).next_multiple_of(PANEL) } else { 0 };
    (a, b)
}

/// Floats from a row of packed A to the next.
pub(crate) const fn a_stride(kc: usize) -> usize {
    kc.next_multiple_of(PANEL) + A_PAD
}

// A division takes as long as a small tile's row: the common cases below do without.

/// Rows in a block of `steps` steps, at most [`MC`] or [`DEEP_MC`]: whole strips where there are several.
pub(crate) const fn row_block(tiling: &Tiling, rows: usize, steps: usize) -> usize {
    let most = if steps > KC { DEEP_MC } else { MC };
    match tiling.strips(rows) {
        1 => rows,
        _ => even_block(rows, most - most % tiling.max_rows).next_multiple_of(tiling.max_rows),
    }
}

/// The least block length that cuts `len` into as many blocks as `most` does.
pub(crate) const fn even_block(len: usize, most: usize) -> usize {
    if len == 0 {
        1
    } else if len <= most {
        len
    } else {
        len.div_ceil(len.div_ceil(most))
    }
}

/// Quotient and remainder.
pub(crate) const fn divide(a: usize, b: usize) -> (usize, usize) {
    match b {
        1 => (a, 0),
        _ => (a / b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernform_simd::{Isa, Kernel, Simd};
    use kernform_testkit::isa_tests;

    struct RowBlocks;

    impl Kernel for RowBlocks {
        type Output = ();

        fn run<S: Simd>(self, _: S) {
            let tiling = Tiling::of::<S>();
            for (steps, most) in [(1, MC), (KC, MC), (KC + 1, DEEP_MC), (DEEP_KC, DEEP_MC)] {
                for rows in 1..=20 * MC {
                    let block = row_block(&tiling, rows, steps);
                    assert!(
                        (1..=most).contains(&block),
                        "a block of {block} of {rows} rows has no room in the scratch"
                    );
                    assert!(
                        block >= rows || block.is_multiple_of(tiling.max_rows),
                        "{block} of {rows} rows cut a strip"
                    );
                }
            }
        }
    }

    fn row_blocks_have_room(isa: Isa) {
        isa.dispatch(RowBlocks);
    }

    isa_tests!(row_blocks_have_room);
}
