//! Elementary functions, softmax and norms: any values give the same bits on every level.
#![no_main]

use kernform_fuzz::{floats, levels_agree};
use kernform_math::Rows;
use kernform_norm::{LayerNorm, RmsNorm};
use kernform_simd::Isa;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

/// An elementary function, in place.
type Function = fn(Isa, &mut [f32]);

const FUNCTIONS: [(&str, Function); 9] = [
    ("exp", kernform_math::exp_in_place),
    ("log", kernform_math::log_in_place),
    ("tanh", kernform_math::tanh_in_place),
    ("erf", kernform_math::erf_in_place),
    ("sigmoid", kernform_math::sigmoid_in_place),
    ("silu", kernform_math::silu_in_place),
    ("gelu_erf", kernform_math::gelu_erf_in_place),
    ("gelu_tanh", kernform_math::gelu_tanh_in_place),
    ("relu", kernform_math::relu_in_place),
];

fuzz_target!(|input: &[u8]| {
    let _ = rows(&mut Unstructured::new(input));
});

fn rows(input: &mut Unstructured<'_>) -> Result<()> {
    let (rows, width) = (input.int_in_range(0..=3)?, input.int_in_range(0..=200)?);
    let x = floats(input, rows * width)?;
    let (weight, bias, epsilon) = (floats(input, width)?, floats(input, width)?, floats(input, 1)?[0]);
    for (name, function) in FUNCTIONS {
        levels_agree(name, |isa| {
            let mut out = x.clone();
            function(isa, &mut out);
            out
        });
    }
    let whole = |f: &dyn Fn(&mut [f32])| {
        let mut out = x.clone();
        f(&mut out);
        out
    };
    let shape = Rows::dense(rows, width);
    levels_agree("softmax", |isa| whole(&|x| kernform_math::softmax_in_place(isa, x, shape).expect("whole rows")));
    levels_agree("log_softmax", |isa| {
        whole(&|x| kernform_math::log_softmax_in_place(isa, x, shape).expect("whole rows"))
    });
    let norm = LayerNorm { gamma: &weight, beta: Some(&bias), epsilon };
    levels_agree("layer_norm", |isa| {
        whole(&|x| kernform_norm::layer_norm_in_place(isa, &norm, x, shape).expect("whole rows"))
    });
    let norm = RmsNorm { weight: &weight, weight_offset: 0.0, epsilon };
    levels_agree("rms_norm", |isa| {
        whole(&|x| kernform_norm::rms_norm_in_place(isa, &norm, x, shape).expect("whole rows"))
    });
    Ok(())
}
