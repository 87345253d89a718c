//! Any bytes as a Marian model, a shortlist and a SentencePiece vocabulary: errors, or something that can be used.
#![no_main]

use kernform_formats::{LexicalShortlist, MarianFile};
use kernform_text::SentencePiece;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(model) = MarianFile::parse(input) {
        for tensor in model.tensors() {
            let tensor = tensor.expect("a checked header gives every tensor");
            assert_eq!(tensor.bytes().len(), tensor.len() * tensor.dtype().size());
            let _ = model.multiplier(tensor.name()).expect("a tensor that is there");
        }
        let _ = model.configuration();
    }
    if let Ok(list) = LexicalShortlist::parse(input) {
        let words = list.select(&[0, 1, 2, u32::MAX], 1000, true);
        assert!(words.is_sorted() && words.iter().all(|word| *word < 1000));
    }
    if let Ok(vocabulary) = SentencePiece::parse(input) {
        let text = String::from_utf8_lossy(input);
        let ids = vocabulary.encode(&text[..text.floor_char_boundary(200)]);
        assert!(vocabulary.decode(&ids).is_ok());
    }
});
