//! What the machine says of itself.

use serde::Serialize;

/// A CPU feature that kernels use or will use.
#[derive(Serialize)]
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    pub(crate) present: bool,
}

/// How many threads can run at once.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The CPU's name where the system tells it.
pub(crate) fn cpu_name() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.trim_start().strip_prefix(':'))?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

macro_rules! features {
    ($detect:ident: $($name:tt)+) => {
        vec![$(Feature { name: $name, present: std::arch::$detect!($name) }),+]
    };
}

/// The vector and arithmetic features of the architecture, in the names that Rust has for them.
#[cfg(target_arch = "x86_64")]
pub(crate) fn features() -> Vec<Feature> {
    features!(is_x86_feature_detected: "sse2" "sse4.1" "avx" "f16c" "fma" "avx2" "avxvnni" "avx512f" "avx512bw" "avx512vl"
        "avx512dq" "avx512vnni" "avx512bf16" "avx512fp16")
}

/// The vector and arithmetic features of the architecture, in the names that Rust has for them.
#[cfg(target_arch = "aarch64")]
pub(crate) fn features() -> Vec<Feature> {
    features!(is_aarch64_feature_detected: "neon" "fp16" "dotprod" "i8mm" "bf16" "sve" "sve2")
}

/// The vector features that the program was compiled with: this architecture has no detection at run time.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn features() -> Vec<Feature> {
    vec![Feature { name: "simd128", present: cfg!(target_feature = "simd128") }]
}
