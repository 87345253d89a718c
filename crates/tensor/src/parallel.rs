//! How kernels share work: they cut it into independent tiles and the caller's [`Parallel`] runs them.
//!
//! A kernel's result never depends on which implementation runs it, on the number of threads or on the order.

use core::ops::Range;

#[cfg(feature = "rayon")]
mod pool;
#[cfg(feature = "std")]
mod threads;

#[cfg(feature = "rayon")]
pub use pool::RayonPool;
#[cfg(feature = "std")]
pub use threads::Threads;

/// Runs a function on every item of a slice, each exactly once, in any order and on any threads.
pub trait Parallel: Sync {
    /// How many items may run at once; a hint for the number of tiles. At least 1.
    fn threads(&self) -> usize;

    /// Calls `f(index, item)` once for each item and returns when all calls have.
    fn for_each<T: Send, F: Fn(usize, &mut T) + Sync>(&self, items: &mut [T], f: F);
}

impl<P: Parallel> Parallel for &P {
    fn threads(&self) -> usize {
        (**self).threads()
    }

    fn for_each<T: Send, F: Fn(usize, &mut T) + Sync>(&self, items: &mut [T], f: F) {
        (**self).for_each(items, f);
    }
}

/// Runs everything on the calling thread, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Serial;

impl Parallel for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn for_each<T: Send, F: Fn(usize, &mut T) + Sync>(&self, items: &mut [T], f: F) {
        for (index, item) in items.iter_mut().enumerate() {
            f(index, item);
        }
    }
}

/// Cuts `0 .. len` into at most `parts` ranges of nearly equal length that begin at multiples of `multiple`.
///
/// No range is empty, so fewer come when there is less work; 0 parts count as 1, a multiple of 0 as 1.
pub fn split_ranges(len: usize, parts: usize, multiple: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let multiple = multiple.max(1);
    let units = len.div_ceil(multiple);
    let parts = parts.clamp(1, units.max(1));
    let (each, longer) = (units / parts, units % parts);
    // The first `longer` ranges have one unit more. Only the very last bound can pass `len`, or even `usize`.
    let bound = move |part: usize| (part * each + part.min(longer)).saturating_mul(multiple).min(len);
    (0..parts).map(move |part| bound(part)..bound(part + 1)).filter(|range| !range.is_empty())
}
