//! The power of two that softmax takes: for arguments that are not above 0, without a product at its end.

use kernform_simd::Simd;

/// `(2^r - 1) / r` over `|r| <= 1/2`; relative error of `2^r` 9.2e-8. Minimax, by the method and with the tool of
/// kernform-math (`tools/coefficients.py`), from the constant coefficient up.
#[allow(clippy::approx_constant)] // near ln 2, but not it
const EXP2: [f32; 5] = [0.693_147, 0.240_222_42, 0.055_507_34, 0.009_671_534, 0.001_326_468_7];

/// `1.5 * 2^23`, at which the unit in the last place is one; its bits end in 22 zeros.
const MAGIC: f32 = 12_582_912.0;

/// Below this, all is 0.
const LEAST: f32 = -127.0;

/// `2^t` for a `t` that is not above 0: 1 for 0, 0 from -127 down and for minus infinity, NaN for NaN.
///
/// Error below 2.5 ULP down to -126; below that the result is some number between 0 and `2^-126`.
///
/// `t = n + r` with a whole `n` and `|r| <= 1/2`. `2^n` is multiplied by adding `n` to the exponent field of `2^r`, which
/// every unit of a CPU can do, while the two that multiply are what attention waits for.
#[inline(always)]
pub(crate) fn exp2_nonpositive<S: Simd>(s: S, t: S::F32) -> S::F32 {
    let [power] = exp2_nonpositive_of(s, [t]);
    power
}

/// [`exp2_nonpositive`] of some vectors, step by step: each step has nothing to wait for in its neighbours.
#[inline(always)]
pub(crate) fn exp2_nonpositive_of<S: Simd, const N: usize>(s: S, mut t: [S::F32; N]) -> [S::F32; N] {
    let magic = s.splat(MAGIC);
    let mut shifted = [magic; N];
    for (t, shifted) in t.iter_mut().zip(&mut shifted) {
        // The comparison picks `t` where it is NaN.
        *t = s.max(s.splat(LEAST), *t);
        // A NaN, whose payload would be added to the exponent, counts as 0 here; it stays in `t`.
        *shifted = s.add(s.min(*t, s.splat(0.0)), magic);
    }
    let mut r = t;
    for (r, shifted) in r.iter_mut().zip(&shifted) {
        *r = s.sub(*r, s.sub(*shifted, magic));
    }
    let mut p = [s.splat(EXP2[4]); N];
    for coefficient in [EXP2[3], EXP2[2], EXP2[1], EXP2[0], 1.0] {
        for (p, r) in p.iter_mut().zip(&r) {
            *p = s.mul_add(*p, *r, s.splat(coefficient));
        }
    }
    for (p, shifted) in p.iter_mut().zip(&shifted) {
        // Only the low bits of the whole number survive the shift. The sum never goes below 0: at -127, `r` is 0 and
        // `2^r` 1.
        *p = s.float_of_bits(s.add_i32(s.bits(*p), s.shl_i32::<23>(s.bits(*shifted))));
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernform_simd::{Fused, Scalar};
    use kernform_testkit::ulp_error;

    fn exp2(t: f32) -> f32 {
        exp2_nonpositive(Scalar::<Fused>::new(), t)
    }

    #[test]
    fn the_error_is_below_the_stated_one() {
        let steps = 400_000;
        for i in 0..=steps {
            let t = -126.0 * i as f32 / steps as f32;
            let error = ulp_error(exp2(t), f64::from(t).exp2());
            assert!(error < 2.5, "{t}: {error} ULP");
        }
        for i in 0..=100_000 {
            let t = -126.0 - i as f32 * 2e-5;
            let result = exp2(t);
            assert!((0.0..=f32::MIN_POSITIVE).contains(&result) && result.is_sign_positive(), "{t}: {result:e}");
        }
    }

    #[test]
    fn the_ends_are_exact() {
        assert_eq!(exp2(0.0).to_bits(), 1f32.to_bits());
        assert_eq!(exp2(-0.0).to_bits(), 1f32.to_bits());
        for t in [-127.0, -127.000_01, -1e4, -1e30, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp2(t).to_bits(), 0, "{t}");
        }
        for payload in [0, 1, 0x1ff, 0x3f_ffff] {
            for sign in [0, 1 << 31] {
                assert!(exp2(f32::from_bits(0x7fc0_0000 | payload | sign)).is_nan(), "{payload:#x}");
            }
        }
        for n in 0..=126 {
            assert_eq!(exp2(-(n as f32)), 2f32.powi(-n));
        }
    }
}
