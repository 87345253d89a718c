//! Students of made-up weights against plain code in `f64`, and the contract: the same bits on every level of a class, in
//! any batch, on any threads. (Real ones are in `tests/run.sh models`.)

mod net;
mod plain;

use kernform_decode::GenerationConfig;
use kernform_formats::{LexicalShortlist, MarianFile};
use kernform_model::{
    Limits, MarianStudent, ModelError, Source, StudentInput, StudentPlan, StudentRow, StudentSession, StudentWeights,
    Translated, translate,
};
use kernform_simd::{Class, Isa, Level};
use kernform_tensor::parallel::Threads;
use kernform_tensor::{Parallel, Serial};
use kernform_testkit::{assert_same_bits, isa_tests_integer};

use net::{Net, VOCAB, shortlist};
use plain::Plain;

const LIMITS: Limits = Limits { rows: 6, sources: 4, source_len: 12, target_len: 16, encode_tokens: 30 };
/// The token that ends a sentence.
const END: u32 = 0;

fn load(net: &Net, weights: StudentWeights, isa: Isa) -> MarianStudent {
    let bytes = net.file();
    let file = MarianFile::parse(&bytes).expect("a whole file");
    MarianStudent::load(&file, weights, isa).expect("a student")
}

fn sources() -> [Vec<u32>; 4] {
    [vec![5, 9, 31, END], vec![END], vec![17, 3, 3, 40, 22, 8, 11, END], vec![2, 43, END]]
}

fn words(source: &[u32]) -> Vec<u32> {
    let bytes = shortlist();
    LexicalShortlist::parse(&bytes).expect("a whole shortlist").select(source, VOCAB as u32, true)
}

/// The logits of five steps of each source, whose targets are made of the source's words; one source after the other.
fn logits(model: &MarianStudent, parallel: &impl Parallel, sources: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let plan = StudentPlan::new(model, LIMITS, parallel).expect("sound limits");
    let mut buffer = vec![f32::NAN; plan.scratch_len()];
    let mut session = StudentSession::new(model, &plan, &mut buffer).expect("long enough");
    let ids = sources.concat();
    let mut start = 0;
    let places = sources.iter().enumerate().map(|(slot, source)| {
        start += source.len();
        Source { slot, tokens: start - source.len()..start }
    });
    let places: Vec<_> = places.collect();
    let lists: Vec<_> = sources.iter().map(|source| words(source)).collect();
    session.encode(parallel, &ids, &places, lists.clone()).expect("it encodes");
    let mut all = vec![Vec::new(); sources.len()];
    let mut step = Vec::new();
    for position in 0..5 {
        let row = |(slot, words): (usize, &Vec<u32>)| StudentRow {
            slot: LIMITS.rows - 1 - slot,
            source: slot,
            token: token(words, position),
        };
        let rows: Vec<_> = lists.iter().enumerate().map(row).collect();
        session.step(parallel, &rows, &mut step).expect("it steps");
        let mut rest = step.as_slice();
        for (all, words) in all.iter_mut().zip(&lists) {
            let (mine, others) = rest.split_at(words.len());
            all.extend_from_slice(mine);
            rest = others;
        }
    }
    all
}

/// What is fed at a position of the target.
fn token(words: &[u32], position: usize) -> Option<u32> {
    (position > 0).then(|| words[position * 3 % words.len()])
}

fn expected(plain: &Plain<'_>, source: &[u32]) -> Vec<f64> {
    let (encoded, words) = (plain.encode(source), words(source));
    let mut states = Plain::start();
    (0..5).flat_map(|position| plain.step(&encoded, &mut states, token(&words, position), position, &words)).collect()
}

/// The largest difference of any logit.
fn error(is_bytes: bool, weights: StudentWeights) -> f64 {
    let net = Net::new(is_bytes);
    let plain = Plain { net: &net, rounds: is_bytes && weights == StudentWeights::Stored };
    let found = logits(&load(&net, weights, Isa::best()), &Serial, &sources());
    let errors = sources().into_iter().zip(found).flat_map(|(source, found)| {
        let expected = expected(&plain, &source);
        assert_eq!(found.len(), expected.len());
        let size = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        assert!(size > 1.0, "logits that say something");
        expected.into_iter().zip(found).map(|(expected, found)| (expected - f64::from(found)).abs())
    });
    errors.fold(0.0, f64::max)
}

#[test]
fn logits_are_those_of_plain_code() {
    for (is_bytes, weights) in
        [(false, StudentWeights::F32), (false, StudentWeights::Stored), (true, StudentWeights::F32)]
    {
        let error = error(is_bytes, weights);
        println!("bytes {is_bytes}, {weights:?}: {error:e}");
        assert!(error < 2e-5, "bytes {is_bytes}, {weights:?}: {error:e}");
    }
    // Where nothing lies between two bytes within the error of floats, the bytes are the same.
    let error = error(true, StudentWeights::Stored);
    println!("bytes: {error:e}");
    assert!(error < 2e-5, "{error:e}");
}

/// All sources in one session, a few at a time.
fn translated(model: &MarianStudent, parallel: &impl Parallel, beams: usize, rows: usize) -> Vec<Vec<Translated>> {
    let limits = Limits { rows, sources: rows.min(4), ..LIMITS };
    let plan = StudentPlan::new(model, limits, parallel).expect("sound limits");
    let mut buffer = vec![f32::NAN; plan.scratch_len()];
    let mut session = StudentSession::new(model, &plan, &mut buffer).expect("long enough");
    let config = GenerationConfig { num_beams: beams, num_return_sequences: beams, ..GenerationConfig::default() };
    let inputs = sources().into_iter().map(|tokens| StudentInput { words: words(&tokens), tokens, most_tokens: 9 });
    let mut all = vec![Vec::new(); sources().len()];
    translate(&mut session, parallel, &config, (END, Some(1)), inputs, |number, hypotheses| {
        all[number] = hypotheses?;
        Ok::<(), ModelError>(())
    })
    .expect("it translates");
    all
}

#[test]
fn greedy_search_takes_the_best_words_of_plain_code() {
    let net = Net::new(false);
    let plain = Plain { net: &net, rounds: false };
    let found = translated(&load(&net, StudentWeights::F32, Isa::best()), &Serial, 1, 3);
    for (source, found) in sources().iter().zip(found) {
        let (encoded, words) = (plain.encode(source), words(source));
        let mut states = Plain::start();
        let (mut tokens, mut token) = (Vec::new(), None);
        for position in 0..9 {
            let logits = plain.step(&encoded, &mut states, token, position, &words);
            // Word 1 is the unknown one, which is never written.
            let allowed = words.iter().zip(logits).filter(|(word, _)| **word != 1);
            let (word, _) = allowed.max_by(|a, b| a.1.total_cmp(&b.1)).expect("there are words");
            if *word == END {
                break;
            }
            tokens.push(*word);
            token = Some(*word);
        }
        assert_eq!(found[0].tokens, tokens, "{source:?}");
        assert_eq!(found[0].finished, tokens.len() < 9);
    }
}

fn every_way_gives_the_same_bits(isa: Isa) {
    let arithmetics = [(true, StudentWeights::Stored), (false, StudentWeights::Stored), (true, StudentWeights::Engine)];
    for (is_bytes, weights) in arithmetics {
        let net = Net::new(is_bytes);
        let scalar = match isa.class() {
            Class::Fused => Level::Scalar,
            Class::Unfused => Level::ScalarUnfused,
        };
        let scalar = load(&net, weights, Isa::new(scalar).expect("scalar levels run anywhere"));
        let model = load(&net, weights, isa);
        let alone = |source| logits(&scalar, &Serial, core::slice::from_ref(source)).concat();
        let expected: Vec<_> = sources().iter().flat_map(alone).collect();
        assert_same_bits("a batch", &logits(&model, &Serial, &sources()).concat(), &expected);
        assert_same_bits("a batch on 2 threads", &logits(&model, &Threads(2), &sources()).concat(), &expected);
        assert_same_bits("a batch on 3 threads", &logits(&model, &Threads(3), &sources()).concat(), &expected);
        for beams in [1, 3] {
            let expected = translated(&scalar, &Serial, beams, beams);
            assert!(expected.iter().all(|hypotheses| hypotheses.len() == beams));
            assert_eq!(translated(&model, &Serial, beams, 2 * beams), expected);
            assert_eq!(translated(&model, &Threads(2), beams, 6 * beams), expected);
        }
    }
}

/// The engine's arithmetic fuses nothing, so both classes have its bits.
#[test]
fn the_engines_arithmetic_is_one_in_both_classes() {
    let net = Net::new(true);
    let on = |level, weights| {
        let isa = Isa::new(level).expect("scalar levels run anywhere");
        logits(&load(&net, weights, isa), &Serial, &sources()).concat()
    };
    let fused = on(Level::Scalar, StudentWeights::Engine);
    assert_same_bits("both classes", &fused, &on(Level::ScalarUnfused, StudentWeights::Engine));
    assert!(fused.iter().all(|logit| logit.is_finite()));
    // Made-up weights have many pairs that saturate.
    assert_ne!(fused, on(Level::Scalar, StudentWeights::Stored));
}

isa_tests_integer!(every_way_gives_the_same_bits);
