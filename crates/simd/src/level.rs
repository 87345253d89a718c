//! The names of the levels, independent of the machine.

use crate::Class;

/// An instruction-set level that the kernels are written for.
///
/// All levels exist on all targets as names; [`crate::Isa::new`] says which of them this CPU can run. They are ordered:
/// a later level is preferred over an earlier one where both can run.
///
/// Some levels add integer instructions to another one ([`Level::base`]): kernels in floats run there as on that one,
/// and integer kernels look at [`crate::Isa::level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Level {
    /// Scalar code in the unfused class: the bits of [`Level::Portable`] on SSE2 and of [`Level::Simd128`], anywhere.
    ScalarUnfused = 1,
    /// Scalar code in the fused class: the bits of every fused level, anywhere. Without FMA hardware it is emulated and slow.
    Scalar = 2,
    /// 128-bit vectors of the `wide` crate, compiled for the target's baseline; its class is the baseline's.
    Portable = 3,
    /// WebAssembly SIMD, unfused. Exists where the module is compiled with `+simd128`.
    Simd128 = 4,
    /// AArch64 Advanced SIMD, fused.
    Neon = 5,
    /// [`Level::Neon`] with the dot product of bytes (FEAT_DotProd: SDOT, UDOT).
    NeonDotprod = 6,
    /// [`Level::NeonDotprod`] with the matrix product of bytes (FEAT_I8MM: SMMLA, UMMLA, USMMLA, USDOT).
    NeonI8mm = 7,
    /// x86-64 with AVX2, FMA and F16C, fused.
    Avx2 = 8,
    /// [`Level::Avx2`] with the dot product of bytes (AVX-VNNI: VPDPBUSD on 256 bits), on CPUs without AVX-512.
    AvxVnni = 9,
    /// x86-64 with AVX-512 F, BW, VL and DQ, fused.
    Avx512 = 10,
    /// [`Level::Avx512`] with the dot product of bytes (AVX512_VNNI: VPDPBUSD on 512 bits).
    Avx512Vnni = 11,
}

impl Level {
    /// Every level, from the least to the most preferred.
    pub const ALL: [Level; 11] = [
        Level::ScalarUnfused,
        Level::Scalar,
        Level::Portable,
        Level::Simd128,
        Level::Neon,
        Level::NeonDotprod,
        Level::NeonI8mm,
        Level::Avx2,
        Level::AvxVnni,
        Level::Avx512,
        Level::Avx512Vnni,
    ];

    /// The name used by `KERNFORM_ISA`, `--isa` and [`core::str::FromStr`].
    pub const fn name(self) -> &'static str {
        match self {
            Level::ScalarUnfused => "scalar-unfused",
            Level::Scalar => "scalar",
            Level::Portable => "portable",
            Level::Simd128 => "simd128",
            Level::Neon => "neon",
            Level::NeonDotprod => "neon-dotprod",
            Level::NeonI8mm => "neon-i8mm",
            Level::Avx2 => "avx2",
            Level::AvxVnni => "avx-vnni",
            Level::Avx512 => "avx512",
            Level::Avx512Vnni => "avx512-vnni",
        }
    }

    /// What the level asks of the CPU, in words.
    pub const fn requirement(self) -> &'static str {
        match self {
            Level::ScalarUnfused | Level::Scalar => "any CPU",
            Level::Portable => "any CPU (compiled for the target's baseline)",
            Level::Simd128 => "a WebAssembly module compiled with +simd128",
            Level::Neon => "AArch64 with Advanced SIMD",
            Level::NeonDotprod => "AArch64 with Advanced SIMD and FEAT_DotProd",
            Level::NeonI8mm => "AArch64 with Advanced SIMD, FEAT_DotProd and FEAT_I8MM",
            Level::Avx2 => "x86-64 with AVX2, FMA and F16C, enabled by the operating system",
            Level::AvxVnni => "x86-64 with AVX2, FMA, F16C and AVX-VNNI, enabled by the operating system",
            Level::Avx512 => "x86-64 with AVX-512 F, BW, VL and DQ, enabled by the operating system",
            Level::Avx512Vnni => "x86-64 with AVX-512 F, BW, VL, DQ and VNNI, enabled by the operating system",
        }
    }

    /// The arithmetic class of the level on this target.
    pub const fn class(self) -> Class {
        match self {
            Level::ScalarUnfused | Level::Simd128 => Class::Unfused,
            Level::Portable => crate::levels::portable::CLASS,
            _ => Class::Fused,
        }
    }

    /// The level whose vector operations run here: another one for the levels that add integer instructions to it,
    /// else the level itself.
    pub const fn base(self) -> Level {
        match self {
            Level::NeonDotprod | Level::NeonI8mm => Level::Neon,
            Level::AvxVnni => Level::Avx2,
            Level::Avx512Vnni => Level::Avx512,
            _ => self,
        }
    }

    pub(crate) const fn from_u8(value: u8) -> Option<Level> {
        let mut i = 0;
        while i < Level::ALL.len() {
            if Level::ALL[i] as u8 == value {
                return Some(Level::ALL[i]);
            }
            i += 1;
        }
        None
    }
}

impl core::fmt::Display for Level {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

impl core::str::FromStr for Level {
    type Err = ParseLevelError;

    fn from_str(s: &str) -> Result<Self, ParseLevelError> {
        Level::ALL.into_iter().find(|level| s.eq_ignore_ascii_case(level.name())).ok_or(ParseLevelError)
    }
}

/// A name that is no level's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLevelError;

impl core::fmt::Display for ParseLevelError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("unknown instruction-set level; the levels are")?;
        for (i, level) in Level::ALL.into_iter().enumerate() {
            write!(f, "{} {level}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for ParseLevelError {}

/// A level that this CPU, or this build, cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelError {
    /// The level that was asked for.
    pub level: Level,
}

impl core::fmt::Display for LevelError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "level {} cannot run here: it needs {}; this machine can run", self.level, self.level.requirement())?;
        for (i, isa) in crate::Isa::available().enumerate() {
            write!(f, "{} {}", if i == 0 { "" } else { "," }, isa.level())?;
        }
        Ok(())
    }
}

impl core::error::Error for LevelError {}
