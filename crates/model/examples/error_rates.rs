//! Error rates of the embedded model on the words that it was never trained on, beside the PyTorch reference.
//!
//! ```text
//! cargo run --release -p kernform-model --features g2p --example error_rates [BEAMS]
//! ```
//!
//! Word error: the pronunciation is none of the dictionary's. Phoneme error: edit distance to the nearest of the
//! dictionary's pronunciations over its length, without stress.

use core::error::Error;
use std::path::Path;
use std::time::Instant;

use kernform_decode::Search;
use kernform_model::g2p::{MAX_PHONEMES, Pronouncer};
use kernform_model::{Limits, ModelError, Plan, Session, generate};
use kernform_simd::Isa;
use kernform_tensor::Serial;

/// A word and its pronunciations.
type Entry = (String, Vec<String>);

/// Words and what stands beside each.
fn table(name: &str) -> Result<Vec<Entry>, Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/g2p").join(name);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(word, rest)| (word.to_owned(), rest.split('\t').map(str::to_owned).collect()))
        .collect())
}

fn pronounce(pronouncer: &Pronouncer, words: &[&str], beams: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let limits = Limits {
        rows: 128,
        sources: 128 / beams,
        source_len: pronouncer.max_letters() + 1,
        target_len: MAX_PHONEMES,
        encode_tokens: 512,
    };
    let plan = Plan::new(pronouncer.model(), limits, &Serial)?;
    let mut buffer = vec![0.0; plan.scratch_len()];
    let mut session = Session::new(pronouncer.model(), &plan, &mut buffer)?;
    let mut config = pronouncer.search().clone();
    config.num_beams = beams;
    let inputs = words.iter().map(|word| pronouncer.spell(word)).collect::<Result<Vec<_>, _>>()?;
    let mut results = vec![String::new(); words.len()];
    let emit = |index: usize, search: Result<&Search, ModelError>| -> Result<(), ModelError> {
        if let Some(best) = search?.hypotheses().next() {
            results[index] = pronouncer.phonemes(best.tokens).collect::<Vec<_>>().join(" ");
        }
        Ok(())
    };
    generate(&mut session, &Serial, &config, &pronouncer.prompt(), inputs.into_iter(), emit)?;
    Ok(results)
}

fn without_stress(pronunciation: &str) -> String {
    pronunciation.replace(|c: char| c.is_ascii_digit(), "")
}

/// Edit distance between two lists of phonemes.
fn distance(a: &[&str], b: &[&str]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn main() -> Result<(), Box<dyn Error>> {
    let beams: usize = std::env::args().nth(1).map_or(Ok(1), |beams| beams.parse())?;
    let dictionary = table("test_words.txt")?;
    let reference = table(if beams == 1 { "reference_greedy.txt" } else { "reference_beam4.txt" })?;
    let pronouncer = Pronouncer::new(Isa::best())?;
    let words: Vec<&str> = dictionary.iter().map(|(word, _)| word.as_str()).collect();
    let start = Instant::now();
    let results = pronounce(&pronouncer, &words, beams)?;
    let seconds = start.elapsed().as_secs_f64();

    let (mut wrong, mut wrong_without_stress, mut edits, mut phonemes) = (0, 0, 0, 0);
    for ((_, accepted), result) in dictionary.iter().zip(&results) {
        wrong += usize::from(!accepted.contains(result));
        let plain = without_stress(result);
        let plain: Vec<&str> = plain.split(' ').collect();
        let nearest = accepted.iter().map(|accepted| {
            let accepted = without_stress(accepted);
            let accepted: Vec<&str> = accepted.split(' ').collect();
            (distance(&plain, &accepted), accepted.len())
        });
        let (edit, length) = nearest.min().unwrap_or((plain.len(), 0));
        wrong_without_stress += usize::from(edit > 0);
        edits += edit;
        phonemes += length;
    }
    let identical =
        reference.iter().zip(&results).filter(|((_, expected), result)| expected.first() == Some(result)).count();
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole as f64;
    println!("words                         {:>8}", words.len());
    println!("identical to PyTorch          {:>8.2} %  ({identical})", percent(identical, words.len()));
    println!("word error rate               {:>8.2} %", percent(wrong, words.len()));
    println!("  without stress              {:>8.2} %", percent(wrong_without_stress, words.len()));
    println!("phoneme error, without stress {:>8.2} %", percent(edits, phonemes));
    println!("words per second              {:>8.0}    (one thread, {})", words.len() as f64 / seconds, Isa::best());
    Ok(())
}
