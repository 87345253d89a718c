//! The defined order of operations, in plain scalar Rust; every kernel of the crate returns these bits.
//!
//! For one query and the list of keys that it sees, in ascending order (absent keys are not in the list). The keys of a
//! sequence have places 0, 1, 2, …; what a query sees are the places from some first one on, 0 but for a window.
//!
//! 1. Scores are powers of two and not of e: the factor `f = scale * log2(e)` is rounded once, and each element of the
//!    query is multiplied by it, `q'[d] = q[d] * f`.
//! 2. A score is the chain `s = fma(q'[d], k[d], s)` over ascending `d` from 0. Then come, where they are asked for and in
//!    this order, [`softcap`], [`add_alibi`], [`add_bias`] with the relative bias and with the other one.
//! 3. Places are cut into blocks at the multiples of [`KEY_BLOCK`]. A block raises the running maximum:
//!    `m' = max(m, scores of the block)`, from minus infinity on. Weights are `p = 2^(s - m')`, with 0 in the place of an
//!    `m'` of minus infinity.
//! 4. The block's denominator has [`KEY_TILE`] lanes, each a chain `l_b = l_b + p` from 0 over the ascending places whose
//!    remainder by `KEY_TILE` is the lane's number. The block's output is the chain `o_b[d] = fma(p, v[d], o_b[d])` over
//!    ascending places from 0.
//! 5. The block joins the state, which is 0 in the beginning, by `c = 2^(m - m')`, `l = fma(l, c, l_b)` for each lane,
//!    `o[d] = fma(o[d], c, o_b[d])`.
//! 6. The lanes are added by halves, `l[i] + l[i + 8]`, then 4, 2, 1. The result is `o[d] * (1 / l)`, or 0 where `l` is 0.
//!
//! This is the running softmax of Milakov and Gimelshein (2018) in the blocked form of Dao et al. (2022, algorithm 1).
//! Sums are cut into blocks, so their rounding errors grow with `KEY_BLOCK + n / KEY_BLOCK` and not with `n`.

use core::array;

use kernform_simd::{Arithmetic, Class, Fused, Scalar, Unfused};
use num_traits::Float;

use crate::exponential::exp2_nonpositive;

/// Keys of one step of the running softmax: a constant of the contract, since a row's bits depend on it once it sees
/// more keys.
pub const KEY_BLOCK: usize = 128;

/// Lanes of the denominator, and keys that stand together in a cache.
pub const KEY_TILE: usize = 16;

/// A float type in which the reference runs: `f32` for the bits, `f64` for the truth of the bound tests.
pub trait ReferenceFloat: Float {
    /// The logarithm of e to base 2.
    const LOG2_E: Self;

    /// `2^x` for `x` that are not above 0: the kernels' function in `f32`, the exact one's nearest in `f64`.
    #[must_use]
    fn exp2_nonpositive<A: Arithmetic>(self) -> Self;

    /// The hyperbolic tangent: kernform-math's function in `f32`, the exact one's nearest in `f64`.
    #[must_use]
    fn hyperbolic_tangent<A: Arithmetic>(self) -> Self;
}

impl ReferenceFloat for f32 {
    const LOG2_E: Self = core::f32::consts::LOG2_E;

    fn exp2_nonpositive<A: Arithmetic>(self) -> Self {
        match A::CLASS {
            Class::Fused => exp2_nonpositive(Scalar::<Fused>::new(), self),
            Class::Unfused => exp2_nonpositive(Scalar::<Unfused>::new(), self),
        }
    }

    fn hyperbolic_tangent<A: Arithmetic>(self) -> Self {
        match A::CLASS {
            Class::Fused => kernform_math::vector::tanh(Scalar::<Fused>::new(), self),
            Class::Unfused => kernform_math::vector::tanh(Scalar::<Unfused>::new(), self),
        }
    }
}

impl ReferenceFloat for f64 {
    const LOG2_E: Self = core::f64::consts::LOG2_E;

    fn exp2_nonpositive<A: Arithmetic>(self) -> Self {
        libm::exp2(self)
    }

    fn hyperbolic_tangent<A: Arithmetic>(self) -> Self {
        libm::tanh(self)
    }
}

/// The score of one query and key, for softmax to the base of 2: the chain of step 2 over `q[d] * (scale * log2(e))`.
pub fn score<A: Arithmetic, T: ReferenceFloat>(query: &[T], key: &[T], scale: T) -> T {
    let factor = scale * T::LOG2_E;
    query.iter().zip(key).fold(T::zero(), |sum, (q, k)| A::mul_add(*q * factor, *k, sum))
}

/// `c tanh(s / c)` with `c = cap * log2(e)`: scores stay between `-cap` and `cap` (Gemma Team 2024, section 2).
pub fn softcap<A: Arithmetic, T: ReferenceFloat>(score: T, cap: T) -> T {
    let cap = cap * T::LOG2_E;
    (score / cap).hyperbolic_tangent::<A>() * cap
}

/// `fma(bias, log2(e), s)`.
pub fn add_bias<A: Arithmetic, T: ReferenceFloat>(score: T, bias: T) -> T {
    A::mul_add(bias, T::LOG2_E, score)
}

/// `fma(slope * log2(e), -distance, s)` for the whole number of tokens between query and key (Press et al. 2022).
pub fn add_alibi<A: Arithmetic, T: ReferenceFloat>(score: T, slope: T, distance: T) -> T {
    A::mul_add(slope * T::LOG2_E, -distance, score)
}

/// `if a > b { a } else { b }`, the maximum of the contract.
fn max<T: Float>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// The maximum, and 0 where it is minus infinity, so that a score of minus infinity gets the weight 0.
fn finite_maximum<T: Float>(m: T) -> T {
    if m == T::neg_infinity() { T::zero() } else { m }
}

/// The sum of the lanes, by halves.
fn fold<T: Float>(mut lanes: [T; KEY_TILE]) -> T {
    let mut half = KEY_TILE / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = lanes[i] + lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The places from `first` to `end`, cut at the multiples of [`KEY_BLOCK`].
fn blocks(first: usize, end: usize) -> impl Iterator<Item = core::ops::Range<usize>> {
    (first / KEY_BLOCK..end.div_ceil(KEY_BLOCK))
        .map(move |block| first.max(block * KEY_BLOCK)..end.min((block + 1) * KEY_BLOCK))
}

/// Attention of one query over `keys` keys, which have the places from `first` on.
///
/// `key(j)` and `value(j)` are the `j`-th of them, counted from 0; `adjust(j, s)` does to its score what comes after the
/// product. `out` gets one element for each of `query`'s.
pub fn attend_query<'a, A: Arithmetic, T: ReferenceFloat + 'a>(
    query: &[T],
    scale: T,
    first: usize,
    keys: usize,
    key: impl Fn(usize) -> &'a [T],
    value: impl Fn(usize) -> &'a [T],
    adjust: impl Fn(usize, T) -> T,
    out: &mut [T],
) {
    let (mut m, mut l) = (T::neg_infinity(), [T::zero(); KEY_TILE]);
    out.fill(T::zero());
    for places in blocks(first, first + keys) {
        let mut weights: [T; KEY_BLOCK] = array::from_fn(|_| T::zero());
        let mut raised = m;
        for (place, weight) in places.clone().zip(&mut weights) {
            *weight = adjust(place - first, score::<A, T>(query, key(place - first), scale));
            raised = max(raised, *weight);
        }
        let reference = finite_maximum(raised);
        let mut block_l = [T::zero(); KEY_TILE];
        for (place, weight) in places.clone().zip(&mut weights) {
            *weight = (*weight - reference).exp2_nonpositive::<A>();
            block_l[place % KEY_TILE] = block_l[place % KEY_TILE] + *weight;
        }
        let correction = (m - reference).exp2_nonpositive::<A>();
        for (d, out) in out.iter_mut().enumerate() {
            let chain = |sum, (place, weight): (usize, &T)| A::mul_add(*weight, value(place - first)[d], sum);
            let block_out = places.clone().zip(&weights).fold(T::zero(), chain);
            *out = A::mul_add(*out, correction, block_out);
        }
        for (l, block_l) in l.iter_mut().zip(block_l) {
            *l = A::mul_add(*l, correction, block_l);
        }
        m = raised;
    }
    let l = fold(l);
    let reciprocal = l.recip();
    for out in out {
        *out = if l == T::zero() { T::zero() } else { *out * reciprocal };
    }
}

/// Softmax to the base of 2 of the scores at the places from `first` on, in place.
///
/// `m` the largest score, `p = 2^(s - m)`, the denominator summed by blocks and lanes as in steps 4 to 6 with a
/// correction of 1, the weight `p * (1 / l)`; 0 where `l` is 0.
pub fn softmax<A: Arithmetic, T: ReferenceFloat>(first: usize, scores: &mut [T]) {
    let reference = finite_maximum(scores.iter().copied().fold(T::neg_infinity(), max));
    let mut l = [T::zero(); KEY_TILE];
    for places in blocks(first, first + scores.len()) {
        let mut block_l = [T::zero(); KEY_TILE];
        for place in places {
            let score = &mut scores[place - first];
            *score = (*score - reference).exp2_nonpositive::<A>();
            block_l[place % KEY_TILE] = block_l[place % KEY_TILE] + *score;
        }
        for (l, block_l) in l.iter_mut().zip(block_l) {
            *l = *l + block_l;
        }
    }
    let l = fold(l);
    let reciprocal = l.recip();
    for score in scores {
        *score = if l == T::zero() { T::zero() } else { *score * reciprocal };
    }
}
