//! The names and sizes of the block formats.

/// A GGUF block format: how so many values of a row become so many bytes.
///
/// A row of `k` values is `k / block_len` blocks, one after the other. The definition of each is that of the Python
/// package `gguf` (`gguf/quants.py`), which [`decode`](crate::decode) follows to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// 32 values of 4 bits, a scale.
    Q4_0,
    /// 32 values of 4 bits, a scale and a minimum.
    Q4_1,
    /// 32 values of 5 bits, a scale.
    Q5_0,
    /// 32 values of 5 bits, a scale and a minimum.
    Q5_1,
    /// 32 values of 8 bits, a scale.
    Q8_0,
    /// 256 values of 2 bits; each 16 have a scale and a minimum of 4 bits.
    Q2K,
    /// 256 values of 3 bits; each 16 have a scale of 6 bits.
    Q3K,
    /// 256 values of 4 bits; each 32 have a scale and a minimum of 6 bits.
    Q4K,
    /// 256 values of 5 bits; each 32 have a scale and a minimum of 6 bits.
    Q5K,
    /// 256 values of 6 bits; each 16 have a scale of 8 bits.
    Q6K,
    /// 256 values of 8 bits and a scale in `f32`, with sums of each 16: what activations become beside K formats.
    Q8K,
    /// 32 indices of 4 bits into a table of 16 values, a scale.
    Iq4Nl,
    /// 256 indices of 4 bits into a table of 16 values; each 32 have a scale of 6 bits.
    Iq4Xs,
}

/// The values of the non-linear 4-bit formats.
pub(crate) const IQ4_TABLE: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The most values in a block.
pub(crate) const MAX_BLOCK: usize = 256;

impl Format {
    /// Every format.
    pub const ALL: [Format; 13] = [
        Format::Q4_0,
        Format::Q4_1,
        Format::Q5_0,
        Format::Q5_1,
        Format::Q8_0,
        Format::Q2K,
        Format::Q3K,
        Format::Q4K,
        Format::Q5K,
        Format::Q6K,
        Format::Q8K,
        Format::Iq4Nl,
        Format::Iq4Xs,
    ];

    /// The name in GGUF tools, `"Q4_K"` for instance.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Format::Q4_0 => "Q4_0",
            Format::Q4_1 => "Q4_1",
            Format::Q5_0 => "Q5_0",
            Format::Q5_1 => "Q5_1",
            Format::Q8_0 => "Q8_0",
            Format::Q2K => "Q2_K",
            Format::Q3K => "Q3_K",
            Format::Q4K => "Q4_K",
            Format::Q5K => "Q5_K",
            Format::Q6K => "Q6_K",
            Format::Q8K => "Q8_K",
            Format::Iq4Nl => "IQ4_NL",
            Format::Iq4Xs => "IQ4_XS",
        }
    }

    /// The format of that name, upper or lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| name.eq_ignore_ascii_case(format.name()))
    }

    /// The number of the type in GGUF files.
    #[must_use]
    pub const fn gguf_type(self) -> u32 {
        match self {
            Format::Q4_0 => 2,
            Format::Q4_1 => 3,
            Format::Q5_0 => 6,
            Format::Q5_1 => 7,
            Format::Q8_0 => 8,
            Format::Q2K => 10,
            Format::Q3K => 11,
            Format::Q4K => 12,
            Format::Q5K => 13,
            Format::Q6K => 14,
            Format::Q8K => 15,
            Format::Iq4Nl => 20,
            Format::Iq4Xs => 23,
        }
    }

    /// The format of that number in GGUF files.
    #[must_use]
    pub fn from_gguf_type(number: u32) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.gguf_type() == number)
    }

    /// Values of a block: 32 or 256.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            Format::Q4_0 | Format::Q4_1 | Format::Q5_0 | Format::Q5_1 | Format::Q8_0 | Format::Iq4Nl => 32,
            _ => 256,
        }
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            Format::Q4_0 | Format::Iq4Nl => 18,
            Format::Q4_1 => 20,
            Format::Q5_0 => 22,
            Format::Q5_1 => 24,
            Format::Q8_0 => 34,
            Format::Q2K => 84,
            Format::Q3K => 110,
            Format::Q4K => 144,
            Format::Q5K => 176,
            Format::Q6K => 210,
            Format::Q8K => 292,
            Format::Iq4Xs => 136,
        }
    }

    /// Bytes of a row of `len` values, or `None` where that is no whole number of blocks or does not fit `usize`.
    #[must_use]
    pub const fn row_bytes(self, len: usize) -> Option<usize> {
        if !len.is_multiple_of(self.block_len()) {
            return None;
        }
        (len / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Whether [`encode`](crate::encode) offers the format.
    #[must_use]
    pub const fn can_encode(self) -> bool {
        !matches!(self, Format::Iq4Nl | Format::Iq4Xs)
    }

    /// The format that the rows of activations take in a product with weights of this one.
    #[must_use]
    pub const fn activation(self) -> ActivationFormat {
        if self.block_len() == 32 { ActivationFormat::Q8_0 } else { ActivationFormat::Q8K }
    }

    /// Parts of a block with scales of their own.
    pub(crate) const fn subs(self) -> usize {
        match self {
            Format::Q2K | Format::Q3K | Format::Q6K => 16,
            Format::Q4K | Format::Q5K | Format::Iq4Xs => 8,
            _ => 1,
        }
    }

    /// Whether blocks have a minimum beside the scale.
    pub(crate) const fn has_min(self) -> bool {
        matches!(self, Format::Q4_1 | Format::Q5_1 | Format::Q2K | Format::Q4K | Format::Q5K)
    }

    /// The integer that a stored code stands for.
    pub(crate) const fn value(self, code: u8) -> i32 {
        match self {
            Format::Iq4Nl | Format::Iq4Xs => IQ4_TABLE[(code & 15) as usize] as i32,
            Format::Q8_0 | Format::Q8K => code as i32 - 128,
            Format::Q4_0 => code as i32 - 8,
            Format::Q5_0 => code as i32 - 16,
            Format::Q3K => code as i32 - 4,
            Format::Q6K => code as i32 - 32,
            Format::Q4_1 | Format::Q5_1 | Format::Q2K | Format::Q4K | Format::Q5K => code as i32,
        }
    }
}

impl core::fmt::Display for Format {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// How activations are quantised for a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActivationFormat {
    /// One scale for each 32 values, beside weights in blocks of 32.
    Q8_0,
    /// One scale for each 256 values, beside weights in blocks of 256.
    Q8K,
}

impl ActivationFormat {
    /// Values of a block: 32 or 256.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            ActivationFormat::Q8_0 => 32,
            ActivationFormat::Q8K => 256,
        }
    }
}
