//! The activation functions by name.

/// An activation function, as an epilogue of a product or alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// `x`.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x * Phi(x)` with the normal distribution function: the exact GELU (Hendrycks and Gimpel 2016, section 2).
    GeluErf,
    /// The GELU with the tanh approximation of the distribution function (as above, section 2).
    GeluTanh,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
}
