//! The float operations between products as Marian's engine does them, compiled to WebAssembly (npm
//! `@browsermt/bergamot-translator` 0.4.9): one after the other, in its order, with the elementary functions that it has.
//!
//! Nothing is fused: a product is rounded before it is added, in either class of arithmetic, so these functions have the
//! same bits on every level. The orders were read from the compiled engine, and held against what goes into its products
//! and comes out of them. They are its own for heads of a multiple of four elements, 20 or more; it multiplies smaller
//! matrices otherwise.

use kernform_attention::{Heads, KEY_TILE, Rows, RowsMut, Segment};
use kernform_simd::{Isa, Kernel, Simd};
use kernform_tensor::Arena;

use crate::error::ModelError;
use crate::session::Cache;

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

/// `e^x` as musl has it (Arm's optimised routines): in double precision, `2^(k / 32)` from a table times a polynomial.
#[inline(always)]
fn exp_of_one(x: f32) -> f32 {
    const TO_WHOLE: f64 = 6_755_399_441_055_744.0;
    if x > 88.722_83 {
        return f32::INFINITY;
    }
    if x < -103.972_076 {
        return 0.0;
    }
    let scaled = 46.166_241_308_446_83 * f64::from(x);
    let shifted = scaled + TO_WHOLE;
    let k = shifted.to_bits();
    let r = scaled - (shifted - TO_WHOLE);
    let i = k % 32;
    let power = f64::from_bits(POWERS[i as usize].wrapping_add((k - i) << 47));
    let low = 1.693_835_925_092_021_2e-6 * r + 0.000_234_598_097_895_090_04;
    ((low * (r * r) + (0.021_660_849_396_613_134 * r + 1.0)) * power) as f32
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
    struct Norm<'a, 'o>(&'a [f32], &'a [f32], f32, &'a [f32], &'o mut [f32]);
    impl Norm<'_, '_> {
        /// Rows at `first`: their chains run side by side, each waits for its own additions alone.
        #[inline(always)]
        fn rows<const ROWS: usize>(&mut self, first: usize) {
            let width = self.0.len();
            let rows: [&[f32]; ROWS] = core::array::from_fn(|i| &self.3[(first + i) * width..][..width]);
            let mut means = [0.0; ROWS];
            for j in 0..width {
                for (mean, row) in means.iter_mut().zip(rows) {
                    *mean += row[j];
                }
            }
            means.iter_mut().for_each(|mean| *mean /= width as f32);
            let mut squares = [0.0; ROWS];
            for j in 0..width {
                for ((sum, mean), row) in squares.iter_mut().zip(means).zip(rows) {
                    let apart = row[j] - mean;
                    *sum += apart * apart;
                }
            }
            for (i, ((row, mean), sum)) in rows.iter().zip(means).zip(squares).enumerate() {
                let deviation = libm::sqrtf(sum / width as f32 + self.2);
                let out = &mut self.4[(first + i) * width..][..width];
                for (((out, x), gamma), beta) in out.iter_mut().zip(*row).zip(self.0).zip(self.1) {
                    *out = beta + gamma * ((x - mean) / deviation);
                }
            }
        }
    }
    impl Kernel for Norm<'_, '_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(mut self, _: S) {
            let count = self.3.len() / self.0.len().max(1);
            let eights = count / 8 * 8;
            for first in (0..eights).step_by(8) {
                self.rows::<8>(first);
            }
            for first in (eights..count).step_by(2) {
                if first + 1 < count { self.rows::<2>(first) } else { self.rows::<1>(first) }
            }
        }
    }
    isa.dispatch(Norm(gamma, beta, epsilon, x, out));
}

/// Scratch for [`attend`] and [`attend_cached`] over at most `tokens` keys.
pub(super) const fn attend_scratch_len(heads: Heads, tokens: usize) -> usize {
    tokens.next_multiple_of(KEY_TILE).saturating_mul(heads.head_dim.saturating_add(1))
}

/// Self-attention in each segment.
pub(super) fn attend(
    isa: Isa,
    heads: Heads,
    (q, k, v): (Rows<'_>, Rows<'_>, Rows<'_>),
    segments: &[Segment],
    out: RowsMut<'_>,
    scratch: &mut [f32],
) -> Result<(), ModelError> {
    for segment in segments {
        let tokens = segment.key.len();
        let mut arena = Arena::new(scratch);
        let keys = arena.take(tokens.next_multiple_of(KEY_TILE) * heads.head_dim)?;
        let weights = arena.take(tokens.next_multiple_of(KEY_TILE))?;
        isa.dispatch(Attend { heads, q, k, v, segment, out: RowsMut::new(out.data, out.stride), keys, weights });
    }
    Ok(())
}

/// One query a row, over the keys and values of its source.
pub(super) fn attend_cached(
    isa: Isa,
    heads: Heads,
    q: Rows<'_>,
    (cache, slots): (&Cache<'_>, &[usize]),
    out: RowsMut<'_>,
    scratch: &mut [f32],
) -> Result<(), ModelError> {
    for (row, slot) in slots.iter().enumerate() {
        let weights = Arena::new(scratch).take(cache.len(*slot).next_multiple_of(KEY_TILE))?;
        let out = RowsMut::new(&mut out.data[row * out.stride..], 0);
        isa.dispatch(AttendCached {
            heads,
            q: Rows::new(&q.data[row * q.stride..], 0),
            cache,
            slot: *slot,
            out,
            weights,
        });
    }
    Ok(())
}

struct Attend<'a, 'o> {
    heads: Heads,
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
    segment: &'a Segment,
    out: RowsMut<'o>,
    keys: &'o mut [f32],
    weights: &'o mut [f32],
}

impl Kernel for Attend<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (head_dim, tokens, start) = (self.heads.head_dim, self.segment.key.len(), self.segment.key.start);
        let tile_len = (head_dim * KEY_TILE).max(1);
        for head in 0..self.heads.query_heads {
            let part = |rows: &Rows<'_>, token: usize| (start + token) * rows.stride + head * head_dim;
            self.keys.fill(0.0);
            for token in 0..tokens {
                let tile = &mut self.keys[token / KEY_TILE * tile_len + token % KEY_TILE..];
                let key = &self.k.data[part(&self.k, token)..][..head_dim];
                for (to, x) in tile.iter_mut().step_by(KEY_TILE).zip(key) {
                    *to = *x;
                }
            }
            let keys = &*self.keys;
            for query in 0..tokens {
                let row = Row {
                    q: &self.q.data[part(&self.q, query)..][..head_dim],
                    tokens,
                    in_fours: query < tokens / 4 * 4,
                };
                let place = (start + query) * self.out.stride + head * head_dim;
                row.mix(
                    s,
                    |tile| &keys[tile * tile_len..][..tile_len],
                    |token| &self.v.data[part(&self.v, token)..][..head_dim],
                    self.weights,
                    &mut self.out.data[place..][..head_dim],
                );
            }
        }
    }
}

struct AttendCached<'a, 'c, 'o> {
    heads: Heads,
    q: Rows<'a>,
    cache: &'a Cache<'c>,
    slot: usize,
    out: RowsMut<'o>,
    weights: &'o mut [f32],
}

impl Kernel for AttendCached<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (head_dim, tokens) = (self.heads.head_dim, self.cache.len(self.slot));
        for head in 0..self.heads.query_heads {
            let place = head * head_dim;
            let tile = |tile| self.cache.tile(self.slot, head, tile).unwrap_or_default();
            let row = Row { q: &self.q.data[place..][..head_dim], tokens, in_fours: false };
            row.mix(
                s,
                |number| tile(number).0,
                |token| &tile(token / KEY_TILE).1[token % KEY_TILE * head_dim..][..head_dim],
                self.weights,
                &mut self.out.data[place..][..head_dim],
            );
        }
    }
}

/// A query of one head, and how many keys it has.
struct Row<'q> {
    q: &'q [f32],
    tokens: usize,
    /// Whether it is one of four queries that the engine multiplies together.
    in_fours: bool,
}

impl Row<'_> {
    /// Writes the mixed values; keys come as tiles `[head_dim, KEY_TILE]`, values one by one.
    #[inline(always)]
    fn mix<'t, S: Simd>(
        &self,
        s: S,
        keys: impl Fn(usize) -> &'t [f32],
        value: impl Fn(usize) -> &'t [f32],
        weights: &mut [f32],
        out: &mut [f32],
    ) {
        let scale = 1.0 / libm::sqrtf(self.q.len() as f32);
        for (number, scores) in weights.chunks_exact_mut(KEY_TILE).enumerate() {
            let tile = keys(number);
            for (v, scores) in scores.chunks_exact_mut(S::LANES).enumerate() {
                let mut sum = s.splat(0.0);
                for (q, keys) in self.q.iter().zip(tile.chunks_exact(KEY_TILE)) {
                    sum = s.add(sum, s.mul(s.splat(*q), s.load(&keys[v * S::LANES..])));
                }
                s.store(s.mul(sum, s.splat(scale)), scores);
            }
        }
        if self.in_fours {
            // The keys that are left over from groups of four: four chains, then what is left of the elements.
            let first = self.tokens / 4 * 4;
            for (token, weight) in weights[..self.tokens].iter_mut().enumerate().skip(first) {
                let key = keys(token / KEY_TILE).iter().skip(token % KEY_TILE).step_by(KEY_TILE);
                *weight = in_four_chains(self.q, key) * scale;
            }
        }
        softmax(s, weights, self.tokens);
        for (v, out) in out.chunks_mut(S::LANES).enumerate() {
            let mut sum = s.splat(0.0);
            for (token, weight) in weights[..self.tokens].iter().enumerate() {
                let value = s.load_or(&value(token)[v * S::LANES..], 0.0);
                sum = s.add(sum, s.mul(s.splat(*weight), value));
            }
            s.store_partial(sum, out);
        }
    }
}

/// A product of vectors in four chains.
#[inline(always)]
fn in_four_chains<'k>(q: &[f32], mut key: impl Iterator<Item = &'k f32>) -> f32 {
    let fours = q.chunks_exact(4);
    let rest = fours.remainder();
    let mut chains = [0.0; 4];
    for four in fours {
        for (chain, q) in chains.iter_mut().zip(four) {
            *chain += q * key.next().unwrap_or(&0.0);
        }
    }
    let sum = (chains[3] + chains[2]) + (chains[1] + chains[0]);
    rest.iter().zip(key).fold(sum, |sum, (q, key)| sum + q * key)
}

/// Makes weights of the first scores; there is room for whole vectors.
///
/// A multiple of four is summed in four chains, with the exponential of vectors; any other number in one.
#[inline(always)]
fn softmax<S: Simd>(s: S, scores: &mut [f32], count: usize) {
    let largest = scores[..count].iter().fold(f32::NEG_INFINITY, |most, x| if *x > most { *x } else { most });
    let sum = if count.is_multiple_of(4) {
        for scores in scores.chunks_exact_mut(S::LANES) {
            s.store(exp(s, s.sub(s.load(scores), s.splat(largest))), scores);
        }
        let mut chains = [0.0; 4];
        for four in scores[..count].chunks_exact(4) {
            for (chain, x) in chains.iter_mut().zip(four) {
                *chain += x;
            }
        }
        chains.iter().fold(0.0, |sum, chain| sum + chain)
    } else {
        scores[..count].iter_mut().for_each(|x| *x = exp_of_one(*x - largest));
        scores[..count].iter().fold(0.0, |sum, x| sum + x)
    };
    scores[..count].iter_mut().for_each(|x| *x /= sum);
}
