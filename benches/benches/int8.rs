//! The product in int8 by criterion, and the quantisation of rows: shape x level, packed.

mod common;

use common::{each_level, matrix, matrix_mut, values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernform_gemm::Epilogue;
use kernform_gemm::int8::{PackedI8, Rows, Scale, gemm_i8, gemm_i8_scratch_len, quantize_rows};
use kernform_tensor::Serial;

const SHAPES: [(usize, usize, usize); 4] = [(1, 384, 1536), (8, 1024, 1024), (64, 512, 128), (128, 1536, 384)];

/// With rows quantised on the way ("dynamic"), and with rows that are int8 already.
fn product(criterion: &mut Criterion) {
    for dynamic in [true, false] {
        let mut group = criterion.benchmark_group(if dynamic { "gemm_int8" } else { "gemm_int8_quantized" });
        for (m, n, k) in SHAPES {
            let (a, quantized, b) = (vec![0.5; m * k], vec![50; m * k], vec![25; k * n]);
            let packed = PackedI8::pack(matrix(&b, k, n)).expect("memory for the packed operand");
            let (mut c, mut scratch) = (vec![0.0; m * n], vec![0.0; gemm_i8_scratch_len(1, m, n, k)]);
            group.throughput(Throughput::Elements((2 * m * n * k) as u64));
            each_level(&mut group, &format!("{m},{n},{k}"), |isa| {
                let rows = if dynamic {
                    Rows::Dynamic(matrix(&a, m, k))
                } else {
                    Rows::Quantized { values: matrix(&quantized, m, k), scale: Scale::One(0.01) }
                };
                let c = matrix_mut(&mut c, m, n);
                gemm_i8(isa, &Serial, rows, &packed, Scale::One(0.01), c, &Epilogue::NONE, &mut scratch)
                    .expect("shapes that fit");
            });
        }
        group.finish();
    }
}

fn quantize(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quantize_rows");
    for (m, k) in [(1, 384), (1, 4096), (128, 384)] {
        let x = values(m * k, 1);
        let (mut q, mut scales) = (vec![0; m * k], vec![0.0; m]);
        group.throughput(Throughput::Elements((m * k) as u64));
        each_level(&mut group, &format!("{m},{k}"), |isa| {
            quantize_rows(isa, matrix(&x, m, k), matrix_mut(&mut q, m, k), &mut scales).expect("shapes that fit");
        });
    }
    group.finish();
}

criterion_group!(benches, product, quantize);
criterion_main!(benches);
