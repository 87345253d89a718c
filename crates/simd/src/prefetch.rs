//! Fetching memory ahead of its use.

/// Bytes of a cache line.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const LINE: usize = 64;

/// Asks the CPU to bring `data` to its nearest cache. Changes no result; does nothing where there is no instruction for it.
#[inline(always)]
pub fn prefetch<T>(data: &[T]) {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    let line = const { if size_of::<T>() == 0 || size_of::<T>() > LINE { 1 } else { LINE / size_of::<T>() } };
    #[cfg(target_arch = "x86_64")]
    for line in data.chunks(line) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program can see; SSE is in the baseline.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    for line in data.chunks(line) {
        // SAFETY: a prefetch reads nothing that the program can see and changes no register.
        unsafe {
            core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) line.as_ptr(), options(nostack, readonly, preserves_flags));
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = data;
}
