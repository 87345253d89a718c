//! What an x86-64 CPU and its operating system offer, asked without `std` (CPUID and XGETBV).

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::levels::scalar::scalar_operations;
use crate::{Fused, Kernel, Level, REDUCTION_LANES, Simd};

cpufeatures::new!(fma_cpuid, "fma");
cpufeatures::new!(avx2_cpuid, "avx2", "fma");
cpufeatures::new!(avx512_cpuid, "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512dq");

/// `cpufeatures` has no name for F16C: CPUID leaf 1, ECX bit 29, kept in one atomic (0 unknown, 1 no, 2 yes).
fn has_f16c() -> bool {
    static CACHE: AtomicU8 = AtomicU8::new(0);
    match CACHE.load(Relaxed) {
        0 => {
            let found = core::arch::x86_64::__cpuid(1).ecx & (1 << 29) != 0;
            CACHE.store(1 + u8::from(found), Relaxed);
            found
        }
        known => known == 2,
    }
}

/// AVX2, FMA and F16C, with the operating system saving YMM registers.
pub(crate) fn has_avx2() -> bool {
    avx2_cpuid::get() && has_f16c()
}

/// The AVX-512 subsets F, BW, VL and DQ on top of [`has_avx2`], with the operating system saving ZMM and mask registers.
pub(crate) fn has_avx512() -> bool {
    avx512_cpuid::get() && has_f16c()
}

/// The fused scalar level on a CPU with the scalar FMA instruction: the bits of `Scalar<Fused>` without emulation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScalarFma(());

impl ScalarFma {
    pub(crate) fn new() -> Option<Self> {
        fma_cpuid::get().then_some(ScalarFma(()))
    }
}

impl Simd for ScalarFma {
    type Class = Fused;
    const LEVEL: Level = Level::Scalar;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "fma")]
        fn run<K: Kernel>(token: ScalarFma, kernel: K) -> K::Output {
            kernel.run(token)
        }
        // SAFETY: the token exists only after detection of FMA.
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        use core::arch::x86_64::{_mm_cvtss_f32, _mm_fmadd_ss, _mm_set_ss};
        // SAFETY: the token exists only after detection of FMA; SSE is the baseline.
        unsafe { _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c))) }
    }

    scalar_operations!();
}
