//! The cases of `make_cases.py`, and weights of random bytes.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of this module")]

use kernform_quant::Format;

/// What the two sides of a case are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Decoded,
    Encoded,
    Searched,
}

/// Blocks and floats.
#[derive(Debug)]
pub struct Case {
    pub kind: Kind,
    pub format: Format,
    pub bytes: Vec<u8>,
    pub floats: Vec<f32>,
}

pub fn cases(kind: Kind) -> Vec<Case> {
    let mut rest: &[u8] = include_bytes!("../cases.bin");
    let mut take = |len: usize| {
        let (taken, left) = rest.split_at(len.min(rest.len()));
        rest = left;
        taken
    };
    let mut found = Vec::new();
    while let &[of, number] = take(2) {
        let mut len = || u32::from_le_bytes(take(4).try_into().unwrap()) as usize;
        let (bytes, floats) = (len(), len());
        let bytes = take(bytes).to_vec();
        let floats = take(4 * floats).chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect();
        let of = [Kind::Decoded, Kind::Encoded, Kind::Searched][usize::from(of)];
        let format = Format::from_gguf_type(number.into()).unwrap();
        if of == kind {
            found.push(Case { kind, format, bytes, floats });
        }
    }
    found
}

/// Random numbers that need no strategy each.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }
    /// Within -1 to 1.
    pub fn float(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Where the half-precision numbers of a block are.
pub fn halves(format: Format) -> &'static [usize] {
    match format {
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 | Format::Iq4Nl | Format::Iq4Xs => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => &[0, 2],
        Format::Q2K => &[80, 82],
        Format::Q3K => &[108],
        Format::Q6K => &[208],
        _ => &[],
    }
}

/// Blocks of random bytes with scales of moderate size, or with any scale.
pub fn random_blocks(format: Format, count: usize, random: &mut Random, any_scale: bool) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..count * format.block_bytes()).map(|_| random.bits() as u8).collect();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        if any_scale && random.bits().is_multiple_of(3) {
            continue;
        }
        for at in halves(format) {
            // Between 2^-8 and 2^-4, of either sign.
            let half = (random.bits() & 0x83ff) as u16 | (7 + (random.bits() % 4) as u16) << 10;
            block[*at..at + 2].copy_from_slice(&half.to_le_bytes());
        }
        if format == Format::Q8K {
            block[..4].copy_from_slice(&(random.float() / 64.0).to_le_bytes());
        }
    }
    bytes
}
