//! One test an instruction-set level.

use kernform_simd::{Isa, Level};

/// The token of `level`, or `None` after saying loudly that the test does not run.
///
/// # Panics
/// Where the CPU lacks the level and `KERNFORM_REQUIRE_ISA` (names with commas between them) lists it, or where that
/// variable holds a name that is no level's.
pub fn force(level: Level) -> Option<Isa> {
    let required = std::env::var("KERNFORM_REQUIRE_ISA").unwrap_or_default();
    let is_required = required
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| name.parse::<Level>().unwrap_or_else(|e| panic!("KERNFORM_REQUIRE_ISA names {name:?}: {e}")))
        .any(|name| name == level);
    match Isa::new(level) {
        Ok(isa) => Some(isa),
        Err(error) if is_required => panic!("KERNFORM_REQUIRE_ISA lists {level}, but {error}"),
        Err(error) => {
            eprintln!("NOT RUN: {error}");
            None
        }
    }
}

/// Expands `isa_tests!(name, …)` to a module of that name for each function `fn name(isa: Isa)`, with one test a level
/// of the target's architecture; each forces its level instead of taking what dispatch prefers.
///
/// For kernels in floats: levels that only add integer instructions are left out, for they run the same code.
#[macro_export]
macro_rules! isa_tests {
    ($($body:ident),+ $(,)?) => {$(
        mod $body {
            $crate::isa_tests!(@base $body);
        }
    )+};
    (@base $body:ident) => {
        $crate::isa_tests!(@one $body scalar_unfused ScalarUnfused);
        $crate::isa_tests!(@one $body scalar Scalar);
        $crate::isa_tests!(@one $body portable Portable);
        #[cfg(target_arch = "wasm32")]
        $crate::isa_tests!(@one $body simd128 Simd128);
        #[cfg(target_arch = "aarch64")]
        $crate::isa_tests!(@one $body neon Neon);
        #[cfg(target_arch = "x86_64")]
        $crate::isa_tests!(@one $body avx2 Avx2);
        #[cfg(target_arch = "x86_64")]
        $crate::isa_tests!(@one $body avx512 Avx512);
    };
    (@one $body:ident $name:ident $level:ident) => {
        #[test]
        fn $name() {
            if let Some(isa) = $crate::force($crate::Level::$level) {
                super::$body(isa);
            }
        }
    };
}

/// [`isa_tests!`] for kernels in integers: the levels that add integer instructions too.
#[macro_export]
macro_rules! isa_tests_integer {
    ($($body:ident),+ $(,)?) => {$(
        mod $body {
            $crate::isa_tests!(@base $body);
            #[cfg(target_arch = "aarch64")]
            $crate::isa_tests!(@one $body neon_dotprod NeonDotprod);
            #[cfg(target_arch = "aarch64")]
            $crate::isa_tests!(@one $body neon_i8mm NeonI8mm);
            #[cfg(target_arch = "x86_64")]
            $crate::isa_tests!(@one $body avx_vnni AvxVnni);
            #[cfg(target_arch = "x86_64")]
            $crate::isa_tests!(@one $body avx512_vnni Avx512Vnni);
        }
    )+};
}

/// `avx_vnni_tests!(name, …)` hands each function to `emulator::run`, which runs it on the level AVX-VNNI on CPUs that lack
/// it too; for crates that have `crates/simd/tests/avx_vnni/emulator.rs` as their module `emulator`.
#[macro_export]
macro_rules! avx_vnni_tests {
    ($($body:ident),+ $(,)?) => {
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        mod avx_vnni_emulated {$(
            #[test]
            fn $body() {
                super::emulator::run(super::$body);
            }
        )+}
    };
}
