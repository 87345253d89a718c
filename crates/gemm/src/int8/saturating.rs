//! The product of an engine whose sums of neighbouring products saturate, by way of the exact one.
//!
//! `VPMADDUBSW` multiplies unsigned by signed bytes and adds neighbouring products in 16 bits, which saturate. Two weights
//! that add up to less than 130 in magnitude never come so far, whatever the inputs, and of trained weights few pairs do
//! not. So the product is the exact one, on the kernels that there are; a list of the other pairs says which elements to
//! look at again, and those where a pair saturates are computed anew.

use alloc::vec::Vec;

use kernform_math::Activation;
use kernform_simd::{Isa, Kernel, Simd};
use kernform_tensor::{MatrixMut, MatrixRef, Parallel};

use super::multiply::{Rows, SHIFT, Scale, to_floats};
use super::packed::{GROUP, LINE, PackedI8, panel_len};
use super::quantize::{byte, largest_magnitude};
use crate::{Epilogue, GemmError, PANEL};

/// What sums stay below that do not saturate, less what roundings of a few products may add.
const LIMIT: f32 = 32_766.0;

/// The least magnitude of the sum of two weights whose products may saturate: 129 times 254 fits 16 bits.
const LEAST_SUM: u16 = 130;

/// The right operand of [`gemm_i8_saturating`]: packed, with the pairs of weights that can saturate.
#[derive(Clone, Debug)]
pub struct SaturatingI8<'a> {
    packed: PackedI8<'a>,
    /// Those that saturate first as inputs grow come first.
    pairs: Vec<Pair>,
}

/// Rows `row` and `row + 1` of a column.
#[derive(Clone, Copy, Debug)]
struct Pair {
    col: usize,
    row: usize,
    /// The magnitudes of the weights.
    weights: [f32; 2],
    /// What inputs times these weights come to at least where the sum saturates.
    least: f32,
}

impl Pair {
    fn new(col: usize, row: usize, weights: [i8; 2]) -> Self {
        let weights = weights.map(|weight| f32::from(weight).abs());
        // Inputs are rounded, each by a half at most, and these products a little.
        Self { col, row, weights, least: LIMIT - 127.5 * (weights[0] + weights[1]) }
    }

    /// Whether the sum may saturate for inputs of at most this many steps.
    #[inline(always)]
    fn may_saturate_up_to(&self, largest: f32) -> bool {
        largest.min(127.5) * (self.weights[0] + self.weights[1]) >= self.least
    }

    /// Whether the sum may saturate for these inputs. Where one is cut at -127 its product is 0, and the other cannot; and
    /// one that is no number counts as 0, which may.
    #[inline(always)]
    fn may_saturate(&self, inputs: [f32; 2], multiplier: f32) -> bool {
        let sum = inputs[0] * multiplier * self.weights[0] + inputs[1] * multiplier * self.weights[1];
        sum >= self.least || sum.is_nan()
    }
}

impl<'a> SaturatingI8<'a> {
    /// Looks for the pairs that can saturate.
    #[must_use]
    pub fn new(packed: PackedI8<'a>) -> Self {
        let mut pairs = Vec::new();
        let (k, _) = packed.shape();
        for (panel, data) in packed.as_slice().chunks_exact(panel_len(k)).enumerate() {
            for (group, line) in data[LINE..].chunks_exact(LINE).enumerate() {
                // The sum of two bytes, by operations on whole pairs. Most lines have no large one, which vectors see at once.
                let is_large = |pair: &[i8; 2]| {
                    let both = i16::from_le_bytes(pair.map(i8::cast_unsigned));
                    ((both >> 8) + (both << 8 >> 8)).unsigned_abs() >= LEAST_SUM
                };
                let (line, _) = line.as_chunks();
                if line.iter().fold(false, |any, pair| any | is_large(pair)) {
                    let found = line.iter().enumerate().filter(|(_, pair)| is_large(pair));
                    pairs.extend(
                        found.map(|(i, pair)| Pair::new(panel * PANEL + i / 2, group * GROUP + i % 2 * 2, *pair)),
                    );
                }
            }
        }
        pairs.sort_unstable_by(|a: &Pair, b| a.least.total_cmp(&b.least));
        Self { packed, pairs }
    }

    /// The packed bytes.
    #[must_use]
    pub const fn packed(&self) -> &PackedI8<'a> {
        &self.packed
    }

    /// The packed bytes, of an operand that is no longer needed.
    #[must_use]
    pub fn into_packed(self) -> PackedI8<'a> {
        self.packed
    }
}

/// A product that is not exact, for models whose answers are to be those of an engine that computes so (intgemm's shifted
/// form, in Marian and Bergamot): `c = sum * col_scale + bias` for A `[m, k]`, B `[k, n]`, C `[m, n]`, then ReLU where it is
/// asked for, then the residual.
///
/// A becomes bytes as [`quantize_with`](super::quantize_with) makes them, with 127 added: 0 to 254. In `sum`, products with
/// rows `2 i` and `2 i + 1` of B are added in 16 bits that saturate, and these sums in `i32`. Product and sum of the floats
/// are rounded each, in either class: the bits of [`reference::gemm_i8_saturating`](super::reference::gemm_i8_saturating) on
/// every level. The shift is in the result; where it is not wanted, `-127 * col_scale * (sum of B's column)` is added to
/// the bias before.
///
/// Nothing is allocated; `scratch` must have [`gemm_i8_scratch_len`](super::gemm_i8_scratch_len) floats, whatever they hold.
///
/// # Errors
/// [`GemmError`] where shapes do not fit or the scratch is too short; C is as it was then.
pub fn gemm_i8_saturating(
    isa: Isa,
    parallel: &impl Parallel,
    (a, multiplier): (MatrixRef<'_, f32>, f32),
    b: &SaturatingI8<'_>,
    col_scale: Scale<'_>,
    mut c: MatrixMut<'_, f32>,
    (bias, relu, residual): (Option<&[f32]>, bool, Option<MatrixRef<'_, f32>>),
    scratch: &mut [f32],
) -> Result<(), GemmError> {
    let activation = if relu { Activation::Relu } else { Activation::Identity };
    let epilogue = Epilogue { bias, activation, residual };
    let rows = Rows::Static { values: a, multiplier, scale: 1.0 };
    to_floats(isa, parallel, rows, &b.packed, (col_scale, true), &mut c, &epilogue, scratch)?;
    b.compute_again(isa, (a, multiplier), col_scale, &mut c, (bias, relu, residual));
    Ok(())
}

/// The largest magnitude of a row, and infinity where one is no finite number.
struct Largest<'a>(MatrixRef<'a, f32>, usize);

impl Kernel for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (largest, is_finite) = largest_magnitude(s, self.0, self.1);
        if is_finite { largest } else { f32::INFINITY }
    }
}

impl SaturatingI8<'_> {
    /// Computes anew what saturates, in a function that is compiled once for all that multiply.
    #[inline(never)]
    fn compute_again(
        &self,
        isa: Isa,
        (a, multiplier): (MatrixRef<'_, f32>, f32),
        col_scale: Scale<'_>,
        c: &mut MatrixMut<'_, f32>,
        (bias, relu, residual): (Option<&[f32]>, bool, Option<MatrixRef<'_, f32>>),
    ) {
        let rows = if self.pairs.is_empty() { 0 } else { a.rows() };
        // Few pairs are looked at sooner than the whole row.
        let are_few = self.pairs.len() <= a.cols() / 64;
        for i in 0..rows {
            let largest = if are_few { f32::INFINITY } else { (isa.dispatch(Largest(a, i)) * multiplier).abs() };
            let row = a.row(i);
            let input = |k: usize| row.map_or_else(|| a.get(i, k), |row| row.get(k)).copied().unwrap_or(0.0);
            for pair in self.pairs.iter().take_while(|pair| pair.may_saturate_up_to(largest)) {
                if let Some(sum) = self.again(pair, multiplier, input)
                    && let Some(c) = c.get_mut(i, pair.col)
                {
                    let bias = bias.and_then(|bias| bias.get(pair.col)).copied().unwrap_or(0.0);
                    let x = sum as f32 * col_scale.get(pair.col) + bias;
                    let x = if relu && x < 0.0 { 0.0 } else { x };
                    let residual = residual.and_then(|residual| residual.get(i, pair.col));
                    *c = residual.map_or(x, |residual| x + residual);
                }
            }
        }
    }

    /// The sum of a column for a row of A, where the pair saturates.
    fn again(&self, pair: &Pair, multiplier: f32, input: impl Fn(usize) -> f32) -> Option<i32> {
        let inputs = |row: usize| [input(row), input(row + 1)];
        // The sum of the products with two rows, exactly.
        let exact = |inputs: [f32; 2], row: usize| {
            let [first, second] = inputs.map(|x| i32::from(byte(x, multiplier)) + SHIFT);
            first * i32::from(self.packed.get(row, pair.col)) + second * i32::from(self.packed.get(row + 1, pair.col))
        };
        let x = inputs(pair.row);
        let saturates = pair.may_saturate(x, multiplier) && i16::try_from(exact(x, pair.row)).is_err();
        let limited = |row| exact(inputs(row), row).clamp(i32::from(i16::MIN), i32::from(i16::MAX));
        saturates.then(|| (0..self.packed.shape().0).step_by(2).map(limited).sum())
    }
}
