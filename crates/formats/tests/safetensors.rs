//! The safetensors reader and writer: agreement with the reference implementation, and hostile files.
#![cfg(feature = "alloc")]

use kernform_formats::safetensors::to_bytes;
use kernform_formats::{DType, ErrorKind, SafetensorsFile, TensorView};
use kernform_tensor::{bf16, f16};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// A file of a header text and data, the length right.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn error(header: &str, data: &[u8]) -> ErrorKind {
    let bytes = file(header, data);
    let error = SafetensorsFile::parse_named("model.safetensors", &bytes).expect_err("a bad file was read");
    assert_eq!(error.file(), Some("model.safetensors"));
    assert!(error.to_string().starts_with("model.safetensors: "), "{error}");
    error.into_kind()
}

fn good() -> Vec<u8> {
    let floats = [1.0_f32, -2.5, f32::NAN, f32::INFINITY, -0.0, 1e-45];
    let halves = [f16::from_f32(0.5), f16::MIN_POSITIVE_SUBNORMAL, f16::MAX];
    let ids = [i64::MIN, 0, i64::MAX];
    let views = [
        TensorView::from_slice("b.weight", &[2, 3], &floats).unwrap(),
        TensorView::from_slice("a.half", &[3], &halves).unwrap(),
        TensorView::from_slice("ids \"quoted\" \u{e9}", &[1, 3], &ids).unwrap(),
        TensorView::new("empty", DType::F64, &[0, 7], &[]).unwrap(),
        TensorView::from_slice("scalar", &[], &[7_u8]).unwrap(),
    ];
    to_bytes(&views, &[("format", "pt"), ("note", "a\nb")]).unwrap()
}

#[test]
fn a_written_file_is_read_back() {
    let bytes = good();
    let file = SafetensorsFile::parse(&bytes).unwrap();
    assert_eq!(file.len(), 5);
    assert_eq!(file.tensor("b.weight").unwrap().dims(), [2, 3]);
    let floats = file.tensor("b.weight").unwrap().to_f32().unwrap();
    assert_eq!(floats[5].to_bits(), 1);
    assert!(floats[2].is_nan());
    assert_eq!(file.tensor("a.half").unwrap().to_f32().unwrap(), [0.5, 5.960_464_5e-8, 65504.0]);
    assert_eq!(file.tensor("ids \"quoted\" \u{e9}").unwrap().to_i64().unwrap(), [i64::MIN, 0, i64::MAX]);
    assert!(file.tensor("empty").unwrap().to_f32().unwrap().is_empty());
    assert_eq!(file.tensor("scalar").unwrap().to_i64().unwrap(), [7]);
    assert_eq!(file.metadata(), [("format".into(), "pt".into()), ("note".into(), "a\nb".into())]);
    assert!(matches!(file.tensor("b").unwrap_err().kind(), ErrorKind::MissingTensor { tensor } if tensor == "b"));
}

#[test]
fn every_cut_is_an_error() {
    let bytes = good();
    for len in 0..bytes.len() {
        let error = SafetensorsFile::parse(&bytes[..len]).expect_err("a cut file was read");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn flipped_header_bits_never_panic() {
    let bytes = good();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for bit in 0..header * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        touch(&bytes);
    }
}

/// Reads all that can be read; what matters is that it comes back.
fn touch(bytes: &[u8]) {
    let Ok(file) = SafetensorsFile::parse(bytes) else { return };
    for tensor in file.tensors() {
        let tensor = tensor.expect("a checked header gives every tensor");
        assert_eq!(tensor.bytes().len(), tensor.len() * tensor.dtype().size());
        let _ = (tensor.to_f32(), tensor.to_i64(), tensor.as_slice::<f32>(), tensor.to_tensor());
    }
}

#[test]
fn declared_header_lengths() {
    for len in [u64::MAX, u64::MAX - 7, u64::MAX - 8, 1 << 63, 1 << 32, 100_000_001] {
        let mut bytes = good();
        bytes[..8].copy_from_slice(&len.to_le_bytes());
        let error = SafetensorsFile::parse(&bytes).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TooLarge { len: said, .. } if *said == len), "{error}");
    }
    let mut bytes = good();
    bytes[..8].copy_from_slice(&100_000_000_u64.to_le_bytes());
    assert!(matches!(SafetensorsFile::parse(&bytes).unwrap_err().kind(), ErrorKind::Truncated { .. }));
    assert!(matches!(
        SafetensorsFile::parse(&[0; 7]).unwrap_err().kind(),
        ErrorKind::Truncated { needed: 8, len: 7, .. }
    ));
    assert!(matches!(SafetensorsFile::parse(&[0; 8]).unwrap_err().kind(), ErrorKind::Json { .. }));
}

#[test]
fn places_of_tensors() {
    let pair = |a: (u64, u64), b: (u64, u64)| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}},"b":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}}}}"#,
            a.0, a.1, b.0, b.1
        )
    };
    assert!(SafetensorsFile::parse(&file(&pair((0, 4), (4, 8)), &[0; 8])).is_ok());
    assert!(SafetensorsFile::parse(&file(&pair((4, 8), (0, 4)), &[0; 8])).is_ok());
    let overlap = error(&pair((0, 4), (2, 6)), &[0; 6]);
    assert!(matches!(&overlap, ErrorKind::NotAdjacent { tensor, begin: 2, expected: 4 } if tensor == "b"), "{overlap}");
    let same = error(&pair((0, 4), (0, 4)), &[0; 4]);
    assert!(matches!(same, ErrorKind::NotAdjacent { begin: 0, expected: 4, .. }), "{same}");
    let gap = error(&pair((0, 4), (5, 9)), &[0; 9]);
    assert!(matches!(gap, ErrorKind::NotAdjacent { begin: 5, expected: 4, .. }), "{gap}");
    let late = error(&pair((1, 5), (5, 9)), &[0; 9]);
    assert!(matches!(late, ErrorKind::NotAdjacent { begin: 1, expected: 0, .. }), "{late}");
    let trailing = error(&pair((0, 4), (4, 8)), &[0; 9]);
    assert!(matches!(trailing, ErrorKind::TrailingBytes { used: 8, len: 9 }), "{trailing}");
    let beyond = error(&pair((0, 4), (4, 8)), &[0; 7]);
    assert!(matches!(beyond, ErrorKind::Offsets { end: 8, len: 7, .. }), "{beyond}");
    let reversed = error(&pair((4, 0), (4, 8)), &[0; 8]);
    assert!(matches!(reversed, ErrorKind::Offsets { begin: 4, end: 0, .. }), "{reversed}");
    let huge = error(&pair((0, 4), (u64::MAX - 3, u64::MAX)), &[0; 8]);
    assert!(matches!(huge, ErrorKind::Offsets { end: u64::MAX, .. }), "{huge}");
}

#[test]
fn types_and_shapes() {
    let one = |dtype: &str, shape: &str, end: u64| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    let unknown = error(&one("F7", "[1]", 4), &[0; 4]);
    assert!(matches!(&unknown, ErrorKind::UnknownDType { dtype, .. } if dtype == "F7"), "{unknown}");
    let wrong = error(&one("F32", "[2]", 4), &[0; 4]);
    assert!(matches!(wrong, ErrorKind::ByteCount { needed: 8, len: 4, .. }), "{wrong}");
    for shape in [
        "[18446744073709551615]",
        "[9223372036854775808]",
        "[4294967296,4294967296]",
        "[3,6148914691236517206]",
        "[0,18446744073709551615]",
        "[9223372036854775807,9223372036854775807,0]",
        "[1,1,1,1,1,1,1]",
    ] {
        let kind = error(&one("F32", shape, 4), &[0; 4]);
        assert!(matches!(kind, ErrorKind::Shape { .. }), "{shape}: {kind}");
    }
    // The element count fits, the byte count does not.
    let bytes = error(&one("F64", "[4611686018427387904]", 0), &[]);
    assert!(matches!(bytes, ErrorKind::ByteCount { len: 0, .. }), "{bytes}");
    for shape in ["[-1]", "[1.0]", "[1e0]", "[18446744073709551616]", "[\"1\"]", "{}", "4", "null", "[[1]]"] {
        let kind = error(&one("F32", shape, 4), &[0; 4]);
        assert!(matches!(kind, ErrorKind::Json { .. }), "{shape}: {kind}");
    }
    assert!(SafetensorsFile::parse(&file(&one("F32", "[]", 4), &[0; 4])).is_ok());
    assert!(SafetensorsFile::parse(&file(&one("F32", "[5,0]", 0), &[])).is_ok());
    assert!(SafetensorsFile::parse(&file(&one("F32", "[1,1,1,1,1,1]", 4), &[0; 4])).is_ok());
}

#[test]
fn names_are_there_once() {
    let entry = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let twice = error(&format!(r#"{{"a":{entry},"a":{entry}}}"#), &[]);
    assert!(matches!(&twice, ErrorKind::Duplicate { name } if name == "a"), "{twice}");
    let escaped = error(&format!(r#"{{"a":{entry},"\u0061":{entry}}}"#), &[]);
    assert!(matches!(&escaped, ErrorKind::Duplicate { name } if name == "a"), "{escaped}");
    let field = error(r#"{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, &[]);
    assert!(matches!(field, ErrorKind::Json { .. }), "{field}");
    let metadata = error(r#"{"__metadata__":{},"__metadata__":{}}"#, &[]);
    assert!(matches!(metadata, ErrorKind::Json { .. }), "{metadata}");
    let text = error(r#"{"__metadata__":{"k":"1","k":"2"}}"#, &[]);
    assert!(matches!(&text, ErrorKind::Duplicate { name } if name == "k"), "{text}");

    let view = TensorView::from_slice("a", &[1], &[1_u8]).unwrap();
    assert!(matches!(to_bytes(&[view, view], &[]).unwrap_err().kind(), ErrorKind::Duplicate { .. }));
    let reserved = TensorView::from_slice("__metadata__", &[1], &[1_u8]).unwrap();
    assert!(matches!(to_bytes(&[reserved], &[]).unwrap_err().kind(), ErrorKind::ReservedName { .. }));
}

#[test]
fn headers_that_are_no_headers() {
    for header in
        ["", "[]", "1", "{", "{}}", "{} x", "{\"a\":1}", "{\"a\":{}}", "\u{feff}{}", "{\"__metadata__\":{\"k\":1}}"]
    {
        let kind = error(header, &[]);
        assert!(matches!(kind, ErrorKind::Json { .. }), "{header:?}: {kind}");
    }
    let mut bytes = file("{\"a\u{0}\":0}", &[]);
    bytes[10] = 0xff;
    assert!(matches!(SafetensorsFile::parse(&bytes).unwrap_err().kind(), ErrorKind::Json { .. }));
    let deep = "[".repeat(100_000);
    assert!(matches!(error(&format!("{{\"a\":{{\"x\":{deep}"), &[]), ErrorKind::Json { .. }));
    assert!(SafetensorsFile::parse(&file("{}   ", &[])).unwrap().is_empty());
}

#[test]
fn conversions_check_type_and_range() {
    let big = [0, i64::MAX as u64 + 1];
    let view = TensorView::from_slice("n", &[2], &big).unwrap();
    assert!(matches!(view.to_i64().unwrap_err().kind(), ErrorKind::ElementOutOfRange { index: 1, .. }));
    assert!(matches!(view.to_f32().unwrap_err().kind(), ErrorKind::WrongDType { .. }));
    let floats = [1.0_f64, 1e300, f64::NAN, 1.0 + f64::EPSILON];
    let view = TensorView::from_slice("x", &[4], &floats).unwrap();
    assert!(matches!(view.to_i64().unwrap_err().kind(), ErrorKind::WrongDType { .. }));
    let narrowed = view.to_f32().unwrap();
    assert_eq!((narrowed[0], narrowed[1], narrowed[3]), (1.0, f32::INFINITY, 1.0));
    assert!(narrowed[2].is_nan());
    assert!(matches!(view.copy_to_f32(&mut [0.0; 3]).unwrap_err().kind(), ErrorKind::BufferLength { len: 3, .. }));
    assert_eq!(view.as_slice::<f64>().unwrap()[1], 1e300);
    assert!(matches!(view.as_slice::<f32>().unwrap_err().kind(), ErrorKind::WrongDType { .. }));
    let bytes = view.bytes();
    let odd = TensorView::new("odd", DType::F32, &[2], &bytes[1..9]).unwrap();
    assert!(matches!(odd.as_slice::<f32>().unwrap_err().kind(), ErrorKind::Cast { .. }));
    assert_eq!(odd.to_f32().unwrap().len(), 2);
    let truth = TensorView::new("mask", DType::Bool, &[3], &[0, 1, 255]).unwrap();
    assert_eq!(truth.to_i64().unwrap(), [0, 1, 1]);
    for (dtype, value) in [(DType::I8, -1), (DType::U8, 255), (DType::I16, -1), (DType::U16, 65535), (DType::I32, -1)] {
        let view = TensorView::new("x", dtype, &[1], &[0xff; 4][..dtype.size()]).unwrap();
        assert_eq!(view.to_i64().unwrap(), [value], "{dtype}");
    }
    let view = TensorView::new("x", DType::U32, &[1], &[0xff; 4]).unwrap();
    assert_eq!(view.to_i64().unwrap(), [i64::from(u32::MAX)]);
}

#[test]
fn all_half_floats_widen_exactly() {
    let bits: Vec<u16> = (0..=u16::MAX).collect();
    let halves: Vec<f16> = bits.iter().copied().map(f16::from_bits).collect();
    let brains: Vec<bf16> = bits.iter().copied().map(bf16::from_bits).collect();
    let wide = TensorView::from_slice("f16", &[65536], &halves).unwrap().to_f32().unwrap();
    for (half, wide) in halves.iter().zip(&wide) {
        // binary16 by its definition: sign, five bits of exponent, ten of fraction.
        let (exponent, fraction) = (i32::from(half.to_bits() >> 10 & 31), f64::from(half.to_bits() & 1023));
        let magnitude = match exponent {
            0 => fraction * 2_f64.powi(-24),
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
        };
        let value = if half.to_bits() >> 15 == 1 { -magnitude } else { magnitude };
        assert!(value.is_nan() && wide.is_nan() || f64::from(*wide).to_bits() == value.to_bits(), "{half}");
    }
    let wide = TensorView::from_slice("bf16", &[65536], &brains).unwrap().to_f32().unwrap();
    for (bits, wide) in bits.iter().zip(&wide) {
        let value = f32::from_bits(u32::from(*bits) << 16);
        assert!(value.is_nan() && wide.is_nan() || wide.to_bits() == value.to_bits(), "{bits:#x}");
    }
}

type Stored = (DType, Vec<usize>, Vec<u8>);

fn stored() -> impl Strategy<Value = Stored> {
    (0..DType::ALL.len(), vec(0_usize..5, 0..=4)).prop_flat_map(|(dtype, dims)| {
        let dtype = DType::ALL[dtype];
        let len = dims.iter().product::<usize>() * dtype.size();
        (Just(dtype), Just(dims), vec(any::<u8>(), len))
    })
}

proptest! {
    #[test]
    fn round_trip(tensors in btree_map(".{0,12}", stored(), 0..6), text in ".*") {
        let views: Vec<_> = tensors
            .iter()
            .map(|(name, (dtype, dims, bytes))| TensorView::new(name, *dtype, dims, bytes).unwrap())
            .collect();
        let bytes = to_bytes(&views, &[("text", &text)]).unwrap();
        let ours = SafetensorsFile::parse(&bytes).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(&ours.metadata()[0].1, &text);
        prop_assert_eq!(ours.len(), tensors.len());
        prop_assert_eq!(theirs.len(), tensors.len());
        for (name, (dtype, dims, data)) in &tensors {
            let (our, their) = (ours.tensor(name).unwrap(), theirs.tensor(name).unwrap());
            prop_assert_eq!(our.dtype(), *dtype);
            prop_assert_eq!(our.dims(), &dims[..]);
            prop_assert_eq!(our.bytes(), &data[..]);
            prop_assert_eq!(their.dtype().to_string(), dtype.name());
            prop_assert_eq!(their.shape(), &dims[..]);
            prop_assert_eq!(their.data(), &data[..]);
        }
    }

    /// Ours never reads what the reference implementation refuses.
    #[test]
    fn no_laxer_than_the_reference(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = good();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for (place, byte) in changes {
            let place = place.index(header);
            bytes[place] = byte;
        }
        touch(&bytes);
        if SafetensorsFile::parse(&bytes).is_ok() {
            prop_assert!(safetensors::SafeTensors::deserialize(&bytes).is_ok());
        }
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        touch(&bytes);
        touch(&file(&String::from_utf8_lossy(&bytes), &[0; 16]));
    }
}
