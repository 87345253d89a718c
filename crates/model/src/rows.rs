//! Work on rows that do not depend on each other, shared out to threads.

use kernform_tensor::{Parallel, split_ranges};

/// Most blocks that rows are cut into.
const MAX_BLOCKS: usize = 16;
/// Elements below which another thread is not worth waking.
const LEAST_ELEMENTS: usize = 1 << 15;

/// Calls `run` for blocks of whole rows of `width` elements, with the number of the first row, on the threads of
/// `parallel`.
pub(crate) fn for_row_blocks<P: Parallel>(
    parallel: &P,
    rows: &mut [f32],
    width: usize,
    run: impl Fn(usize, &mut [f32]) + Sync,
) {
    let parts = parallel.threads().min(rows.len() / LEAST_ELEMENTS).min(MAX_BLOCKS);
    if parts < 2 || width == 0 {
        return run(0, rows);
    }
    let mut blocks: [(usize, &mut [f32]); MAX_BLOCKS] = core::array::from_fn(|_| Default::default());
    let mut count = 0;
    let mut rest = rows;
    for (block, range) in blocks.iter_mut().zip(split_ranges(rest.len(), parts, width)) {
        let (taken, left) = rest.split_at_mut(range.len());
        *block = (range.start / width, taken);
        rest = left;
        count += 1;
    }
    parallel.for_each(&mut blocks[..count], |_, (first, block)| run(*first, block));
}
