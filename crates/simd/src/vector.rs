//! The vector operations that a level offers, and the form of a kernel.

use crate::{Arithmetic, Level};

/// The number of virtual lanes of every reduction in the contract.
///
/// A sum, maximum or norm over `x` keeps 64 partial results, element `i` going to lane `i % 64`, tails filled with the
/// identity; then lanes are folded by halves (`lane[i] = lane[i] op lane[i + 32]`, then 16, 8, 4, 2, 1). 64 is eight AVX2
/// registers, enough to hide the latency of the additions, four of AVX-512 and sixteen of NEON.
pub const REDUCTION_LANES: usize = 64;

/// The most lanes that a level has.
const MAX_LANES: usize = 16;

/// A computation written once and compiled for every level.
///
/// `run` must be `#[inline(always)]`, and so must every function between it and the vector operations: code that is not
/// inlined into [`Simd::vectorize`] is compiled without the level's instructions (it stays right, but slow).
pub trait Kernel {
    /// What the kernel returns.
    type Output;

    /// The computation.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The operations of one level. A value of the type is the proof that the level can run.
///
/// Operations live on the token and not on the vectors. Each has one result, the same on every level: IEEE 754 single
/// precision, round to nearest even, denormals kept; only [`Simd::mul_add`] depends on the class. Lanes of `Mask` are
/// all true or all false.
pub trait Simd: Copy + Send + Sync + core::fmt::Debug + 'static {
    /// A vector of [`Simd::LANES`] `f32`.
    type F32: Copy + Send + Sync + core::fmt::Debug;
    /// A vector of [`Simd::LANES`] `i32`.
    type I32: Copy + Send + Sync + core::fmt::Debug;
    /// A truth value a lane.
    type Mask: Copy + Send + Sync + core::fmt::Debug;
    /// [`REDUCTION_LANES`] virtual lanes as an array of vectors.
    type Lanes: Copy + AsRef<[Self::F32]> + AsMut<[Self::F32]>;
    /// The class of [`Simd::mul_add`].
    type Class: Arithmetic;

    /// The number of lanes; a power of two that divides [`REDUCTION_LANES`].
    const LANES: usize;
    /// The number of vector registers that the level offers, which a register-blocked kernel plans with.
    const REGISTERS: usize;
    /// The level's name.
    const LEVEL: Level;

    /// Runs `kernel` in a function that is compiled with the level's instructions.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;

    /// All lanes `value`.
    fn splat(self, value: f32) -> Self::F32;

    /// The first [`Simd::LANES`] elements. Panics where there are fewer: callers cut their slices.
    fn load(self, from: &[f32]) -> Self::F32;

    /// Writes the first [`Simd::LANES`] elements. Panics where there are fewer: callers cut their slices.
    fn store(self, vector: Self::F32, to: &mut [f32]);

    /// The first elements of `from`, at most [`Simd::LANES`], and `fill` in the lanes for which there is none.
    fn load_or(self, from: &[f32], fill: f32) -> Self::F32;

    /// Writes the first lanes, as many as `to` has elements, at most [`Simd::LANES`].
    fn store_partial(self, vector: Self::F32, to: &mut [f32]);

    /// [`Simd::load`] without a check.
    ///
    /// # Safety
    /// `from` must be readable for [`Simd::LANES`] elements; it needs no alignment beyond that of `f32`.
    unsafe fn load_ptr(self, from: *const f32) -> Self::F32;

    /// [`Simd::store`] without a check.
    ///
    /// # Safety
    /// `to` must be writable for [`Simd::LANES`] elements; it needs no alignment beyond that of `f32`.
    unsafe fn store_ptr(self, vector: Self::F32, to: *mut f32);

    /// [`Simd::load_f16`] without a check.
    ///
    /// # Safety
    /// `from` must be readable for [`Simd::LANES`] elements; it needs no alignment beyond that of `u16`.
    unsafe fn load_f16_ptr(self, from: *const u16) -> Self::F32;

    /// [`Simd::load_bf16`] without a check.
    ///
    /// # Safety
    /// `from` must be readable for [`Simd::LANES`] elements; it needs no alignment beyond that of `u16`.
    unsafe fn load_bf16_ptr(self, from: *const u16) -> Self::F32;

    /// The first [`Simd::LANES`] elements, the bits of binary16 numbers, widened: exact, denormals too. Panics where
    /// there are fewer: callers cut their slices.
    #[inline(always)]
    fn load_f16(self, from: &[u16]) -> Self::F32 {
        let from = &from[..Self::LANES];
        // SAFETY: as many elements by the line above.
        unsafe { self.load_f16_ptr(from.as_ptr()) }
    }

    /// The first [`Simd::LANES`] elements, the bits of bfloat16 numbers, widened: exact, denormals too. Panics where
    /// there are fewer: callers cut their slices.
    #[inline(always)]
    fn load_bf16(self, from: &[u16]) -> Self::F32 {
        let from = &from[..Self::LANES];
        // SAFETY: as many elements by the line above.
        unsafe { self.load_bf16_ptr(from.as_ptr()) }
    }

    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`, correctly rounded.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The square root, correctly rounded; NaN for negative numbers, -0 for -0.
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// `a * b + c` in the class's rounding.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `a` without its sign.
    fn abs(self, a: Self::F32) -> Self::F32;
    /// `a` with the other sign (NaN and zeros too).
    fn neg(self, a: Self::F32) -> Self::F32;
    /// `if a > b { a } else { b }`: so `b` where either is NaN, and `b` for two zeros.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a < b { a } else { b }`: so `b` where either is NaN, and `b` for two zeros.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The magnitude of `a` with the sign of `b`.
    fn copysign(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `a < b`; false where either is NaN.
    fn lt(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a <= b`; false where either is NaN.
    fn le(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a == b`; false where either is NaN.
    fn eq(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// Both.
    fn mask_and(self, a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// Either.
    fn mask_or(self, a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// The opposite.
    fn mask_not(self, mask: Self::Mask) -> Self::Mask;
    /// Whether any lane is true.
    fn any(self, mask: Self::Mask) -> bool;
    /// `yes` in the lanes where `mask` is true, `no` in the others.
    fn select(self, mask: Self::Mask, yes: Self::F32, no: Self::F32) -> Self::F32;

    /// The bits as integers.
    fn bits(self, a: Self::F32) -> Self::I32;
    /// The floats of these bits.
    fn float_of_bits(self, a: Self::I32) -> Self::F32;
    /// All lanes `value`.
    fn splat_i32(self, value: i32) -> Self::I32;
    /// `a + b`, wrapping.
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a - b`, wrapping.
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Shift to the left by `BITS` (0 to 31).
    fn shl_i32<const BITS: i32>(self, a: Self::I32) -> Self::I32;
    /// Arithmetic shift to the right by `BITS` (0 to 31).
    fn shr_i32<const BITS: i32>(self, a: Self::I32) -> Self::I32;

    /// The integers as floats, rounded to nearest even.
    fn float_of_i32(self, a: Self::I32) -> Self::F32;
    /// Writes the low byte of each lane. Panics where `to` has fewer than [`Simd::LANES`]: callers cut their slices.
    fn store_low_bytes(self, a: Self::I32, to: &mut [i8]);

    /// Virtual lanes that all hold `value`.
    fn lanes(self, value: f32) -> Self::Lanes;

    /// `op(a, shifted)` where lane `i` of `shifted` is lane `i + LANES / 2` of `a`, then by quarters and so on to lane 0.
    fn fold_vector(self, a: Self::F32, op: impl Fn(Self::F32, Self::F32) -> Self::F32) -> f32;

    /// Lane `i` of vector `j` and lane `j` of vector `i` change places, for [`Simd::LANES`] vectors. Panics where there are
    /// fewer: callers cut their slices.
    #[inline(always)]
    fn transpose(self, vectors: &mut [Self::F32]) {
        let mut rows = [0.0; MAX_LANES * MAX_LANES];
        for (row, vector) in rows.chunks_exact_mut(Self::LANES).zip(&*vectors) {
            self.store(*vector, row);
        }
        for (j, vector) in vectors[..Self::LANES].iter_mut().enumerate() {
            let mut column = [0.0; MAX_LANES];
            for (element, row) in column.iter_mut().zip(rows.chunks_exact(Self::LANES)).take(Self::LANES) {
                *element = row[j];
            }
            *vector = self.load(&column);
        }
    }

    /// Folds virtual lanes by halves with `op`: the fixed tree of the contract.
    #[inline(always)]
    fn fold(self, mut lanes: Self::Lanes, op: impl Fn(Self::F32, Self::F32) -> Self::F32) -> f32 {
        let lanes = lanes.as_mut();
        let mut half = lanes.len() / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] = op(lanes[i], lanes[i + half]);
            }
            half /= 2;
        }
        self.fold_vector(lanes[0], op)
    }

    /// NaN or not.
    #[inline(always)]
    fn is_nan(self, a: Self::F32) -> Self::Mask {
        self.mask_not(self.eq(a, a))
    }
}
