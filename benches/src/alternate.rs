//! Running contestants in turn.

use core::time::Duration;
use std::time::Instant;

/// A piece of work with a name.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    /// Does the work so often and tells the seconds that one time took.
    time: Box<dyn FnMut(u32) -> f64 + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() + 'a) -> Self {
        let mut run: Box<dyn FnMut() + 'a> = Box::new(run);
        Self::timing(name, move |repeats| {
            let start = Instant::now();
            for _ in 0..repeats {
                run();
            }
            start.elapsed().as_secs_f64() / f64::from(repeats)
        })
    }

    /// A contestant that takes its own time, as one in another process must.
    pub(crate) fn timing(name: impl Into<String>, time: impl FnMut(u32) -> f64 + 'a) -> Self {
        Self { name: name.into(), time: Box::new(time) }
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
    alternate_after(Duration::ZERO, contestants, rounds)
}

/// [`alternate`] with a pause before each contestant, for those whose threads wait busily for more work and would take it
/// from the next one.
pub(crate) fn alternate_after(pause: Duration, contestants: &mut [Contestant<'_>], rounds: usize) -> Vec<Timing> {
    let repeats: Vec<u32> = contestants.iter_mut().map(repeats_in_a_sample).collect();
    let mut samples = vec![Vec::with_capacity(rounds); contestants.len()];
    for _ in 0..rounds {
        for ((contestant, repeats), samples) in contestants.iter_mut().zip(&repeats).zip(&mut samples) {
            std::thread::sleep(pause);
            // Once unmeasured: the others have filled the caches with their operands.
            (contestant.time)(1);
            samples.push((contestant.time)(*repeats));
        }
    }
    let timing = |(contestant, mut samples): (&Contestant<'_>, Vec<f64>)| {
        samples.sort_by(f64::total_cmp);
        Timing { name: contestant.name.clone(), least: samples[0], median: samples[samples.len() / 2] }
    };
    contestants.iter().zip(samples).map(timing).collect()
}

fn repeats_in_a_sample(contestant: &mut Contestant<'_>) -> u32 {
    (contestant.time)(1);
    let mut repeats = 1;
    while (contestant.time)(repeats) * f64::from(repeats) < SAMPLE.as_secs_f64() && repeats < 1 << 20 {
        repeats *= 2;
    }
    repeats
}
