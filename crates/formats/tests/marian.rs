//! Marian's binary models and shortlists: what was written is read, and nothing else is.

use kernform_formats::marian::Settings;
use kernform_formats::{DType, ErrorKind, LexicalShortlist, MarianFile, ModelSource};
use proptest::prelude::*;

const F32: u64 = 0x0404;
const INTGEMM8: u64 = 0x4101;

/// A tensor of a file that is to be written: name, type, shape, data.
type Tensor<'t> = (&'t str, u64, &'t [i32], Vec<u8>);

fn file(tensors: &[Tensor<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut push = |number: u64| bytes.extend(number.to_le_bytes());
    push(1);
    push(tensors.len() as u64);
    for (name, code, shape, data) in tensors {
        for number in [name.len() as u64 + 1, *code, shape.len() as u64, data.len() as u64] {
            push(number);
        }
    }
    for (name, ..) in tensors {
        bytes.extend(name.bytes().chain([0]));
    }
    for (_, _, shape, _) in tensors {
        bytes.extend(shape.iter().flat_map(|dim| dim.to_le_bytes()));
    }
    bytes.extend(5_u64.to_le_bytes());
    bytes.extend([0; 5]);
    for (.., data) in tensors {
        bytes.extend(data);
    }
    bytes
}

fn good() -> Vec<u8> {
    let mut quantised = vec![1, 0xFF, 2, 0x80, 127, 0];
    quantised.extend(4.5_f32.to_le_bytes());
    quantised.extend([9; 6]);
    let floats = [1.5_f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let settings = b"type: transformer\ndim-vocabs:\n  - 7\n  - 7\nempty: \"\"\n\0".to_vec();
    let len = [settings.len() as i32];
    file(&[
        ("W", INTGEMM8, &[3, 2], quantised),
        ("b", F32, &[1, 2], floats),
        ("special:model.yml", 0x0101, &len, settings),
    ])
}

#[test]
fn a_model_is_read_as_it_was_written() {
    let bytes = good();
    let model = MarianFile::parse(&bytes).unwrap();
    assert!(model.names().eq(["W", "b", "special:model.yml"]));
    let weights = model.tensor("W").unwrap();
    assert_eq!((weights.dtype(), weights.dims()), (DType::I8, &[3, 2][..]));
    assert_eq!(weights.as_slice::<i8>().unwrap(), [1, -1, 2, -128, 127, 0]);
    assert_eq!(model.multiplier("W").unwrap(), Some(4.5));
    assert_eq!(model.multiplier("b").unwrap(), None);
    assert_eq!(model.tensor("b").unwrap().to_f32().unwrap(), [1.5, -2.0]);
    let settings = model.configuration().unwrap();
    assert_eq!(settings.get("type"), Some("transformer"));
    assert_eq!(settings.list("dim-vocabs"), ["7", "7"]);
    assert!(model.optional("none").unwrap().is_none());
}

#[test]
fn a_model_that_is_cut_anywhere_is_an_error() {
    let bytes = good();
    for len in 0..bytes.len() {
        assert!(MarianFile::parse(&bytes[..len]).is_err(), "cut at {len}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(MarianFile::parse(&longer).unwrap_err().kind(), ErrorKind::TrailingBytes { .. }));
}

#[test]
fn every_length_is_held_against_the_bytes_that_are_there() {
    let bytes = good();
    // The count, then the four lengths of the first tensor, then the padding's.
    for place in [8, 16, 24, 32, 40] {
        for value in [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 32, 1 << 20] {
            let mut bytes = bytes.clone();
            bytes[place..place + 8].copy_from_slice(&value.to_le_bytes());
            assert!(MarianFile::parse(&bytes).is_err(), "{value:#x} at {place}");
        }
    }
}

#[test]
fn what_contradicts_itself_is_an_error() {
    let kind = |tensors: &[Tensor<'_>]| MarianFile::parse(&file(tensors)).unwrap_err().into_kind();
    let one = || 1.0_f32.to_le_bytes().to_vec();
    assert!(matches!(kind(&[("a", F32, &[1], one()), ("a", F32, &[1], one())]), ErrorKind::Duplicate { .. }));
    assert!(matches!(kind(&[("a", F32, &[2], one())]), ErrorKind::ByteCount { .. }));
    assert!(matches!(kind(&[("a", INTGEMM8, &[4], one())]), ErrorKind::ByteCount { needed: 8, len: 4, .. }));
    assert!(matches!(kind(&[("a", F32, &[-1], one())]), ErrorKind::NumberOutOfRange { .. }));
    assert!(matches!(kind(&[("a", F32, &[i32::MAX; 3], one())]), ErrorKind::Shape { .. }));
    assert!(matches!(kind(&[("a", 0x1801, &[1], one())]), ErrorKind::UnknownDType { .. }));
    assert!(matches!(kind(&[("a\0b", F32, &[1], one())]), ErrorKind::Text { .. }));
}

fn shortlist(frequent: u64, offsets: &[u64], lists: &[u32]) -> Vec<u8> {
    let mut checked = Vec::new();
    for number in [frequent, 2, offsets.len() as u64, lists.len() as u64].iter().chain(offsets) {
        checked.extend(number.to_le_bytes());
    }
    checked.extend(lists.iter().flat_map(|word| word.to_le_bytes()));
    let sum = checked.chunks_exact(8).fold(0_u64, |sum, word| {
        let word = u64::from_le_bytes(word.try_into().unwrap());
        sum ^ word.wrapping_add(0x9e37_79b9).wrapping_add(sum << 6).wrapping_add(sum >> 2)
    });
    let mut bytes = 0xF11A_48D5_0134_17F5_u64.to_le_bytes().to_vec();
    bytes.extend(sum.to_le_bytes());
    bytes.extend(checked);
    bytes
}

#[test]
fn a_shortlist_selects_what_marians_does() {
    let bytes = shortlist(2, &[0, 0, 3, 5], &[4, 9, 11, 9, 12]);
    let list = LexicalShortlist::parse(&bytes).unwrap();
    assert_eq!((list.frequent(), list.sources(), list.targets()), (2, 3, 13));
    assert!(list.of(1).eq([4, 9, 11]));
    assert_eq!((list.of(0).count(), list.of(2).count(), list.of(3).count(), list.of(u32::MAX).count()), (0, 2, 0, 0));
    // 0 1 are frequent, 4 9 11 12 are listed, 2 is the source's own; 3 makes it eight.
    assert_eq!(list.select(&[1, 2, 2], 20, true), [0, 1, 2, 3, 4, 9, 11, 12]);
    assert_eq!(list.select(&[1], 20, false), [0, 1, 2, 3, 4, 5, 9, 11]);
    // No more words than there are.
    assert_eq!(list.select(&[1, 2], 5, true), [0, 1, 2, 3, 4]);
}

#[test]
fn a_damaged_shortlist_is_an_error() {
    let bytes = shortlist(2, &[0, 0, 3, 5], &[4, 9, 11, 9, 12]);
    for len in 0..bytes.len() {
        assert!(LexicalShortlist::parse(&bytes[..len]).is_err(), "cut at {len}");
    }
    let kind = |bytes: &[u8]| LexicalShortlist::parse(bytes).unwrap_err().into_kind();
    let mut damaged = bytes;
    damaged[60] ^= 1;
    assert!(matches!(kind(&damaged), ErrorKind::Checksum { .. }));
    assert!(matches!(kind(&shortlist(2, &[0, 3, 1, 5], &[0; 5])), ErrorKind::ListOffset { word: 2, .. }));
    assert!(matches!(kind(&shortlist(2, &[0, u64::MAX], &[0; 5])), ErrorKind::ListOffset { word: 1, .. }));
    assert!(matches!(kind(&shortlist(2, &[0, 4], &[0; 5])), ErrorKind::ListOffset { .. }));
    assert!(matches!(kind(&shortlist(u64::MAX, &[0, 5], &[0; 5])), ErrorKind::TooLarge { .. }));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), place in 0_usize..200, value in any::<u64>()) {
        let _ = (MarianFile::parse(&bytes), LexicalShortlist::parse(&bytes));
        let mut model = good();
        let place = place.min(model.len() - 8);
        model[place..place + 8].copy_from_slice(&value.to_le_bytes());
        if let Ok(model) = MarianFile::parse(&model) {
            for tensor in model.tensors() {
                prop_assert!(tensor.is_ok());
            }
            let _ = model.configuration();
        }
    }

    #[test]
    fn settings_are_read_from_any_text(text in "\\PC{0,200}") {
        let settings = Settings::parse(&text);
        let _ = (settings.get("a"), settings.number::<usize>("b"), settings.is_true("c"));
    }
}
