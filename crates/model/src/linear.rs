//! An affine map with prepacked weights.

use alloc::vec::Vec;

use kernform_gemm::{Epilogue, Layout, Operand, PackedB, gemm, gemm_scratch_len};
use kernform_math::Activation;
use kernform_tensor::{MatrixMut, MatrixRef, Parallel};

use crate::error::ModelError;
use crate::layers::Context;

/// `y = x W + b`, weights packed at load.
pub(crate) struct Linear {
    weights: PackedB<'static>,
    bias: Option<Vec<f32>>,
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
        Ok(Self { weights: PackedB::pack(weights)?, bias })
    }

    pub(crate) fn inputs(&self) -> usize {
        self.weights.shape().0
    }

    pub(crate) fn outputs(&self) -> usize {
        self.weights.shape().1
    }

    pub(crate) fn memory(&self) -> usize {
        (self.weights.as_slice().len() + self.bias.as_ref().map_or(0, Vec::len)) * size_of::<f32>()
    }

    /// Scratch with which the map is fastest for as many rows.
    pub(crate) fn scratch_len(&self, rows: usize, threads: usize) -> usize {
        gemm_scratch_len(threads, rows, self.outputs(), self.inputs(), Layout::RowMajor, Layout::Packed)
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
        let (inputs, outputs) = self.weights.shape();
        let rows = x.len() / stride;
        let mut epilogue = Epilogue::bias(self.bias.as_deref()).with_activation(extra.activation);
        if let Some(residual) = extra.residual {
            epilogue = epilogue.with_residual(MatrixRef::new(residual, rows, outputs)?);
        }
        let (a, c) = (MatrixRef::with_strides(x, rows, inputs, stride, 1)?, MatrixMut::new(out, rows, outputs)?);
        Ok(gemm(context.isa, context.parallel, a, Operand::Packed(&self.weights), c, &epilogue, scratch)?)
    }
}
