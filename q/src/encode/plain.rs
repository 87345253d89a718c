//! Formats whose scale follows from the largest value alone, as the package `gguf` computes them: the same operations in
//! the same order, and so the same bytes.

use half::f16;

use super::store_nibbles;
use crate::reference::ROUND;

fn store_half(value: f32, bytes: &mut [u8]) {
    bytes.copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// The first value of largest magnitude, with its sign.
fn extreme(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |extreme: f32, x| if x.abs() > extreme.abs() { *x } else { extreme })
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// A scale: the extreme becomes the code 0, which stands for `-half`.
fn one_sided(x: &[f32], half: u8) -> (f32, [u8; 32]) {
    let d = extreme(x) / -f32::from(half);
    let id = inverse(d);
    let mut codes = [0; 32];
    for (code, x) in codes.iter_mut().zip(x) {
        // The cast cuts the fraction off and keeps within the type.
        *code = ((x * id + (f32::from(half) + 0.5)) as u8).min(2 * half - 1);
    }
    (d, codes)
}

/// A scale and a minimum: the extremes become 0 and `most`.
fn two_sided(x: &[f32], most: u8) -> (f32, f32, [u8; 32]) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let min = x.iter().copied().fold(f32::INFINITY, f32::min);
    let d = (max - min) / f32::from(most);
    let id = inverse(d);
    let mut codes = [0; 32];
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (((x - min) * id + 0.5) as u8).min(most);
    }
    (d, min, codes)
}

fn fifth_bits(codes: &[u8; 32]) -> [u8; 4] {
    codes.iter().enumerate().fold(0u32, |bits, (i, code)| bits | u32::from(code >> 4) << i).to_le_bytes()
}

pub(super) fn q4_0(x: &[f32], bytes: &mut [u8]) {
    let (d, codes) = one_sided(x, 8);
    store_half(d, &mut bytes[..2]);
    store_nibbles(&codes, &mut bytes[2..]);
}

pub(super) fn q4_1(x: &[f32], bytes: &mut [u8]) {
    let (d, min, codes) = two_sided(x, 15);
    store_half(d, &mut bytes[..2]);
    store_half(min, &mut bytes[2..4]);
    store_nibbles(&codes, &mut bytes[4..]);
}

pub(super) fn q5_0(x: &[f32], bytes: &mut [u8]) {
    let (d, codes) = one_sided(x, 16);
    store_half(d, &mut bytes[..2]);
    bytes[2..6].copy_from_slice(&fifth_bits(&codes));
    store_nibbles(&codes, &mut bytes[6..]);
}

pub(super) fn q5_1(x: &[f32], bytes: &mut [u8]) {
    let (d, min, codes) = two_sided(x, 31);
    store_half(d, &mut bytes[..2]);
    store_half(min, &mut bytes[2..4]);
    bytes[4..8].copy_from_slice(&fifth_bits(&codes));
    store_nibbles(&codes, &mut bytes[8..]);
}

pub(super) fn q8_0(x: &[f32], bytes: &mut [u8]) {
    let d = extreme(x).abs() / 127.0;
    let id = inverse(d);
    store_half(d, &mut bytes[..2]);
    for (byte, x) in bytes[2..].iter_mut().zip(x) {
        // To the nearest integer, ties away from zero; the difference is exact.
        let magnitude = (x * id).abs();
        let floor = magnitude as u32 as f32;
        let rounded = if magnitude - floor >= 0.5 { floor + 1.0 } else { floor };
        *byte = (rounded.copysign(x * id) as i8).cast_unsigned();
    }
}

/// An `f32` scale, and the sums of each 16 codes.
pub(super) fn q8_k(x: &[f32], bytes: &mut [u8]) {
    let d = extreme(x) / -127.0;
    let id = inverse(d);
    let (head, sums) = bytes.split_at_mut(260);
    head[..4].copy_from_slice(&d.to_le_bytes());
    for (byte, x) in head[4..].iter_mut().zip(x) {
        *byte = ((x * id + ROUND - ROUND) as i8).cast_unsigned();
    }
    for (sum, codes) in sums.chunks_exact_mut(2).zip(head[4..].chunks_exact(16)) {
        let total: i16 = codes.iter().map(|code| i16::from(code.cast_signed())).sum();
        sum.copy_from_slice(&total.to_le_bytes());
    }
}
