//! How much a property test does.

use proptest::test_runner::Config;

/// `cases` cases, or as few as `PROPTEST_CASES` says where that is fewer, as it is on emulated CPUs.
///
/// `proptest` itself obeys the variable only where a test states no number of its own.
pub fn up_to(cases: u32) -> Config {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(u32::MAX);
    Config { cases: cases.min(wanted), max_shrink_iters: 200, ..Config::default() }
}
