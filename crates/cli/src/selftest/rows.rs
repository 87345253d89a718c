//! Elementwise functions, reductions, softmax, norms and look-up.

use core::hint::black_box;

use kernform_attention::embed_at;
use kernform_math::{self as math, Rows, reference};
use kernform_norm::{self as norm, LayerNorm, RmsNorm};
use kernform_simd::Isa;

use super::data::Random;
use super::measure::Apart;
use super::probe::{Effort, Outcome, Probe, Unit, Workload, in_class};

/// Lengths around the vectors of every level and the lanes of reductions.
const LENGTHS: [usize; 18] = [0, 1, 3, 4, 5, 7, 8, 15, 16, 17, 31, 63, 64, 65, 127, 128, 200, 1001];
/// Elements of a timed run: input and output fit the first-level cache together.
const TIMED: usize = 2048;
const EPSILON: f32 = 1e-5;

fn bytes(floats: usize) -> f64 {
    (floats * size_of::<f32>()) as f64
}

// Timed runs leave results alone: what a kernel refuses shows in its comparison.

/// A workload that reads `TIMED` floats and writes as many.
fn map_workload(mut map: impl FnMut(Isa, &[f32], &mut [f32]) + 'static) -> Workload {
    let mut buffer = Apart::new(&Random::new(2).ordinary_values(TIMED));
    let run = move |isa: Isa| {
        let (x, out) = buffer.split();
        map(isa, black_box(x), black_box(out));
    };
    Workload { amount: bytes(2 * TIMED), run: Box::new(run) }
}

/// Runs a comparison for each length, on hostile and on ordinary values.
fn for_lengths(
    random: &mut Random,
    effort: Effort,
    mut compare: impl FnMut(&mut Random, usize, bool) -> Outcome,
) -> Outcome {
    let mut outcome = Outcome::default();
    for len in effort.shapes(LENGTHS) {
        outcome += compare(random, len, true);
        outcome += compare(random, len, false);
    }
    outcome
}

macro_rules! elementwise {
    ($label:literal, $function:ident, $reference:expr) => {
        Probe {
            name: $label,
            unit: Unit::GbPerSecond,
            check: |isa, random, effort| {
                for_lengths(random, effort, |random, len, hostile| {
                    let x = random.values(len, hostile);
                    let mut found = vec![0.0; len];
                    if let Err(error) = math::$function(isa, &x, &mut found) {
                        return Outcome::refused(len, error);
                    }
                    let expected: Vec<f32> = in_class!(isa, Class => {
                        let reference: fn(f32) -> f32 = $reference(core::marker::PhantomData::<Class>);
                        x.iter().map(|x| reference(*x)).collect()
                    });
                    Outcome::compare(format_args!("{len} values"), &found, &expected)
                })
            },
            workload: |_| {
                map_workload(|isa, x, out| {
                    let _ = math::$function(isa, x, out);
                })
            },
        }
    };
}

/// The reference of a function, of the class that the caller's marker names.
macro_rules! of_class {
    ($function:ident) => {{
        fn pick<A: kernform_simd::Arithmetic>(_: core::marker::PhantomData<A>) -> fn(f32) -> f32 {
            reference::$function::<A>
        }
        pick
    }};
}

fn relu_reference<A>(_: core::marker::PhantomData<A>) -> fn(f32) -> f32 {
    reference::relu
}

pub(crate) const PROBES: [Probe; 18] = [
    elementwise!("exp", exp, of_class!(exp)),
    elementwise!("log", log, of_class!(log)),
    elementwise!("tanh", tanh, of_class!(tanh)),
    elementwise!("erf", erf, of_class!(erf)),
    elementwise!("sigmoid", sigmoid, of_class!(sigmoid)),
    elementwise!("GELU, erf form", gelu_erf, of_class!(gelu_erf)),
    elementwise!("GELU, tanh form", gelu_tanh, of_class!(gelu_tanh)),
    elementwise!("SiLU", silu, of_class!(silu)),
    elementwise!("ReLU", relu, relu_reference),
    Probe { name: "residual sum", unit: Unit::GbPerSecond, check: check_add, workload: add_workload },
    Probe { name: "sum, max, dot", unit: Unit::GbPerSecond, check: check_reductions, workload: sum_workload },
    Probe {
        name: "softmax",
        unit: Unit::GbPerSecond,
        check: check_softmax,
        workload: |_| {
            map_workload(|isa, x, out| {
                let _ = math::softmax(isa, x, Rows::dense(TIMED / 128, 128), out);
            })
        },
    },
    Probe {
        name: "log-softmax",
        unit: Unit::GbPerSecond,
        check: check_log_softmax,
        workload: |_| {
            map_workload(|isa, x, out| {
                let _ = math::log_softmax(isa, x, Rows::dense(TIMED / 128, 128), out);
            })
        },
    },
    Probe { name: "LayerNorm", unit: Unit::GbPerSecond, check: check_layer_norm, workload: |_| norm_workload(true) },
    Probe { name: "RMSNorm", unit: Unit::GbPerSecond, check: check_rms_norm, workload: |_| norm_workload(false) },
    Probe {
        name: "residual + LayerNorm",
        unit: Unit::GbPerSecond,
        check: check_add_layer_norm,
        workload: add_norm_workload,
    },
    Probe {
        name: "residual + RMSNorm",
        unit: Unit::GbPerSecond,
        check: check_add_rms_norm,
        workload: add_rms_workload,
    },
    Probe {
        name: "embedding + position",
        unit: Unit::GbPerSecond,
        check: check_embedding,
        workload: embedding_workload,
    },
];

fn check_add(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    for_lengths(random, effort, |random, len, hostile| {
        let (x, mut found) = (random.values(len, hostile), random.values(len, hostile));
        let expected: Vec<f32> = x.iter().zip(&found).map(|(x, y)| x + y).collect();
        match math::add(isa, &x, &mut found) {
            Ok(()) => Outcome::compare(format_args!("{len} values"), &found, &expected),
            Err(error) => Outcome::refused(len, error),
        }
    })
}

fn add_workload(_: Effort) -> Workload {
    let mut workload = map_workload(|isa, x, out| {
        let _ = math::add(isa, x, out);
    });
    workload.amount = bytes(3 * TIMED);
    workload
}

fn check_reductions(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    for_lengths(random, effort, |random, len, hostile| {
        let (x, y) = (random.values(len, hostile), random.values(len, hostile));
        let dot = match math::dot(isa, &x, &y) {
            Ok(dot) => dot,
            Err(error) => return Outcome::refused(len, error),
        };
        let found = [math::sum(isa, &x), math::max(isa, &x), dot];
        let expected_dot = in_class!(isa, Class => reference::dot::<Class>(&x, &y));
        let expected = [reference::sum(&x), reference::max(&x), expected_dot];
        Outcome::compare(format_args!("{len} values"), &found, &expected)
    })
}

fn sum_workload(_: Effort) -> Workload {
    let x = Random::new(2).ordinary_values(TIMED);
    let run = move |isa: Isa| {
        black_box(math::sum(isa, black_box(&x)));
    };
    Workload { amount: bytes(TIMED), run: Box::new(run) }
}

fn check_softmax(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    check_rows(isa, random, effort, math::softmax, |isa, row| {
        in_class!(isa, Class => reference::softmax::<Class>(row));
    })
}

fn check_log_softmax(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    check_rows(isa, random, effort, math::log_softmax, |isa, row| {
        in_class!(isa, Class => reference::log_softmax::<Class>(row));
    })
}

/// Compares a function of rows with its reference for one row.
fn check_rows<E: core::fmt::Display>(
    isa: Isa,
    random: &mut Random,
    effort: Effort,
    kernel: impl Fn(Isa, &[f32], Rows, &mut [f32]) -> Result<(), E>,
    reference: impl Fn(Isa, &mut [f32]),
) -> Outcome {
    for_lengths(random, effort, |random, width, hostile| {
        let rows = Rows::dense(3, width);
        let x = random.values(3 * width, hostile);
        let (mut found, mut expected) = (vec![0.0; x.len()], x.clone());
        if let Err(error) = kernel(isa, &x, rows, &mut found) {
            return Outcome::refused(width, error);
        }
        expected.chunks_mut(width.max(1)).for_each(|row| reference(isa, row));
        Outcome::compare(format_args!("3 rows of {width}"), &found, &expected)
    })
}

/// Compares a norm, with or without a residual added before, with its reference.
fn check_norm(isa: Isa, random: &mut Random, effort: Effort, is_layer: bool, is_added: bool) -> Outcome {
    for_lengths(random, effort, |random, width, hostile| {
        let rows = Rows::dense(3, width);
        let (gamma, beta) = (random.values(width, false), random.values(width, false));
        let (x, residual) = (random.values(3 * width, hostile), random.values(3 * width, hostile));
        let layer = LayerNorm { gamma: &gamma, beta: Some(&beta), epsilon: EPSILON };
        let rms = RmsNorm { weight: &gamma, weight_offset: 0.0, epsilon: EPSILON };
        let (mut summed, mut found) = (x.clone(), vec![0.0; x.len()]);
        let done = match (is_layer, is_added) {
            (true, false) => norm::layer_norm(isa, &layer, &x, rows, &mut found, width),
            (false, false) => norm::rms_norm(isa, &rms, &x, rows, &mut found, width),
            (true, true) => norm::add_layer_norm(isa, &layer, &mut summed, rows, &residual, width, &mut found, width),
            (false, true) => norm::add_rms_norm(isa, &rms, &mut summed, rows, &residual, width, &mut found, width),
        };
        if let Err(error) = done {
            return Outcome::refused(width, error);
        }
        let mut expected = x;
        if is_added {
            norm::reference::add(&mut expected, &residual);
        }
        let expected_sum = expected.clone();
        for row in expected.chunks_mut(width.max(1)) {
            in_class!(isa, Class => if is_layer {
                norm::reference::layer_norm::<Class, f32>(row, &gamma, Some(&beta), EPSILON);
            } else {
                norm::reference::rms_norm::<Class, f32>(row, &gamma, 0.0, EPSILON);
            });
        }
        let mut outcome = Outcome::compare(format_args!("3 rows of {width}"), &found, &expected);
        outcome += Outcome::compare(format_args!("sum of 3 rows of {width}"), &summed, &expected_sum);
        outcome
    })
}

fn check_layer_norm(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    check_norm(isa, random, effort, true, false)
}

fn check_rms_norm(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    check_norm(isa, random, effort, false, false)
}

fn check_add_layer_norm(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    check_norm(isa, random, effort, true, true)
}

fn check_add_rms_norm(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    check_norm(isa, random, effort, false, true)
}

const WIDTH: usize = 512;

fn norm_workload(is_layer: bool) -> Workload {
    let (gamma, beta) = (vec![1.5; WIDTH], vec![0.5; WIDTH]);
    map_workload(move |isa, x, out| {
        let rows = Rows::dense(TIMED / WIDTH, WIDTH);
        let _ = if is_layer {
            norm::layer_norm(
                isa,
                &LayerNorm { gamma: &gamma, beta: Some(&beta), epsilon: EPSILON },
                x,
                rows,
                out,
                WIDTH,
            )
        } else {
            norm::rms_norm(isa, &RmsNorm { weight: &gamma, weight_offset: 0.0, epsilon: EPSILON }, x, rows, out, WIDTH)
        };
    })
}

/// `x = x + residual` and its norm in one pass: two inputs read, two written. The sum starts anew from the output.
fn add_norm_workload(_: Effort) -> Workload {
    added_norm_workload(true)
}

fn add_rms_workload(_: Effort) -> Workload {
    added_norm_workload(false)
}

fn added_norm_workload(is_layer: bool) -> Workload {
    let (gamma, beta) = (vec![1.5; WIDTH], vec![0.5; WIDTH]);
    // Zeros are added, so that the sum stays what it is however often it is formed.
    let residual = vec![0.0; TIMED];
    let mut sum = Random::new(2).ordinary_values(TIMED);
    let mut workload = map_workload(move |isa, _, out| {
        let (rows, x, residual) = (Rows::dense(TIMED / WIDTH, WIDTH), black_box(&mut sum), black_box(&residual));
        let _ = if is_layer {
            let norm = LayerNorm { gamma: &gamma, beta: Some(&beta), epsilon: EPSILON };
            norm::add_layer_norm(isa, &norm, x, rows, residual, WIDTH, out, WIDTH)
        } else {
            let norm = RmsNorm { weight: &gamma, weight_offset: 0.0, epsilon: EPSILON };
            norm::add_rms_norm(isa, &norm, x, rows, residual, WIDTH, out, WIDTH)
        };
    });
    workload.amount = bytes(4 * TIMED);
    workload
}

fn check_embedding(isa: Isa, random: &mut Random, effort: Effort) -> Outcome {
    let (vocabulary, scale, offset) = (11, 1.7, 2);
    for_lengths(random, effort, |random, width, hostile| {
        let table = random.values(vocabulary * width, hostile);
        let positions = random.values(8 * width, false);
        let ids: Vec<u32> = (0..4).map(|_| random.below(vocabulary) as u32).collect();
        let at = [0, 3, 1, 5];
        let mut found = vec![0.0; ids.len() * width];
        if width > 0
            && let Err(error) = embed_at(isa, &table, width, &ids, scale, &positions, &at, offset, &mut found)
        {
            return Outcome::refused(width, error);
        }
        let row = |table: &[f32], row: usize| table[row * width..][..width].to_vec();
        let expected: Vec<f32> = ids
            .iter()
            .zip(at)
            .flat_map(|(id, at)| {
                let (token, position) = (row(&table, *id as usize), row(&positions, at + offset));
                token.into_iter().zip(position).map(|(token, position)| token * scale + position).collect::<Vec<_>>()
            })
            .collect();
        Outcome::compare(format_args!("4 rows of {width}"), &found, &expected)
    })
}

fn embedding_workload(_: Effort) -> Workload {
    let table = Random::new(3).ordinary_values(4 * WIDTH);
    let mut workload = map_workload(move |isa, positions, out| {
        let _ = embed_at(isa, black_box(&table), WIDTH, &[2, 0, 3, 1], 22.6, positions, &[0, 1, 2, 3], 0, out);
    });
    workload.amount = bytes(3 * TIMED);
    workload
}
