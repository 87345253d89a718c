//! The softmax weights themselves, for people to look at.

use kernform_simd::{Class, Fused, Isa, Unfused};

use crate::{AttentionError, Heads, Mask, Operand, Rows, Segment, reference};

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
        let horizon = mask.horizon(segment, index);
        // The seen keys are gathered at the row's beginning; afterwards they move to their places, last one first.
        let seen = |key: &usize| mask.keeps(0, segment, *key);
        let column = head / heads.group() * head_dim;
        let mut count = 0;
        for j in (0..horizon).filter(seen) {
            let bias = mask.bias.map(|bias| bias.at(0, head, index, j));
            let key = key.part(segment.key.start + j, column, head_dim);
            out[count] = match isa.class() {
                Class::Fused => reference::score::<Fused, f32>(query, key, scale, bias),
                Class::Unfused => reference::score::<Unfused, f32>(query, key, scale, bias),
            };
            count += 1;
        }
        match isa.class() {
            Class::Fused => reference::softmax::<Fused, f32>(&mut out[..count]),
            Class::Unfused => reference::softmax::<Unfused, f32>(&mut out[..count]),
        }
        out[count..].fill(0.0);
        for j in (0..horizon).rev().filter(seen) {
            count -= 1;
            out.swap(count, j);
        }
    }
    Ok(())
}
