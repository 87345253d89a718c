//! The machine and its limits.

use core::hint::black_box;
use std::sync::OnceLock;

use core_affinity::CoreId;

use kernform_simd::{Isa, Kernel, Simd};

/// The cores that the process was given; once pinned, it is told of one only.
static CORES: OnceLock<Vec<CoreId>> = OnceLock::new();

fn cores() -> &'static [CoreId] {
    CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default())
}

/// Pins the process to a core, the last one where none is named.
pub(crate) fn pin(core: Option<usize>) -> Result<(), String> {
    let found = match core {
        Some(id) => cores().iter().find(|core| core.id == id),
        None => cores().last(),
    };
    match found {
        Some(core) if core_affinity::set_for_current(*core) => Ok(()),
        _ => Err("cannot pin the process to that core".into()),
    }
}

/// A pool of threads, each on a core of its own where the process may use so many. Left to themselves, threads that have just
/// been woken may share a core for milliseconds.
pub(crate) fn pool(threads: usize) -> Result<rayon::ThreadPool, String> {
    let pin = move |thread: usize| {
        if let Some(core) = cores().get(thread).filter(|_| threads <= cores().len()) {
            core_affinity::set_for_current(*core);
        }
    };
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads).start_handler(pin);
    builder.build().map_err(|error| error.to_string())
}

/// [`pool`] of two threads, where the process may use two cores.
pub(crate) fn two_cores() -> Option<rayon::ThreadPool> {
    if cores().len() < 2 { None } else { pool(2).ok() }
}

/// The CPU's name, the level in use and the threads.
pub(crate) fn describe(threads: usize) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let or_unknown = |name| field(name).unwrap_or_else(|| "unknown".into());
    format!(
        "{} (family {}, model {}), level {}, {threads} thread{}",
        or_unknown("model name"),
        or_unknown("cpu family"),
        or_unknown("model"),
        Isa::best(),
        if threads == 1 { "" } else { "s" }
    )
}

/// Chains of multiply-adds, each long: more than any machine's latency needs.
const CHAINS: usize = 12;
/// Steps of each chain in one run.
const STEPS: usize = 4096;

/// A run of as many multiply-adds as the machine can do, and its floating-point operations.
pub(crate) fn fma_peak() -> (impl FnMut(), f64) {
    struct Chains(f32, f32);
    impl Kernel for Chains {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            let (a, b) = (s.splat(self.0), s.splat(self.1));
            let mut acc = [s.splat(1.0); CHAINS];
            for _ in 0..STEPS {
                for acc in &mut acc {
                    *acc = s.mul_add(a, *acc, b);
                }
            }
            acc.into_iter().map(|acc| s.fold_vector(acc, |a, b| s.add(a, b))).sum()
        }
    }
    struct Lanes;
    impl Kernel for Lanes {
        type Output = usize;
        fn run<S: Simd>(self, _: S) -> usize {
            S::LANES
        }
    }
    let isa = Isa::best();
    let operations = 2 * CHAINS * STEPS * isa.dispatch(Lanes);
    let run = move || {
        black_box(isa.dispatch(Chains(black_box(0.5), black_box(1.0))));
    };
    (run, operations as f64)
}

/// A run that reads all of `data`.
pub(crate) fn read_all(data: &[f32]) -> impl FnMut() {
    struct Sum<'a>(&'a [f32]);
    impl Kernel for Sum<'_> {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            let mut acc = [s.splat(0.0); 8];
            for chunk in self.0.chunks_exact(8 * S::LANES) {
                for (acc, x) in acc.iter_mut().zip(chunk.chunks_exact(S::LANES)) {
                    *acc = s.add(*acc, s.load(x));
                }
            }
            acc.into_iter().map(|acc| s.fold_vector(acc, |a, b| s.add(a, b))).sum()
        }
    }
    move || {
        black_box(Isa::best().dispatch(Sum(data)));
    }
}

/// A run that reads the lines of 64 bytes of `data`, each sixteen upwards or downwards, and makes `WORK` additions of each vector, none
/// of which waits for another of them.
pub(crate) fn read_lines<const WORK: usize>(data: &[f32], upwards: bool) -> impl FnMut() {
    struct Sum<'a, const WORK: usize>(&'a [f32], bool);
    impl<const WORK: usize> Kernel for Sum<'_, WORK> {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            // Not all from one number, else the compiler adds once for all.
            let mut acc: [S::F32; WORK] = core::array::from_fn(|i| s.splat(i as f32));
            for chunk in self.0.chunks_exact(16 * 16) {
                for line in 0..16 {
                    let line = if self.1 { line } else { 15 - line };
                    for x in chunk[16 * line..][..16].chunks_exact(S::LANES) {
                        let x = s.load(x);
                        for acc in &mut acc {
                            *acc = s.add(*acc, x);
                        }
                    }
                }
            }
            acc.into_iter().map(|acc| s.fold_vector(acc, |a, b| s.add(a, b))).sum()
        }
    }
    move || {
        black_box(Isa::best().dispatch(Sum::<WORK>(data, upwards)));
    }
}

/// A run of as many divisions as the machine can do, and their number.
pub(crate) fn division_peak() -> (impl FnMut(), f64) {
    struct Divisions(f32, f32);
    impl Kernel for Divisions {
        type Output = (f32, usize);
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> (f32, usize) {
            let (start, divisor) = (s.splat(self.0), s.splat(self.1));
            let mut quotients = [start; CHAINS];
            for _ in 0..STEPS {
                for quotient in &mut quotients {
                    *quotient = s.div(*quotient, divisor);
                }
            }
            let sum = quotients.into_iter().map(|q| s.fold_vector(q, |a, b| s.add(a, b))).sum();
            (sum, CHAINS * STEPS * S::LANES)
        }
    }
    let isa = Isa::best();
    // Neither operand becomes special: 1 stays 1.
    let divide = move || isa.dispatch(Divisions(black_box(1.5), black_box(1.0)));
    let (_, count) = divide();
    let run = move || {
        black_box(divide());
    };
    (run, count as f64)
}

/// What a kernel reads and writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Traffic {
    /// Reads `x`, writes `out`.
    Copy,
    /// Reads `x` and `y`, writes `x`.
    Sum,
    /// Reads `x` and `y`, writes `x` and `out`.
    SumAndCopy,
}

/// A run that does the traffic and no more; all operands are of one length, and `y` holds zeros.
pub(crate) fn stream<'a>(traffic: Traffic, x: &'a mut [f32], y: &'a [f32], out: &'a mut [f32]) -> impl FnMut() + 'a {
    struct Stream<'a>(Traffic, &'a mut [f32], &'a [f32], &'a mut [f32]);
    impl Kernel for Stream<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Stream(traffic, x, y, out) = self;
            let vectors =
                x.chunks_exact_mut(S::LANES).zip(y.chunks_exact(S::LANES)).zip(out.chunks_exact_mut(S::LANES));
            match traffic {
                Traffic::Copy => vectors.for_each(|((x, _), out)| s.store(s.load(x), out)),
                Traffic::Sum => vectors.for_each(|((x, y), _)| s.store(s.add(s.load(x), s.load(y)), x)),
                Traffic::SumAndCopy => vectors.for_each(|((x, y), out)| {
                    let sum = s.add(s.load(x), s.load(y));
                    s.store(sum, x);
                    s.store(sum, out);
                }),
            }
        }
    }
    move || Isa::best().dispatch(Stream(traffic, x, y, out))
}
