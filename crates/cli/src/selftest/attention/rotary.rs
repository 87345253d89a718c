//! Rotary positions.

use core::hint::black_box;

use kernform_attention::RowsMut;
use kernform_attention::rope::{Rope, RopePairing, RopeScaling, rotate, rotate_pair};
use kernform_simd::Isa;

use super::super::data::Random;
use super::super::probe::{Effort, Outcome, Probe, Unit, Workload, in_class};
use super::BoxError;

pub(crate) const PROBES: [Probe; 2] = [
    Probe {
        name: "RoPE, halves",
        unit: Unit::GbPerSecond,
        check: |isa, random, effort| check(isa, random, effort, RopePairing::Halves),
        workload: |_| workload(RopePairing::Halves),
    },
    Probe {
        name: "RoPE, interleaved",
        unit: Unit::GbPerSecond,
        check: |isa, random, effort| check(isa, random, effort, RopePairing::Interleaved),
        workload: |_| workload(RopePairing::Interleaved),
    },
];

/// Heads, elements of each, and how many of these are rotated.
const SHAPES: [(usize, usize, usize); 8] =
    [(1, 2, 2), (2, 64, 64), (3, 64, 16), (4, 33, 32), (2, 34, 34), (1, 128, 128), (2, 10, 6), (5, 24, 22)];
/// Rows of the table.
const POSITIONS: usize = 9;

fn table(rotary_dim: usize) -> Result<Vec<f32>, BoxError> {
    let mut table = vec![0.0; POSITIONS * rotary_dim];
    Rope { rotary_dim, base: 10_000.0, scaling: RopeScaling::None }.table(0, &mut table)?;
    Ok(table)
}

fn check(isa: Isa, random: &mut Random, effort: Effort, pairing: RopePairing) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, shape) in effort.shapes(SHAPES).enumerate() {
        let name = format!("{} heads of {}, {} rotated", shape.0, shape.1, shape.2);
        let (positions, width) = ([0, 8, 3, 3], shape.0 * shape.1);
        let x = random.values(positions.len() * width, number % 3 == 2);
        outcome += compare(isa, pairing, shape, &positions, x).map_or_else(
            |error| Outcome::refused(&name, error),
            |(found, expected)| Outcome::compare(&name, &found, &expected),
        );
    }
    outcome
}

fn compare(
    isa: Isa,
    pairing: RopePairing,
    (heads, head_dim, rotary_dim): (usize, usize, usize),
    positions: &[usize],
    x: Vec<f32>,
) -> Result<(Vec<f32>, Vec<f32>), BoxError> {
    let (table, width, half) = (table(rotary_dim)?, heads * head_dim, rotary_dim / 2);
    let (mut found, mut expected) = (x.clone(), x);
    rotate(isa, pairing, heads, head_dim, rotary_dim, &table, positions, RowsMut::new(&mut found, width))?;
    for (row, position) in expected.chunks_mut(width).zip(positions) {
        let angles = &table[position * rotary_dim..][..rotary_dim];
        for head in row.chunks_mut(head_dim) {
            for i in 0..half {
                let (a, b) = match pairing {
                    RopePairing::Halves => (i, half + i),
                    RopePairing::Interleaved => (2 * i, 2 * i + 1),
                };
                (head[a], head[b]) = in_class!(isa, Class => {
                    rotate_pair::<Class, f32>(head[a], head[b], angles[i], angles[half + i])
                });
            }
        }
    }
    Ok((found, expected))
}

/// Four tokens of eight heads of 64, in place: read and written in the first-level cache.
fn workload(pairing: RopePairing) -> Workload {
    let (heads, head_dim, positions) = (8, 64, [1, 2, 3, 4]);
    let mut rows = Random::new(6).ordinary_values(positions.len() * heads * head_dim);
    let table = table(head_dim).unwrap_or_default();
    let amount = (2 * rows.len() * size_of::<f32>()) as f64;
    let run = move |isa: Isa| {
        let rows = RowsMut::new(black_box(&mut rows), heads * head_dim);
        // What is refused shows in the comparison.
        let _ = rotate(isa, pairing, heads, head_dim, head_dim, &table, &positions, rows);
    };
    Workload { amount, run: Box::new(run) }
}
