//! Block formats by criterion: format x rows x level for products, format x level for decoding.

mod common;

use common::{each_level, matrix, matrix_mut, values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernform_quant::{Activations, Format, PackedWeights, decode, multiply};
use kernform_tensor::Serial;

/// Columns, and values of each.
const SHAPE: (usize, usize) = (1024, 1024);
/// A token, and a short prompt.
const ROWS: [usize; 2] = [1, 32];

/// Blocks whose bits are of no importance, but whose scales are ordinary numbers.
fn blocks(format: Format, values: usize) -> Vec<u8> {
    let len = format.row_bytes(values).expect("a whole number of blocks");
    // Without the highest exponents no half is infinite or NaN.
    (0..len).map(|i| (i * 7919 % 251) as u8 & 0x3f).collect()
}

fn product(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quant");
    let (n, k) = SHAPE;
    for format in Format::ALL {
        let weights =
            PackedWeights::pack(format, n, k, &blocks(format, n * k)).expect("blocks of that shape, and memory");
        for m in ROWS {
            let (a, mut c) = (values(m * k, 1), vec![0.0; m * n]);
            let len = Activations::words_len(format.activation(), m, k).expect("a whole number of blocks");
            let mut memory = vec![0; len];
            group.throughput(Throughput::Elements((2 * m * n * k) as u64));
            each_level(&mut group, &format!("{format},{m},{n},{k}"), |isa| {
                let (a, c) = (matrix(&a, m, k), matrix_mut(&mut c, m, n));
                multiply(isa, &Serial, a, &weights, c, None, &mut memory).expect("shapes that fit");
            });
        }
    }
    group.finish();
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quant_decode");
    for format in Format::ALL {
        let (bytes, mut out) = (blocks(format, 4096), vec![0.0; 4096]);
        group.throughput(Throughput::Elements(4096));
        each_level(&mut group, format.name(), |isa| decode(isa, format, &bytes, &mut out).expect("whole blocks"));
    }
    group.finish();
}

criterion_group!(benches, product, decoding);
criterion_main!(benches);
