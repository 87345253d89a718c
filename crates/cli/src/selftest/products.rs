//! The matrix product.

use core::hint::black_box;

use kernform_gemm::{Activation, Epilogue, Layout, Operand, PackedB, gemm, gemm_scratch_len, reference};
use kernform_math::reference::activate;
use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, Serial};

use super::data::Random;
use super::probe::{Effort, Outcome, Probe, Unit, Workload, in_class};

pub(crate) const PROBES: [Probe; 2] = [
    Probe { name: "gemm, packed weights", unit: Unit::Gflops, check: check_packed, workload: packed_workload },
    Probe { name: "gemm, any strides", unit: Unit::Gflops, check: check_strided, workload: strided_workload },
];

/// Shapes `(m, n, k)` around the edges of the tiles, thin ones, and with nothing in them.
const SHAPES: [(usize, usize, usize); 20] = [
    (1, 1, 1),
    (1, 16, 64),
    (1, 101, 128),
    (6, 16, 7),
    (7, 17, 9),
    (5, 15, 33),
    (8, 48, 64),
    (12, 32, 64),
    (13, 33, 65),
    (14, 31, 63),
    (24, 64, 96),
    (25, 65, 97),
    (3, 129, 5),
    (65, 3, 5),
    (31, 47, 300),
    (48, 96, 256),
    (0, 5, 5),
    (5, 0, 5),
    (5, 5, 0),
    (17, 257, 31),
];

const ACTIVATIONS: [Activation; 5] =
    [Activation::Identity, Activation::Relu, Activation::GeluErf, Activation::GeluTanh, Activation::Silu];

fn check_packed(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    check(isa, random, effort, true)
}

fn check_strided(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    check(isa, random, effort, false)
}

fn check(isa: Isa, random: &mut Random, effort: Effort, is_packed: bool) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, (m, n, k)) in effort.shapes(SHAPES).enumerate() {
        let hostile = number % 3 == 2;
        let (a, b) = (random.values(m * k, hostile), random.values(k * n, hostile));
        let (bias, residual) = (random.values(n, false), random.values(m * n, false));
        let activation = ACTIVATIONS[number % ACTIVATIONS.len()];
        let shape = format!("m {m}, n {n}, k {k}, {activation:?}");
        let compare = || -> Result<Outcome, Box<dyn core::error::Error>> {
            let a = MatrixRef::new(&a, m, k)?;
            // Weights as PyTorch stores them: [out, in].
            let b = MatrixRef::new(&b, n, k)?.transpose();
            let residual = MatrixRef::new(&residual, m, n)?;
            let epilogue = Epilogue::bias(Some(&bias)).with_activation(activation).with_residual(residual);
            let (mut found, mut expected) = (vec![0.0; m * n], vec![0.0; m * n]);
            let c = MatrixMut::new(&mut found, m, n)?;
            let mut scratch = vec![0.0; gemm_scratch_len(1, m, n, k, Layout::of(&a), Layout::of(&b))];
            if is_packed {
                let packed = PackedB::pack(b)?;
                gemm(isa, &Serial, a, Operand::Packed(&packed), c, &epilogue, &mut scratch)?;
            } else {
                gemm(isa, &Serial, a, Operand::Strided(b), c, &epilogue, &mut scratch)?;
            }
            let c = MatrixMut::new(&mut expected, m, n)?;
            in_class!(isa, Class => {
                reference::gemm::<f32, Class>(a, b, c, Some(&bias), |x| activate::<Class>(activation, x), Some(residual))?;
            });
            Ok(Outcome::compare(&shape, &found, &expected))
        };
        outcome += compare().unwrap_or_else(|error| Outcome::refused(&shape, error));
    }
    outcome
}

fn packed_workload(effort: Effort) -> Workload {
    workload(effort, true)
}

fn strided_workload(effort: Effort) -> Workload {
    workload(effort, false)
}

fn workload(effort: Effort, is_packed: bool) -> Workload {
    let size = if effort == Effort::Quick { 96 } else { 192 };
    let mut random = Random::new(1);
    let (a, b) = (random.ordinary_values(size * size), random.ordinary_values(size * size));
    let mut c = vec![0.0; size * size];
    let mut scratch = vec![0.0; gemm_scratch_len(1, size, size, size, Layout::RowMajor, Layout::Strided)];
    let packed = MatrixRef::new(&b, size, size).ok().and_then(|b| PackedB::pack(b.transpose()).ok());
    let run = move |isa: Isa| {
        let (Ok(a), Ok(b)) = (MatrixRef::new(black_box(&a), size, size), MatrixRef::new(&b, size, size)) else {
            return;
        };
        let operand = match &packed {
            Some(packed) if is_packed => Operand::Packed(packed),
            _ => Operand::Strided(b.transpose()),
        };
        let Ok(c) = MatrixMut::new(black_box(&mut c), size, size) else { return };
        // What is refused shows in the comparison; here it would show as a speed beyond every limit.
        let _ = gemm(isa, &Serial, a, operand, c, &Epilogue::NONE, &mut scratch);
    };
    Workload { amount: 2.0 * (size * size * size) as f64, run: Box::new(run) }
}
