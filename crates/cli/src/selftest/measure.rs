//! Timing.

use core::time::Duration;
use std::time::Instant;

/// How long one measurement may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) each: Duration,
}

/// Samples that are taken whatever they cost.
const LEAST_SAMPLES: usize = 5;

/// Seconds of one run: the least of several samples, since whatever else the machine does only adds to them.
pub(crate) fn seconds_per_run(budget: Budget, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut time = |runs: u32| {
        let sample = Instant::now();
        (0..runs).for_each(|_| run());
        sample.elapsed().as_secs_f64() / f64::from(runs)
    };
    let once = time(1).min(time(1));
    // Samples long enough for the clock, short enough to fall between interruptions.
    let runs = (200e-6 / once.max(1e-9)).clamp(1.0, 10_000.0) as u32;
    let mut least = f64::INFINITY;
    let mut samples = 0;
    while samples < LEAST_SAMPLES || start.elapsed() < budget.each {
        least = least.min(time(runs));
        samples += 1;
    }
    least
}

/// A buffer with `len` floats to read and as many to write, at places that no cache takes for one another: parts of it at a
/// distance of about a multiple of 4096 bytes slow each other down on many CPUs.
pub(crate) struct Apart {
    data: Vec<f32>,
    len: usize,
}

impl Apart {
    pub(crate) fn new(x: &[f32]) -> Self {
        let len = x.len();
        let mut data = vec![0.0; len.next_multiple_of(1024) + 512 + len];
        data[..len].copy_from_slice(x);
        Self { data, len }
    }

    /// What to read, and where to write.
    pub(crate) fn split(&mut self) -> (&[f32], &mut [f32]) {
        let (x, rest) = self.data.split_at_mut(self.len.next_multiple_of(1024) + 512);
        (&x[..self.len], &mut rest[..self.len])
    }
}
