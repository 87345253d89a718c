//! Any bytes as a page, with translations whose words come from anywhere: the page is never much longer, and where nothing
//! is changed its text stays.
#![no_main]

use kernform_text::html::{HtmlBlock, HtmlBlocks, Stretch, Word};
use kernform_text::{sentences, words};
use libfuzzer_sys::fuzz_target;

fn blocks(page: &[u8]) -> Vec<HtmlBlock> {
    HtmlBlocks::new(page).map(|block| block.expect("memory can be read")).collect()
}

/// The sentences of a block; `word` says which word of how many comes at a place.
fn stretches(text: &str, mut word: impl FnMut(usize, usize) -> usize) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut start = 0;
    for sentence in sentences(text) {
        let from = start + sentence.before.len();
        start = from + sentence.text.len() + sentence.after.len();
        let sources: Vec<_> = words(sentence.text).map(|word| from + word.start..from + word.end).collect();
        let mut stretch = Stretch { source: from..from + sentence.text.len(), ..Stretch::default() };
        for i in 0..sources.len() {
            let source = sources[word(i, sources.len()) % sources.len()].clone();
            let begin = stretch.text.len();
            stretch.text.push_str(&text[source.clone()]);
            stretch.words.push(Word { target: begin..stretch.text.len(), at: source.start, source });
            stretch.text.push(' ');
        }
        stretches.push(stretch);
    }
    stretches
}

fn letters(blocks: &[HtmlBlock]) -> String {
    blocks.iter().flat_map(|block| block.text().chars().filter(|c| !c.is_whitespace()).collect::<Vec<_>>()).collect()
}

fuzz_target!(|input: &[u8]| {
    let page = blocks(input);
    let unchanged: String = page.iter().map(|block| block.project(&stretches(&block.text(), |i, _| i))).collect();
    assert_eq!(letters(&blocks(unchanged.as_bytes())), letters(&page));
    let mut bytes = input.iter().cycle();
    let mut anywhere = |_, count| bytes.next().map_or(0, |byte| usize::from(*byte)) * 7 % count;
    for block in &page {
        let turned = block.project(&stretches(&block.text(), &mut anywhere));
        assert!(turned.len() <= 100 * (input.len() + 4096));
    }
});
