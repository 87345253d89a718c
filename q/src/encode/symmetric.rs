//! K formats whose parts have a scale: Q3_K and Q6_K.

use half::f16;

use super::search::{best_scale, codes, error, nearest};
use super::{store_bit, store_nibbles, store_pairs};

/// Parts of 16 values.
const PARTS: usize = 16;

/// What a block is made of.
struct Parts {
    d: f16,
    scales: [i32; PARTS],
    /// Codes with the lowest one as 0.
    codes: [u8; 256],
}

/// The scales of the parts, in integers from `-most` to `most - 1`, and the codes from `-half` to `half - 1`.
fn encode(x: &[f32], half: i32, most: i32) -> Parts {
    let range = (-half, half - 1);
    let mut wanted = [0.0; PARTS];
    for (wanted, x) in wanted.iter_mut().zip(x.chunks_exact(16)) {
        *wanted = best_scale(x, range);
    }
    let largest = wanted.iter().fold(0.0, |largest: f32, s| if s.abs() > largest.abs() { *s } else { largest });
    let d = f16::from_f32(largest / -most as f32);
    let (unit, inverse) = (d.to_f32(), if d == f16::ZERO { 0.0 } else { 1.0 / d.to_f32() });
    let mut parts = Parts { d, scales: [0; PARTS], codes: [0; 256] };
    for (p, x) in x.chunks_exact(16).enumerate() {
        let near = nearest(wanted[p] * inverse, -most, most - 1);
        let (mut least, mut into) = (f32::INFINITY, [0; 16]);
        for scale in (near - 1).max(-most)..=(near + 1).min(most - 1) {
            codes(x, unit * scale as f32, range, &mut into);
            let error = error(x, &into, unit * scale as f32, 0.0);
            if error < least {
                (least, parts.scales[p]) = (error, scale);
                for (code, found) in parts.codes[16 * p..].iter_mut().zip(into) {
                    *code = (found + half) as u8;
                }
            }
        }
    }
    parts
}

pub(super) fn q3_k(x: &[f32], bytes: &mut [u8]) {
    let parts = encode(x, 4, 32);
    store_bit(&parts.codes, 2, &mut bytes[..32]);
    store_pairs(&parts.codes, &mut bytes[32..96]);
    let packed = &mut bytes[96..108];
    packed.fill(0);
    for (s, scale) in parts.scales.iter().enumerate() {
        let scale = (scale + 32) as u8;
        packed[s % 8] |= (scale & 15) << (4 * (s / 8));
        packed[8 + s % 4] |= (scale >> 4) << (2 * (s / 4));
    }
    bytes[108..].copy_from_slice(&parts.d.to_le_bytes());
}

pub(super) fn q6_k(x: &[f32], bytes: &mut [u8]) {
    let parts = encode(x, 32, 128);
    let (low, high) = bytes[..192].split_at_mut(128);
    for (h, codes) in parts.codes.chunks_exact(128).enumerate() {
        store_nibbles(codes, &mut low[64 * h..64 * h + 64]);
        let high = &mut high[32 * h..32 * h + 32];
        high.fill(0);
        for (run, codes) in codes.chunks_exact(32).enumerate() {
            for (byte, code) in high.iter_mut().zip(codes) {
                *byte |= (code >> 4) << (2 * run);
            }
        }
    }
    for (byte, scale) in bytes[192..208].iter_mut().zip(parts.scales) {
        *byte = (scale as i8).cast_unsigned();
    }
    bytes[208..].copy_from_slice(&parts.d.to_le_bytes());
}
