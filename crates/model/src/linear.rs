//! An affine map with prepacked weights.

use alloc::vec::Vec;

use kernform_gemm::int8::{PackedI8, Rows, Scale, gemm_i8, gemm_i8_scratch_len, quantize_rows};
use kernform_gemm::{Epilogue, Layout, Operand, PackedB, Weight, gemm, gemm_scratch_len};
use kernform_math::Activation;
use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, Parallel, bf16, f16};

use crate::error::ModelError;
use crate::layers::Context;

/// The type in which the weights of a model's products are kept; the rest of a model is always `f32`.
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
    /// Each output's weights in 255 steps of a scale of their own; activations the same, row by row, as they come.
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
    /// Bytes with the factor of each output. Inputs become bytes by one multiplier, or else each row by its own.
    Int8 {
        values: PackedI8<'static>,
        scales: Vec<f32>,
        multiplier: Option<f32>,
    },
}

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
                let weights = MatrixRef::new(weights, outputs, inputs)?;
                quantize_rows(Isa::best(), weights, MatrixMut::new(&mut bytes, outputs, inputs)?, &mut scales)?;
                let values = PackedI8::pack(MatrixRef::new(&bytes, outputs, inputs)?.transpose())?;
                Packed::Int8 { values, scales, multiplier: None }
            }
        })
    }

    fn memory(&self) -> usize {
        match self {
            Packed::F32(weights) => size_of_val(weights.as_slice()),
            Packed::F16(weights) => size_of_val(weights.as_slice()),
            Packed::Bf16(weights) => size_of_val(weights.as_slice()),
            Packed::Int8 { values, scales, .. } => size_of_val(values.as_slice()) + size_of_val(scales.as_slice()),
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
        let weights = Packed::Int8 { values, scales, multiplier: Some(multiplier) };
        Ok(Self { inputs, outputs, weights, bias })
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

    /// Scratch that the map needs, or with which it is fastest, for as many rows.
    pub(crate) fn scratch_len(&self, rows: usize, threads: usize) -> usize {
        let (inputs, outputs) = (self.inputs, self.outputs);
        match self.weights {
            Packed::Int8 { .. } => gemm_i8_scratch_len(threads, rows, outputs, inputs),
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
            Packed::Int8 { values, scales, multiplier } => {
                let rows = match *multiplier {
                    Some(multiplier) => Rows::Static { values: a, multiplier, scale: 1.0 / multiplier },
                    None => Rows::Dynamic(a),
                };
                let scales = Scale::Each(scales);
                gemm_i8(isa, parallel, rows, values, scales, c, &epilogue, scratch)?;
            }
        }
        Ok(())
    }
}
