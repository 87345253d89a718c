//! Equality to the bit.

/// Whether two floats are the same: equal bits, or NaN both (payload and sign of a NaN are outside the contract).
pub fn same_bits(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// The first index at which two slices differ, with both values.
pub fn first_difference(actual: &[f32], expected: &[f32]) -> Option<(usize, f32, f32)> {
    actual.iter().zip(expected).enumerate().find(|(_, (a, e))| !same_bits(**a, **e)).map(|(i, (a, e))| (i, *a, *e))
}

/// Panics at the first difference, naming `what`, the place, the values and their bits.
#[track_caller]
pub fn assert_same_bits(what: &str, actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "{what}: lengths differ");
    if let Some((i, a, e)) = first_difference(actual, expected) {
        panic!("{what}: element {i} is {a:e} ({:#010x}), expected {e:e} ({:#010x})", a.to_bits(), e.to_bits());
    }
}
