//! The elementwise functions on one vector, generic over the level: the one source of every kernel here and elsewhere.

mod activate;
mod erf;
mod exp;
mod log;
mod reduce;
mod tanh;

pub use activate::{activate, gelu_erf, gelu_tanh, relu, sigmoid, silu};
pub use erf::erf;
pub use exp::{exp, exp_nonpositive};
pub use log::log;
pub use reduce::{accumulate, dot, map, map_in_place, max, sum};
pub use tanh::tanh;

use kernform_simd::Simd;

/// The polynomial with coefficients `c`, up to ten from the constant one up, by Horner's rule.
///
/// Estrin's scheme has a shorter chain, was no faster in the loops of this crate, and costs 0.2 to 1.3 ULP.
#[inline(always)]
pub(crate) fn polynomial<S: Simd, const N: usize>(s: S, x: S::F32, c: &[f32; N]) -> S::F32 {
    // Written out, because compilers leave such a loop rolled inside the loop over the elements.
    let step = |p, k| if k < N { s.mul_add(p, x, s.splat(c[N - 1 - k])) } else { p };
    let p = step(s.splat(c[N - 1]), 1);
    let p = step(step(step(step(p, 2), 3), 4), 5);
    step(step(step(step(p, 6), 7), 8), 9)
}
