//! A number that tells files apart: not against malice, only against mistakes.

/// Mixes words of eight bytes in four lanes, and the length.
pub(crate) struct Fingerprint {
    lanes: [u64; 4],
    len: u64,
}

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Fingerprint {
    pub(crate) const fn new() -> Self {
        Self { lanes: [1, 2, 3, 4], len: 0 }
    }

    /// Takes in a piece of data; where pieces are cut matters.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let mix = |lane: u64, word: u64| (lane ^ word).wrapping_mul(ODD).rotate_left(29);
        let mut blocks = bytes.chunks_exact(32);
        for block in blocks.by_ref() {
            for (lane, word) in self.lanes.iter_mut().zip(block.as_chunks::<8>().0) {
                *lane = mix(*lane, u64::from_le_bytes(*word));
            }
        }
        for byte in blocks.remainder() {
            self.lanes[0] = mix(self.lanes[0], u64::from(*byte));
        }
        self.len = self.len.wrapping_add(bytes.len() as u64);
        self.lanes[1] = mix(self.lanes[1], self.len);
    }

    /// Sixteen hexadecimal digits.
    pub(crate) fn text(&self) -> String {
        let mix = |sum: u64, lane: &u64| (sum ^ lane).wrapping_mul(ODD).rotate_left(31);
        let mut sum = self.lanes.iter().fold(self.len, mix);
        sum ^= sum >> 32;
        format!("{:016x}", sum.wrapping_mul(ODD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[u8]]) -> String {
        let mut fingerprint = Fingerprint::new();
        parts.iter().for_each(|part| fingerprint.add(part));
        fingerprint.text()
    }

    #[test]
    fn every_byte_and_every_cut_counts() {
        let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let expected = of(&[&text]);
        assert_eq!(of(&[&text]), expected);
        for place in 0..text.len() {
            let mut other = text.clone();
            other[place] ^= 1;
            assert_ne!(of(&[&other]), expected, "{place}");
        }
        assert_ne!(of(&[&text[..500], &text[500..]]), expected);
        assert_ne!(of(&[b""]), of(&[]));
        assert_ne!(of(&[&[0; 31]]), of(&[&[0; 32]]));
    }
}
