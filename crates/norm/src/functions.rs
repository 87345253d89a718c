//! The checked functions on slices.

use kernform_math::{Rows, ShapeError};
use kernform_simd::Isa;

use crate::kernel::{Normalize, Source};
use crate::parameters::Parameters;
use crate::{LayerNorm, RmsNorm};

fn check_parameters(p: &Parameters<'_>, width: usize, names: [&'static str; 2]) -> Result<(), ShapeError> {
    let check = |operand, actual| {
        if actual == width { Ok(()) } else { Err(ShapeError::Length { operand, expected: width, actual }) }
    };
    check(names[0], p.weight.len())?;
    p.bias.map_or(Ok(()), |bias| check(names[1], bias.len()))
}

fn run(isa: Isa, normalize: Normalize<'_>) -> Result<(), ShapeError> {
    let Normalize { parameters, x, rows, residual, out } = &normalize;
    let rows = *rows;
    let names = if parameters.centered { ["gamma", "beta"] } else { ["weight", "bias"] };
    check_parameters(parameters, rows.width, names)?;
    let len = match x {
        Source::Shared(x) => x.len(),
        Source::Exclusive(x) => x.len(),
    };
    rows.check("x", len)?;
    if let Some((residual, stride)) = residual {
        Rows { stride: *stride, ..rows }.check("residual", residual.len())?;
    }
    if let Some((out, stride)) = out {
        Rows { stride: *stride, ..rows }.check("out", out.len())?;
    }
    if rows.width > 0 {
        isa.dispatch(normalize);
    }
    Ok(())
}

macro_rules! functions {
    ($norm:ident, $(#[$doc:meta])* $plain:ident, $in_place:ident, $add:ident, $add_in_place:ident) => {
        $(#[$doc])*
        ///
        /// Reads `rows` of `x` and writes as many of `out`, `out_stride` elements apart. Elements between the rows are
        /// not touched; a row does not influence another.
        ///
        /// # Errors
        /// [`ShapeError`] where a parameter is not as long as a row is wide, rows overlap, or reach beyond an operand.
        pub fn $plain(
            isa: Isa,
            norm: &$norm<'_>,
            x: &[f32],
            rows: Rows,
            out: &mut [f32],
            out_stride: usize,
        ) -> Result<(), ShapeError> {
            let (x, out) = (Source::Shared(x), Some((out, out_stride)));
            run(isa, Normalize { parameters: norm.into(), x, rows, residual: None, out })
        }

        #[doc = concat!("[`", stringify!($plain), "`] in place.")]
        ///
        /// # Errors
        #[doc = concat!("As [`", stringify!($plain), "`].")]
        pub fn $in_place(isa: Isa, norm: &$norm<'_>, x: &mut [f32], rows: Rows) -> Result<(), ShapeError> {
            run(isa, Normalize { parameters: norm.into(), x: Source::Exclusive(x), rows, residual: None, out: None })
        }

        #[doc = concat!("`x = x + residual`, then [`", stringify!($plain), "`] of `x` to `out`: pre-norm blocks.")]
        ///
        /// Rows of `residual` are `residual_stride` elements apart, those of `out` `out_stride`.
        ///
        /// # Errors
        #[doc = concat!("As [`", stringify!($plain), "`].")]
        pub fn $add(
            isa: Isa,
            norm: &$norm<'_>,
            x: &mut [f32],
            rows: Rows,
            residual: &[f32],
            residual_stride: usize,
            out: &mut [f32],
            out_stride: usize,
        ) -> Result<(), ShapeError> {
            let (x, residual, out) = (Source::Exclusive(x), Some((residual, residual_stride)), Some((out, out_stride)));
            run(isa, Normalize { parameters: norm.into(), x, rows, residual, out })
        }

        #[doc = concat!("[`", stringify!($plain), "`] of `x + residual`, in the place of `x`: post-norm blocks.")]
        ///
        /// Rows of `residual` are `residual_stride` elements apart.
        ///
        /// # Errors
        #[doc = concat!("As [`", stringify!($plain), "`].")]
        pub fn $add_in_place(
            isa: Isa,
            norm: &$norm<'_>,
            x: &mut [f32],
            rows: Rows,
            residual: &[f32],
            residual_stride: usize,
        ) -> Result<(), ShapeError> {
            let (x, residual) = (Source::Exclusive(x), Some((residual, residual_stride)));
            run(isa, Normalize { parameters: norm.into(), x, rows, residual, out: None })
        }
    };
}

functions! {
    LayerNorm,
    /// Layer normalization of each row: `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, where the variance is the
    /// mean of the squared deviations, taken in a second pass.
    ///
    /// With `u = 2^-24`, `k = width / 64 + 10`, `y` the normalized element and `e` the product of `k u` and the largest
    /// magnitude in the row over the root of variance plus epsilon, an element is off by at most
    /// `|gamma| (e + |y| (2 e + k u)) + 2 u (|gamma y| + |beta|)`: a mean far from 0 costs accuracy, as in any two-pass
    /// form. A constant row gives `beta` up to the rounding of its mean (NaN where epsilon
    /// is 0). Where the sum overflows, or the row holds NaN or
    /// infinity, all of the row is NaN; where only the squares overflow, it is `beta`, or 0 without one.
    layer_norm, layer_norm_in_place, add_layer_norm, add_layer_norm_in_place
}

functions! {
    RmsNorm,
    /// Root mean square normalization of each row: `x / sqrt(mean(x^2) + epsilon) * (weight + weight_offset)`.
    ///
    /// An element is off by at most `width / 128 + 10` units roundoff (`2^-24`) of its magnitude. Where the squares
    /// overflow, finite elements become 0; a row that holds NaN is NaN, infinite elements become NaN.
    rms_norm, rms_norm_in_place, add_rms_norm, add_rms_norm_in_place
}
