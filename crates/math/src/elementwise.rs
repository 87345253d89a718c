//! The elementwise functions on slices.

use kernform_simd::{Isa, Kernel, Pair, Simd};

use crate::{Activation, ShapeError, vector};

/// A function of one vector.
trait Function: Copy {
    /// Whether it is so short that memory alone bounds it, and pairs of vectors gain nothing.
    const IS_SHORT: bool;

    fn apply<S: Simd>(self, s: S, x: S::F32) -> S::F32;
}

struct Map<'a, F>(F, &'a [f32], &'a mut [f32]);

impl<F: Function> Kernel for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Map(f, x, out) = self;
        if F::IS_SHORT || S::LANES == 1 {
            vector::map(s, x, out, |x| f.apply(s, x));
        } else if S::REGISTERS < MANY_REGISTERS {
            map_by(s, Pair(Pair(s)), f, x, out);
        } else {
            map_by(s, Pair(s), f, x, out);
        }
    }
}

/// Pairs of vectors give the core two chains of operations at once. A level with fewer registers than this keeps fewer
/// constants in them, and is faster still with two pairs at a time; a scalar level is left alone, for its code's size.
const MANY_REGISTERS: usize = 32;

/// `f` of each vector of the wider level `w`, then of the rest by the level `s`.
#[inline(always)]
fn map_by<S: Simd, W: Simd, F: Function>(s: S, w: W, f: F, x: &[f32], out: &mut [f32]) {
    let (mut xs, mut outs) = (x.chunks_exact(W::LANES), out.chunks_exact_mut(W::LANES));
    for (x, out) in (&mut xs).zip(&mut outs) {
        w.store(f.apply(w, w.load(x)), out);
    }
    for (x, out) in xs.remainder().chunks(S::LANES).zip(outs.into_remainder().chunks_mut(S::LANES)) {
        s.store_partial(f.apply(s, s.load_or(x, 0.0)), out);
    }
}

struct MapInPlace<'a, F>(F, &'a mut [f32]);

impl<F: Function> Kernel for MapInPlace<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let MapInPlace(f, x) = self;
        if F::IS_SHORT || S::LANES == 1 {
            vector::map_in_place(s, x, |x| f.apply(s, x));
        } else if S::REGISTERS < MANY_REGISTERS {
            map_in_place_by(s, Pair(Pair(s)), f, x);
        } else {
            map_in_place_by(s, Pair(s), f, x);
        }
    }
}

/// As [`map_by`], in place.
#[inline(always)]
fn map_in_place_by<S: Simd, W: Simd, F: Function>(s: S, w: W, f: F, x: &mut [f32]) {
    let mut wide = x.chunks_exact_mut(W::LANES);
    for x in &mut wide {
        w.store(f.apply(w, w.load(x)), x);
    }
    for x in wide.into_remainder().chunks_mut(S::LANES) {
        s.store_partial(f.apply(s, s.load_or(x, 0.0)), x);
    }
}

fn map<F: Function>(isa: Isa, f: F, x: &[f32], out: &mut [f32]) -> Result<(), ShapeError> {
    same_length("out", out.len(), x.len())?;
    isa.dispatch(Map(f, x, out));
    Ok(())
}

fn same_length(operand: &'static str, actual: usize, expected: usize) -> Result<(), ShapeError> {
    if actual == expected { Ok(()) } else { Err(ShapeError::Length { operand, expected, actual }) }
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident, $in_place:ident, $type:ident, $is_short:literal;)*) => {$(
        #[derive(Clone, Copy)]
        struct $type;

        impl Function for $type {
            const IS_SHORT: bool = $is_short;

            #[inline(always)]
            fn apply<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
                vector::$name(s, x)
            }
        }

        $(#[$doc])*
        ///
        /// # Errors
        /// [`ShapeError::Length`] where `out` is not as long as `x`.
        pub fn $name(isa: Isa, x: &[f32], out: &mut [f32]) -> Result<(), ShapeError> {
            map(isa, $type, x, out)
        }

        #[doc = concat!("[`", stringify!($name), "`] of each element, in place.")]
        pub fn $in_place(isa: Isa, x: &mut [f32]) {
            isa.dispatch(MapInPlace($type, x));
        }
    )*};
}

functions! {
    /// `e^x` of each element; the error is below 1 ULP, see [`vector::exp`].
    exp, exp_in_place, Exp, false;
    /// The natural logarithm of each element, see [`vector::log`].
    log, log_in_place, Log, false;
    /// The hyperbolic tangent of each element, see [`vector::tanh`].
    tanh, tanh_in_place, Tanh, false;
    /// The error function of each element, see [`vector::erf`].
    erf, erf_in_place, Erf, false;
    /// `1 / (1 + e^-x)` of each element, see [`vector::sigmoid`].
    sigmoid, sigmoid_in_place, Sigmoid, false;
    /// The GELU with the normal distribution function of each element, see [`vector::gelu_erf`].
    gelu_erf, gelu_erf_in_place, GeluErf, false;
    /// The GELU with the tanh approximation of each element, see [`vector::gelu_tanh`].
    gelu_tanh, gelu_tanh_in_place, GeluTanh, false;
    /// `x * sigmoid(x)` of each element, see [`vector::silu`].
    silu, silu_in_place, Silu, false;
    /// `max(x, 0)` of each element, see [`vector::relu`].
    relu, relu_in_place, Relu, true;
}

/// `activation` of each element.
///
/// # Errors
/// [`ShapeError::Length`] where `out` is not as long as `x`.
pub fn activate(isa: Isa, activation: Activation, x: &[f32], out: &mut [f32]) -> Result<(), ShapeError> {
    match activation {
        Activation::Identity => {
            same_length("out", out.len(), x.len())?;
            out.copy_from_slice(x);
            Ok(())
        }
        Activation::Relu => relu(isa, x, out),
        Activation::GeluErf => gelu_erf(isa, x, out),
        Activation::GeluTanh => gelu_tanh(isa, x, out),
        Activation::Silu => silu(isa, x, out),
    }
}

/// `activation` of each element, in place.
pub fn activate_in_place(isa: Isa, activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => relu_in_place(isa, x),
        Activation::GeluErf => gelu_erf_in_place(isa, x),
        Activation::GeluTanh => gelu_tanh_in_place(isa, x),
        Activation::Silu => silu_in_place(isa, x),
    }
}

struct ScaleAdd<'a>(f32, &'a [f32], &'a mut [f32]);

impl Kernel for ScaleAdd<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ScaleAdd(scale, x, y) = self;
        let scale = s.splat(scale);
        let mut vectors = x.chunks_exact(S::LANES);
        let mut out = y.chunks_exact_mut(S::LANES);
        for (x, y) in (&mut vectors).zip(&mut out) {
            s.store(s.mul_add(scale, s.load(x), s.load(y)), y);
        }
        let (x, y) = (vectors.remainder(), out.into_remainder());
        s.store_partial(s.mul_add(scale, s.load_or(x, 0.0), s.load_or(y, 0.0)), y);
    }
}

/// `y = scale * x + y`, one multiply-add an element.
///
/// # Errors
/// [`ShapeError::Length`] where `y` is not as long as `x`.
pub fn scale_add(isa: Isa, scale: f32, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
    same_length("y", y.len(), x.len())?;
    isa.dispatch(ScaleAdd(scale, x, y));
    Ok(())
}

/// `y = x + y`, exact but for the one rounding: the residual connection.
///
/// # Errors
/// [`ShapeError::Length`] where `y` is not as long as `x`.
pub fn add(isa: Isa, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
    // A product with one is exact, so that this is the sum in both classes.
    scale_add(isa, 1.0, x, y)
}
