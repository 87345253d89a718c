//! Keys in tiles: element `d` of all keys of a tile side by side.

use kernform_simd::Simd;

use crate::reference::KEY_TILE;

/// Writes keys, at most a tile of them, to `tile`, `[head_dim][KEY_TILE]`; the places of keys that are not there are
/// left as they are, or hold anything.
///
/// `key(j)` is the `j`-th key, of `head_dim` elements.
#[inline(always)]
pub(crate) fn pack_tile<'a, S: Simd>(
    s: S,
    head_dim: usize,
    count: usize,
    key: impl Fn(usize) -> &'a [f32],
    tile: &mut [f32],
) {
    let (tile, _) = tile.as_chunks_mut::<KEY_TILE>();
    let mut keys: [&[f32]; KEY_TILE] = [&[]; KEY_TILE];
    for (j, slot) in keys.iter_mut().enumerate() {
        // The last one again where there are none: such places are not looked at.
        *slot = &key(j.min(count - 1))[..head_dim];
    }
    let whole = head_dim / S::LANES * S::LANES;
    for first in (0..count).step_by(S::LANES) {
        for d in (0..whole).step_by(S::LANES) {
            let mut vectors = [s.splat(0.0); KEY_TILE];
            for i in 0..S::LANES {
                vectors[i] = s.load(&keys[first + i][d..]);
            }
            s.transpose(&mut vectors[..S::LANES]);
            for i in 0..S::LANES {
                s.store(vectors[i], &mut tile[d + i][first..]);
            }
        }
    }
    for (d, elements) in tile.iter_mut().enumerate().take(head_dim).skip(whole) {
        for (element, key) in elements.iter_mut().zip(&keys) {
            *element = key[d];
        }
    }
}
