//! The search for a scale, and for a scale and a minimum, of least squared error.

use crate::reference::ROUND;

/// The nearest integer within `low` to `high`, ties to even; `low` for NaN.
pub(super) fn nearest(x: f32, low: i32, high: i32) -> i32 {
    // Beyond 2^22 the sum is no integer's, but far outside the range.
    let rounded = x.clamp(-1e6, 1e6) + ROUND - ROUND;
    if rounded.is_nan() { low } else { (rounded as i32).clamp(low, high) }
}

/// The codes of `x` for a scale, without a minimum: `x = scale * code`.
pub(super) fn codes(x: &[f32], scale: f32, (low, high): (i32, i32), into: &mut [i32]) {
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    for (code, x) in into.iter_mut().zip(x) {
        *code = nearest(x * inverse, low, high);
    }
}

/// The squared error of codes: `x` against `scale * code - min`.
pub(super) fn error(x: &[f32], codes: &[i32], scale: f32, min: f32) -> f32 {
    x.iter()
        .zip(codes)
        .map(|(x, code)| {
            let difference = scale * *code as f32 - min - x;
            difference * difference
        })
        .sum()
}

/// Candidates on each side of the scale that maps the extreme to the last code.
const CANDIDATES: i32 = 12;
/// How far a candidate is from the next, in codes.
const STEP: f32 = 0.1;

/// The scale of least squared error for codes from `low` (negative) to `high`.
///
/// For each candidate the codes are found, and for the codes the scale that is best for them, `sum x q / sum q q`.
pub(super) fn best_scale(x: &[f32], (low, high): (i32, i32)) -> f32 {
    let extreme = x.iter().fold(0.0, |extreme: f32, x| if x.abs() > extreme.abs() { *x } else { extreme });
    if extreme == 0.0 || !extreme.is_finite() {
        return extreme;
    }
    let (mut best, mut least) = (extreme / low as f32, f32::INFINITY);
    let mut into = [0; 32];
    let into = &mut into[..x.len()];
    for end in [low, high] {
        for step in -CANDIDATES..=CANDIDATES {
            let scale = extreme / (end as f32 + STEP * step as f32);
            codes(x, scale, (low, high), into);
            let products = |f: fn(f32, f32) -> f32| x.iter().zip(&*into).map(|(x, q)| f(*x, *q as f32)).sum::<f32>();
            let (xq, qq) = (products(|x, q| x * q), products(|_, q| q * q));
            let scale = if qq > 0.0 { xq / qq } else { continue };
            let error = error(x, into, scale, 0.0);
            if error < least {
                (best, least) = (scale, error);
            }
        }
    }
    best
}

/// The codes from 0 to `most` of `x` for a scale and a minimum: `x = scale * code - min`.
pub(super) fn affine_codes(x: &[f32], scale: f32, min: f32, most: i32, into: &mut [i32]) {
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    for (code, x) in into.iter_mut().zip(x) {
        *code = nearest((x + min) * inverse, 0, most);
    }
}

/// The scale and the minimum of least squared error for codes from 0 to `most`; neither is negative.
///
/// For each candidate the codes are found, and for the codes the line of least squares.
pub(super) fn best_line(x: &[f32], most: i32) -> (f32, f32) {
    let high = x.iter().copied().fold(0.0, f32::max);
    let low = x.iter().copied().fold(0.0, f32::min);
    let range = high - low;
    if range == 0.0 || !range.is_finite() {
        return (0.0, 0.0);
    }
    let (mut best, mut least) = ((range / most as f32, -low), f32::INFINITY);
    let mut into = [0; 32];
    let into = &mut into[..x.len()];
    for step in -CANDIDATES..=CANDIDATES {
        let scale = range / (most as f32 + STEP * step as f32);
        affine_codes(x, scale, -low, most, into);
        let len = x.len() as f32;
        let sum = |f: fn(f32, f32) -> f32| x.iter().zip(&*into).map(|(x, q)| f(*x, *q as f32)).sum::<f32>();
        let (sx, sq, sqq, sxq) = (sum(|x, _| x), sum(|_, q| q), sum(|_, q| q * q), sum(|x, q| x * q));
        let determinant = len * sqq - sq * sq;
        if determinant <= 0.0 {
            continue;
        }
        let mut scale = (len * sxq - sx * sq) / determinant;
        let mut min = (sq * sxq - sx * sqq) / determinant;
        if min < 0.0 {
            (scale, min) = (sxq / sqq, 0.0);
        }
        if scale < 0.0 {
            continue;
        }
        // The line has moved: the codes are those of the new one.
        affine_codes(x, scale, min, most, into);
        let error = error(x, into, scale, min);
        if error < least {
            (best, least) = ((scale, min), error);
        }
    }
    best
}
