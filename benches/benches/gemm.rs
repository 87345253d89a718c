//! The dense product by criterion: shape x level, packed.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
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

criterion_group!(benches, packed_product);
criterion_main!(benches);
