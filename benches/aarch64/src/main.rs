//! One product with weights in a block format, so often: `run.sh` counts the instructions of it.
//!
//! ```text
//! KERNFORM_ISA=neon kernform-count-aarch64 Q4_0 1 256 4096 10      # format, m, n, k, times
//! ```

use core::hint::black_box;
use std::process::ExitCode;

use kernform_quant::{Activations, Format, PackedWeights, multiply};
use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, Serial};

type BoxError = Box<dyn core::error::Error>;

const USAGE: &str = "usage: kernform-count-aarch64 FORMAT M N K TIMES";

fn run(args: &[String]) -> Result<(), BoxError> {
    let [format, numbers @ ..] = args else { return Err(USAGE.into()) };
    let format = Format::from_name(format).ok_or("no such format")?;
    let numbers: Vec<usize> = numbers.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let &[m, n, k, times] = numbers.as_slice() else { return Err(USAGE.into()) };
    // Bits of no importance, but without the highest exponents no scale is infinite or NaN.
    let len = format.row_bytes(k).ok_or("k is no whole number of blocks")? * n;
    let blocks: Vec<u8> = (0..len).map(|i| (i * 7919 % 251) as u8 & 0x3f).collect();
    let weights = PackedWeights::pack(format, n, k, &blocks)?;
    let a: Vec<f32> = (0..m * k).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect();
    let mut memory = vec![0; Activations::words_len(format.activation(), m, k)?];
    let mut c = vec![0.0; m * n];
    for _ in 0..times {
        let (a, c) = (MatrixRef::new(black_box(&a), m, k)?, MatrixMut::new(black_box(&mut c), m, n)?);
        multiply(Isa::best(), &Serial, a, &weights, c, None, &mut memory)?;
    }
    // Held against what was asked for: an environment variable that names no level of this CPU would pass unseen.
    println!("{}", Isa::best());
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
