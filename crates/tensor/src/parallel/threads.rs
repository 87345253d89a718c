//! Scoped threads of the standard library, started for each call.

use super::Parallel;
use core::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Starts this many threads for each call (the caller's counts as one) and joins them before it returns.
///
/// Without dependencies, but starting a thread costs some ten microseconds: right for coarse work. 0 counts as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads(pub usize);

impl Threads {
    /// As many threads as the system lets this process run at once.
    #[must_use]
    pub fn available() -> Self {
        Self(thread::available_parallelism().map_or(1, NonZeroUsize::get))
    }
}

impl Parallel for Threads {
    fn threads(&self) -> usize {
        self.0.max(1)
    }

    fn for_each<T: Send, F: Fn(usize, &mut T) + Sync>(&self, items: &mut [T], f: F) {
        let helpers = self.threads().min(items.len()).saturating_sub(1);
        let queue = Mutex::new(items.iter_mut().enumerate());
        // The lock is held only to fetch, never while `f` runs, so a panic in `f` leaves the queue whole.
        let fetch = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some((index, item)) = fetch() {
                f(index, item);
            }
        };
        thread::scope(|scope| {
            for _ in 0..helpers {
                // A thread that the system refuses is no error: the others take its items.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
    }
}
