//! Running contestants in turn.

use core::time::Duration;
use std::time::Instant;

/// A piece of work with a name.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    pub(crate) run: Box<dyn FnMut() + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// Seconds that one run of a contestant takes.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    pub(crate) name: String,
    pub(crate) least: f64,
    pub(crate) median: f64,
}

/// A sample lasts at least this long, so that reading the clock does not count.
const SAMPLE: Duration = Duration::from_micros(300);

/// Takes `rounds` samples of each contestant, one after the other in every round.
pub(crate) fn alternate(contestants: &mut [Contestant<'_>], rounds: usize) -> Vec<Timing> {
    let repeats: Vec<u32> = contestants.iter_mut().map(repeats_in_a_sample).collect();
    let mut samples = vec![Vec::with_capacity(rounds); contestants.len()];
    for _ in 0..rounds {
        for ((contestant, repeats), samples) in contestants.iter_mut().zip(&repeats).zip(&mut samples) {
            // Once unmeasured: the others have filled the caches with their operands.
            (contestant.run)();
            let start = Instant::now();
            for _ in 0..*repeats {
                (contestant.run)();
            }
            samples.push(start.elapsed().as_secs_f64() / f64::from(*repeats));
        }
    }
    let timing = |(contestant, mut samples): (&Contestant<'_>, Vec<f64>)| {
        samples.sort_by(f64::total_cmp);
        Timing { name: contestant.name.clone(), least: samples[0], median: samples[samples.len() / 2] }
    };
    contestants.iter().zip(samples).map(timing).collect()
}

fn repeats_in_a_sample(contestant: &mut Contestant<'_>) -> u32 {
    (contestant.run)();
    let mut repeats = 1;
    loop {
        let start = Instant::now();
        for _ in 0..repeats {
            (contestant.run)();
        }
        if start.elapsed() >= SAMPLE || repeats >= 1 << 20 {
            return repeats;
        }
        repeats *= 2;
    }
}
