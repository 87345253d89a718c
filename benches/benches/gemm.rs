//! The dense product by criterion, in floats and in int8: shape x level, packed.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernform_gemm::int8::{PackedI8, Rows, Scale, gemm_i8, gemm_i8_scratch_len};
use kernform_gemm::{Epilogue, Operand, PackedB, gemm};
use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, Serial};

fn packed_product(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm");
    for (m, n, k) in [(1, 512, 128), (8, 512, 128), (64, 512, 128), (128, 384, 1536), (512, 512, 512)] {
        let (a, b) = (vec![0.5; m * k], vec![0.25; k * n]);
        let a = MatrixRef::new(&a, m, k).expect("a row-major matrix of its own length");
        let b = MatrixRef::new(&b, k, n).expect("a row-major matrix of its own length");
        let packed = PackedB::pack(b).expect("memory for the packed operand");
        let mut c = vec![0.0; m * n];
        group.throughput(Throughput::Elements((2 * m * n * k) as u64));
        for isa in Isa::available() {
            group.bench_function(BenchmarkId::new(isa.to_string(), format!("{m},{n},{k}")), |bencher| {
                bencher.iter(|| {
                    let c = MatrixMut::new(&mut c, m, n).expect("a row-major matrix of its own length");
                    gemm(isa, &Serial, a, Operand::Packed(&packed), c, &Epilogue::NONE, &mut [])
                        .expect("shapes that fit");
                });
            });
        }
    }
    group.finish();
}

/// The same in int8, quantising A.
fn int8_product(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm_int8");
    for (m, n, k) in [(1, 384, 1536), (8, 1024, 1024), (128, 1536, 384)] {
        let (a, b) = (vec![0.5; m * k], vec![25; k * n]);
        let a = MatrixRef::new(&a, m, k).expect("a row-major matrix of its own length");
        let b = MatrixRef::new(&b, k, n).expect("a row-major matrix of its own length");
        let packed = PackedI8::pack(b).expect("memory for the packed operand");
        let (mut c, mut scratch) = (vec![0.0; m * n], vec![0.0; gemm_i8_scratch_len(1, m, n, k)]);
        group.throughput(Throughput::Elements((2 * m * n * k) as u64));
        for isa in Isa::available() {
            group.bench_function(BenchmarkId::new(isa.to_string(), format!("{m},{n},{k}")), |bencher| {
                bencher.iter(|| {
                    let c = MatrixMut::new(&mut c, m, n).expect("a row-major matrix of its own length");
                    let (rows, scale) = (Rows::Dynamic(a), Scale::One(0.01));
                    gemm_i8(isa, &Serial, rows, &packed, scale, c, &Epilogue::NONE, &mut scratch)
                        .expect("shapes that fit");
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, packed_product, int8_product);
criterion_main!(benches);
