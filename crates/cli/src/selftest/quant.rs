//! Block formats: products with weights in them, and decoding.

use core::hint::black_box;

use kernform_quant::{Activations, Format, PackedWeights, decode, multiply, reference};
use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, Serial};

use super::data::Random;
use super::probe::{Effort, Outcome, Probe, Unit, Workload, in_class};

type BoxError = Box<dyn core::error::Error>;

/// A line of the table for each format, by the kind of probe.
macro_rules! each_format {
    ($make:ident, $unit:ident, $check:ident, $workload:ident: $($format:ident $name:literal)+) => {
        pub(crate) const $make: [Probe; Format::ALL.len()] = [$(Probe {
            name: $name,
            unit: Unit::$unit,
            check: |isa, random, effort| $check(isa, random, effort, Format::$format),
            workload: |effort| $workload(effort, Format::$format),
        },)+];
    };
}

each_format! { PROBES, Gflops, check_product, product_workload:
    Q4_0 "Q4_0, product" Q4_1 "Q4_1, product" Q5_0 "Q5_0, product" Q5_1 "Q5_1, product" Q8_0 "Q8_0, product"
    Q2K "Q2_K, product" Q3K "Q3_K, product" Q4K "Q4_K, product" Q5K "Q5_K, product" Q6K "Q6_K, product"
    Q8K "Q8_K, product" Iq4Nl "IQ4_NL, product" Iq4Xs "IQ4_XS, product"
}

each_format! { DECODING, GbPerSecond, check_decoding, decoding_workload:
    Q4_0 "Q4_0, decode" Q4_1 "Q4_1, decode" Q5_0 "Q5_0, decode" Q5_1 "Q5_1, decode" Q8_0 "Q8_0, decode"
    Q2K "Q2_K, decode" Q3K "Q3_K, decode" Q4K "Q4_K, decode" Q5K "Q5_K, decode" Q6K "Q6_K, decode"
    Q8K "Q8_K, decode" Iq4Nl "IQ4_NL, decode" Iq4Xs "IQ4_XS, decode"
}

/// Rows, columns and blocks of each: around the edges of tiles and panels, and a row alone over several panels.
const SHAPES: [(usize, usize, usize); 9] =
    [(1, 1, 1), (1, 64, 2), (4, 17, 3), (13, 33, 1), (1, 16, 5), (3, 15, 2), (12, 32, 1), (1, 81, 1), (5, 48, 2)];

/// Blocks of any bits, or of such that every scale is an ordinary number.
fn blocks(random: &mut Random, format: Format, blocks: usize, hostile: bool) -> Vec<u8> {
    let mask = if hostile { 0xff } else { 0x3f };
    (0..blocks * format.block_bytes()).map(|_| random.below(256) as u8 & mask).collect()
}

fn check_product(isa: Isa, random: &mut Random, effort: Effort, format: Format) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, (m, n, blocks_of_row)) in effort.shapes(SHAPES).enumerate() {
        let (hostile, k) = (number % 3 == 2, blocks_of_row * format.block_len());
        let weights = blocks(random, format, n * blocks_of_row, hostile);
        let (a, bias) = (random.values(m * k, hostile), random.ordinary_values(n));
        let shape = format!("m {m}, n {n}, k {k}");
        let compare = || -> Result<Outcome, BoxError> {
            let packed = PackedWeights::pack(format, n, k, &weights)?;
            let (mut found, mut expected) = (vec![0.0; m * n], vec![0.0; m * n]);
            let mut memory = vec![0; Activations::words_len(format.activation(), m, k)?];
            let (a, c) = (MatrixRef::new(&a, m, k)?, MatrixMut::new(&mut found, m, n)?);
            multiply(isa, &Serial, a, &packed, c, Some(&bias), &mut memory)?;
            let c = MatrixMut::new(&mut expected, m, n)?;
            in_class!(isa, Class => reference::multiply::<Class>(a, format, &weights, c, Some(&bias)))?;
            Ok(Outcome::compare(&shape, &found, &expected))
        };
        outcome += compare().unwrap_or_else(|error| Outcome::refused(&shape, error));
    }
    outcome
}

/// Eight rows of 512 values with 64 columns.
fn product_workload(effort: Effort, format: Format) -> Workload {
    let (m, n, k) = (8, 64, if effort == Effort::Quick { 256 } else { 512 });
    let mut random = Random::new(1);
    let weights = blocks(&mut random, format, n * k / format.block_len(), false);
    let packed = PackedWeights::pack(format, n, k, &weights).ok();
    let (a, mut c) = (random.ordinary_values(m * k), vec![0.0; m * n]);
    let mut memory = vec![0; Activations::words_len(format.activation(), m, k).unwrap_or_default()];
    let run = move |isa: Isa| {
        let (Some(packed), Ok(a), Ok(c)) =
            (&packed, MatrixRef::new(black_box(&a), m, k), MatrixMut::new(black_box(&mut c), m, n))
        else {
            return;
        };
        // What is refused shows in the comparison; here it would show as a speed beyond every limit.
        let _ = multiply(isa, &Serial, a, packed, c, None, &mut memory);
    };
    Workload { amount: 2.0 * (m * n * k) as f64, run: Box::new(run) }
}

fn check_decoding(isa: Isa, random: &mut Random, effort: Effort, format: Format) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, len) in effort.shapes([0, 1, 2, 3, 5, 16]).enumerate() {
        let bytes = blocks(random, format, len, number % 2 == 0);
        let (mut found, mut expected) = (vec![0.0; len * format.block_len()], vec![0.0; len * format.block_len()]);
        let done =
            decode(isa, format, &bytes, &mut found).and_then(|()| reference::decode(format, &bytes, &mut expected));
        outcome += match done {
            Ok(()) => Outcome::compare(format_args!("{len} blocks"), &found, &expected),
            Err(error) => Outcome::refused(format_args!("{len} blocks"), error),
        };
    }
    outcome
}

/// 2048 values; the speed counts the bytes of the blocks and of the floats.
fn decoding_workload(_: Effort, format: Format) -> Workload {
    let bytes = blocks(&mut Random::new(2), format, 2048 / format.block_len(), false);
    let mut out = vec![0.0; 2048];
    let amount = (bytes.len() + out.len() * size_of::<f32>()) as f64;
    // What is refused shows in the comparison.
    let run = move |isa: Isa| {
        let _ = decode(isa, format, black_box(&bytes), black_box(&mut out));
    };
    Workload { amount, run: Box::new(run) }
}
