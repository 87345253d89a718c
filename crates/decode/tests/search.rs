//! Searches against slow ones that are plainly right, and what a batch may not change.

use std::collections::HashMap;

use kernform_decode::{EarlyStopping, GenerationConfig, Hypothesis, Search, Status, StepModel, generate};
use kernform_simd::{Class, Isa, Level};
use kernform_testkit::up_to;
use proptest::prelude::*;

/// Log-probabilities that a generator seeded with the sequence gives.
#[derive(Clone)]
struct Table {
    vocab: usize,
    seed: u64,
    rows: Vec<Vec<u32>>,
}

impl Table {
    fn new(vocab: usize, seed: u64, inputs: usize) -> Self {
        Self { vocab, seed, rows: vec![Vec::new(); inputs] }
    }

    fn logits(&self, sequence: &[u32]) -> Vec<f32> {
        let mut state = sequence
            .iter()
            .fold(self.seed, |h, &t| (h ^ u64::from(t + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23));
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 22) as f32
        };
        (0..self.vocab).map(|_| next()).collect()
    }

    /// In f64, from the definition.
    fn log_probabilities(&self, sequence: &[u32]) -> Vec<f64> {
        let logits = self.logits(sequence);
        let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        logits.iter().map(|&x| f64::from(x) - sum.ln()).collect()
    }
}

impl StepModel for Table {
    type Error = core::convert::Infallible;

    fn vocab_size(&self) -> usize {
        self.vocab
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32], logits: &mut [f32]) -> Result<(), Self::Error> {
        let grow = |(&parent, &token): (&usize, &u32)| [self.rows[parent].as_slice(), &[token]].concat();
        self.rows = parents.iter().zip(tokens).map(grow).collect();
        for (row, out) in self.rows.iter().zip(logits.chunks_exact_mut(self.vocab)) {
            out.copy_from_slice(&self.logits(row));
        }
        Ok(())
    }
}

const EOS: u32 = 0;

/// Every sequence of up to `new_tokens` tokens that ends, with its sum of log-probabilities.
fn all_sequences(model: &Table, prefix: &[u32], sum: f64, new_tokens: usize, out: &mut Vec<(Vec<u32>, f64)>) {
    for (token, log_probability) in model.log_probabilities(prefix).into_iter().enumerate() {
        let sequence = [prefix, &[token as u32]].concat();
        if token as u32 == EOS || new_tokens == 1 {
            out.push((sequence, sum + log_probability));
        } else {
            all_sequences(model, &sequence, sum + log_probability, new_tokens - 1, out);
        }
    }
}

/// Beam search with nothing kept but what its definition names.
fn plain_beam_search(model: &Table, config: &GenerationConfig, prompt: &[u32]) -> Vec<(Vec<u32>, f64)> {
    let new_tokens = config.max_new_tokens.unwrap();
    let normalise = |sum: f64, length: usize| sum / (length as f64).powf(config.length_penalty);
    let mut running = vec![(prompt.to_vec(), 0.0)];
    let mut finished: Vec<(Vec<u32>, f64)> = Vec::new();
    for length in 1..=new_tokens {
        let mut next = Vec::new();
        for (sequence, sum) in &running {
            for (token, log_probability) in model.log_probabilities(sequence).into_iter().enumerate() {
                next.push(([sequence.as_slice(), &[token as u32]].concat(), sum + log_probability));
            }
        }
        next.sort_by(|a, b| b.1.total_cmp(&a.1));
        let ends = |sequence: &[u32]| sequence.last() == Some(&EOS) || length == new_tokens;
        for (sequence, sum) in next.iter().take(config.num_beams).filter(|(sequence, _)| ends(sequence)) {
            finished.push((sequence.clone(), normalise(*sum, length)));
        }
        finished.sort_by(|a, b| b.1.total_cmp(&a.1));
        finished.truncate(config.num_beams);
        running = next.into_iter().filter(|(sequence, _)| !ends(sequence)).take(config.num_beams).collect();
        let full = finished.len() == config.num_beams;
        let longest = if config.early_stopping == EarlyStopping::Never && config.length_penalty > 0.0 {
            new_tokens
        } else {
            length
        };
        let stop = match (running.first(), config.early_stopping) {
            (None, _) => true,
            (_, EarlyStopping::Always) if full => true,
            (Some((_, sum)), _) => full && normalise(*sum, longest) <= finished[config.num_beams - 1].1,
        };
        if stop {
            break;
        }
    }
    finished
}

/// Bound of the error of a sum of up to `tokens` rounded log-probabilities of size up to 16, a few units in the last place each.
fn close(score: Option<f32>, truth: f64) -> bool {
    (f64::from(score.unwrap()) - truth).abs() <= 16.0 * 8.0 * f64::from(f32::EPSILON) * truth.abs().max(1.0)
}

/// Whether no decision was closer than rounding could turn.
fn distinct(ranked: &[(Vec<u32>, f64)]) -> bool {
    ranked.windows(2).all(|pair| (pair[0].1 - pair[1].1).abs() > 1e-4)
}

fn hypotheses<'a>(searches: &'a [Search]) -> Vec<Hypothesis<'a>> {
    searches.iter().flat_map(Search::hypotheses).collect()
}

proptest! {
    #![proptest_config(up_to(96))]

    #[test]
    fn with_a_beam_for_every_sequence_the_best_are_found(
        vocab in 2_usize..5, new_tokens in 1_usize..4, seed: u64, penalty in -1.0_f64..2.0, never: bool,
    ) {
        let model = Table::new(vocab, seed, 1);
        let mut all = Vec::new();
        all_sequences(&model, &[1], 0.0, new_tokens, &mut all);
        for (sequence, sum) in &mut all {
            *sum /= ((sequence.len() - 1) as f64).powf(penalty);
        }
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        prop_assume!(distinct(&all));
        let config = GenerationConfig {
            num_beams: vocab.pow(new_tokens as u32),
            num_return_sequences: all.len(),
            length_penalty: penalty,
            early_stopping: if never { EarlyStopping::Never } else { EarlyStopping::Heuristic },
            max_new_tokens: Some(new_tokens),
            eos_token_ids: vec![EOS],
            ..GenerationConfig::default()
        };
        let found = generate(&mut model.clone(), &config, &[&[1]]).unwrap();
        for (hypothesis, (sequence, score)) in hypotheses(found.searches()).iter().zip(&all) {
            prop_assert_eq!(hypothesis.tokens, sequence.as_slice());
            prop_assert!(close(hypothesis.score, *score), "{:?} {}", hypothesis.score, score);
            prop_assert!(hypothesis.finished);
        }
    }

    #[test]
    fn beams_are_those_of_the_plain_search(
        vocab in 2_usize..60, num_beams in 2_usize..6, new_tokens in 1_usize..7, seed: u64,
        penalty in prop_oneof![Just(1.0), Just(0.0), -1.0_f64..2.0], stopping in 0..3,
    ) {
        let config = GenerationConfig {
            num_beams,
            num_return_sequences: num_beams,
            length_penalty: penalty,
            early_stopping: [EarlyStopping::Heuristic, EarlyStopping::Always, EarlyStopping::Never][stopping as usize],
            max_new_tokens: Some(new_tokens),
            eos_token_ids: vec![EOS],
            ..GenerationConfig::default()
        };
        // With fewer continuations than beams the rows are filled up with impossible ones, whose order nothing here defines.
        prop_assume!(vocab > num_beams);
        let model = Table::new(vocab, seed, 1);
        let expected = plain_beam_search(&model, &config, &[1, 1]);
        prop_assume!(distinct(&expected));
        let found = generate(&mut model.clone(), &config, &[&[1, 1]]).unwrap();
        for (hypothesis, (sequence, score)) in hypotheses(found.searches()).iter().zip(&expected) {
            prop_assert_eq!(hypothesis.tokens, sequence.as_slice());
            prop_assert!(close(hypothesis.score, *score), "{:?} {}", hypothesis.score, score);
        }
    }

    #[test]
    fn an_input_alone_gives_the_same_bits_as_in_a_batch(
        vocab in 4_usize..80, num_beams in 1_usize..5, seed: u64,
        prompts in prop::collection::vec(prop::collection::vec(0_u32..4, 1..5), 1..6),
    ) {
        let config = GenerationConfig {
            num_beams,
            num_return_sequences: num_beams,
            max_new_tokens: Some(9),
            no_repeat_ngram_size: 2,
            eos_token_ids: vec![EOS, 3],
            output_scores: true,
            ..GenerationConfig::default()
        };
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let batch = generate(&mut Table::new(vocab, seed, prompts.len()), &config, &prompts).unwrap();
        for (prompt, together) in prompts.iter().zip(batch.searches()) {
            let single = generate(&mut Table::new(vocab, seed, 1), &config, &[prompt]).unwrap();
            let (single, together) = (hypotheses(single.searches()), together.hypotheses().collect::<Vec<_>>());
            prop_assert_eq!(single.len(), num_beams);
            for (a, b) in single.iter().zip(&together) {
                prop_assert_eq!(a.tokens, b.tokens);
                prop_assert_eq!(a.score.map(f32::to_bits), b.score.map(f32::to_bits));
                prop_assert_eq!(a.log_probability.map(f32::to_bits), b.log_probability.map(f32::to_bits));
            }
        }
        let longest = batch.searches().iter().flat_map(Search::hypotheses).map(|h| h.tokens.len()).max();
        for sequence in batch.sequences() {
            prop_assert_eq!(Some(sequence.len()), longest);
        }
    }

    #[test]
    fn greedy_takes_the_best_token_of_each_step(vocab in 1_usize..50, seed: u64, new_tokens in 1_usize..9) {
        let config = GenerationConfig {
            max_new_tokens: Some(new_tokens),
            eos_token_ids: vec![EOS],
            output_scores: true,
            ..GenerationConfig::default()
        };
        let model = Table::new(vocab, seed, 1);
        let found = generate(&mut model.clone(), &config, &[&[0]]).unwrap();
        let (mut sequence, mut sum) = (vec![0_u32], 0.0);
        while sequence.len() <= new_tokens && (sequence.len() == 1 || sequence.last() != Some(&EOS)) {
            let logits = model.logits(&sequence);
            let best = (0..vocab).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
            sum += model.log_probabilities(&sequence)[best];
            sequence.push(best as u32);
        }
        let hypothesis = hypotheses(found.searches())[0];
        prop_assert_eq!(hypothesis.tokens, sequence.as_slice());
        prop_assert!(close(hypothesis.log_probability, sum));
    }
}

/// What beam search finds on `isa`, to the bit.
fn found_on(isa: Isa, vocab: usize) -> Vec<(Vec<u32>, u32)> {
    let config = GenerationConfig {
        num_beams: 4,
        num_return_sequences: 4,
        max_new_tokens: Some(12),
        ..GenerationConfig::default()
    };
    let model = Table::new(vocab, 11, 1);
    let mut search = Search::with_isa(isa, &config, &[2], vocab).unwrap();
    let mut rows = vec![vec![]];
    while !search.is_done() {
        let (parents, tokens) = search.inputs();
        rows =
            parents.iter().zip(tokens).map(|(&p, &t)| [rows[p].as_slice(), &[t]].concat()).collect::<Vec<Vec<u32>>>();
        search.advance(&rows.iter().flat_map(|row| model.logits(row)).collect::<Vec<_>>()).unwrap();
    }
    search.hypotheses().map(|h| (h.tokens.to_vec(), h.score.unwrap().to_bits())).collect()
}

fn every_level_finds_the_same(isa: Isa) {
    let scalar = match isa.class() {
        Class::Fused => Level::Scalar,
        Class::Unfused => Level::ScalarUnfused,
    };
    for vocab in [5, 16, 33, 97, 1000] {
        assert_eq!(found_on(isa, vocab), found_on(Isa::new(scalar).unwrap(), vocab), "{vocab} tokens");
    }
}

kernform_testkit::isa_tests!(every_level_finds_the_same);

#[test]
fn rows_continue_the_rows_that_they_name() {
    let config = GenerationConfig { num_beams: 3, max_new_tokens: Some(6), ..GenerationConfig::default() };
    let model = Table::new(20, 7, 1);
    let mut search = Search::new(&config, &[2, 4], 20).unwrap();
    let mut rows = vec![vec![2]];
    let mut seen = HashMap::new();
    loop {
        let (parents, tokens) = search.inputs();
        assert_eq!(parents.len(), search.rows());
        rows =
            parents.iter().zip(tokens).map(|(&p, &t)| [rows[p].as_slice(), &[t]].concat()).collect::<Vec<Vec<u32>>>();
        for row in &rows {
            *seen.entry(row.clone()).or_insert(0) += 1;
        }
        let logits: Vec<f32> = rows.iter().flat_map(|row| model.logits(row)).collect();
        if search.advance(&logits).unwrap() == Status::Done {
            break;
        }
    }
    assert_eq!(search.inputs(), (&[][..], &[][..]));
    assert!(seen.values().all(|&n| n == 1), "no sequence is asked for twice");
    let best = search.hypotheses().next().unwrap();
    assert_eq!(best.tokens.len(), 8);
    assert!(seen.contains_key(&best.tokens[..7]), "the best sequence came from a row");
}
