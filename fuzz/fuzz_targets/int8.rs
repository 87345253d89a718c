//! The int8 product: any shapes, layouts, bytes and floats give the same bits on every level, and threads change nothing.
#![no_main]

use kernform_fuzz::{extents, floats, levels_agree};
use kernform_gemm::int8::{PackedI8, Rows, Scale, gemm_i8, gemm_i8_i32, gemm_i8_scratch_len};
use kernform_gemm::{Activation, Epilogue};
use kernform_simd::Isa;
use kernform_tensor::parallel::Threads;
use kernform_tensor::{MatrixMut, MatrixRef, Serial};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = product(&mut Unstructured::new(input));
});

/// `len` bytes of the input, and where it ends others that differ.
fn bytes(input: &mut Unstructured<'_>, len: usize) -> Result<Vec<i8>> {
    (0..len).map(|i| if input.is_empty() { Ok((i * 89) as i8) } else { input.arbitrary() }).collect()
}

fn product(input: &mut Unstructured<'_>) -> Result<()> {
    // Blocks are of 256 rows, or of as many as fit 240 KiB, but of 12 at least.
    let [m, n, k] = extents(input, [600, 300, 12_000])?;
    let m = if k > 600 { m.min(30) } else { m };
    let n = if k > 600 { n.min(2) } else { n };
    let (a_is_transposed, b_is_transposed): (bool, bool) = (input.arbitrary()?, input.arbitrary()?);
    let (has_bias, has_residual, one_scale): (bool, bool, bool) =
        (input.arbitrary()?, input.arbitrary()?, input.arbitrary()?);
    let threads = *input.choose(&[2, 3, 64, 65])?;
    let activation = *input.choose(&[Activation::Identity, Activation::Relu, Activation::GeluErf])?;
    let source = input.int_in_range(0..=2)?;
    let multiplier = floats(input, 1)?[0];
    let (col_scale, bias, residual) = (floats(input, n)?, floats(input, n)?, floats(input, m * n)?);
    let row_scale = floats(input, m)?;
    let a_bytes = bytes(input, m * k)?;
    let a_floats = floats(input, m * k)?;
    let b = bytes(input, k * n)?;
    let strides = |rows: usize, cols: usize, is_transposed| if is_transposed { (1, rows) } else { (cols, 1) };
    let (a_at, b_at) = (strides(m, k, a_is_transposed), strides(k, n, b_is_transposed));
    let a_bytes = MatrixRef::with_strides(&a_bytes, m, k, a_at.0, a_at.1).expect("a layout that fits its storage");
    let a_floats = MatrixRef::with_strides(&a_floats, m, k, a_at.0, a_at.1).expect("a layout that fits its storage");
    let b = MatrixRef::with_strides(&b, k, n, b_at.0, b_at.1).expect("a layout that fits its storage");
    let packed = PackedI8::pack(b).expect("memory for a small operand");
    let rows = match source {
        0 => Rows::Quantized { values: a_bytes, scale: Scale::Each(&row_scale) },
        1 => Rows::Dynamic(a_floats),
        _ => Rows::Static { values: a_floats, multiplier, scale: 1.0 / multiplier },
    };
    let mut epilogue = Epilogue::bias(has_bias.then_some(&bias[..])).with_activation(activation);
    if has_residual {
        epilogue = epilogue.with_residual(MatrixRef::new(&residual, m, n).expect("a row-major matrix"));
    }
    let col_scale = if one_scale { Scale::One(multiplier) } else { Scale::Each(&col_scale) };
    levels_agree("gemm_i8", |isa| {
        let run = |threads| {
            let mut c = vec![f32::NAN; m * n];
            // A vector of exactly this length, so that AddressSanitizer sees what lies beyond.
            let mut scratch = vec![f32::NAN; gemm_i8_scratch_len(threads, m, n, k)];
            let out = MatrixMut::new(&mut c, m, n).expect("a row-major matrix");
            gemm_i8(isa, &Threads(threads), rows, &packed, col_scale, out, &epilogue, &mut scratch)
                .expect("shapes that fit");
            c
        };
        let (one, other) = (run(1), run(threads));
        let same = |(x, y): (&f32, &f32)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
        assert!(one.iter().zip(&other).all(same), "{isa}: threads change the result");
        one
    });
    let mut first: Option<Vec<i32>> = None;
    for isa in Isa::available() {
        let mut c = vec![-1; m * n];
        let mut scratch = vec![f32::NAN; gemm_i8_scratch_len(1, m, n, k)];
        let out = MatrixMut::new(&mut c, m, n).expect("a row-major matrix");
        gemm_i8_i32(isa, &Serial, a_bytes, &packed, out, &mut scratch).expect("shapes that fit");
        assert_eq!(&c, first.get_or_insert_with(|| c.clone()), "sums differ on {isa}");
    }
    Ok(())
}
