//! What an AArch64 CPU offers beyond Advanced SIMD.
//!
//! Programs may not ask the CPU itself there: the operating system is asked, through `std`. Without `std` only what the
//! target promises at compile time counts.

macro_rules! has {
    ($($feature:tt)+) => {{
        #[cfg(feature = "std")]
        let found = $(std::arch::is_aarch64_feature_detected!($feature))&&+;
        #[cfg(not(feature = "std"))]
        let found = $(cfg!(target_feature = $feature))&&+;
        found
    }};
}

/// SDOT and UDOT.
pub(crate) fn has_dotprod() -> bool {
    has!("neon" "dotprod")
}

/// SMMLA, UMMLA, USMMLA and USDOT, and what [`has_dotprod`] says.
pub(crate) fn has_i8mm() -> bool {
    has!("neon" "dotprod" "i8mm")
}
