//! A SentencePiece model made by hand: its cuts, its text again, and files that are none.

use kernform_text::{SentencePiece, TextError};
use proptest::prelude::*;

const NORMAL: u8 = 1;

fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, value.len() as u8], value].concat()
}

fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
    let fields = [bytes(1, text.as_bytes()), [&[2 << 3 | 5][..], &score.to_le_bytes()].concat(), vec![3 << 3, kind]];
    bytes(1, &fields.concat())
}

fn model() -> Vec<u8> {
    let mut model = [piece("</s>", 0.0, 3), piece("<unk>", 0.0, 2)].concat();
    for (text, score) in [
        ("\u{2581}", -3.0),
        ("\u{2581}a", -2.0),
        ("a", -3.0),
        ("b", -3.5),
        ("ab", -2.4),
        ("\u{2581}ab", -6.0),
        ("é", -4.0),
    ] {
        model.extend(piece(text, score, NORMAL));
    }
    // What the trainer left: a unigram model (field 3), whose end is piece 0 (field 42).
    model.extend(bytes(2, &[3 << 3, 1, 0xD0, 0x02, 0]));
    model
}

#[test]
fn the_largest_sum_of_scores_wins() {
    let spm = SentencePiece::parse(&model()).unwrap();
    let pieces = |text: &str| spm.encode(text).iter().map(|id| spm.piece(*id).unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!((spm.len(), spm.unknown(), spm.end()), (9, 1, Some(0)));
    // -3 - 2.4 is more than -2 - 3.5 and than -6.
    assert_eq!(pieces("ab"), ["\u{2581}", "ab"]);
    assert_eq!(pieces("  aab   b "), ["\u{2581}a", "ab", "\u{2581}", "b"]);
    assert_eq!(pieces("xyb"), ["\u{2581}", "<unk>", "b"]);
    assert_eq!(pieces(""), [""; 0]);
}

#[test]
fn text_comes_back() {
    let spm = SentencePiece::parse(&model()).unwrap();
    assert_eq!(spm.decode(&spm.encode("ab aé b")).unwrap(), "ab aé b");
    assert_eq!(spm.decode(&[9]).unwrap_err(), TextError::Token { id: 9, vocabulary: 9 });
}

#[test]
fn tokens_know_their_places() {
    let spm = SentencePiece::parse(&model()).unwrap();
    let parts = |text: &str| -> Vec<String> {
        spm.encode_spans(text).into_iter().map(|(_, place)| text[place].to_string()).collect()
    };
    assert_eq!(parts("  aab   b "), ["  a", "ab", " ", "b"]);
    assert_eq!(parts("axyé"), ["a", "xy", "é"]);
    let (text, ends) = spm.decode_ends(&spm.encode("ab aé b")).unwrap();
    assert_eq!((text.as_str(), ends), ("ab aé b", vec![0, 2, 4, 6, 7, 8]));
}

#[test]
fn a_model_that_is_cut_is_an_error_or_smaller() {
    let model = model();
    for len in 0..model.len() {
        if let Ok(spm) = SentencePiece::parse(&model[..len]) {
            assert!(spm.len() <= 9 && spm.decode(&spm.encode("ab é")).is_ok());
        }
    }
    let with = |piece: Vec<u8>| SentencePiece::parse(&[model.clone(), piece].concat()).unwrap_err();
    assert!(matches!(with(piece("a", -1.0, NORMAL)), TextError::Vocabulary { piece: None, .. }));
    assert!(matches!(with(piece("", -1.0, NORMAL)), TextError::Vocabulary { piece: Some(9), .. }));
    assert!(matches!(with(piece("c", f32::NAN, NORMAL)), TextError::Vocabulary { piece: Some(9), .. }));
    assert!(matches!(with(bytes(2, &[3 << 3, 2])), TextError::Kind { found: 2 }));
    assert!(matches!(with(vec![1 << 3 | 2, 200, 1]), TextError::Truncated { .. }));
}

proptest! {
    #[test]
    fn no_bytes_and_no_text_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,60}") {
        let _ = SentencePiece::parse(&bytes);
        let spm = SentencePiece::parse(&model()).unwrap();
        prop_assert!(spm.decode(&spm.encode(&text)).is_ok());
        let (ids, places): (Vec<_>, Vec<_>) = spm.encode_spans(&text).into_iter().unzip();
        prop_assert_eq!(ids, spm.encode(&text));
        prop_assert!(places.iter().all(|place| text.get(place.clone()).is_some()));
        prop_assert!(places.windows(2).all(|two| two[0].end <= two[1].start));
    }

    #[test]
    fn sentences_join_to_the_text(text in "[a-zA-Z0-9 .!?\n\r\t\"é。]{0,80}") {
        let joined: String = kernform_text::sentences(&text).map(|s| [s.before, s.text, s.after].concat()).collect();
        prop_assert_eq!(joined, text);
    }
}
