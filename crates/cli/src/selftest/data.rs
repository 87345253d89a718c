//! Inputs for the tests: the same on every machine, ordinary numbers and such as break kernels.

/// A sequence of pseudo-random numbers (SplitMix64, Steele et al. 2014).
pub(crate) struct Random(u64);

/// Values at the edges of the format and of the functions' ranges.
const HOSTILE: [f32; 16] = [
    0.0,
    -0.0,
    f32::from_bits(1),
    -f32::from_bits(1),
    f32::MIN_POSITIVE,
    f32::EPSILON,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    88.722_84,
    -87.336_55,
    -103.972_08,
    16_777_216.0,
    1e-20,
];

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// A number from -4 to 4.
    fn ordinary(&mut self) -> f32 {
        ((self.next() >> 40) as f32 / (1u64 << 24) as f32) * 8.0 - 4.0
    }

    /// Numbers from -4 to 4.
    pub(crate) fn ordinary_values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.ordinary()).collect()
    }

    /// Numbers from -4 to 4, larger and smaller ones, and one hostile value in eight.
    pub(crate) fn hostile_values(&mut self, len: usize) -> Vec<f32> {
        let value = |random: &mut Self| match random.below(16) {
            0 | 1 => HOSTILE[random.below(HOSTILE.len())],
            2 => random.ordinary() * 1e-3,
            3 | 4 => random.ordinary() * 25.0,
            _ => random.ordinary(),
        };
        (0..len).map(|_| value(self)).collect()
    }

    /// Ordinary or hostile numbers, as `hostile` says.
    pub(crate) fn values(&mut self, len: usize, hostile: bool) -> Vec<f32> {
        if hostile { self.hostile_values(len) } else { self.ordinary_values(len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_fixed() {
        // The first number of SplitMix64 from seed 0, as its authors' program gives it.
        assert_eq!(Random::new(0).next(), 0xE220_A839_7B1D_CDAF);
        assert!(Random::new(1).ordinary_values(1000).iter().all(|x| (-4.0..4.0).contains(x)));
        assert!(Random::new(1).hostile_values(1000).iter().any(|x| x.is_nan()));
    }
}
