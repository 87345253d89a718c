//! What happens to the product on its way out.

use kernform_math::Activation;
use kernform_tensor::MatrixRef;

/// What is done beside the product: `c = activation(bias + A B) + residual`.
///
/// The bias begins the chain of multiply-adds of its column, so it costs nothing and rounds nothing; the activation is
/// that of `kernform-math`; the residual is added last, with one rounding.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One value for each column, from which its chain begins; 0 where there is none.
    pub bias: Option<&'a [f32]>,
    /// The function applied to each finished chain.
    pub activation: Activation,
    /// Added to the result of the activation; of the shape of C.
    pub residual: Option<MatrixRef<'a, f32>>,
}

impl<'a> Epilogue<'a> {
    /// The product alone.
    pub const NONE: Epilogue<'static> = Epilogue { bias: None, activation: Activation::Identity, residual: None };

    /// The product begun from a bias, if there is one.
    #[must_use]
    pub const fn bias(bias: Option<&'a [f32]>) -> Self {
        Epilogue { bias, activation: Activation::Identity, residual: None }
    }

    /// The same with an activation.
    #[must_use]
    pub const fn with_activation(self, activation: Activation) -> Self {
        Epilogue { activation, ..self }
    }

    /// The same with a residual.
    #[must_use]
    pub const fn with_residual(self, residual: MatrixRef<'a, f32>) -> Self {
        Epilogue { residual: Some(residual), ..self }
    }
}
