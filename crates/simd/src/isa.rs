//! The run-time token, its choice and its cap.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

#[cfg(not(kernform_scalar_only))]
use crate::levels::portable::Portable;
use crate::levels::scalar::{HAS_HARDWARE_FMA, Scalar};
use crate::{Class, Fused, Kernel, Level, LevelError, Simd, Unfused};

/// Proof that this CPU can run a [`Level`]: exists only after detection (or by an `unsafe` promise), is one byte, and is
/// free to copy.
///
/// Kernels take it as their first argument and hand their work to [`Isa::dispatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Isa(Level);

/// The cap set by [`cap`]; 0 while there is none.
static CAP: AtomicU8 = AtomicU8::new(0);
/// What [`Isa::best`] found under the cap in force; 0 while unknown.
static BEST: AtomicU8 = AtomicU8::new(0);

impl Isa {
    /// The token of one level.
    ///
    /// # Errors
    /// [`LevelError`] where this CPU, its operating system or this build lacks the level. A cap does not matter here.
    pub fn new(level: Level) -> Result<Isa, LevelError> {
        if is_present(level) { Ok(Isa(level)) } else { Err(LevelError { level }) }
    }

    /// The token of a level without asking the CPU, for tests and tools that stand in for instructions it lacks.
    ///
    /// # Safety
    /// Every instruction that [`Level::requirement`] names must run: on this CPU, with the registers enabled by its operating
    /// system, or by what carries out in software those that the CPU refuses.
    pub const unsafe fn new_unchecked(level: Level) -> Isa {
        Isa(level)
    }

    /// The most preferred level that this CPU can run and the cap allows. Detected once, then one relaxed load.
    ///
    /// The cap is the lowest of: [`cap`]; in `std` builds the environment variable `KERNFORM_ISA` (a level's name; an
    /// unknown name is no cap); the build's `--cfg kernform_cap="LEVEL"`.
    pub fn best() -> Isa {
        if let Some(level) = Level::from_u8(BEST.load(Relaxed)) {
            return Isa(level);
        }
        let isa = find_best();
        BEST.store(isa.0 as u8, Relaxed);
        isa
    }

    /// All levels that this CPU can run, from the least to the most preferred, whatever the cap.
    pub fn available() -> Available {
        Available { next: 0 }
    }

    /// The level that this token stands for.
    pub const fn level(self) -> Level {
        self.0
    }

    /// The arithmetic class: tokens of one class give the same bits.
    pub const fn class(self) -> Class {
        self.0.class()
    }

    /// Runs `kernel`, compiled for the vectors of this token's level, which are those of its [`Level::base`].
    #[inline]
    #[cfg(kernform_scalar_only)]
    pub fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        if HAS_HARDWARE_FMA { dispatch_scalar(kernel) } else { Scalar::<Unfused>::new().vectorize(kernel) }
    }

    /// Runs `kernel`, compiled for the vectors of this token's level, which are those of its [`Level::base`].
    #[inline]
    #[cfg(not(kernform_scalar_only))]
    pub fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0.base() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of a level exists only after `is_present` found the level, which includes its base.
            Level::Avx512 => unsafe { crate::Avx512::new_unchecked() }.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx2 => unsafe { crate::Avx2::new_unchecked() }.vectorize(kernel),
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Level::Neon => unsafe { crate::Neon::new_unchecked() }.vectorize(kernel),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Level::Simd128 => crate::Simd128::new().vectorize(kernel),
            Level::Portable => Portable::new().vectorize(kernel),
            Level::ScalarUnfused => Scalar::<Unfused>::new().vectorize(kernel),
            _ => dispatch_scalar(kernel),
        }
    }
}

impl core::fmt::Display for Isa {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The fused scalar level, with the hardware's FMA instruction where detection finds one.
fn dispatch_scalar<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(token) = crate::levels::x86_detect::ScalarFma::new() {
        return token.vectorize(kernel);
    }
    Scalar::<Fused>::new().vectorize(kernel)
}

/// Sets, or with `None` removes, the process-wide cap of [`Isa::best`]: levels above it are not chosen.
///
/// Tokens that exist already are not changed. Bits do not depend on the cap as long as the class stays the same.
pub fn cap(level: Option<Level>) {
    CAP.store(level.map_or(0, |level| level as u8), Relaxed);
    BEST.store(0, Relaxed);
}

/// The least level that there is.
const LEAST: Level = if cfg!(kernform_scalar_only) && HAS_HARDWARE_FMA { Level::Scalar } else { Level::ScalarUnfused };

fn is_present(level: Level) -> bool {
    if cfg!(kernform_scalar_only) {
        return level == LEAST;
    }
    match level {
        Level::ScalarUnfused | Level::Scalar | Level::Portable => true,
        Level::Simd128 => cfg!(all(target_arch = "wasm32", target_feature = "simd128")),
        #[cfg(target_arch = "aarch64")]
        Level::Neon => crate::Neon::new().is_some(),
        #[cfg(target_arch = "aarch64")]
        Level::NeonDotprod => crate::levels::aarch64_detect::has_dotprod(),
        #[cfg(target_arch = "aarch64")]
        Level::NeonI8mm => crate::levels::aarch64_detect::has_i8mm(),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => crate::Avx2::new().is_some(),
        #[cfg(target_arch = "x86_64")]
        Level::AvxVnni => crate::levels::x86_detect::has_avx_vnni(),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni => crate::levels::x86_detect::has_avx512_vnni(),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => crate::Avx512::new().is_some(),
        _ => false,
    }
}

fn find_best() -> Isa {
    let caps = [Level::from_u8(CAP.load(Relaxed)), environment_cap(), BUILD_CAP];
    let cap = caps.into_iter().flatten().min();
    Level::ALL
        .into_iter()
        .rev()
        .filter(|level| cap.is_none_or(|cap| *level <= cap))
        .filter(|level| cap == Some(*level) || is_preferred(*level))
        .find(|level| is_present(*level))
        .map_or(Isa(LEAST), Isa)
}

/// Whether a level is chosen where nobody asks for it by name.
///
/// Emulated FMA is a hundred times slower than none: without the hardware the scalar level is only run when named.
fn is_preferred(level: Level) -> bool {
    match level {
        Level::Scalar => HAS_HARDWARE_FMA,
        // Vectors of a target without vector registers are emulated in memory.
        Level::Portable => crate::levels::portable::HAS_HARDWARE_VECTORS,
        _ => true,
    }
}

#[cfg(feature = "std")]
fn environment_cap() -> Option<Level> {
    std::env::var("KERNFORM_ISA").ok()?.parse().ok()
}

#[cfg(not(feature = "std"))]
fn environment_cap() -> Option<Level> {
    None
}

const BUILD_CAP: Option<Level> = if cfg!(kernform_cap = "scalar-unfused") {
    Some(Level::ScalarUnfused)
} else if cfg!(kernform_cap = "scalar") {
    Some(Level::Scalar)
} else if cfg!(kernform_cap = "portable") {
    Some(Level::Portable)
} else if cfg!(kernform_cap = "neon") {
    Some(Level::Neon)
} else if cfg!(kernform_cap = "neon-dotprod") {
    Some(Level::NeonDotprod)
} else if cfg!(kernform_cap = "avx2") {
    Some(Level::Avx2)
} else if cfg!(kernform_cap = "avx-vnni") {
    Some(Level::AvxVnni)
} else if cfg!(kernform_cap = "avx512") {
    Some(Level::Avx512)
} else {
    None
};

/// Iterator of [`Isa::available`].
#[derive(Clone, Debug)]
pub struct Available {
    next: usize,
}

impl Iterator for Available {
    type Item = Isa;

    fn next(&mut self) -> Option<Isa> {
        while let Some(level) = Level::ALL.get(self.next) {
            self.next += 1;
            if let Ok(isa) = Isa::new(*level) {
                return Some(isa);
            }
        }
        None
    }
}
