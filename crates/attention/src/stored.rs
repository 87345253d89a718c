//! How the elements of a cache are stored.

use half::f16;
use kernform_tensor::ToF32;

use crate::reference::KEY_TILE;

/// The element type of a [`crate::KvCache`]. Attention over a cache has the bits of attention over the decoded elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CacheKind {
    /// As they are.
    #[default]
    F32,
    /// Rounded to the nearest binary16, ties to even; beyond 65520 infinite. Half the memory.
    F16,
    /// Eight bits with one scale a token and head, a quarter of the memory and a little more.
    ///
    /// The scale is the largest magnitude of the row divided by 127, an element the nearest whole number to its quotient by
    /// the scale, ties to even, cut to 127; it is decoded as the product of the two, rounded once. So the error is at most
    /// half the scale, and its rounding. A row that holds infinity or NaN is decoded as NaN.
    Int8,
}

impl CacheKind {
    /// Elements of storage for a tile of keys, or of values, of one head.
    pub(crate) fn half_len(self, head_dim: usize) -> Option<usize> {
        match self {
            CacheKind::F32 => head_dim.checked_mul(KEY_TILE),
            CacheKind::F16 => head_dim.checked_mul(KEY_TILE / 2),
            CacheKind::Int8 => head_dim.checked_mul(KEY_TILE / 4)?.checked_add(KEY_TILE),
        }
    }
}

/// `1.5 * 2^23`: adding it rounds to a whole number.
const WHOLE: f32 = 12_582_912.0;

/// The scale of a row in eight bits; NaN where an element is infinite or NaN.
fn int8_scale(row: &[f32]) -> f32 {
    let mut largest = 0.0f32;
    for x in row {
        let magnitude = f32::from_bits(x.to_bits() & 0x7fff_ffff);
        if !x.is_finite() {
            return f32::NAN;
        }
        largest = if magnitude > largest { magnitude } else { largest };
    }
    largest / 127.0
}

/// An element in eight bits.
fn int8(x: f32, scale: f32) -> i8 {
    // A scale of 0 or NaN makes NaN, which becomes 0.
    ((x / scale).clamp(-127.0, 127.0) + WHOLE - WHOLE) as i8
}

/// Stores one row of a head at `place` of its tile, in the layout of keys or in that of values.
pub(crate) fn store(kind: CacheKind, row: &[f32], place: usize, is_key: bool, tile: &mut [f32]) {
    let (start, step) = if is_key { (place, KEY_TILE) } else { (place * row.len(), 1) };
    fn put<T>(tile: &mut [T], start: usize, step: usize, row: &[f32], element: impl Fn(f32) -> T) {
        for (to, x) in tile[start..].iter_mut().step_by(step).zip(row) {
            *to = element(*x);
        }
    }
    match kind {
        CacheKind::F32 if is_key => put(tile, start, step, row, |x| x),
        CacheKind::F32 => tile[start..][..row.len()].copy_from_slice(row),
        CacheKind::F16 => put(bytemuck::cast_slice_mut(tile), start, step, row, f16::from_f32),
        CacheKind::Int8 => {
            let (scales, elements) = tile.split_at_mut(KEY_TILE);
            let scale = int8_scale(row);
            scales[place] = scale;
            put(bytemuck::cast_slice_mut(elements), start, step, row, |x| int8(x, scale));
        }
    }
}

/// Decodes a tile of keys or of values, which is not in `f32`.
#[inline(always)]
pub(crate) fn decode(kind: CacheKind, head_dim: usize, is_key: bool, tile: &[f32], to: &mut [f32]) {
    if kind == CacheKind::F16 {
        let halves: &[f16] = bytemuck::cast_slice(tile);
        for (to, x) in to.iter_mut().zip(halves) {
            // Not the method of the type itself, which asks for the CPU's features each time.
            *to = ToF32::to_f32(*x);
        }
        return;
    }
    let (scales, elements) = tile.split_at(KEY_TILE);
    let elements: &[i8] = bytemuck::cast_slice(elements);
    if is_key {
        let (to, elements) = (to.as_chunks_mut::<KEY_TILE>().0, elements.as_chunks::<KEY_TILE>().0);
        for (to, elements) in to.iter_mut().zip(elements) {
            for ((to, x), scale) in to.iter_mut().zip(elements).zip(scales) {
                *to = f32::from(*x) * scale;
            }
        }
    } else {
        let rows = to.chunks_exact_mut(head_dim).zip(elements.chunks_exact(head_dim));
        for ((to, elements), scale) in rows.zip(scales) {
            for (to, x) in to.iter_mut().zip(elements) {
                *to = f32::from(*x) * scale;
            }
        }
    }
}
