//! An affine map with prepacked weights.

use alloc::vec::Vec;

use kernform_gemm::int8::{
    PackedI8, Rows, SaturatingI8, Scale, gemm_i8, gemm_i8_saturating, gemm_i8_scratch_len, quantize_rows,
};
use kernform_gemm::{Epilogue, Layout, Operand, PackedB, Weight, gemm, gemm_scratch_len};
use kernform_math::Activation;
use kernform_simd::Isa;
use kernform_tensor::{Arena, MatrixMut, MatrixRef, Parallel, Serial, bf16, f16, rounded};

use crate::error::ModelError;
use crate::hadamard::Hadamard;
use crate::layers::Context;
use crate::parts::even;

/// The type in which the weights of a model's products and its table of tokens are kept; the rest is always `f32`.
///
/// The table stays in the file's type where that is as small: nothing is rounded then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WeightType {
    /// As exact as the file.
    #[default]
    F32,
    /// Rounded to 11 bits, magnitudes up to 65504; widened, exactly, where they are used.
    F16,
    /// Rounded to 8 bits; widened, exactly, where they are used.
    Bf16,
    /// Each output's weights in 255 steps of a scale of their own; activations the same, row by row, as they come. Both are
    /// rotated before, so that no channel is much larger than the others.
    ///
    /// Rows of finite activations are quantised however large they are. One with NaN or an infinity gives NaN, as do weights
    /// for their output; one below 2^-119 (perhaps one below 2^-116) counts as zeros.
    Int8,
}

impl WeightType {
    /// All types.
    pub const ALL: [WeightType; 4] = [WeightType::F32, WeightType::F16, WeightType::Bf16, WeightType::Int8];

    /// The name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            WeightType::F32 => "f32",
            WeightType::F16 => "f16",
            WeightType::Bf16 => "bf16",
            WeightType::Int8 => "int8",
        }
    }
}

/// `y = x W + b`, weights packed at load.
pub(crate) struct Linear {
    inputs: usize,
    outputs: usize,
    weights: Packed,
    bias: Option<Vec<f32>>,
}

/// Packed weights of any type.
enum Packed {
    F32(PackedB<'static>),
    F16(PackedB<'static, f16>),
    Bf16(PackedB<'static, bf16>),
    /// Bytes with the factor of each output.
    Int8 {
        values: PackedI8<'static>,
        scales: Vec<f32>,
        inputs: ToBytes,
    },
    /// Bytes for the product whose pairs saturate, with the factor of each output's sums.
    Saturating {
        values: SaturatingI8<'static>,
        scales: Vec<f32>,
        /// By which inputs become bytes.
        multiplier: f32,
    },
}

/// How inputs become bytes.
enum ToBytes {
    /// By one multiplier.
    With(f32),
    /// Mixed, each row by a multiplier of its own.
    Mixed(Hadamard),
}

/// Elements that are mixed at a time for each thread: a quarter of a second-level cache of 1 MB.
const MIXED: usize = 1 << 16;
/// Fewest rows of them, so that the weights are not read for a few rows alone.
const LEAST_MIXED: usize = 24;

/// What a product does on its way out: `activation(x W + b) + residual`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extra<'e> {
    activation: Activation,
    residual: Option<&'e [f32]>,
}

impl<'e> Extra<'e> {
    pub(crate) fn activation(activation: Activation) -> Self {
        Self { activation, residual: None }
    }

    pub(crate) fn residual(residual: &'e [f32]) -> Self {
        Self { residual: Some(residual), ..Self::default() }
    }
}

impl Packed {
    /// Packs weights `[outputs, inputs]`.
    fn new(weights: &[f32], inputs: usize, outputs: usize, kind: WeightType) -> Result<Self, ModelError> {
        fn packed<W: Weight>(weights: &[W], inputs: usize, outputs: usize) -> Result<PackedB<'static, W>, ModelError> {
            Ok(PackedB::pack(MatrixRef::new(weights, outputs, inputs)?.transpose())?)
        }
        Ok(match kind {
            WeightType::F32 => Packed::F32(packed(weights, inputs, outputs)?),
            WeightType::F16 => {
                let weights: Vec<_> = weights.iter().map(|weight| f16::from_f32(*weight)).collect();
                Packed::F16(packed(&weights, inputs, outputs)?)
            }
            WeightType::Bf16 => {
                let weights: Vec<_> = weights.iter().map(|weight| bf16::from_f32(*weight)).collect();
                Packed::Bf16(packed(&weights, inputs, outputs)?)
            }
            WeightType::Int8 => {
                let (mut bytes, mut scales) = (alloc::vec![0; weights.len()], alloc::vec![0.0; outputs]);
                let hadamard = Hadamard::new(inputs);
                let mut mixed = alloc::vec![0.0; weights.len()];
                hadamard.mix(Isa::best(), &Serial, weights, inputs, &mut mixed);
                let mixed = MatrixRef::new(&mixed, outputs, inputs)?;
                quantize_rows(Isa::best(), mixed, MatrixMut::new(&mut bytes, outputs, inputs)?, &mut scales)?;
                scales.iter_mut().for_each(|scale| *scale *= hadamard.unscale());
                let values = PackedI8::pack(MatrixRef::new(&bytes, outputs, inputs)?.transpose())?;
                Packed::Int8 { values, scales, inputs: ToBytes::Mixed(hadamard) }
            }
        })
    }

    fn memory(&self) -> usize {
        match self {
            Packed::F32(weights) => size_of_val(weights.as_slice()),
            Packed::F16(weights) => size_of_val(weights.as_slice()),
            Packed::Bf16(weights) => size_of_val(weights.as_slice()),
            Packed::Int8 { values, scales, .. } => size_of_val(values.as_slice()) + size_of_val(scales.as_slice()),
            Packed::Saturating { values, scales, .. } => {
                size_of_val(values.packed().as_slice()) + size_of_val(scales.as_slice())
            }
        }
    }
}

impl Linear {
    /// Packs weights `[outputs, inputs]`, as PyTorch stores them, in memory of this type.
    pub(crate) fn new(
        weights: &[f32],
        inputs: usize,
        outputs: usize,
        bias: Option<Vec<f32>>,
        kind: WeightType,
    ) -> Result<Self, ModelError> {
        Ok(Self { inputs, outputs, weights: Packed::new(weights, inputs, outputs, kind)?, bias })
    }

    /// Packs bytes `[outputs, inputs]`, each output with the factor that makes floats of it. Inputs are multiplied by
    /// `multiplier` and rounded to bytes.
    pub(crate) fn of_bytes(
        bytes: &[i8],
        inputs: usize,
        scales: Vec<f32>,
        multiplier: f32,
        bias: Option<Vec<f32>>,
    ) -> Result<Self, ModelError> {
        let outputs = scales.len();
        let values = PackedI8::pack(MatrixRef::new(bytes, outputs, inputs)?.transpose())?;
        let weights = Packed::Int8 { values, scales, inputs: ToBytes::With(multiplier) };
        Ok(Self { inputs, outputs, weights, bias })
    }

    /// [`Linear::of_bytes`] for the product whose pairs saturate: the factors are those of its sums, and the shift of its
    /// inputs is taken back in the bias.
    pub(crate) fn of_saturating_bytes(
        bytes: &[i8],
        inputs: usize,
        scales: Vec<f32>,
        multiplier: f32,
        bias: Vec<f32>,
    ) -> Result<Self, ModelError> {
        let outputs = scales.len();
        let values = SaturatingI8::new(PackedI8::pack(MatrixRef::new(bytes, outputs, inputs)?.transpose())?);
        Ok(Self { inputs, outputs, weights: Packed::Saturating { values, scales, multiplier }, bias: Some(bias) })
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(crate) fn memory(&self) -> usize {
        self.weights.memory() + self.bias.as_ref().map_or(0, |bias| size_of_val(bias.as_slice()))
    }

    /// Rows below which a thread had better not read all weights for rows of its own, since it would wait for them.
    pub(crate) const fn least_rows(&self) -> usize {
        match self.weights {
            Packed::F32(_) => 16,
            Packed::F16(_) | Packed::Bf16(_) | Packed::Int8 { .. } | Packed::Saturating { .. } => 8,
        }
    }

    /// Scratch that the map needs, or with which it is fastest, for as many rows.
    pub(crate) fn scratch_len(&self, rows: usize, threads: usize) -> usize {
        let (inputs, outputs) = (self.inputs, self.outputs);
        match self.weights {
            Packed::Int8 { inputs: ToBytes::With(_), .. } | Packed::Saturating { .. } => {
                gemm_i8_scratch_len(threads, rows, outputs, inputs)
            }
            Packed::Int8 { inputs: ToBytes::Mixed(_), .. } => {
                let rows = rows.min(mixed_rows(inputs, threads));
                gemm_i8_scratch_len(threads, rows, outputs, inputs).saturating_add(rounded(rows.saturating_mul(inputs)))
            }
            _ => gemm_scratch_len(threads, rows, outputs, inputs, Layout::RowMajor, Layout::Packed),
        }
    }

    /// `[rows, inputs]` to `[rows, outputs]`, as many rows as `x` has; `out` may be longer.
    pub(crate) fn apply<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        x: &[f32],
        out: &mut [f32],
        extra: Extra<'_>,
        scratch: &mut [f32],
    ) -> Result<(), ModelError> {
        self.apply_strided(context, x, self.inputs, out, extra, scratch)
    }

    /// [`Linear::apply`] for rows of `x` that begin every `stride` elements.
    pub(crate) fn apply_strided<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        x: &[f32],
        stride: usize,
        out: &mut [f32],
        extra: Extra<'_>,
        scratch: &mut [f32],
    ) -> Result<(), ModelError> {
        let rows = x.len() / stride;
        let mut epilogue = Epilogue::bias(self.bias.as_deref()).with_activation(extra.activation);
        if let Some(residual) = extra.residual {
            epilogue = epilogue.with_residual(MatrixRef::new(residual, rows, self.outputs)?);
        }
        let a = MatrixRef::with_strides(x, rows, self.inputs, stride, 1)?;
        let c = MatrixMut::new(out, rows, self.outputs)?;
        let (isa, parallel) = (context.isa, context.parallel);
        match &self.weights {
            Packed::F32(weights) => gemm(isa, parallel, a, Operand::Packed(weights), c, &epilogue, scratch)?,
            Packed::F16(weights) => gemm(isa, parallel, a, Operand::Packed(weights), c, &epilogue, scratch)?,
            Packed::Bf16(weights) => gemm(isa, parallel, a, Operand::Packed(weights), c, &epilogue, scratch)?,
            Packed::Int8 { values, scales, inputs: ToBytes::With(multiplier) } => {
                let rows = Rows::Static { values: a, multiplier: *multiplier, scale: 1.0 / multiplier };
                gemm_i8(isa, parallel, rows, values, Scale::Each(scales), c, &epilogue, scratch)?;
            }
            Packed::Saturating { values, scales, multiplier } => {
                let (a, scales) = ((a, *multiplier), Scale::Each(scales));
                // Students have no other activation.
                let relu = epilogue.activation == Activation::Relu;
                let then = (epilogue.bias, relu, epilogue.residual);
                gemm_i8_saturating(isa, parallel, a, values, scales, c, then, scratch)?;
            }
            Packed::Int8 { values, scales, inputs: ToBytes::Mixed(hadamard) } => {
                // A few rows at a time, so that what is mixed stays in the cache and the scratch small.
                let most = even(rows, mixed_rows(self.inputs, parallel.threads()));
                for first in (0..rows).step_by(most) {
                    let count = most.min(rows - first);
                    let mut arena = Arena::new(scratch);
                    let mixed = arena.take(count * self.inputs)?;
                    hadamard.mix(isa, parallel, &x[first * stride..], stride, mixed);
                    let at = first * self.outputs;
                    if let Some(residual) = extra.residual {
                        epilogue = epilogue.with_residual(MatrixRef::new(&residual[at..], count, self.outputs)?);
                    }
                    let mixed = Rows::Dynamic(MatrixRef::new(mixed, count, self.inputs)?);
                    let c = MatrixMut::new(&mut out[at..], count, self.outputs)?;
                    gemm_i8(isa, parallel, mixed, values, Scale::Each(scales), c, &epilogue, arena.rest())?;
                }
            }
        }
        Ok(())
    }
}

/// Rows that are mixed at a time.
const fn mixed_rows(inputs: usize, threads: usize) -> usize {
    let rows = match MIXED.checked_div(inputs) {
        Some(rows) if rows > LEAST_MIXED => rows,
        _ => LEAST_MIXED,
    };
    rows.saturating_mul(if threads > 0 { threads } else { 1 })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use kernform_simd::{Class, Level};
    use kernform_tensor::parallel::Threads;
    use kernform_testkit::{assert_same_bits, isa_tests_integer};

    use super::*;

    const INPUTS: usize = 1016;
    const OUTPUTS: usize = 20;
    const STRIDE: usize = 1018;

    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed) % 1009) as f32 / 512.0 - 1.0).collect()
    }

    fn int8() -> Linear {
        let bias = Some(numbers(OUTPUTS, 5));
        Linear::new(&numbers(INPUTS * OUTPUTS, 3), INPUTS, OUTPUTS, bias, WeightType::Int8).expect("the shapes fit")
    }

    /// The map of rows of `STRIDE` elements, with everything that a product does on its way out.
    fn map<P: Parallel>(map: &Linear, isa: Isa, parallel: &P, x: &[f32], residual: &[f32]) -> Vec<f32> {
        let rows = x.len() / STRIDE;
        let mut scratch = alloc::vec![f32::NAN; map.scratch_len(rows, parallel.threads())];
        let mut out = alloc::vec![f32::NAN; rows * OUTPUTS];
        let extra = Extra { activation: Activation::Relu, residual: Some(residual) };
        map.apply_strided(&Context { isa, parallel }, x, STRIDE, &mut out, extra, &mut scratch).expect("it fits");
        out
    }

    /// More rows than are mixed at a time, against each row alone on the scalar level.
    fn int8_rows_do_not_depend_on_their_batch(isa: Isa) {
        let rows = 3 * mixed_rows(INPUTS, 1) + 7;
        let (x, residual) = (numbers(rows * STRIDE, 1), numbers(rows * OUTPUTS, 2));
        let linear = int8();
        let scalar = match isa.class() {
            Class::Fused => Level::Scalar,
            Class::Unfused => Level::ScalarUnfused,
        };
        let scalar = Isa::new(scalar).expect("scalar levels run anywhere");
        let alone = x.chunks_exact(STRIDE).zip(residual.chunks_exact(OUTPUTS));
        let alone: Vec<f32> = alone.flat_map(|(x, residual)| map(&linear, scalar, &Serial, x, residual)).collect();
        assert_same_bits("one thread", &map(&linear, isa, &Serial, &x, &residual), &alone);
        assert_same_bits("three threads", &map(&linear, isa, &Threads(3), &x, &residual), &alone);
    }

    /// Rows as large as numbers are, rows of which nothing is left, and rows that are no numbers.
    fn int8_defines_what_odd_rows_give(isa: Isa) {
        let linear = Linear::new(&numbers(INPUTS * OUTPUTS, 3), INPUTS, OUTPUTS, None, WeightType::Int8).expect("fits");
        let apply = |x: &[f32]| {
            let mut out = alloc::vec![0.0; OUTPUTS];
            let mut scratch = alloc::vec![f32::NAN; linear.scratch_len(1, 1)];
            let context = Context { isa, parallel: &Serial };
            linear.apply(&context, x, &mut out, Extra::default(), &mut scratch).expect("it fits");
            out
        };
        let times = |x: &[f32], factor: f32| -> Vec<f32> { x.iter().map(|x| x * factor).collect() };
        let (x, large, small) = (numbers(INPUTS, 1), 2f32.powi(127), 2f32.powi(-100));
        // Products of so large a row would overflow, were they not made small again by the weights.
        let weights = times(&numbers(INPUTS * OUTPUTS, 3), 2f32.powi(-20));
        let light = Linear::new(&weights, INPUTS, OUTPUTS, None, WeightType::Int8).expect("fits");
        let y = apply(&x);
        assert_same_bits("small", &apply(&times(&x, small)), &times(&y, small));
        let mut out = alloc::vec![0.0; OUTPUTS];
        let mut scratch = alloc::vec![f32::NAN; light.scratch_len(1, 1)];
        let context = Context { isa, parallel: &Serial };
        light.apply(&context, &times(&x, large), &mut out, Extra::default(), &mut scratch).expect("it fits");
        assert_same_bits("large", &out, &times(&times(&y, 2f32.powi(-20)), large));
        assert!(out.iter().all(|y| y.is_finite()), "{out:?}");
        assert_eq!(apply(&alloc::vec![f32::from_bits(0x7f_ffff); INPUTS]), [0.0; OUTPUTS]);
        for odd in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut x = x.clone();
            x[INPUTS - 1] = odd;
            assert!(apply(&x).iter().all(|y| y.is_nan()));
        }
        // Weights are mixed the same way: the output of the odd ones alone is touched.
        let mut weights = numbers(INPUTS * OUTPUTS, 3);
        weights[..INPUTS].fill(f32::MAX);
        weights[INPUTS] = f32::INFINITY;
        let odd = Linear::new(&weights, INPUTS, OUTPUTS, None, WeightType::Int8).expect("fits");
        odd.apply(&context, &times(&x, 2f32.powi(-20)), &mut out, Extra::default(), &mut scratch).expect("it fits");
        assert!(out[0].is_finite() && out[1].is_nan(), "{out:?}");
        assert_same_bits("the others", &out[2..], &times(&y, 2f32.powi(-20))[2..]);
    }

    isa_tests_integer!(int8_rows_do_not_depend_on_their_batch, int8_defines_what_odd_rows_give);

    /// A channel a hundred times as large as the others, which alone would leave them a step to either side.
    #[test]
    fn int8_bears_a_channel_that_stands_out() {
        let mut x = numbers(STRIDE, 1);
        x[17] = 100.0;
        let residual = alloc::vec![0.0; OUTPUTS];
        let exact =
            Linear::new(&numbers(INPUTS * OUTPUTS, 3), INPUTS, OUTPUTS, Some(numbers(OUTPUTS, 5)), WeightType::F32);
        let exact = map(&exact.expect("the shapes fit"), Isa::best(), &Serial, &x, &residual);
        let found = map(&int8(), Isa::best(), &Serial, &x, &residual);
        let size = exact.iter().fold(0.0, |most: f32, y| most.max(y.abs()));
        for (found, exact) in found.iter().zip(&exact) {
            assert!((found - exact).abs() < 0.05 * size, "{found} for {exact}");
        }
    }
}
