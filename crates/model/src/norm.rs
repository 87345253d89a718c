//! Layer normalisation with its weights.

use alloc::vec::Vec;

use kernform_norm::{Rows, layer_norm, layer_norm_in_place};
use kernform_simd::Isa;

use crate::error::ModelError;
use crate::marian_student::engine;

/// What a configuration says of its layer norms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormConfig {
    /// Elements of a row.
    pub(crate) width: usize,
    /// Added to the variance.
    pub(crate) epsilon: f32,
    /// Whether the norm adds a bias.
    pub(crate) bias: bool,
}

impl NormConfig {
    /// A norm with a bias.
    pub(crate) const fn new(width: usize, epsilon: f32) -> Self {
        Self { width, epsilon, bias: true }
    }
}

/// Layer normalisation over the width (Ba et al. 2016).
pub(crate) struct LayerNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Option<Vec<f32>>,
    pub(crate) epsilon: f32,
    /// Whether sums are those of Marian's engine.
    pub(crate) as_engine: bool,
}

impl LayerNorm {
    /// Normalises each row of `x` into `out`.
    pub(crate) fn apply(&self, isa: Isa, x: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
        if let (true, Some(beta)) = (self.as_engine, &self.bias) {
            engine::layer_norm(isa, (&self.weight, beta, self.epsilon), x, out);
            return Ok(());
        }
        Ok(layer_norm(isa, &self.parameters(), x, self.rows(x), out, self.weight.len())?)
    }

    /// Normalises each row of `x` in its place.
    pub(crate) fn apply_in_place(&self, isa: Isa, x: &mut [f32]) -> Result<(), ModelError> {
        let rows = self.rows(x);
        Ok(layer_norm_in_place(isa, &self.parameters(), x, rows)?)
    }

    fn parameters(&self) -> kernform_norm::LayerNorm<'_> {
        kernform_norm::LayerNorm { gamma: &self.weight, beta: self.bias.as_deref(), epsilon: self.epsilon }
    }

    fn rows(&self, x: &[f32]) -> Rows {
        let width = self.weight.len();
        Rows::dense(x.len().checked_div(width).unwrap_or(0), width)
    }
}
