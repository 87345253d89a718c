//! The sequences and scores that transformers' `generate` gives, on logits that a hash of the sequence defines.
//! `make_cases.py` beside this file made `cases.json` and says how the logits follow.

use kernform_decode::{EarlyStopping, GenerationConfig, StepModel, TopK, generate};
use serde_json::Value;

const CASES: &str = include_str!("cases.json");

/// The fake model of `make_cases.py`: its state is the sequence of each row.
struct HashModel {
    kind: String,
    seed: u64,
    window: usize,
    vocab: usize,
    encoder: bool,
    eos: Vec<u32>,
    eos_bias: f32,
    rows: Vec<(u64, Vec<u32>)>,
    steps: usize,
}

fn mix(mut h: u64) -> u64 {
    h = (h ^ (h >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    h = (h ^ (h >> 29)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ (h >> 32)
}

impl HashModel {
    fn new(model: &Value, inputs: usize) -> Self {
        let number = |name: &str| model[name].as_u64().unwrap();
        Self {
            kind: model["kind"].as_str().unwrap().to_owned(),
            seed: number("seed"),
            window: number("window") as usize,
            vocab: number("vocab") as usize,
            encoder: model["encoder"].as_bool().unwrap(),
            eos: tokens(&model["eos"]),
            eos_bias: model["eos_bias"].as_f64().unwrap() as f32,
            rows: (0..inputs as u64).map(|item| (item, Vec::new())).collect(),
            steps: 0,
        }
    }

    fn logits(&self, item: u64, sequence: &[u32], out: &mut [f32]) {
        let mut h = mix(self.seed + if self.encoder { item } else { 0 });
        for &token in &sequence[sequence.len().saturating_sub(self.window)..] {
            h = mix(h ^ u64::from(token + 1));
        }
        for (v, x) in out.iter_mut().enumerate() {
            let r = mix(h ^ ((v as u64) << 32)) >> 40;
            *x = match self.kind.as_str() {
                "smooth" => r as f32 * f32::exp2(-20.0),
                "grid" => (r % 4) as f32,
                "ties" if v as u64 == h % self.vocab as u64 => 0.0,
                "ties" => -128.0 * (1.0 + (r % 3) as f32),
                other => panic!("unknown kind {other}"),
            };
        }
        if self.kind == "smooth" {
            for &eos in &self.eos {
                out[eos as usize] += self.eos_bias;
            }
        }
    }
}

impl StepModel for HashModel {
    type Error = core::convert::Infallible;

    fn vocab_size(&self) -> usize {
        self.vocab
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32], logits: &mut [f32]) -> Result<(), Self::Error> {
        let grow = |(&parent, &token): (&usize, &u32)| {
            let (item, mut sequence) = self.rows[parent].clone();
            sequence.push(token);
            (item, sequence)
        };
        self.rows = parents.iter().zip(tokens).map(grow).collect();
        self.steps += 1;
        assert_eq!(logits.len(), self.rows.len() * self.vocab);
        for ((item, sequence), out) in self.rows.iter().zip(logits.chunks_exact_mut(self.vocab)) {
            self.logits(*item, sequence, out);
        }
        Ok(())
    }
}

fn tokens(value: &Value) -> Vec<u32> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(|x| x.as_u64().unwrap() as u32).collect(),
        one => vec![one.as_u64().unwrap() as u32],
    }
}

fn lists(value: &Value) -> Vec<Vec<u32>> {
    value.as_array().map(|rows| rows.iter().map(tokens).collect()).unwrap_or_default()
}

fn config(options: &Value) -> GenerationConfig {
    let mut config = GenerationConfig { output_scores: true, ..GenerationConfig::default() };
    for (name, value) in options.as_object().unwrap() {
        let size = value.as_u64().map(|n| n as usize);
        let float = value.as_f64();
        match name.as_str() {
            "num_beams" => config.num_beams = size.unwrap(),
            "num_return_sequences" => config.num_return_sequences = size.unwrap(),
            "length_penalty" => config.length_penalty = float.unwrap(),
            "early_stopping" => {
                config.early_stopping = match value {
                    Value::Bool(false) => EarlyStopping::Heuristic,
                    Value::Bool(true) => EarlyStopping::Always,
                    _ => EarlyStopping::Never,
                }
            }
            "max_new_tokens" => config.max_new_tokens = size,
            "max_length" => config.max_length = size,
            "min_new_tokens" => config.min_new_tokens = size,
            "min_length" => config.min_length = size.unwrap(),
            "no_repeat_ngram_size" => config.no_repeat_ngram_size = size.unwrap(),
            "repetition_penalty" => config.repetition_penalty = float.unwrap() as f32,
            "bad_words_ids" => config.bad_words_ids = lists(value),
            "suppress_tokens" => config.suppress_tokens = tokens(value),
            "begin_suppress_tokens" => config.begin_suppress_tokens = tokens(value),
            "forced_bos_token_id" => config.forced_bos_token_id = tokens(value).first().copied(),
            "forced_eos_token_id" => config.forced_eos_token_ids = tokens(value),
            "eos_token_id" => config.eos_token_ids = tokens(value),
            "pad_token_id" => config.pad_token_id = tokens(value).first().copied(),
            "decoder_start_token_id" => config.decoder_start_token_id = tokens(value).first().copied(),
            "renormalize_logits" => config.renormalize_logits = value.as_bool().unwrap(),
            other => panic!("unknown option {other}"),
        }
    }
    config
}

#[test]
fn sequences_and_scores_are_those_of_transformers() {
    let file: Value = serde_json::from_str(CASES).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let mut failures = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let prompts = lists(&case["prompts"]);
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let mut model = HashModel::new(&case["model"], prompts.len());
        let found = generate(&mut model, &config(&case["options"]), &prompts).unwrap();
        let sequences = found.sequences();
        if sequences != lists(&case["sequences"]) {
            failures.push(format!("case {number}: {case}\n  found {sequences:?}"));
            continue;
        }
        let scores = found.searches().iter().flat_map(|search| search.hypotheses()).map(|h| h.score.unwrap());
        for (score, wanted) in scores.zip(case["scores"].as_array().unwrap()) {
            // Both sides add up to 20 rounded log-probabilities, each within a few units in the last place.
            let agrees = match wanted.as_f64() {
                None => !score.is_finite(),
                Some(wanted) => {
                    (f64::from(score) - wanted).abs() <= 64.0 * f64::from(f32::EPSILON) * wanted.abs().max(16.0)
                }
            };
            if !agrees {
                failures.push(format!("case {number}: {case}\n  score {score}, wanted {wanted}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} cases differ\n{}", failures.len(), cases.len(), failures.join("\n"));
    assert!(cases.len() >= 300);
}

#[test]
fn ties_are_those_of_torch_topk() {
    let file: Value = serde_json::from_str(CASES).unwrap();
    for case in file["topk"].as_array().unwrap() {
        let values: Vec<f32> = tokens(&case["values"]).iter().map(|&x| x as f32).collect();
        let k = case["k"].as_u64().unwrap() as usize;
        for piece in [1, 7, 64, 1000] {
            let mut buffer = vec![Default::default(); TopK::buffer_len(k, values.len())];
            let mut top = TopK::new(&mut buffer, k, values.len()).unwrap();
            for part in values.chunks(piece) {
                top.extend(part, 0.0);
            }
            let found: Vec<u32> = top.finish().iter().map(|c| c.index).collect();
            assert_eq!(found, tokens(&case["indices"]), "{case}");
        }
    }
}
