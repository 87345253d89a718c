//! What this machine can do at most, measured in the same run: multiply-adds, and bytes from cache and memory.

use core::hint::black_box;

use kernform_simd::{Isa, Kernel, Simd};
use serde::Serialize;

use super::measure::{Apart, Budget, seconds_per_run};

/// The limits of one core.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Limits {
    /// Multiply-adds on registers alone, two operations each.
    pub(crate) fma_gflops: f64,
    /// Read and written in the first-level cache.
    pub(crate) cache_gb_s: f64,
    /// Read from memory.
    pub(crate) memory_gb_s: f64,
}

/// Independent chains: more than latency times throughput of any core, fewer than any level's registers.
const CHAINS: usize = 12;
const STEPS: usize = 4096;

/// Chains of multiply-adds; gives the floating-point operations done and the sum that keeps them from being left out.
struct MultiplyAdds {
    factor: f32,
    addend: f32,
}

impl Kernel for MultiplyAdds {
    type Output = (f64, f32);

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (f64, f32) {
        let (factor, addend) = (s.splat(self.factor), s.splat(self.addend));
        let mut chains = [s.splat(1.0); CHAINS];
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = s.mul_add(*chain, factor, addend);
            }
        }
        let mut sum = 0.0;
        for chain in chains {
            sum += s.fold_vector(chain, |a, b| s.add(a, b));
        }
        ((2 * CHAINS * STEPS * S::LANES) as f64, sum)
    }
}

/// `y = x + y`: two loads and a store at a time, the mix that most cores do best.
struct Accumulate<'a>(&'a [f32], &'a mut [f32]);

impl Kernel for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, y) in self.0.chunks_exact(S::LANES).zip(self.1.chunks_exact_mut(S::LANES)) {
            s.store(s.add(s.load(x), s.load(y)), y);
        }
    }
}

/// The largest of `x`, on several chains so that only the reading counts.
struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut chains = [s.splat(f32::NEG_INFINITY); 8];
        for block in self.0.chunks_exact(8 * S::LANES) {
            for (chain, x) in chains.iter_mut().zip(block.chunks_exact(S::LANES)) {
                *chain = s.max(s.load(x), *chain);
            }
        }
        let largest = chains.into_iter().reduce(|a, b| s.max(a, b)).unwrap_or(chains[0]);
        s.fold_vector(largest, |a, b| s.max(a, b))
    }
}

impl Limits {
    /// Measures on the best level that this CPU has.
    pub(crate) fn measure(budget: Budget) -> Self {
        let isa = Isa::available().last().unwrap_or_else(Isa::best);
        let multiply_adds = || isa.dispatch(MultiplyAdds { factor: black_box(0.5), addend: black_box(1.0) });
        let (operations, _) = multiply_adds();
        let fma = seconds_per_run(budget, || {
            black_box(multiply_adds());
        });

        // Two buffers of 8 KiB fit every first-level cache; 64 MiB no cache but a server's.
        let mut small = Apart::new(&[0.0; 2048]);
        let cache = seconds_per_run(budget, || {
            let (x, out) = small.split();
            isa.dispatch(Accumulate(black_box(x), black_box(out)));
        });
        let large = vec![1.0_f32; 16 << 20];
        let memory = seconds_per_run(budget, || {
            black_box(isa.dispatch(Largest(black_box(&large))));
        });
        let bytes = |floats: usize| (floats * size_of::<f32>()) as f64;
        Self {
            fma_gflops: operations / fma / 1e9,
            cache_gb_s: bytes(3 * 2048) / cache / 1e9,
            memory_gb_s: bytes(large.len()) / memory / 1e9,
        }
    }
}
