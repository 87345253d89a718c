//! The dense product: any shapes, layouts, epilogues and values give the same bits on every level, packed or not.
#![no_main]

use kernform_fuzz::{extents, floats, levels_agree};
use kernform_gemm::{Activation, Epilogue, Layout, Operand, PackedB, gemm, gemm_scratch_len};
use kernform_tensor::parallel::Threads;
use kernform_tensor::{MatrixMut, MatrixRef};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = product(&mut Unstructured::new(input));
});

fn product(input: &mut Unstructured<'_>) -> Result<()> {
    let [m, n, k] = extents(input, [600, 1100, 600])?;
    let (a_gap, b_gap) = (input.int_in_range(0..=3)?, input.int_in_range(0..=3)?);
    let (a_is_transposed, b_is_transposed): (bool, bool) = (input.arbitrary()?, input.arbitrary()?);
    let (has_bias, has_residual): (bool, bool) = (input.arbitrary()?, input.arbitrary()?);
    let threads = *input.choose(&[1, 2, 3, 64, 65])?;
    let activation = *input.choose(&[
        Activation::Identity,
        Activation::Relu,
        Activation::GeluErf,
        Activation::GeluTanh,
        Activation::Silu,
    ])?;
    let strides = |rows: usize, cols: usize, gap: usize, is_transposed: bool| {
        if is_transposed { (1, rows + gap) } else { (cols + gap, 1) }
    };
    let (a_strides, b_strides) = (strides(m, k, a_gap, a_is_transposed), strides(k, n, b_gap, b_is_transposed));
    let a = floats(input, (m + a_gap) * (k + a_gap))?;
    let b = floats(input, (k + b_gap) * (n + b_gap))?;
    let (bias, residual) = (floats(input, n)?, floats(input, m * n)?);
    let a = MatrixRef::with_strides(&a, m, k, a_strides.0, a_strides.1).expect("a layout that fits its storage");
    let b = MatrixRef::with_strides(&b, k, n, b_strides.0, b_strides.1).expect("a layout that fits its storage");
    let mut epilogue = Epilogue::bias(has_bias.then_some(&bias[..])).with_activation(activation);
    if has_residual {
        epilogue = epilogue.with_residual(MatrixRef::new(&residual, m, n).expect("a row-major matrix"));
    }
    let packed = PackedB::pack(b).expect("memory for a small operand");
    levels_agree("gemm", |isa| {
        let run = |operand: Operand<'_>, threads| {
            let mut c = vec![f32::NAN; m * n];
            // A vector of exactly this length, so that AddressSanitizer sees what lies beyond.
            let mut scratch = vec![f32::NAN; gemm_scratch_len(threads, m, n, k, Layout::of(&a), operand.layout())];
            let out = MatrixMut::new(&mut c, m, n).expect("a row-major matrix");
            gemm(isa, &Threads(threads), a, operand, out, &epilogue, &mut scratch).expect("shapes that fit");
            c
        };
        let one = run(Operand::Strided(b), 1);
        let other = run(Operand::Packed(&packed), threads);
        let same = |(x, y): (&f32, &f32)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
        assert!(one.iter().zip(&other).all(same), "{isa}: packed differs from strided");
        one
    });
    Ok(())
}
