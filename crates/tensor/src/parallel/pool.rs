//! The rayon thread pool.

use super::Parallel;
use alloc::sync::Arc;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// Runs items on a rayon pool: the global one or one of its own. Clones share the pool.
///
/// A caller outside of the pool wakes one of its threads for each kernel and sleeps meanwhile. For a model, which is many
/// kernels, call [`ThreadPool::install`] once around all of it and give it [`RayonPool::global`], which is the pool of the
/// calling thread there. Where passes are short, keep each thread on a core of its own
/// ([`ThreadPoolBuilder::start_handler`] is where to say so): some systems leave threads that have just been woken on one core
/// for milliseconds.
#[derive(Debug, Clone, Default)]
pub struct RayonPool {
    // `None`: the pool of the calling thread, which is the global one outside of any pool.
    pool: Option<Arc<ThreadPool>>,
}

impl RayonPool {
    /// The global pool.
    #[must_use]
    pub const fn global() -> Self {
        Self { pool: None }
    }

    /// A pool of `threads` threads; 0 means as many as the machine has.
    ///
    /// # Errors
    /// What rayon says when the threads cannot be started.
    pub fn new(threads: usize) -> Result<Self, ThreadPoolBuildError> {
        Ok(ThreadPoolBuilder::new().num_threads(threads).build()?.into())
    }
}

impl From<ThreadPool> for RayonPool {
    fn from(pool: ThreadPool) -> Self {
        Self { pool: Some(Arc::new(pool)) }
    }
}

impl From<Arc<ThreadPool>> for RayonPool {
    fn from(pool: Arc<ThreadPool>) -> Self {
        Self { pool: Some(pool) }
    }
}

impl Parallel for RayonPool {
    fn threads(&self) -> usize {
        self.pool.as_ref().map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads())
    }

    fn for_each<T: Send, F: Fn(usize, &mut T) + Sync>(&self, items: &mut [T], f: F) {
        // An item is a tile, large enough to be stolen alone.
        let mut run = || items.par_iter_mut().with_max_len(1).enumerate().for_each(|(index, item)| f(index, item));
        match &self.pool {
            Some(pool) => pool.install(run),
            None => run(),
        }
    }
}
