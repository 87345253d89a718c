//! Which instruction-set level is used, and why.

use core::fmt;

use kernform_simd::{Isa, Level};

use crate::errors::Failure;

/// The variable that asks for a level.
pub(crate) const VARIABLE: &str = "KERNFORM_ISA";

/// The level in use, with the reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen {
    pub(crate) isa: Isa,
    pub(crate) reason: Reason,
}

/// Who chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Best,
    Flag,
    Environment,
    Build,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("the best that this CPU can run"),
            Self::Flag => f.write_str("asked for by --isa"),
            Self::Environment => write!(f, "asked for by {VARIABLE}"),
            Self::Build => f.write_str("the best that this build allows (--cfg kernform_cap)"),
        }
    }
}

/// `--isa` goes before the environment, that before the best; what was asked for must be able to run.
pub(crate) fn choose(flag: Option<Level>) -> Result<Chosen, Failure> {
    let asked = match flag {
        Some(level) => Some((level, Reason::Flag)),
        None => from_environment()?.map(|level| (level, Reason::Environment)),
    };
    let Some((level, reason)) = asked else {
        let reason = if build_cap().is_some() { Reason::Build } else { Reason::Best };
        return Ok(Chosen { isa: Isa::best(), reason });
    };
    if let Some(cap) = build_cap().filter(|cap| level > *cap) {
        return Err(Failure::usage(
            format_args!("this build goes no higher than level {cap}, but {level} is asked for"),
            reason,
            "ask for a lower level, or build without --cfg kernform_cap",
        ));
    }
    let isa = Isa::new(level)
        .map_err(|error| Failure::usage(error, reason, "ask for one of those, or for none to get the best"))?;
    // Whatever asks for the best level from here on gets this one.
    kernform_simd::cap(Some(level));
    Ok(Chosen { isa, reason })
}

fn from_environment() -> Result<Option<Level>, Failure> {
    let Some(value) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = value.to_string_lossy();
    let level = text.parse().map_err(|error| {
        Failure::usage(
            format_args!("{text:?}: {error}"),
            VARIABLE,
            "set it to one of those, or unset it to get the best",
        )
    })?;
    Ok(Some(level))
}

/// The cap that the program was built with.
pub(crate) fn build_cap() -> Option<Level> {
    Level::ALL.into_iter().find(|level| match level {
        Level::ScalarUnfused => cfg!(kernform_cap = "scalar-unfused"),
        Level::Scalar => cfg!(kernform_cap = "scalar"),
        Level::Portable => cfg!(kernform_cap = "portable"),
        Level::Neon => cfg!(kernform_cap = "neon"),
        Level::NeonDotprod => cfg!(kernform_cap = "neon-dotprod"),
        Level::Avx2 => cfg!(kernform_cap = "avx2"),
        Level::AvxVnni => cfg!(kernform_cap = "avx-vnni"),
        Level::Avx512 => cfg!(kernform_cap = "avx512"),
        _ => false,
    })
}
