//! The int8 matrix product, with rows quantised on the way.

use core::hint::black_box;

use kernform_gemm::Epilogue;
use kernform_gemm::int8::{PackedI8, Rows, Scale, gemm_i8, gemm_i8_scratch_len, quantize_rows, reference};
use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, Serial};

use super::data::Random;
use super::probe::{Effort, Outcome, Probe, Unit, Workload, in_class};

pub(crate) const PROBES: [Probe; 1] =
    [Probe { name: "gemm, int8 weights", unit: Unit::Gflops, check: compare_all, workload }];

/// Shapes `(m, n, k)` around the edges of the tiles, thin ones, and with nothing in them.
const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (1, 101, 128),
    (2, 17, 5),
    (6, 16, 7),
    (7, 40, 30),
    (13, 33, 65),
    (25, 65, 97),
    (3, 129, 6),
    (31, 47, 300),
    (0, 5, 5),
    (5, 0, 5),
    (5, 5, 0),
];

/// Any bytes, one in four of them at the end of the range.
fn bytes(random: &mut Random, len: usize) -> Vec<i8> {
    let byte = |random: &mut Random| match random.below(8) {
        0 => i8::MIN,
        1 => i8::MAX,
        _ => (random.below(256) as u8).cast_signed(),
    };
    (0..len).map(|_| byte(random)).collect()
}

fn compare_all(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, (m, n, k)) in effort.shapes(SHAPES).enumerate() {
        let (x, b) = (random.values(m * k, number % 3 == 2), bytes(random, k * n));
        let (scales, bias) = (random.ordinary_values(n), random.ordinary_values(n));
        let shape = format!("m {m}, n {n}, k {k}");
        outcome += compare(isa, (m, n, k), &x, &b, &scales, &bias).map_or_else(
            |error| Outcome::refused(&shape, error),
            |(found, expected)| Outcome::compare(&shape, &found, &expected),
        );
    }
    outcome
}

type Pair = (Vec<f32>, Vec<f32>);

fn compare(
    isa: Isa,
    (m, n, k): (usize, usize, usize),
    x: &[f32],
    b: &[i8],
    scales: &[f32],
    bias: &[f32],
) -> Result<Pair, Box<dyn core::error::Error>> {
    // Weights as PyTorch stores them: [out, in].
    let b = MatrixRef::new(b, n, k)?.transpose();
    let (mut found, mut expected) = (vec![0.0; m * n], vec![0.0; m * n]);
    let mut scratch = vec![0.0; gemm_i8_scratch_len(1, m, n, k)];
    let rows = Rows::Dynamic(MatrixRef::new(x, m, k)?);
    let (epilogue, c) = (Epilogue::bias(Some(bias)), MatrixMut::new(&mut found, m, n)?);
    gemm_i8(isa, &Serial, rows, &PackedI8::pack(b)?, Scale::Each(scales), c, &epilogue, &mut scratch)?;

    let mut quantized = vec![0; m * k];
    let quantize = |i: usize| reference::quantize_row(&x[i * k..][..k], &mut quantized[i * k..][..k]);
    let row_scales: Vec<f32> = (0..m).map(quantize).collect();
    let (a, c) = (MatrixRef::new(&quantized, m, k)?, MatrixMut::new(&mut expected, m, n)?);
    in_class!(isa, Class => {
        reference::gemm_i8::<f32, Class>(a, &row_scales, b, scales, c, Some(bias), |x| x, None)?;
    });
    Ok((found, expected))
}

fn workload(effort: Effort) -> Workload {
    let size = if effort == Effort::Quick { 96 } else { 192 };
    let mut random = Random::new(1);
    let (x, weight) = (random.ordinary_values(size * size), random.ordinary_values(size * size));
    let (mut b, mut scales, mut c) = (vec![0; size * size], vec![0.0; size], vec![0.0; size * size]);
    let mut scratch = vec![0.0; gemm_i8_scratch_len(1, size, size, size)];
    let quantized = MatrixRef::new(&weight, size, size)
        .ok()
        .zip(MatrixMut::new(&mut b, size, size).ok())
        .is_some_and(|(weight, b)| quantize_rows(Isa::best(), weight, b, &mut scales).is_ok());
    let packed = MatrixRef::new(&b, size, size).ok().and_then(|b| PackedI8::pack(b.transpose()).ok());
    let run = move |isa: Isa| {
        let (Ok(x), Some(packed), true) = (MatrixRef::new(black_box(&x), size, size), &packed, quantized) else {
            return;
        };
        let Ok(c) = MatrixMut::new(black_box(&mut c), size, size) else { return };
        let (rows, scale) = (Rows::Dynamic(x), Scale::Each(&scales));
        // What is refused shows in the comparison; here it would show as a speed beyond every limit.
        let _ = gemm_i8(isa, &Serial, rows, packed, scale, c, &Epilogue::NONE, &mut scratch);
    };
    Workload { amount: 2.0 * (size * size * size) as f64, run: Box::new(run) }
}
