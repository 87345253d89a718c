//! Layer normalisation with its weights.

use alloc::vec::Vec;

use kernform_norm::{Rows, layer_norm};
use kernform_simd::Isa;

use crate::error::ModelError;

/// Layer normalisation over the width (Ba et al. 2016).
pub(crate) struct LayerNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl LayerNorm {
    /// Normalises each row of `x` into `out`.
    pub(crate) fn apply(&self, isa: Isa, x: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
        let width = self.weight.len();
        let norm = kernform_norm::LayerNorm { gamma: &self.weight, beta: Some(&self.bias), epsilon: self.epsilon };
        Ok(layer_norm(isa, &norm, x, Rows::dense(x.len() / width, width), out, width)?)
    }
}
