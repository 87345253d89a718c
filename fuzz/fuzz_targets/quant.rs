//! Products with quantised weights: any blocks, shapes and values give the same bits on every level, and threads change
//! nothing.
#![no_main]

use kernform_fuzz::{extents, floats, levels_agree};
use kernform_quant::{Activations, Format, PackedWeights, decode, multiply};
use kernform_tensor::parallel::Threads;
use kernform_tensor::{MatrixMut, MatrixRef};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = product(&mut Unstructured::new(input));
});

fn product(input: &mut Unstructured<'_>) -> Result<()> {
    let format = *input.choose(&Format::ALL)?;
    // Rows are cut into chunks of 512 KiB, of 12 rows at least.
    let [m, n, k] = extents(input, [200, 300, 32_768])?;
    let m = if k > 600 { m.min(30) } else { m };
    let n = if k > 600 { n.min(2) } else { n };
    let k = k.next_multiple_of(format.block_len());
    let has_bias: bool = input.arbitrary()?;
    let (threads, gap) = (*input.choose(&[2, 3, 64, 65])?, input.int_in_range(0..=3)?);
    let (bias, a) = (floats(input, n)?, floats(input, m * (k + gap))?);
    let len = n * format.row_bytes(k).expect("whole blocks");
    let weights: Vec<u8> = (0..len)
        .map(|i| if input.is_empty() { Ok((i * 89) as u8) } else { input.arbitrary() })
        .collect::<Result<_>>()?;
    let a = MatrixRef::with_strides(&a, m, k, k + gap, 1).expect("a layout that fits its storage");
    let packed = PackedWeights::pack(format, n, k, &weights).expect("memory for small weights");
    levels_agree("decode", |isa| {
        let mut out = vec![f32::NAN; n * k];
        decode(isa, format, &weights, &mut out).expect("whole blocks");
        out
    });
    levels_agree("multiply", |isa| {
        let run = |threads| {
            let mut c = vec![f32::NAN; m * n];
            // A vector of exactly this length, so that AddressSanitizer sees what lies beyond.
            let mut memory = vec![-1; Activations::words_len(format.activation(), m, k).expect("whole blocks")];
            let out = MatrixMut::new(&mut c, m, n).expect("a row-major matrix");
            multiply(isa, &Threads(threads), a, &packed, out, has_bias.then_some(&bias[..]), &mut memory)
                .expect("shapes that fit");
            c
        };
        let (one, other) = (run(1), run(threads));
        let same = |(x, y): (&f32, &f32)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
        assert!(one.iter().zip(&other).all(same), "{isa}: threads change the result");
        one
    });
    Ok(())
}
