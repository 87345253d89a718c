use kernform_math::{Rows, log_softmax_in_place};
use kernform_simd::Isa;

use crate::error::Error;

/// Replaces a row of scores that has no NaN, row `row` of a step, by its log-softmax. A row of -inf alone stays as it is:
/// nothing has any probability.
pub(crate) fn log_softmax(isa: Isa, scores: &mut [f32], row: usize) -> Result<(), Error> {
    let width = scores.len();
    let shaped = log_softmax_in_place(isa, scores, Rows::dense(1, width));
    debug_assert!(shaped.is_ok(), "one dense row always fits");
    // +inf makes the whole row NaN, so one element tells.
    match scores.first() {
        Some(x) if x.is_nan() => Err(Error::InfiniteLogit { row }),
        _ => Ok(()),
    }
}

/// [`log_softmax`] of a copy, for logits that may have a NaN.
pub(crate) fn log_softmax_of(isa: Isa, logits: &[f32], row: usize, out: &mut [f32]) -> Result<(), Error> {
    out.copy_from_slice(logits);
    log_softmax(isa, out, row).map_err(|error| match logits.iter().any(|x| x.is_nan()) {
        true => Error::NanLogit { row },
        false => error,
    })
}
