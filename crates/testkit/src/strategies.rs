//! `proptest` strategies for the values and shapes where kernels break.

use proptest::prelude::*;

/// Any `f32` with the weight on what breaks kernels: zeros of both signs, denormals, extremes, infinities, NaN, and
/// ordinary values.
pub fn hostile_f32() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![
        8 => -4.0f32..4.0,
        2 => any::<f32>(),
        1 => prop::sample::select(vec![
            0.0,
            -0.0,
            1.0,
            -1.0,
            f32::from_bits(1),
            -f32::from_bits(1),
            f32::MIN_POSITIVE,
            f32::MIN_POSITIVE / 2.0,
            f32::MAX,
            f32::MIN,
            f32::EPSILON,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            88.722_84,
            -87.336_55,
            -103.972_08,
            16_777_216.0,
        ]),
    ]
}

/// Finite values of moderate size, as activations and weights have: bounds are meaningful on them.
pub fn ordinary_f32() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![16 => -4.0f32..4.0, 2 => -1e-3f32..1e-3, 1 => -1e3f32..1e3, 1 => Just(0.0f32)]
}

/// Lengths around every multiple of `tile` up to `3 * tile`, and small ones; at least `least`.
pub fn length_around(tile: usize, least: usize) -> impl Strategy<Value = usize> {
    prop_oneof![0usize..=tile + 1, (1usize..=3, 0usize..=2).prop_map(move |(n, d)| (n * tile + d).saturating_sub(1))]
        .prop_map(move |n| n.max(least))
}

/// Extents around the edges of a kernel's blocks: at most two off the first, second or third multiple of one of `edges`.
///
/// Bugs at such an edge need one or two extents there and none in the others, which stay small so that a case is quick.
pub fn extent_near(edges: &'static [usize]) -> impl Strategy<Value = usize> + Clone {
    (prop::sample::select(edges), 1usize..=3, 0usize..=4)
        .prop_map(|(edge, times, off)| (edge * times + off).saturating_sub(2))
}

/// Numbers of threads: few, and as many as products are cut into parts and more.
pub fn threads() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![2 => Just(1usize), 3 => 2usize..=5, 1 => prop::sample::select(vec![64usize, 65, 1000])]
}

/// A vector of values with a length around the edges of `tile`.
pub fn vector_around(tile: usize, value: impl Strategy<Value = f32> + Clone) -> impl Strategy<Value = Vec<f32>> {
    length_around(tile, 0).prop_flat_map(move |n| prop::collection::vec(value.clone(), n))
}
