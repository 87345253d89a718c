//! What the kernels' fuzz targets share: numbers out of the fuzzer's bytes, and all levels held against each other.

use kernform_simd::{Class, Isa};
use libfuzzer_sys::arbitrary::{Result, Unstructured};

/// `len` floats: bit patterns of the input as they are, and where it ends small numbers that differ.
pub fn floats(input: &mut Unstructured<'_>, len: usize) -> Result<Vec<f32>> {
    (0..len)
        .map(|i| match input.len() {
            0..4 => Ok((i % 17) as f32 / 8.0 - 1.0),
            _ => Ok(f32::from_bits(input.arbitrary()?)),
        })
        .collect()
}

/// The extents of a product: small ones, of which now and then one or two reach beyond the blocks of the kernels, to the
/// `most` of each. Not all three: a run should take milliseconds.
pub fn extents(input: &mut Unstructured<'_>, most: [usize; 3]) -> Result<[usize; 3]> {
    let mut extents = [input.int_in_range(0..=40)?, input.int_in_range(0..=100)?, input.int_in_range(0..=40)?];
    if input.ratio(1, 4)? {
        let large = input.int_in_range(0..=2)?;
        extents[large] = input.int_in_range(0..=most[large])?;
        let other = (large + input.int_in_range(0..=2)?) % 3;
        if other != large {
            extents[other] = input.int_in_range(0..=most[other])?;
            extents[3 - large - other] %= 6;
        }
    }
    Ok(extents)
}

/// Runs `kernel` on every level of this CPU; levels of one class must give the same bits, NaN being NaN.
pub fn levels_agree(what: &str, mut kernel: impl FnMut(Isa) -> Vec<f32>) {
    let mut first: [Option<(Isa, Vec<f32>)>; 2] = [None, None];
    for isa in Isa::available() {
        let class = usize::from(isa.class() == Class::Fused);
        let found = kernel(isa);
        let Some((other, expected)) = &first[class] else {
            first[class] = Some((isa, found));
            continue;
        };
        assert_eq!(found.len(), expected.len());
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!(
                a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
                "{what}: element {i} is {a:e} on {isa} and {b:e} on {other}"
            );
        }
    }
}
