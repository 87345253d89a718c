//! Two vectors as one.

use crate::{Kernel, Level, REDUCTION_LANES, Simd};

/// Two vectors of a level as one of twice the length: each operation is done on both, one after the other.
///
/// A function of one vector is a chain in which every step waits for the one before. Kernels that call it on pairs give
/// the core two chains, interleaved, and so twice the work that it can look ahead to. The bits are those of the level.
#[derive(Clone, Copy, Debug)]
pub struct Pair<S>(pub S);

/// The virtual lanes of a [`Pair`]: those of the level, by twos.
#[derive(Clone, Copy)]
pub struct PairLanes<S: Simd>(S::Lanes);

impl<S: Simd> AsRef<[[S::F32; 2]]> for PairLanes<S> {
    #[inline(always)]
    fn as_ref(&self) -> &[[S::F32; 2]] {
        self.0.as_ref().as_chunks().0
    }
}

impl<S: Simd> AsMut<[[S::F32; 2]]> for PairLanes<S> {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut [[S::F32; 2]] {
        self.0.as_mut().as_chunks_mut().0
    }
}

/// Implements operations by doing each on both vectors.
macro_rules! both {
    ($($name:ident($($arg:ident: $type:ident),*) -> $result:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Self::$type),*) -> Self::$result {
            [self.0.$name($($arg[0]),*), self.0.$name($($arg[1]),*)]
        }
    )*};
}

impl<S: Simd> Simd for Pair<S> {
    type F32 = [S::F32; 2];
    type I32 = [S::I32; 2];
    type Mask = [S::Mask; 2];
    type Lanes = PairLanes<S>;
    type Class = S::Class;

    const LANES: usize = {
        assert!(2 * S::LANES <= REDUCTION_LANES, "a pair must fit the virtual lanes");
        2 * S::LANES
    };
    const REGISTERS: usize = S::REGISTERS / 2;
    const LEVEL: Level = S::LEVEL;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        struct Paired<K>(K);
        impl<K: Kernel> Kernel for Paired<K> {
            type Output = K::Output;
            #[inline(always)]
            fn run<S: Simd>(self, s: S) -> K::Output {
                self.0.run(Pair(s))
            }
        }
        self.0.vectorize(Paired(kernel))
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        [self.0.splat(value); 2]
    }
    #[inline(always)]
    fn splat_i32(self, value: i32) -> Self::I32 {
        [self.0.splat_i32(value); 2]
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::F32 {
        let (low, high) = from[..Self::LANES].split_at(S::LANES);
        [self.0.load(low), self.0.load(high)]
    }
    #[inline(always)]
    fn store(self, vector: Self::F32, to: &mut [f32]) {
        let (low, high) = to[..Self::LANES].split_at_mut(S::LANES);
        self.0.store(vector[0], low);
        self.0.store(vector[1], high);
    }
    #[inline(always)]
    fn load_or(self, from: &[f32], fill: f32) -> Self::F32 {
        let (low, high) = from.split_at(from.len().min(S::LANES));
        [self.0.load_or(low, fill), self.0.load_or(high, fill)]
    }
    #[inline(always)]
    fn store_partial(self, vector: Self::F32, to: &mut [f32]) {
        let (low, high) = to.split_at_mut(to.len().min(S::LANES));
        self.0.store_partial(vector[0], low);
        self.0.store_partial(vector[1], high);
    }
    #[inline(always)]
    unsafe fn load_ptr(self, from: *const f32) -> Self::F32 {
        // SAFETY: readable for both vectors by the caller's word.
        unsafe { [self.0.load_ptr(from), self.0.load_ptr(from.add(S::LANES))] }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, vector: Self::F32, to: *mut f32) {
        // SAFETY: writable for both vectors by the caller's word.
        unsafe {
            self.0.store_ptr(vector[0], to);
            self.0.store_ptr(vector[1], to.add(S::LANES));
        }
    }

    both! {
        add(a: F32, b: F32) -> F32;
        sub(a: F32, b: F32) -> F32;
        mul(a: F32, b: F32) -> F32;
        div(a: F32, b: F32) -> F32;
        sqrt(a: F32) -> F32;
        mul_add(a: F32, b: F32, c: F32) -> F32;
        abs(a: F32) -> F32;
        neg(a: F32) -> F32;
        max(a: F32, b: F32) -> F32;
        min(a: F32, b: F32) -> F32;
        copysign(a: F32, b: F32) -> F32;
        lt(a: F32, b: F32) -> Mask;
        le(a: F32, b: F32) -> Mask;
        eq(a: F32, b: F32) -> Mask;
        mask_and(a: Mask, b: Mask) -> Mask;
        mask_or(a: Mask, b: Mask) -> Mask;
        mask_not(mask: Mask) -> Mask;
        select(mask: Mask, yes: F32, no: F32) -> F32;
        bits(a: F32) -> I32;
        float_of_bits(a: I32) -> F32;
        add_i32(a: I32, b: I32) -> I32;
        sub_i32(a: I32, b: I32) -> I32;
        float_of_i32(a: I32) -> F32;
    }

    #[inline(always)]
    unsafe fn load_f16_ptr(self, from: *const u16) -> Self::F32 {
        // SAFETY: readable for both vectors by the caller's word.
        unsafe { [self.0.load_f16_ptr(from), self.0.load_f16_ptr(from.add(S::LANES))] }
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr(self, from: *const u16) -> Self::F32 {
        // SAFETY: readable for both vectors by the caller's word.
        unsafe { [self.0.load_bf16_ptr(from), self.0.load_bf16_ptr(from.add(S::LANES))] }
    }
    #[inline(always)]
    fn store_low_bytes(self, a: Self::I32, to: &mut [i8]) {
        let (low, high) = to[..Self::LANES].split_at_mut(S::LANES);
        self.0.store_low_bytes(a[0], low);
        self.0.store_low_bytes(a[1], high);
    }
    #[inline(always)]
    fn any(self, mask: Self::Mask) -> bool {
        self.0.any(mask[0]) | self.0.any(mask[1])
    }
    #[inline(always)]
    fn shl_i32<const BITS: i32>(self, a: Self::I32) -> Self::I32 {
        [self.0.shl_i32::<BITS>(a[0]), self.0.shl_i32::<BITS>(a[1])]
    }
    #[inline(always)]
    fn shr_i32<const BITS: i32>(self, a: Self::I32) -> Self::I32 {
        [self.0.shr_i32::<BITS>(a[0]), self.0.shr_i32::<BITS>(a[1])]
    }
    #[inline(always)]
    fn lanes(self, value: f32) -> Self::Lanes {
        PairLanes(self.0.lanes(value))
    }
    #[inline(always)]
    fn fold_vector(self, a: Self::F32, op: impl Fn(Self::F32, Self::F32) -> Self::F32) -> f32 {
        // The upper half comes to the lower one; from there on both hold the same.
        let both = op(a, [a[1], a[0]]);
        self.0.fold_vector(both[0], |a, b| op([a; 2], [b; 2])[0])
    }
}
