//! Inputs that no search can serve are errors; none panics, and none makes a search allocate beyond its limit.

use kernform_decode::{EarlyStopping, Error, GenerationConfig, Search, Status};
use kernform_testkit::up_to;
use proptest::prelude::*;

fn base() -> GenerationConfig {
    GenerationConfig { num_beams: 2, max_new_tokens: Some(4), eos_token_ids: vec![0], ..GenerationConfig::default() }
}

fn refusal(change: impl FnOnce(&mut GenerationConfig)) -> Error {
    let mut config = base();
    change(&mut config);
    Search::new(&config, &[1], 10).unwrap_err()
}

#[test]
fn options_that_mean_nothing_are_named() {
    assert_eq!(refusal(|c| c.num_beams = 0), Error::ZeroBeams);
    assert_eq!(refusal(|c| c.num_return_sequences = 0), Error::ReturnSequences { requested: 0, num_beams: 2 });
    assert_eq!(refusal(|c| c.num_return_sequences = 3), Error::ReturnSequences { requested: 3, num_beams: 2 });
    assert!(matches!(refusal(|c| c.length_penalty = f64::NAN), Error::LengthPenalty { .. }));
    assert_eq!(refusal(|c| c.length_penalty = f64::INFINITY), Error::LengthPenalty { value: f64::INFINITY });
    // 4 ^ 100 is no f32, and neither is 4 ^ -100.
    assert_eq!(refusal(|c| c.length_penalty = 100.0), Error::LengthPenalty { value: 100.0 });
    assert_eq!(refusal(|c| c.length_penalty = -100.0), Error::LengthPenalty { value: -100.0 });
    for value in [0.0, -1.0, f32::INFINITY] {
        assert_eq!(refusal(|c| c.repetition_penalty = value), Error::RepetitionPenalty { value });
    }
    assert!(matches!(refusal(|c| c.repetition_penalty = f32::NAN), Error::RepetitionPenalty { .. }));
    assert_eq!(refusal(|c| c.max_new_tokens = Some(0)), Error::ZeroNewTokens);
    assert_eq!(refusal(|c| c.bad_words_ids = vec![vec![]]), Error::EmptyBadWord);
    assert_eq!(refusal(|c| c.eos_token_ids = (0..10).collect()), Error::VocabularyTooSmall { vocab: 10, needed: 11 });
    let too_long = |c: &mut GenerationConfig| (c.max_new_tokens, c.max_length) = (None, Some(1));
    assert_eq!(refusal(too_long), Error::PromptTooLong { prompt: 1, max_length: 1 });
}

#[test]
fn tokens_outside_the_vocabulary_are_named() {
    let outside = |field, token| Error::TokenOutsideVocabulary { field, token, vocab: 10 };
    assert_eq!(refusal(|c| c.eos_token_ids = vec![3, 10]), outside("eos_token_ids", 10));
    assert_eq!(refusal(|c| c.forced_bos_token_id = Some(11)), outside("forced_bos_token_id", 11));
    assert_eq!(refusal(|c| c.forced_eos_token_ids = vec![12]), outside("forced_eos_token_ids", 12));
    assert_eq!(refusal(|c| c.suppress_tokens = vec![13]), outside("suppress_tokens", 13));
    assert_eq!(refusal(|c| c.begin_suppress_tokens = vec![14]), outside("begin_suppress_tokens", 14));
    assert_eq!(refusal(|c| c.bad_words_ids = vec![vec![1, u32::MAX]]), outside("bad_words_ids", u32::MAX));
    assert_eq!(refusal(|c| c.decoder_start_token_id = Some(15)), outside("decoder_start_token_id", 15));
    assert_eq!(Search::new(&base(), &[16], 10).unwrap_err(), outside("prompt", 16));
    assert_eq!(Search::new(&base(), &[], 10).unwrap_err(), Error::EmptyPrompt);
    assert_eq!(Search::new(&base(), &[0], 0).unwrap_err(), Error::EmptyVocabulary);
}

#[test]
fn what_does_not_fit_the_memory_limit_is_refused_before_it_is_allocated() {
    for change in [
        |c: &mut GenerationConfig| c.max_new_tokens = Some(usize::MAX),
        |c: &mut GenerationConfig| c.max_new_tokens = Some(usize::MAX / 8),
        |c: &mut GenerationConfig| (c.max_new_tokens, c.max_length) = (None, Some(usize::MAX)),
        |c: &mut GenerationConfig| c.num_beams = usize::MAX,
        |c: &mut GenerationConfig| c.num_beams = 1 << 31,
        |c: &mut GenerationConfig| (c.num_beams, c.max_new_tokens) = (1, Some(1 << (usize::BITS - 4))),
        |c: &mut GenerationConfig| c.memory_limit = 100,
    ] {
        assert!(matches!(refusal(change), Error::TooLarge { .. }));
    }
}

#[test]
fn bad_logits_leave_the_search_as_it_was() {
    for num_beams in [1, 2] {
        let config = GenerationConfig { num_beams, output_scores: true, ..base() };
        let run = |disturb: bool| {
            let mut search = Search::new(&config, &[1], 10).unwrap();
            loop {
                let rows = search.rows();
                let logits: Vec<f32> = (0..rows * 10).map(|i| ((i * 7) % 10) as f32 / 3.0 + rows as f32).collect();
                if disturb {
                    let mut bad = logits.clone();
                    bad[rows * 10 - 3] = f32::NAN;
                    assert_eq!(search.advance(&bad), Err(Error::NanLogit { row: rows - 1 }));
                    bad[rows * 10 - 3] = f32::INFINITY;
                    assert_eq!(search.advance(&bad), Err(Error::InfiniteLogit { row: rows - 1 }));
                    let wrong = Error::LogitsLength { expected: rows * 10, actual: rows * 10 - 1 };
                    assert_eq!(search.advance(&logits[1..]), Err(wrong));
                }
                if search.advance(&logits).unwrap() == Status::Done {
                    break;
                }
            }
            assert_eq!(search.advance(&[]), Err(Error::Finished));
            search.hypotheses().map(|h| (h.tokens.to_vec(), h.score.unwrap().to_bits())).collect::<Vec<_>>()
        };
        assert_eq!(run(true), run(false), "{num_beams} beams");
    }
}

#[test]
fn rows_without_any_token_left_have_no_continuation() {
    let config = GenerationConfig { num_beams: 3, num_return_sequences: 3, ..base() };
    let mut search = Search::new(&config, &[1], 10).unwrap();
    let mut logits = vec![f32::NEG_INFINITY; 10];
    (logits[4], logits[7]) = (1.0, 1.0);
    search.advance(&logits).unwrap();
    // Of the two live beams the first one dies, the other one can only end.
    let mut logits = vec![f32::NEG_INFINITY; 30];
    let (_, tokens) = search.inputs();
    let live = tokens.iter().position(|&t| t == 7).unwrap();
    logits[live * 10] = 3.0;
    search.advance(&logits).unwrap();
    let best = search.hypotheses().next().unwrap();
    assert_eq!((best.tokens, best.finished), (&[1, 7, 0][..], true));
    // Both choices of the first step had probability 1/2, the second step had one choice.
    assert!((best.log_probability.unwrap() + core::f32::consts::LN_2).abs() < 1e-6);
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0_usize..6, 1 => Just(usize::MAX), 1 => any::<usize>(), 1 => 0_usize..5000]
}

fn logit() -> impl Strategy<Value = f32> {
    prop_oneof![8 => -9.0_f32..9.0, 1 => Just(f32::NEG_INFINITY), 1 => Just(f32::MAX), 1 => Just(f32::MIN), 1 => Just(2.0)]
}

prop_compose! {
    fn any_config()(
        (num_beams, num_return_sequences, ngram, min_length) in (size(), 0_usize..5, size(), size()),
        (max_new_tokens, max_length, min_new_tokens) in (prop::option::of(size()), prop::option::of(size()), prop::option::of(size())),
        (length_penalty, repetition_penalty) in (prop_oneof![4 => -3.0..3.0, 1 => any::<f64>()], prop_oneof![4 => 0.5_f32..2.0, 1 => any::<f32>()]),
        (bad, suppress, begin) in (prop::collection::vec(prop::collection::vec(0_u32..8, 0..4), 0..3), prop::collection::vec(0_u32..8, 0..9), prop::collection::vec(0_u32..8, 0..3)),
        (bos, forced_eos, eos, pad) in (prop::option::of(0_u32..8), prop::collection::vec(0_u32..8, 0..3), prop::collection::vec(0_u32..8, 0..4), any::<Option<u32>>()),
        (stopping, renormalize_logits, output_scores) in (0_usize..3, any::<bool>(), any::<bool>()),
    ) -> GenerationConfig {
        GenerationConfig {
            num_beams, num_return_sequences, length_penalty, max_new_tokens, max_length, min_new_tokens, min_length, repetition_penalty,
            early_stopping: [EarlyStopping::Heuristic, EarlyStopping::Always, EarlyStopping::Never][stopping],
            no_repeat_ngram_size: ngram,
            bad_words_ids: bad,
            suppress_tokens: suppress,
            begin_suppress_tokens: begin,
            forced_bos_token_id: bos,
            forced_eos_token_ids: forced_eos,
            eos_token_ids: eos,
            pad_token_id: pad,
            decoder_start_token_id: None,
            renormalize_logits,
            output_scores,
            memory_limit: 1 << 20,
        }
    }
}

proptest! {
    #![proptest_config(up_to(2000))]

    #[test]
    fn any_configuration_searches_or_is_refused(
        config in any_config(),
        prompt in prop::collection::vec(0_u32..7, 0..5),
        logits in prop::collection::vec(logit(), 64),
        vocab in 0_usize..9,
    ) {
        let Ok(mut search) = Search::new(&config, &prompt, vocab) else { return Ok(()) };
        for step in 0..40 {
            if search.is_done() {
                break;
            }
            let rows: Vec<f32> = (0..search.rows() * vocab).map(|i| logits[(i * 5 + step * 11) % 64]).collect();
            prop_assert!(search.inputs().1.iter().all(|&t| (t as usize) < vocab));
            match search.advance(&rows) {
                // A repeated token's logit of f32::MAX may be divided by less than 1.
                Err(Error::InfiniteLogit { .. }) if config.repetition_penalty < 1.0 => return Ok(()),
                other => drop(other.unwrap()),
            }
        }
        let returned = search.hypotheses().collect::<Vec<_>>();
        prop_assert_eq!(returned.len(), config.num_return_sequences);
        for pair in returned.windows(2) {
            prop_assert!(pair[0].score >= pair[1].score);
        }
        for hypothesis in returned {
            prop_assert!(hypothesis.tokens.starts_with(&prompt));
        }
    }
}
