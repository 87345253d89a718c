//! Every way to run items visits each exactly once; ranges cover all work in whole tiles.
#![cfg(feature = "std")]

use core::sync::atomic::{AtomicUsize, Ordering};
#[cfg(feature = "rayon")]
use kernform_tensor::parallel::RayonPool;
use kernform_tensor::parallel::Threads;
use kernform_tensor::{Parallel, Serial, split_ranges};
use proptest::prelude::*;

fn visits_each_once(parallel: impl Parallel, threads: usize) {
    assert_eq!(parallel.threads(), threads);
    for len in [0, 1, 2, 3, 7, 100, 1000] {
        let mut visits = vec![(0, usize::MAX); len];
        let calls = AtomicUsize::new(0);
        parallel.for_each(&mut visits, |index, item| {
            calls.fetch_add(1, Ordering::Relaxed);
            item.0 += 1;
            item.1 = index;
        });
        assert_eq!(calls.into_inner(), len);
        assert!(visits.iter().enumerate().all(|(index, &visit)| visit == (1, index)));
    }
}

#[test]
fn serial() {
    visits_each_once(Serial, 1);
    let lent: &Serial = &Serial;
    visits_each_once(lent, 1);
}

#[test]
fn threads() {
    visits_each_once(Threads(0), 1);
    visits_each_once(Threads(1), 1);
    visits_each_once(Threads(2), 2);
    visits_each_once(Threads(5), 5);
    assert!(Threads::available().threads() >= 1);
}

#[test]
#[cfg_attr(target_family = "wasm", ignore = "this target has one thread, on which everything runs in order")]
fn threads_run_at_the_same_time() {
    // Both items wait for each other, so one thread alone would never come back.
    let barrier = std::sync::Barrier::new(2);
    Threads(2).for_each(&mut [(), ()], |_, ()| {
        barrier.wait();
    });
}

#[cfg(feature = "rayon")]
#[test]
fn rayon_pools() {
    for threads in [1, 2, 5] {
        visits_each_once(RayonPool::new(threads).unwrap(), threads);
    }
    let global = RayonPool::global();
    let threads = global.threads();
    visits_each_once(global, threads);
    let barrier = std::sync::Barrier::new(2);
    RayonPool::new(2).unwrap().for_each(&mut [(), ()], |_, ()| {
        barrier.wait();
    });
}

proptest! {
    #[test]
    fn ranges_cover_everything_once(len in 0_usize..500, parts in 0_usize..20, multiple in 0_usize..20) {
        let ranges: Vec<_> = split_ranges(len, parts, multiple).collect();
        let tile = multiple.max(1);
        prop_assert!(ranges.len() <= parts.max(1));
        let mut next = 0;
        for range in &ranges {
            prop_assert_eq!(range.start, next);
            prop_assert!(range.start.is_multiple_of(tile) && !range.is_empty());
            next = range.end;
        }
        prop_assert_eq!(next, len);
        let tiles = || ranges.iter().map(|range| range.len().div_ceil(tile));
        prop_assert!(ranges.is_empty() || tiles().max().unwrap() - tiles().min().unwrap() <= 1);
    }
}

#[test]
fn ranges_at_the_end_of_the_address_space() {
    let ranges: Vec<_> = split_ranges(usize::MAX, 3, 64).collect();
    assert_eq!(ranges.len(), 3);
    assert_eq!((ranges[0].start, ranges[2].end), (0, usize::MAX));
    assert!(split_ranges(usize::MAX, 2, usize::MAX).eq(core::iter::once(0..usize::MAX)));
    assert!(split_ranges(10, usize::MAX, 1).count() == 10);
}
