//! Inputs from a generator that is the same everywhere, and digests of results.

use alloc::vec::Vec;

/// SplitMix64 (Steele et al. 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Numbers from -4 to 4.
    pub(crate) fn ordinary(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| ((self.next() >> 40) as f32 / (1u64 << 24) as f32) * 8.0 - 4.0).collect()
    }

    /// Ordinary numbers, and every fifth at the edges of the format.
    pub(crate) fn hostile(&mut self, len: usize) -> Vec<f32> {
        const EDGES: [f32; 8] =
            [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-45, -0.0, -103.972_08];
        let mut values = self.ordinary(len);
        for value in values.iter_mut().skip(3).step_by(5) {
            *value = EDGES[(self.next() % 8) as usize];
        }
        values
    }

    /// Bytes of all values.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<i8> {
        (0..len).map(|_| (self.next() >> 56) as i8).collect()
    }
}

/// FNV-1a of the bits of all values (Fowler, Noll and Vo 1991); every NaN counts as the same, as the contract says.
pub(crate) fn digest(values: &[f32]) -> u64 {
    let bits = |x: &f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
    digest_of(values.iter().map(bits))
}

/// The same of integers.
pub(crate) fn digest_of(values: impl Iterator<Item = u32>) -> u64 {
    values
        .flat_map(u32::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
