//! K formats whose parts have a scale and a minimum: Q2_K, Q4_K and Q5_K.

use half::f16;

use super::search::{affine_codes, best_line, error, nearest};
use super::{store_bit, store_nibbles, store_pairs};

/// Most parts of a block.
const MAX_PARTS: usize = 16;

/// What a block is made of.
struct Parts {
    d: f16,
    dmin: f16,
    scales: [u8; MAX_PARTS],
    minima: [u8; MAX_PARTS],
    codes: [u8; 256],
}

fn inverse(unit: f16) -> f32 {
    if unit == f16::ZERO { 0.0 } else { 1.0 / unit.to_f32() }
}

/// Scales and minima of parts of `len` values, in integers up to `most`, and codes up to `most_code`.
fn encode(x: &[f32], len: usize, most: i32, most_code: i32) -> Parts {
    let mut wanted = [(0.0, 0.0); MAX_PARTS];
    for (wanted, x) in wanted.iter_mut().zip(x.chunks_exact(len)) {
        *wanted = best_line(x, most_code);
    }
    let (scale, min) = wanted.iter().fold((0.0f32, 0.0f32), |most, w| (most.0.max(w.0), most.1.max(w.1)));
    let (d, dmin) = (f16::from_f32(scale / most as f32), f16::from_f32(min / most as f32));
    let mut parts = Parts { d, dmin, scales: [0; MAX_PARTS], minima: [0; MAX_PARTS], codes: [0; 256] };
    for (p, x) in x.chunks_exact(len).enumerate() {
        let scale = nearest(wanted[p].0 * inverse(d), 0, most);
        let min = nearest(wanted[p].1 * inverse(dmin), 0, most);
        let (mut least, mut into) = (f32::INFINITY, [0; 32]);
        let into = &mut into[..len];
        for scale in (scale - 1).max(0)..=(scale + 1).min(most) {
            for min in (min - 1).max(0)..=(min + 1).min(most) {
                let (unit, low) = (d.to_f32() * scale as f32, dmin.to_f32() * min as f32);
                affine_codes(x, unit, low, most_code, into);
                let error = error(x, into, unit, low);
                if error < least {
                    (least, parts.scales[p], parts.minima[p]) = (error, scale as u8, min as u8);
                    for (code, found) in parts.codes[len * p..].iter_mut().zip(&*into) {
                        *code = *found as u8;
                    }
                }
            }
        }
    }
    parts
}

pub(super) fn q2_k(x: &[f32], bytes: &mut [u8]) {
    let parts = encode(x, 16, 15, 3);
    for ((byte, scale), min) in bytes[..16].iter_mut().zip(parts.scales).zip(parts.minima) {
        *byte = scale | min << 4;
    }
    store_pairs(&parts.codes, &mut bytes[16..80]);
    bytes[80..82].copy_from_slice(&parts.d.to_le_bytes());
    bytes[82..].copy_from_slice(&parts.dmin.to_le_bytes());
}

/// The head of Q4_K and Q5_K: the floats, then scales and minima in six bits each.
fn store_head(parts: &Parts, bytes: &mut [u8]) {
    bytes[..2].copy_from_slice(&parts.d.to_le_bytes());
    bytes[2..4].copy_from_slice(&parts.dmin.to_le_bytes());
    let (scales, minima) = (&parts.scales, &parts.minima);
    for s in 0..4 {
        bytes[4 + s] = scales[s] | scales[4 + s] >> 4 << 6;
        bytes[8 + s] = minima[s] | minima[4 + s] >> 4 << 6;
        bytes[12 + s] = scales[4 + s] & 15 | minima[4 + s] << 4;
    }
}

fn store_low(codes: &[u8], bytes: &mut [u8]) {
    for (codes, bytes) in codes.chunks_exact(64).zip(bytes.chunks_exact_mut(32)) {
        store_nibbles(codes, bytes);
    }
}

pub(super) fn q4_k(x: &[f32], bytes: &mut [u8]) {
    let parts = encode(x, 32, 63, 15);
    store_head(&parts, bytes);
    store_low(&parts.codes, &mut bytes[16..]);
}

pub(super) fn q5_k(x: &[f32], bytes: &mut [u8]) {
    let parts = encode(x, 32, 63, 31);
    store_head(&parts, bytes);
    store_bit(&parts.codes, 4, &mut bytes[16..48]);
    store_low(&parts.codes, &mut bytes[48..]);
}
