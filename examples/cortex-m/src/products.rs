//! Matrix products: f32, f16 weights, int8 (SMLAD on the microcontroller), block-quantised weights.

use alloc::string::{String, ToString};
use alloc::{format, vec, vec::Vec};

use kernform::Isa;
use kernform::gemm::int8::{PackedI8, Rows, Scale, gemm_i8, gemm_i8_i32, gemm_i8_scratch_len};
use kernform::gemm::{Activation, Epilogue, Layout, Operand, PackedB, Weight, gemm, gemm_scratch_len};
use kernform::quant::{Activations, Format, PackedWeights, encode, multiply};
use kernform::tensor::{MatrixMut, MatrixRef, Serial, bf16, f16};

use crate::digest::{Random, digest, digest_of};

/// Shapes `(m, n, k)` around the edges of tiles and panels.
const SHAPES: [(usize, usize, usize); 7] =
    [(1, 1, 1), (1, 33, 70), (2, 16, 4), (3, 17, 65), (5, 40, 31), (13, 30, 130), (9, 64, 300)];

pub(crate) fn run(isa: Isa, line: &mut dyn FnMut(&str, u64)) -> crate::Result {
    let mut random = Random(2);
    for (m, n, k) in SHAPES {
        let (a, b) = (random.ordinary(m * k), random.ordinary(n * k));
        let (bias, bytes) = (random.ordinary(n), random.bytes(n * k));
        let shape = format!("{m} x {n} x {k}");
        dense(isa, (m, n, k), &a, &b, &bias).map(|(packed, strided)| {
            line(&format!("f32 product {shape}, packed"), packed);
            line(&format!("f32 product {shape}, strided"), strided);
        })?;
        let half: Vec<f16> = b.iter().map(|x| f16::from_f32(*x)).collect();
        dense(isa, (m, n, k), &a, &half, &bias).map(|(packed, _)| line(&format!("f16 product {shape}"), packed))?;
        let brain: Vec<bf16> = b.iter().map(|x| bf16::from_f32(*x)).collect();
        dense(isa, (m, n, k), &a, &brain, &bias).map(|(packed, _)| line(&format!("bf16 product {shape}"), packed))?;
        int8(isa, (m, n, k), &a, &bytes, &bias).map(|(integers, floats)| {
            line(&format!("int8 product {shape}, integers"), integers);
            line(&format!("int8 product {shape}, scaled"), floats);
        })?;
    }
    for format in Format::ALL.into_iter().filter(|format| format.can_encode() && *format != Format::Q8K) {
        let (m, n, k) = (3, 17, 512);
        let (a, b) = (random.ordinary(m * k), random.ordinary(n * k));
        let digest =
            quantised(isa, format, (m, n, k), &a, &b).map_err(|error| format!("{}: {error}", format.name()))?;
        line(&format!("{} product {m} x {n} x {k}", format.name()), digest);
    }
    Ok(())
}

fn dense<W: Weight>(
    isa: Isa,
    (m, n, k): (usize, usize, usize),
    a: &[f32],
    b: &[W],
    bias: &[f32],
) -> Result<(u64, u64), String> {
    let compute = || -> Result<(u64, u64), kernform::gemm::GemmError> {
        let shape = |_| kernform::gemm::GemmError::TooLarge;
        let a = MatrixRef::new(a, m, k).map_err(shape)?;
        let b = MatrixRef::new(b, n, k).map_err(shape)?.transpose();
        let epilogue = Epilogue::bias(Some(bias)).with_activation(Activation::GeluErf);
        let mut scratch = vec![f32::NAN; gemm_scratch_len(1, m, n, k, Layout::of(&a), Layout::of(&b))];
        let mut c = vec![0.0; m * n];
        let packed = PackedB::pack(b)?;
        let out = MatrixMut::new(&mut c, m, n).map_err(shape)?;
        gemm(isa, &Serial, a, Operand::Packed(&packed), out, &epilogue, &mut scratch)?;
        let one = digest(&c);
        let out = MatrixMut::new(&mut c, m, n).map_err(shape)?;
        gemm(isa, &Serial, a, Operand::Strided(b), out, &epilogue, &mut scratch)?;
        Ok((one, digest(&c)))
    };
    compute().map_err(|error| error.to_string())
}

fn int8(isa: Isa, (m, n, k): (usize, usize, usize), a: &[f32], b: &[i8], bias: &[f32]) -> Result<(u64, u64), String> {
    let shape = |error: kernform::tensor::ShapeError| error.to_string();
    let b = MatrixRef::new(b, n, k).map_err(shape)?.transpose();
    let packed = PackedI8::pack(b).map_err(|error| error.to_string())?;
    let mut scratch = vec![f32::NAN; gemm_i8_scratch_len(1, m, n, k)];
    let bytes: Vec<i8> = a.iter().map(|x| (x * 31.9) as i8).collect();
    let mut integers = vec![0; m * n];
    let rows = MatrixRef::new(&bytes, m, k).map_err(shape)?;
    let out = MatrixMut::new(&mut integers, m, n).map_err(shape)?;
    gemm_i8_i32(isa, &Serial, rows, &packed, out, &mut scratch).map_err(|error| error.to_string())?;
    // Weights that a caller places need not begin at a whole word.
    let (mut moved, mut again) = (vec![0; 1], vec![0; m * n]);
    moved.extend_from_slice(packed.as_slice());
    let placed = PackedI8::from_slice(k, n, &moved[1..]).map_err(|error| error.to_string())?;
    let out = MatrixMut::new(&mut again, m, n).map_err(shape)?;
    gemm_i8_i32(isa, &Serial, rows, &placed, out, &mut scratch).map_err(|error| error.to_string())?;
    if again != integers {
        return Err(format!("{m} x {n} x {k}: other sums with weights at an odd address"));
    }
    let mut c = vec![0.0; m * n];
    let rows = Rows::Dynamic(MatrixRef::new(a, m, k).map_err(shape)?);
    let (epilogue, out) = (Epilogue::bias(Some(bias)), MatrixMut::new(&mut c, m, n).map_err(shape)?);
    gemm_i8(isa, &Serial, rows, &packed, Scale::One(0.013), out, &epilogue, &mut scratch)
        .map_err(|error| error.to_string())?;
    Ok((digest_of(integers.iter().map(|x: &i32| x.cast_unsigned())), digest(&c)))
}

fn quantised(
    isa: Isa,
    format: Format,
    (m, n, k): (usize, usize, usize),
    a: &[f32],
    b: &[f32],
) -> Result<u64, kernform::quant::QuantError> {
    let too_large = kernform::quant::QuantError::TooLarge;
    let row_bytes = format.row_bytes(k).ok_or(too_large)?;
    let mut bytes = vec![0; n * row_bytes];
    for (row, bytes) in b.chunks_exact(k).zip(bytes.chunks_exact_mut(row_bytes)) {
        encode(format, row, bytes)?;
    }
    let weights = PackedWeights::pack(format, n, k, &bytes)?;
    let mut memory = vec![0; Activations::words_len(format.activation(), m, k)?];
    let mut c = vec![0.0; m * n];
    let (Ok(rows), Ok(out)) = (MatrixRef::new(a, m, k), MatrixMut::new(&mut c, m, n)) else {
        return Err(kernform::quant::QuantError::TooLarge);
    };
    multiply(isa, &Serial, rows, &weights, out, None, &mut memory)?;
    Ok(digest(&c))
}
