//! What the benches share: operands, and one measurement a level.

#![allow(dead_code)] // each bench uses its part

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId};
use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef};

/// Numbers from -2 to 2, others for each seed.
pub(crate) fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 31) % 1009) as f32 / 252.0 - 2.0).collect()
}

/// A row-major matrix of its own length.
pub(crate) fn matrix<T>(data: &[T], rows: usize, cols: usize) -> MatrixRef<'_, T> {
    MatrixRef::new(data, rows, cols).expect("a row-major matrix of its own length")
}

/// A row-major matrix of its own length, to write to.
pub(crate) fn matrix_mut<T>(data: &mut [T], rows: usize, cols: usize) -> MatrixMut<'_, T> {
    MatrixMut::new(data, rows, cols).expect("a row-major matrix of its own length")
}

/// Measures `run` on every level of this CPU, each as `group/level/case`.
pub(crate) fn each_level(group: &mut BenchmarkGroup<'_, WallTime>, case: &str, mut run: impl FnMut(Isa)) {
    for isa in Isa::available() {
        group.bench_function(BenchmarkId::new(isa.to_string(), case), |bencher| bencher.iter(|| run(isa)));
    }
}
