//! An affine map with prepacked weights.

use alloc::vec::Vec;

use kernform_gemm::int8::{PackedI8, Rows, Scale, gemm_i8, gemm_i8_scratch_len};
use kernform_gemm::{Epilogue, Layout, Operand, PackedB, gemm, gemm_scratch_len};
use kernform_math::Activation;
use kernform_tensor::{MatrixMut, MatrixRef, Parallel};

use crate::error::ModelError;
use crate::layers::Context;

/// `y = x W + b`, weights packed at load.
pub(crate) struct Linear {
    weights: Packed,
    bias: Option<Vec<f32>>,
}

/// The weights of a map, as their product takes them.
enum Packed {
    F32(PackedB<'static>),
    /// Bytes, with the factor of each output and the multiplier by which inputs become bytes.
    I8 {
        weights: PackedI8<'static>,
        scales: Vec<f32>,
        multiplier: f32,
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

impl Linear {
    /// Packs weights `[outputs, inputs]`, as PyTorch stores them.
    pub(crate) fn new(
        weights: &[f32],
        inputs: usize,
        outputs: usize,
        bias: Option<Vec<f32>>,
    ) -> Result<Self, ModelError> {
        let weights = MatrixRef::new(weights, outputs, inputs)?.transpose();
        Ok(Self { weights: Packed::F32(PackedB::pack(weights)?), bias })
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
        let bytes = MatrixRef::new(bytes, scales.len(), inputs)?.transpose();
        Ok(Self { weights: Packed::I8 { weights: PackedI8::pack(bytes)?, scales, multiplier }, bias })
    }

    fn shape(&self) -> (usize, usize) {
        match &self.weights {
            Packed::F32(weights) => weights.shape(),
            Packed::I8 { weights, .. } => weights.shape(),
        }
    }

    pub(crate) fn inputs(&self) -> usize {
        self.shape().0
    }

    pub(crate) fn outputs(&self) -> usize {
        self.shape().1
    }

    pub(crate) fn memory(&self) -> usize {
        let weights = match &self.weights {
            Packed::F32(weights) => size_of_val(weights.as_slice()),
            Packed::I8 { weights, scales, .. } => size_of_val(weights.as_slice()) + size_of_val(scales.as_slice()),
        };
        weights + self.bias.as_ref().map_or(0, |bias| size_of_val(bias.as_slice()))
    }

    /// Scratch with which the map is fastest for as many rows.
    pub(crate) fn scratch_len(&self, rows: usize, threads: usize) -> usize {
        let (inputs, outputs) = self.shape();
        match &self.weights {
            Packed::F32(_) => gemm_scratch_len(threads, rows, outputs, inputs, Layout::RowMajor, Layout::Packed),
            Packed::I8 { .. } => gemm_i8_scratch_len(threads, rows, outputs, inputs),
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
        self.apply_strided(context, x, self.inputs(), out, extra, scratch)
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
        let (inputs, outputs) = self.shape();
        let rows = x.len() / stride;
        let mut epilogue = Epilogue::bias(self.bias.as_deref()).with_activation(extra.activation);
        if let Some(residual) = extra.residual {
            epilogue = epilogue.with_residual(MatrixRef::new(residual, rows, outputs)?);
        }
        let (a, c) = (MatrixRef::with_strides(x, rows, inputs, stride, 1)?, MatrixMut::new(out, rows, outputs)?);
        match &self.weights {
            Packed::F32(weights) => {
                gemm(context.isa, context.parallel, a, Operand::Packed(weights), c, &epilogue, scratch)?;
            }
            Packed::I8 { weights, scales, multiplier } => {
                let rows = Rows::Static { values: a, multiplier: *multiplier, scale: 1.0 / multiplier };
                let scales = Scale::Each(scales);
                gemm_i8(context.isa, context.parallel, rows, weights, scales, c, &epilogue, scratch)?;
            }
        }
        Ok(())
    }
}
