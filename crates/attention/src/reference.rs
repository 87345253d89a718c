//! The defined order of operations, in plain scalar Rust; every kernel of the crate returns these bits.
//!
//! For one query and the list of keys that it sees, in ascending order (absent keys are not in the list):
//!
//! 1. The list is cut into blocks of [`KEY_BLOCK`] keys.
//! 2. A score is the chain `s = fma(q[d], k[d], s)` over ascending `d` from 0, then times `scale`, then plus the bias
//!    where there is one.
//! 3. A block raises the running maximum: `m' = max(m, scores of the block)`. Weights are `p = exp(s - m')`, with 0 in
//!    the place of an `m'` of minus infinity.
//! 4. The block's denominator is the chain `l_b = l_b + p` and its output the chain `o_b[d] = fma(p, v[d], o_b[d])`,
//!    both over ascending keys from 0.
//! 5. The first block's `l_b` and `o_b` are the state; a later block joins by `c = exp(m - m')`, `l = fma(l, c, l_b)`,
//!    `o[d] = fma(o[d], c, o_b[d])`.
//! 6. The result is `o[d] * (1 / l)`, or 0 where `l` is 0.
//!
//! This is the running softmax of Milakov and Gimelshein (2018) in the blocked form of Dao et al. (2022, algorithm 1).
//! Sums are cut into blocks, so their rounding errors grow with `KEY_BLOCK + n / KEY_BLOCK` and not with `n`.

use core::array;

use kernform_simd::{Arithmetic, Class, Fused, Scalar, Unfused};
use num_traits::Float;

/// Keys of one step of the running softmax: a constant of the contract, since a row's bits depend on it once it sees
/// more keys.
pub const KEY_BLOCK: usize = 128;

/// A float type in which the reference runs: `f32` for the bits, `f64` for the truth of the bound tests.
pub trait ReferenceFloat: Float {
    /// `e^x`: kernform-math's function in `f32`, the exact one's nearest in `f64`.
    #[must_use]
    fn exponential<A: Arithmetic>(self) -> Self;
}

impl ReferenceFloat for f32 {
    fn exponential<A: Arithmetic>(self) -> Self {
        match A::CLASS {
            Class::Fused => kernform_math::vector::exp(Scalar::<Fused>::new(), self),
            Class::Unfused => kernform_math::vector::exp(Scalar::<Unfused>::new(), self),
        }
    }
}

impl ReferenceFloat for f64 {
    fn exponential<A: Arithmetic>(self) -> Self {
        Float::exp(self)
    }
}

/// The score of one query and key: the dot product as one chain, times `scale`, plus the bias where there is one.
pub fn score<A: Arithmetic, T: Float>(query: &[T], key: &[T], scale: T, bias: Option<T>) -> T {
    let dot = query.iter().zip(key).fold(T::zero(), |sum, (q, k)| A::mul_add(*q, *k, sum));
    bias.map_or(dot * scale, |bias| dot * scale + bias)
}

/// `if a > b { a } else { b }`, the maximum of the contract.
fn max<T: Float>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// The maximum, and 0 where it is minus infinity, so that a score of minus infinity gets the weight 0.
fn finite_maximum<T: Float>(m: T) -> T {
    if m == T::neg_infinity() { T::zero() } else { m }
}

/// Attention of one query over the `keys` that it sees.
///
/// `key(j)` and `value(j)` are the `j`-th of them, `bias(j)` what is added to its score; `out` gets one element for each
/// of `query`'s.
pub fn attend_query<'a, A: Arithmetic, T: ReferenceFloat + 'a>(
    query: &[T],
    scale: T,
    keys: usize,
    key: impl Fn(usize) -> &'a [T],
    value: impl Fn(usize) -> &'a [T],
    bias: impl Fn(usize) -> Option<T>,
    out: &mut [T],
) {
    let (mut m, mut l) = (T::neg_infinity(), T::zero());
    out.fill(T::zero());
    for start in (0..keys).step_by(KEY_BLOCK) {
        let block = KEY_BLOCK.min(keys - start);
        let mut weights: [T; KEY_BLOCK] = array::from_fn(|_| T::zero());
        let mut raised = m;
        for (j, weight) in weights[..block].iter_mut().enumerate() {
            *weight = score::<A, T>(query, key(start + j), scale, bias(start + j));
            raised = max(raised, *weight);
        }
        let reference = finite_maximum(raised);
        let mut block_l = T::zero();
        for weight in &mut weights[..block] {
            *weight = (*weight - reference).exponential::<A>();
            block_l = block_l + *weight;
        }
        let correction = (m - reference).exponential::<A>();
        for (d, out) in out.iter_mut().enumerate() {
            let chain = |sum, (j, weight): (usize, &T)| A::mul_add(*weight, value(start + j)[d], sum);
            let block_out = weights[..block].iter().enumerate().fold(T::zero(), chain);
            *out = if start == 0 { block_out } else { A::mul_add(*out, correction, block_out) };
        }
        l = if start == 0 { block_l } else { A::mul_add(l, correction, block_l) };
        m = raised;
    }
    let reciprocal = l.recip();
    for out in out {
        *out = if l == T::zero() { T::zero() } else { *out * reciprocal };
    }
}

/// Softmax of scores, in place.
///
/// `m` the largest score, `p = exp(s - m)`, the denominator summed by blocks as in steps 4 and 5 with a correction of
/// 1, the weight `p * (1 / l)`; 0 where `l` is 0.
pub fn softmax<A: Arithmetic, T: ReferenceFloat>(scores: &mut [T]) {
    let reference = finite_maximum(scores.iter().copied().fold(T::neg_infinity(), max));
    let mut l = T::zero();
    for block in scores.chunks_mut(KEY_BLOCK) {
        let mut block_l = T::zero();
        for score in block {
            *score = (*score - reference).exponential::<A>();
            block_l = block_l + *score;
        }
        l = l + block_l;
    }
    let reciprocal = l.recip();
    for score in scores {
        *score = if l == T::zero() { T::zero() } else { *score * reciprocal };
    }
}
