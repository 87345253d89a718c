//! Rows in ranges, one a thread.
//!
//! All that a layer does but to mix the values of other tokens it does row by row. So a thread that has rows of its own can
//! go through all of it without waiting for the others: they meet twice a layer, and what one has written stays in its cache.
//! Cut product by product instead, with norms and the like on one thread between them, a pass meets five times as often.

use core::array;
use core::ops::Range;

use kernform_tensor::{Parallel, Serial, rounded, split_ranges};

use crate::error::ModelError;
use crate::layers::{Activations, Context};

/// Most ranges that rows are cut into.
const MAX_PARTS: usize = 64;

/// Ranges into which the rows of a pass are cut: one for each thread, or 1 where some would have fewer than `least`.
pub(crate) fn part_count(threads: usize, rows: usize, least: usize) -> usize {
    let parts = threads.min(MAX_PARTS);
    if parts > 1 && rows / parts >= least { parts } else { 1 }
}

/// How many of `rows` to take at a time, at most `most`: as many each time, since each time all weights are read. At least 1.
pub(crate) fn even(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most).max(1)).max(1)
}

/// Scratch for as many `tokens` or fewer in ranges, where a range of so many rows needs what `each` says, which does not
/// shrink.
pub(crate) fn scratch_len(
    threads: usize,
    tokens: usize,
    least: usize,
    each: impl FnOnce(usize) -> Result<usize, ModelError>,
) -> Result<usize, ModelError> {
    match part_count(threads, tokens, least) {
        1 => Ok(0),
        parts => Ok(rounded(each(tokens.div_ceil(parts))?).saturating_mul(parts)),
    }
}

/// One thread's rows.
struct Part<'a> {
    tokens: Range<usize>,
    a: Activations<'a>,
    done: Result<(), ModelError>,
}

/// Calls `run` for the `rows` of `a` in so many ranges, all at once, with the tokens whose rows they are. Afterwards `x` holds
/// what each call has left in its `x`. Of `projected`, a row gets as many elements as are said.
pub(crate) fn for_parts<P: Parallel>(
    context: &Context<'_, P>,
    a: &mut Activations<'_>,
    (rows, parts): (usize, usize),
    projected: usize,
    run: impl Fn(&Context<'_, Serial>, &mut Activations<'_>, Range<usize>) -> Result<(), ModelError> + Sync,
) -> Result<(), ModelError> {
    let [stream, hidden] = [a.x.len(), a.hidden.len()].map(|len| len / rows.max(1));
    // Whole cache lines.
    let scratch = a.scratch.len() / parts / rounded(1) * rounded(1);
    let x = a.x.as_ptr();
    let mut list: [Option<Part<'_>>; MAX_PARTS] = array::from_fn(|_| None);
    let mut rest = a.reborrow();
    for (part, tokens) in list.iter_mut().zip(split_ranges(rows, parts, 1)) {
        let len = tokens.len();
        let a = Activations {
            x: front(&mut rest.x, len * stream),
            y: front(&mut rest.y, len * stream),
            mixed: front(&mut rest.mixed, len * stream),
            projected: front(&mut rest.projected, len * projected),
            hidden: front(&mut rest.hidden, len * hidden),
            scratch: front(&mut rest.scratch, scratch),
        };
        *part = Some(Part { tokens, a, done: Ok(()) });
    }
    let alone = Context { isa: context.isa, parallel: &Serial };
    context.parallel.for_each(&mut list[..parts.min(rows)], |_, part| {
        if let Some(Part { tokens, a, done }) = part {
            *done = run(&alone, a, tokens.clone());
        }
    });
    // A residual connection without a norm behind it exchanges the two, for each part the same.
    let is_swapped = list.iter().flatten().next().is_some_and(|part| part.a.x.as_ptr() != x);
    let done = list.into_iter().flatten().try_for_each(|part| part.done);
    if is_swapped {
        core::mem::swap(&mut a.x, &mut a.y);
    }
    done
}

/// The first `len` elements, which are taken off; fewer where there are not so many, for which the kernels have an error.
fn front<'a>(from: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let len = len.min(from.len());
    from.split_off_mut(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: usize = 8;

    #[test]
    fn every_part_has_rows_enough() {
        for threads in [0, 1, 2, 3, 8, 64, 65, 1000] {
            for rows in (0..200).chain([LEAST * MAX_PARTS - 1, LEAST * MAX_PARTS, 100_000]) {
                let parts = part_count(threads, rows, LEAST);
                assert!(parts == 1 || parts == threads.min(MAX_PARTS) && rows >= parts * LEAST);
                let scratch_len = |rows| scratch_len(threads, rows, LEAST, |rows| Ok(rows * 100)).expect("it fits");
                let (scratch, fewer) = (scratch_len(rows), scratch_len(rows.saturating_sub(1)));
                assert!(scratch >= fewer && (parts == 1 || scratch >= rows * 100), "{threads} threads, {rows} rows");
            }
        }
    }
}
