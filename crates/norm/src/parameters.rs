//! What a normalization learnt.

/// The parameters of layer normalization (Ba, Kiros and Hinton 2016, section 3).
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// The factor of each column, `[width]`.
    pub gamma: &'a [f32],
    /// What is added to each column, `[width]`.
    pub beta: Option<&'a [f32]>,
    /// What is added to the variance.
    pub epsilon: f32,
}

/// The parameters of root mean square normalization (Zhang and Sennrich 2019, section 4).
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm<'a> {
    /// The factor of each column, `[width]`.
    pub weight: &'a [f32],
    /// What is added to each factor: 0, or 1 for models that store the factors less one.
    pub weight_offset: f32,
    /// What is added to the mean square.
    pub epsilon: f32,
}

/// Both in one form, as the kernel takes them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters<'a> {
    /// Whether the mean is subtracted.
    pub(crate) centered: bool,
    pub(crate) weight: &'a [f32],
    pub(crate) weight_offset: f32,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) epsilon: f32,
}

impl<'a> From<&LayerNorm<'a>> for Parameters<'a> {
    fn from(norm: &LayerNorm<'a>) -> Self {
        let LayerNorm { gamma, beta, epsilon } = *norm;
        Parameters { centered: true, weight: gamma, weight_offset: 0.0, bias: beta, epsilon }
    }
}

impl<'a> From<&RmsNorm<'a>> for Parameters<'a> {
    fn from(norm: &RmsNorm<'a>) -> Self {
        let RmsNorm { weight, weight_offset, epsilon } = *norm;
        Parameters { centered: false, weight, weight_offset, bias: None, epsilon }
    }
}
