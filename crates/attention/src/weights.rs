//! The softmax weights themselves, for people to look at.

use kernform_simd::{Arithmetic, Class, Fused, Isa, Unfused};

use crate::{AttentionError, Heads, Mask, Operand, Rows, ScoreTerms, Segment, reference};

/// Writes the attention weights of one segment, `softmax(scale * q k^T + bias)`, to `out` as
/// `[query_heads, queries, keys]`.
///
/// Absent keys get 0, and so does every key of a row that sees none or only scores of minus infinity. Scores are those
/// of [`crate::attend`]; the sum is taken as [`reference::softmax`] says. Meant for drawing: it runs one
/// element at a time on every level. In the mask, [`crate::KeptKeys::Lengths`] has one entry.
///
/// # Errors
/// [`AttentionError`] where heads, segment, mask or lengths do not fit; nothing is written then.
pub fn attention_weights(
    isa: Isa,
    heads: Heads,
    scale: f32,
    query: Rows<'_>,
    key: Rows<'_>,
    segment: &Segment,
    mask: Mask<'_>,
    out: &mut [f32],
) -> Result<(), AttentionError> {
    heads.check()?;
    if segment.query.start > segment.query.end || segment.key.start > segment.key.end {
        return Err(AttentionError::SegmentOrder { segment: 0 });
    }
    query.check(Operand::Query, segment.query.end, heads.query_width())?;
    key.check(Operand::Key, segment.key.end, heads.kv_width())?;
    mask.check(heads, core::slice::from_ref(segment))?;
    let (queries, keys) = (segment.query.len(), segment.key.len());
    let needed = heads.query_heads.checked_mul(queries).and_then(|rows| rows.checked_mul(keys));
    let needed = needed.ok_or(AttentionError::Overflow)?;
    if out.len() < needed {
        return Err(AttentionError::TooShort { operand: Operand::Output, needed, len: out.len() });
    }
    if needed == 0 {
        return Ok(());
    }

    let head_dim = heads.head_dim;
    for (row, out) in out[..needed].chunks_exact_mut(keys).enumerate() {
        let (head, index) = (row / queries, row % queries);
        let query = query.part(segment.query.start + index, head * head_dim, head_dim);
        let sees = mask.sees(0, segment, index);
        // Places count from the segment's first key that is there.
        let first = (0..sees.start).filter(|key| mask.keeps(0, segment, *key)).count();
        let position = index.wrapping_add(keys).wrapping_sub(queries).cast_signed();
        // The seen keys are gathered at the row's beginning; afterwards they move to their places, last one first.
        let seen = |key: &usize| mask.keeps(0, segment, *key);
        let column = head / heads.group() * head_dim;
        let mut count = 0;
        for j in sees.clone().filter(seen) {
            let key = key.part(segment.key.start + j, column, head_dim);
            let place = (head, index, position, j);
            out[count] = match isa.class() {
                Class::Fused => score::<Fused>(query, key, scale, &mask.terms, place),
                Class::Unfused => score::<Unfused>(query, key, scale, &mask.terms, place),
            };
            count += 1;
        }
        match isa.class() {
            Class::Fused => reference::softmax::<Fused, f32>(first, &mut out[..count]),
            Class::Unfused => reference::softmax::<Unfused, f32>(first, &mut out[..count]),
        }
        out[count..].fill(0.0);
        for j in sees.rev().filter(seen) {
            count -= 1;
            out.swap(count, j);
        }
    }
    Ok(())
}

/// The score of a key, with all that is done to it, for `(head, query, position, key)`.
fn score<A: Arithmetic>(
    query: &[f32],
    key: &[f32],
    scale: f32,
    terms: &ScoreTerms<'_>,
    (head, index, position, j): (usize, usize, isize, usize),
) -> f32 {
    let mut score = reference::score::<A, f32>(query, key, scale);
    if let Some(cap) = terms.softcap {
        score = reference::softcap::<A, f32>(score, cap);
    }
    if let Some(slopes) = terms.alibi {
        score = reference::add_alibi::<A, f32>(score, slopes[head], j.cast_signed().abs_diff(position) as f32);
    }
    if let Some(relative) = terms.relative {
        score = reference::add_bias::<A, f32>(score, relative.at(head, j, position));
    }
    if let Some(bias) = terms.bias {
        score = reference::add_bias::<A, f32>(score, bias.at(0, head, index, j));
    }
    score
}
