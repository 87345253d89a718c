//! Reductions over the virtual lanes of the contract.

use kernform_simd::{REDUCTION_LANES, Simd};

/// Calls `step(lane, x)` for each vector of `x` with the vector of virtual lanes that it belongs to; the tail is filled
/// with `fill`, which must leave its lane as it is.
///
/// `step` must be a few operations: a closure cannot be `#[inline(always)]`, and a large one is compiled as a function of
/// its own, without the level's instructions.
#[inline(always)]
pub fn accumulate<S: Simd>(
    s: S,
    lanes: &mut S::Lanes,
    x: &[f32],
    fill: f32,
    mut step: impl FnMut(S::F32, S::F32) -> S::F32,
) {
    let (blocks, tail) = x.as_chunks::<REDUCTION_LANES>();
    for block in blocks {
        for (lane, x) in lanes.as_mut().iter_mut().zip(block.chunks_exact(S::LANES)) {
            *lane = step(*lane, s.load(x));
        }
    }
    for (lane, x) in lanes.as_mut().iter_mut().zip(tail.chunks(S::LANES)) {
        *lane = step(*lane, s.load_or(x, fill));
    }
}

/// `op` of each vector of `x`, in place; what is done to the filled lanes of the tail is lost. As for [`accumulate`], `op`
/// must be a few operations.
#[inline(always)]
pub fn map_in_place<S: Simd>(s: S, x: &mut [f32], op: impl Fn(S::F32) -> S::F32) {
    let mut vectors = x.chunks_exact_mut(S::LANES);
    for x in &mut vectors {
        s.store(op(s.load(x)), x);
    }
    let tail = vectors.into_remainder();
    if !tail.is_empty() {
        s.store_partial(op(s.load_or(tail, 0.0)), tail);
    }
}

/// `op` of each vector of `x` to `out`, which is as long; otherwise as [`map_in_place`].
#[inline(always)]
pub fn map<S: Simd>(s: S, x: &[f32], out: &mut [f32], op: impl Fn(S::F32) -> S::F32) {
    let (mut xs, mut outs) = (x.chunks_exact(S::LANES), out.chunks_exact_mut(S::LANES));
    for (x, out) in (&mut xs).zip(&mut outs) {
        s.store(op(s.load(x)), out);
    }
    let (x, out) = (xs.remainder(), outs.into_remainder());
    if !x.is_empty() {
        s.store_partial(op(s.load_or(x, 0.0)), out);
    }
}

/// The sum of `x`.
#[inline(always)]
pub fn sum<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut lanes = s.lanes(0.0);
    accumulate(s, &mut lanes, x, 0.0, |lane, x| s.add(lane, x));
    s.fold(lanes, |a, b| s.add(a, b))
}

/// The largest element of `x`, -infinity where there is none; NaN is passed over.
#[inline(always)]
pub fn max<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut lanes = s.lanes(f32::NEG_INFINITY);
    // In this order a NaN leaves its lane as it is, like the fill.
    accumulate(s, &mut lanes, x, f32::NEG_INFINITY, |lane, x| s.max(x, lane));
    // Of two zeros the first stays, in lanes as in the tree.
    s.fold(lanes, |a, b| s.max(b, a))
}

/// The sum of the products of `x` and `y`, which are of one length.
#[inline(always)]
pub fn dot<S: Simd>(s: S, x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = s.lanes(0.0);
    let (mut x_blocks, mut y_blocks) = (x.chunks_exact(REDUCTION_LANES), y.chunks_exact(REDUCTION_LANES));
    for (x, y) in (&mut x_blocks).zip(&mut y_blocks) {
        let vectors = x.chunks_exact(S::LANES).zip(y.chunks_exact(S::LANES));
        for (lane, (x, y)) in lanes.as_mut().iter_mut().zip(vectors) {
            *lane = s.mul_add(s.load(x), s.load(y), *lane);
        }
    }
    let tail = x_blocks.remainder().chunks(S::LANES).zip(y_blocks.remainder().chunks(S::LANES));
    for (lane, (x, y)) in lanes.as_mut().iter_mut().zip(tail) {
        // Only -0 leaves both zeros as they are.
        *lane = s.mul_add(s.load_or(x, 0.0), s.load_or(y, -0.0), *lane);
    }
    s.fold(lanes, |a, b| s.add(a, b))
}
