//! Decoding and encoding against the reference definition.

mod common;

use common::{Kind, Random, cases, random_blocks};
use kernform_quant::{Format, QuantError, decode, decode_row, encode};
use kernform_simd::Isa;
use kernform_testkit::{assert_same_bits, isa_tests};

fn decodes_as_the_package_does(isa: Isa) {
    let cases = cases(Kind::Decoded);
    assert_eq!(cases.len(), 12);
    for case in cases {
        let mut out = vec![7.0; case.floats.len()];
        decode(isa, case.format, &case.bytes, &mut out).unwrap();
        assert_same_bits(case.format.name(), &out, &case.floats);
    }
}

fn decodes_q8_k(isa: Isa) {
    let bytes = random_blocks(Format::Q8K, 3, &mut Random(5), true);
    let expected: Vec<f32> = bytes
        .chunks_exact(292)
        .flat_map(|block| {
            let d = f32::from_le_bytes(block[..4].try_into().unwrap());
            block[4..260].iter().map(move |code| d * f32::from(code.cast_signed()))
        })
        .collect();
    let mut out = vec![7.0; expected.len()];
    decode(isa, Format::Q8K, &bytes, &mut out).unwrap();
    assert_same_bits("Q8_K", &out, &expected);
}

isa_tests!(decodes_as_the_package_does, decodes_q8_k);

#[test]
fn encodes_the_bytes_of_the_package() {
    let cases = cases(Kind::Encoded);
    assert_eq!(cases.len(), 5);
    for case in cases {
        let mut bytes = vec![7; case.bytes.len()];
        encode(case.format, &case.floats, &mut bytes).unwrap();
        assert_eq!(bytes, case.bytes, "{}", case.format);
    }
}

/// The squared error of blocks against the values they were made from, a block at a time.
fn errors(format: Format, bytes: &[u8], x: &[f32]) -> Vec<f64> {
    let mut decoded = vec![0.0; x.len()];
    decode(Isa::best(), format, bytes, &mut decoded).unwrap();
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    let blocks = decoded.chunks_exact(format.block_len()).zip(x.chunks_exact(format.block_len()));
    blocks.map(|(a, b)| a.iter().zip(b).map(square).sum()).collect()
}

#[test]
fn k_formats_lose_no_more_than_ggml() {
    let cases = cases(Kind::Searched);
    assert_eq!(cases.len(), 5);
    for case in cases {
        let mut bytes = vec![7; case.bytes.len()];
        encode(case.format, &case.floats, &mut bytes).unwrap();
        let ours = errors(case.format, &bytes, &case.floats);
        let theirs = errors(case.format, &case.bytes, &case.floats);
        for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert!(*ours <= theirs * 1.1, "{} block {i}: {ours:e} against {theirs:e}", case.format);
        }
        assert!(ours.iter().sum::<f64>() <= theirs.iter().sum(), "{}", case.format);
    }
}

#[test]
fn encoding_loses_what_the_bits_cost() {
    let mut random = Random(3);
    let x: Vec<f32> = (0..16 * 256).map(|_| random.float() + random.float() + random.float()).collect();
    let power: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
    // The root of the error's share of the power, for values of this kind.
    let most = |format| match format {
        Format::Q2K => 0.26,
        Format::Q3K => 0.14,
        Format::Q4_0 => 0.09,
        Format::Q4_1 | Format::Q4K => 0.075,
        Format::Q5_0 => 0.045,
        Format::Q5_1 | Format::Q5K => 0.037,
        Format::Q6K => 0.018,
        _ => 0.006,
    };
    for format in Format::ALL.into_iter().filter(|format| format.can_encode()) {
        let mut bytes = vec![0; format.row_bytes(x.len()).unwrap()];
        encode(format, &x, &mut bytes).unwrap();
        let share = (errors(format, &bytes, &x).iter().sum::<f64>() / power).sqrt();
        assert!(share <= most(format), "{format}: {share}");
    }
}

#[test]
fn any_values_can_be_encoded() {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-45, -0.0, 1e-38, 70_000.0];
    for format in Format::ALL.into_iter().filter(|format| format.can_encode()) {
        for odd in odd {
            for all in [false, true] {
                let mut x = vec![if all { odd } else { 0.5 }; 256];
                x[17] = odd;
                let mut bytes = vec![0; format.row_bytes(256).unwrap()];
                encode(format, &x, &mut bytes).unwrap();
                decode(Isa::best(), format, &bytes, &mut x).unwrap();
            }
        }
        // What can be held is held.
        let mut x = vec![0.0; 256];
        let mut bytes = vec![0; format.row_bytes(256).unwrap()];
        encode(format, &x.clone(), &mut bytes).unwrap();
        decode(Isa::best(), format, &bytes, &mut x).unwrap();
        assert!(x.iter().all(|x| *x == 0.0), "{format}");
    }
}

#[test]
fn blocks_have_the_sizes_of_the_file_format() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(&format.name().to_lowercase()), Some(format));
        assert_eq!(Format::from_gguf_type(format.gguf_type()), Some(format));
        assert_eq!(format.row_bytes(512), Some(512 / format.block_len() * format.block_bytes()));
        assert_eq!((format.row_bytes(0), format.row_bytes(16)), (Some(0), None));
    }
    assert_eq!((Format::from_name("Q9_0"), Format::from_gguf_type(1)), (None, None));
    assert_eq!(Format::Q8K.row_bytes(usize::MAX / 256 * 256), None);
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let isa = Isa::best();
    let mut out = [7.0; 64];
    assert_eq!(decode(isa, Format::Q4_0, &[0; 19], &mut out), Err(QuantError::ByteLength { needed: 36, found: 19 }));
    assert_eq!(decode(isa, Format::Q4_0, &[0; 18], &mut out), Err(QuantError::OutputLength { needed: 32, found: 64 }));
    assert_eq!(decode(isa, Format::Q4_0, &[], &mut []), Ok(()));
    let rows = vec![0; 3 * 36];
    let row = |row, k, bytes: &[u8]| decode_row(isa, Format::Q4_0, bytes, (3, k), row, &mut [0.0; 64]);
    assert_eq!(row(2, 64, &rows), Ok(()));
    assert_eq!(row(3, 64, &rows), Err(QuantError::RowIndex { row: 3, rows: 3 }));
    assert_eq!(row(0, 63, &rows), Err(QuantError::PartialBlock { len: 63, block_len: 32 }));
    assert_eq!(row(0, 64, &rows[1..]), Err(QuantError::ByteLength { needed: 108, found: 107 }));
    assert_eq!(out, [7.0; 64]);
    let mut bytes = [7; 18];
    assert_eq!(encode(Format::Iq4Nl, &[0.0; 32], &mut bytes), Err(QuantError::NoEncoder(Format::Iq4Nl)));
    assert_eq!(encode(Format::Q4_0, &[0.0; 31], &mut bytes), Err(QuantError::PartialBlock { len: 31, block_len: 32 }));
    assert_eq!(
        encode(Format::Q4_0, &[0.0; 32], &mut bytes[1..]),
        Err(QuantError::ByteLength { needed: 18, found: 17 })
    );
    assert_eq!(bytes, [7; 18]);
}
