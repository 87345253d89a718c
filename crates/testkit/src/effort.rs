//! How much a property test does.

use core::cell::Cell;

use proptest::test_runner::Config;

thread_local! {
    /// Set by [`with_at_most`].
    static MOST: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// `cases` cases, or as few as `PROPTEST_CASES` says where that is fewer, as it is on emulated CPUs.
///
/// `proptest` itself obeys the variable only where a test states no number of its own.
pub fn up_to(cases: u32) -> Config {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(u32::MAX);
    Config { cases: cases.min(wanted).min(MOST.get()), max_shrink_iters: 200, ..Config::default() }
}

/// Runs `body`, in which [`up_to`] gives at most `cases` cases on this thread: for tests whose instructions are emulated.
pub fn with_at_most<R>(cases: u32, body: impl FnOnce() -> R) -> R {
    let before = MOST.replace(cases);
    let result = body();
    MOST.set(before);
    result
}
