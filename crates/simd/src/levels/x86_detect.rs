//! What an x86-64 CPU and its operating system offer, asked without `std` (CPUID and XGETBV).

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::levels::scalar::scalar_operations;
use crate::{Fused, Kernel, Level, REDUCTION_LANES, Simd};

cpufeatures::new!(fma_cpuid, "fma");
cpufeatures::new!(avx2_cpuid, "avx2", "fma");
cpufeatures::new!(avx512_cpuid, "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512dq");

/// A feature for which `cpufeatures` has no name.
struct Unnamed {
    read: fn() -> bool,
    /// 0 unknown, 1 no, 2 yes.
    cache: AtomicU8,
}

impl Unnamed {
    const fn new(read: fn() -> bool) -> Unnamed {
        Unnamed { read, cache: AtomicU8::new(0) }
    }

    fn get(&self) -> bool {
        match self.cache.load(Relaxed) {
            0 => {
                let found = (self.read)();
                self.cache.store(1 + u8::from(found), Relaxed);
                found
            }
            known => known == 2,
        }
    }
}

/// CPUID leaf 1, ECX bit 29.
static F16C: Unnamed = Unnamed::new(|| __cpuid(1).ecx & (1 << 29) != 0);
/// CPUID leaf 7.1, EAX bit 4.
static AVX_VNNI: Unnamed =
    Unnamed::new(|| __cpuid(0).eax >= 7 && __cpuid_count(7, 0).eax >= 1 && __cpuid_count(7, 1).eax & (1 << 4) != 0);
/// CPUID leaf 7.0, ECX bit 11.
static AVX512_VNNI: Unnamed = Unnamed::new(|| __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ecx & (1 << 11) != 0);

/// CPUID leaf 7.1, EAX bit 5.
static AVX512_BF16: Unnamed =
    Unnamed::new(|| __cpuid(0).eax >= 7 && __cpuid_count(7, 0).eax >= 1 && __cpuid_count(7, 1).eax & (1 << 5) != 0);

/// AVX2, FMA and F16C, with the operating system saving YMM registers.
pub(crate) fn has_avx2() -> bool {
    avx2_cpuid::get() && F16C.get()
}

/// The AVX-512 subsets F, BW, VL and DQ on top of [`has_avx2`], with the operating system saving ZMM and mask registers.
pub(crate) fn has_avx512() -> bool {
    avx512_cpuid::get() && F16C.get()
}

/// AVX-VNNI on top of [`has_avx2`].
pub(crate) fn has_avx_vnni() -> bool {
    has_avx2() && AVX_VNNI.get()
}

/// AVX512_VNNI on top of [`has_avx512`].
pub(crate) fn has_avx512_vnni() -> bool {
    has_avx512() && AVX512_VNNI.get()
}

/// Proof of AVX512_BF16 on top of the level `avx512`. No level: its arithmetic is outside the contract.
#[derive(Clone, Copy, Debug)]
pub struct Avx512Bf16(());

impl Avx512Bf16 {
    /// The token, where the CPU and the operating system have what it stands for.
    #[must_use]
    pub fn new() -> Option<Self> {
        (has_avx512() && AVX512_BF16.get()).then_some(Self(()))
    }
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
