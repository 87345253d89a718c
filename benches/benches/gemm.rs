//! The dense product by criterion: shape x level, packed.

mod common;

use common::{each_level, matrix, matrix_mut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernform_gemm::{Epilogue, Operand, PackedB, gemm};
use kernform_tensor::Serial;

fn packed_product(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm");
    for (m, n, k) in [(1, 512, 128), (8, 512, 128), (64, 512, 128), (128, 384, 1536), (512, 512, 512)] {
        let (a, b) = (vec![0.5; m * k], vec![0.25; k * n]);
        let packed = PackedB::pack(matrix(&b, k, n)).expect("memory for the packed operand");
        let mut c = vec![0.0; m * n];
        group.throughput(Throughput::Elements((2 * m * n * k) as u64));
        each_level(&mut group, &format!("{m},{n},{k}"), |isa| {
            let (a, b, c) = (matrix(&a, m, k), Operand::Packed(&packed), matrix_mut(&mut c, m, n));
            gemm(isa, &Serial, a, b, c, &Epilogue::NONE, &mut []).expect("shapes that fit");
        });
    }
    group.finish();
}

criterion_group!(benches, packed_product);
criterion_main!(benches);
