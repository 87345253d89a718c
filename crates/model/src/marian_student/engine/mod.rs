//! The float operations between products as Marian's engine does them, compiled to WebAssembly (npm
//! `@browsermt/bergamot-translator` 0.4.9): one after the other, in its order, with the elementary functions that it has.
//!
//! Nothing is fused: a product is rounded before it is added, in either class of arithmetic, so these functions have the
//! same bits on every level. The orders were read from the compiled engine, and held against what goes into its products
//! and comes out of them. They are its own for heads of a multiple of four elements, 20 or more; it multiplies smaller
//! matrices otherwise.

mod attend;
#[cfg(test)]
mod tests;

pub(super) use attend::{attend, attend_cached, attend_scratch_len};

use kernform_simd::{Isa, Kernel, Simd};

/// What the engine adds to variances.
pub(super) const EPSILON: f32 = 1e-6;

/// What sums of products are multiplied by, for the multipliers of inputs and weights.
pub(super) fn factor(inputs: f32, weights: f32) -> f32 {
    1.0 / (inputs * weights)
}

/// The bias of an output of weights `bytes`, from which the shift of the inputs is taken.
pub(super) fn bias(inputs: f32, weights: f32, bytes: &[i8], bias: f32) -> f32 {
    let factor = -((127.0 / inputs) * (127.0 / weights)) / 127.0;
    let sum: i32 = bytes.iter().map(|byte| i32::from(*byte)).sum();
    sum as f32 * factor + bias
}

/// Sines and cosines of positions, `[positions, width]`.
pub(super) fn positions(width: usize, out: &mut [f32]) {
    let half = width / 2;
    let step = 9.210_340_5 / (half as f32 - 1.0);
    for (position, row) in out.chunks_exact_mut(width.max(1)).enumerate() {
        let (sines, cosines) = row.split_at_mut(half);
        for (i, (sine, cosine)) in sines.iter_mut().zip(cosines).enumerate() {
            let angle = position as f32 * exp_of_one(i as f32 * -step);
            *sine = libm::sinf(angle);
            *cosine = libm::cosf(angle);
        }
    }
}

/// `2^(i / 32)`, as bits.
const POWERS: [u64; 32] = [
    0x3ff0_0000_0000_0000,
    0x3ff0_59b0_d315_8574,
    0x3ff0_b558_6cf9_890f,
    0x3ff1_1301_d012_5b51,
    0x3ff1_72b8_3c7d_517b,
    0x3ff1_d487_3168_b9aa,
    0x3ff2_387a_6e75_6238,
    0x3ff2_9e9d_f51f_dee1,
    0x3ff3_06fe_0a31_b715,
    0x3ff3_71a7_373a_a9cb,
    0x3ff3_dea6_4c12_3422,
    0x3ff4_4e08_6061_892d,
    0x3ff4_bfda_d536_2a27,
    0x3ff5_342b_569d_4f82,
    0x3ff5_ab07_dd48_5429,
    0x3ff6_247e_b03a_5585,
    0x3ff6_a09e_667f_3bcd,
    0x3ff7_1f75_e8ec_5f74,
    0x3ff7_a114_73eb_0187,
    0x3ff8_2589_994c_ce13,
    0x3ff8_ace5_422a_a0db,
    0x3ff9_3737_b0cd_c5e5,
    0x3ff9_c491_82a3_f090,
    0x3ffa_5503_b23e_255d,
    0x3ffa_e89f_995a_d3ad,
    0x3ffb_7f76_f2fb_5e47,
    0x3ffc_199b_dd85_529c,
    0x3ffc_b720_dcef_9069,
    0x3ffd_5818_dcfb_a487,
    0x3ffd_fc97_337b_9b5f,
    0x3ffe_a4af_a2a4_90da,
    0x3fff_5076_5b6e_4540,
];

/// `e^x`, not above 88, as musl has it (Arm's optimised routines): in double precision, `2^(k / 32)` from a table times a polynomial.
#[inline(always)]
fn exp_of_one(x: f32) -> f32 {
    const TO_WHOLE: f64 = 6_755_399_441_055_744.0;
    let scaled = 46.166_241_308_446_83 * f64::from(x);
    let shifted = scaled + TO_WHOLE;
    let k = shifted.to_bits();
    let r = scaled - (shifted - TO_WHOLE);
    let i = k % 32;
    let power = f64::from_bits(POWERS[i as usize].wrapping_add((k - i) << 47));
    let low = 1.693_835_925_092_021_2e-6 * r + 0.000_234_598_097_895_090_04;
    let result = ((low * (r * r) + (0.021_660_849_396_613_134 * r + 1.0)) * power) as f32;
    // Chosen at the end, so that a loop of these has no branch.
    if x < -103.972_08 { 0.0 } else { result }
}

/// `e^x` in vectors (Cephes' `expf`): `2^n` times a polynomial of degree 7.
#[inline(always)]
fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    /// `1.5 * 2^23`: adding it rounds to a whole number, which then stands in the lowest bits.
    const TO_WHOLE: f32 = 12_582_912.0;
    const POLYNOMIAL: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
    let whole = s.splat(TO_WHOLE);
    let x = s.max(s.min(x, s.splat(88.376_26)), s.splat(-88.376_26));
    let scaled = s.add(s.mul(x, s.splat(core::f32::consts::LOG2_E)), s.splat(0.5));
    let nearest = s.sub(s.add(scaled, whole), whole);
    let n = s.select(s.lt(scaled, nearest), s.sub(nearest, s.splat(1.0)), nearest);
    let r = s.add(s.mul(n, s.splat(2.121_944_4e-4)), s.add(x, s.mul(n, s.splat(-0.693_359_4))));
    let mut y = s.splat(POLYNOMIAL[0]);
    for factor in &POLYNOMIAL[1..] {
        y = s.add(s.mul(y, r), s.splat(*factor));
    }
    let y = s.add(s.add(s.mul(y, s.mul(r, r)), r), s.splat(1.0));
    let power = s.add_i32(s.shl_i32::<23>(s.bits(s.add(n, whole))), s.splat_i32(0x3f80_0000));
    s.mul(y, s.float_of_bits(power))
}

/// `e^x / (1 + e^x)` in place.
pub(super) fn sigmoid_in_place(isa: Isa, x: &mut [f32]) {
    struct Sigmoid<'x>(&'x mut [f32]);
    impl Kernel for Sigmoid<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for x in self.0.chunks_mut(S::LANES) {
                let e = exp(s, s.load_or(x, 0.0));
                s.store_partial(s.div(e, s.add(s.splat(1.0), e)), x);
            }
        }
    }
    isa.dispatch(Sigmoid(x));
}

/// Layer normalisation of rows as long as `gamma`, each sum a chain from the first element to the last.
pub(crate) fn layer_norm(isa: Isa, (gamma, beta, epsilon): (&[f32], &[f32], f32), x: &[f32], out: &mut [f32]) {
    isa.dispatch(Norm { gamma, beta, epsilon, x, out });
}

struct Norm<'a, 'o> {
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
    x: &'a [f32],
    out: &'o mut [f32],
}

/// Rows whose chains run side by side, a lane each.
const ROWS: usize = 16;

impl Kernel for Norm<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.gamma.len().max(1);
        for (x, out) in self.x.chunks(ROWS * width).zip(self.out.chunks_mut(ROWS * width)) {
            let count = x.len() / width;
            let (mut means, mut squares) = ([0.0_f32; ROWS], [0.0_f32; ROWS]);
            if count == 1 {
                for x in x {
                    means[0] += x;
                }
                means[0] /= width as f32;
                for x in x {
                    let apart = x - means[0];
                    squares[0] += apart * apart;
                }
            } else {
                for (first, (means, squares)) in
                    means.chunks_exact_mut(S::LANES).zip(squares.chunks_exact_mut(S::LANES)).enumerate()
                {
                    let rows = x.get(first * S::LANES * width..).unwrap_or_default();
                    if rows.is_empty() {
                        break;
                    }
                    let (mut sum, mut square) = (s.splat(0.0), s.splat(0.0));
                    columns(s, rows, width, |x| sum = s.add(sum, x));
                    let mean = s.div(sum, s.splat(width as f32));
                    columns(s, rows, width, |x| {
                        let apart = s.sub(x, mean);
                        square = s.add(square, s.mul(apart, apart));
                    });
                    s.store(mean, means);
                    s.store(square, squares);
                }
            }
            for (i, (x, out)) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).enumerate().take(count) {
                let (mean, deviation) = (means[i], libm::sqrtf(squares[i] / width as f32 + self.epsilon));
                for (((out, x), gamma), beta) in out.iter_mut().zip(x).zip(self.gamma).zip(self.beta) {
                    *out = beta + gamma * ((x - mean) / deviation);
                }
            }
        }
    }
}

/// Hands out the columns of the first rows, as many as there are lanes, one after the other; lanes without a row are 0.
#[inline(always)]
fn columns<S: Simd>(s: S, rows: &[f32], width: usize, mut each: impl FnMut(S::F32)) {
    let zero = s.splat(0.0);
    for first in (0..width).step_by(S::LANES) {
        let count = S::LANES.min(width - first);
        let mut block = [zero; ROWS];
        for (vector, row) in block[..S::LANES].iter_mut().zip(rows.chunks_exact(width)) {
            let row = &row[first..first + count];
            *vector = if count == S::LANES { s.load(row) } else { s.load_or(row, 0.0) };
        }
        s.transpose(&mut block[..S::LANES]);
        block[..count].iter().for_each(|column| each(*column));
    }
}
