//! Functions of elements and of rows by criterion: function x width x level.

mod common;

use common::each_level;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernform_math::{self as math, Rows};
use kernform_norm::{self as norm, LayerNorm, RmsNorm};
use kernform_simd::Isa;

const WIDTHS: [usize; 3] = [384, 1024, 4096];

type Slices = fn(Isa, &[f32], &mut [f32]);

const FUNCTIONS: [(&str, Slices); 9] = [
    ("exp", |isa, x, out| math::exp(isa, x, out).expect("operands of one length")),
    ("log", |isa, x, out| math::log(isa, x, out).expect("operands of one length")),
    ("tanh", |isa, x, out| math::tanh(isa, x, out).expect("operands of one length")),
    ("erf", |isa, x, out| math::erf(isa, x, out).expect("operands of one length")),
    ("sigmoid", |isa, x, out| math::sigmoid(isa, x, out).expect("operands of one length")),
    ("gelu_erf", |isa, x, out| math::gelu_erf(isa, x, out).expect("operands of one length")),
    ("gelu_tanh", |isa, x, out| math::gelu_tanh(isa, x, out).expect("operands of one length")),
    ("silu", |isa, x, out| math::silu(isa, x, out).expect("operands of one length")),
    ("relu", |isa, x, out| math::relu(isa, x, out).expect("operands of one length")),
];

/// One row at a time: functions of rows.
const OF_ROWS: [(&str, Slices); 4] = [
    ("softmax", |isa, x, out| math::softmax(isa, x, Rows::dense(1, x.len()), out).expect("shapes that fit")),
    ("log_softmax", |isa, x, out| math::log_softmax(isa, x, Rows::dense(1, x.len()), out).expect("shapes that fit")),
    ("layer_norm", |isa, x, out| {
        let (gamma, beta) = (&ONES[..x.len()], &ONES[..x.len()]);
        let p = LayerNorm { gamma, beta: Some(beta), epsilon: 1e-5 };
        norm::layer_norm(isa, &p, x, Rows::dense(1, x.len()), out, x.len()).expect("shapes that fit");
    }),
    ("rms_norm", |isa, x, out| {
        let p = RmsNorm { weight: &ONES[..x.len()], weight_offset: 0.0, epsilon: 1e-5 };
        norm::rms_norm(isa, &p, x, Rows::dense(1, x.len()), out, x.len()).expect("shapes that fit");
    }),
];

static ONES: [f32; 4096] = [1.0; 4096];

fn rows(criterion: &mut Criterion) {
    for (name, function) in FUNCTIONS.into_iter().chain(OF_ROWS) {
        let mut group = criterion.benchmark_group(name);
        for width in WIDTHS {
            let x: Vec<f32> = (0..width).map(|i| (i * 7919 % 1009) as f32 / 126.0 - 4.0).collect();
            let mut out = vec![0.0; width];
            group.throughput(Throughput::Elements(width as u64));
            each_level(&mut group, &width.to_string(), |isa| function(isa, &x, &mut out));
        }
        group.finish();
    }
}

criterion_group!(benches, rows);
criterion_main!(benches);
