//! The families against PyTorch: the cases of `tests/golden`, outputs within their bounds, token ids identical.

mod common;

use common::{Case, cases};
use kernform_decode::{EarlyStopping, GenerationConfig, Search};
use kernform_formats::Json;
use kernform_model::{EncoderDecoder, ForwardInputs, Limits, ModelError, Plan, Session, generate, generation_config};
use kernform_simd::Isa;
use kernform_tensor::Serial;

fn load(case: &Case, isa: Isa) -> EncoderDecoder {
    EncoderDecoder::load(&case.folder, case.folder.config(), isa).unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

fn largest_error(actual: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    actual.iter().zip(expected).map(|(a, e)| (f64::from(*a) - f64::from(*e)).abs()).fold(0.0, f64::max)
}

#[test]
fn outputs_are_within_the_bounds_of_every_case() {
    for name in cases() {
        let case = Case::open(&name);
        let model = load(&case, Isa::best());
        let (input_ids, [batch, _]) = case.ids("input_ids");
        let (mask, _) = case.ids("attention_mask");
        let (decoder_input_ids, _) = case.ids("decoder_input_ids");
        let mask: Vec<bool> = mask.into_iter().map(|m| m != 0).collect();
        let inputs = ForwardInputs {
            batch,
            input_ids: &input_ids,
            attention_mask: Some(&mask),
            decoder_input_ids: &decoder_input_ids,
        };
        let outputs = model.forward(&Serial, &inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
        let both = [("logits", &outputs.logits), ("encoder_last_hidden_state", &outputs.encoder_last_hidden_state)];
        for (output, actual) in both {
            let error = largest_error(actual, &case.output(output));
            let bound = case.bound(output);
            println!("{name:28} {output:26} error {error:.2e}, bound {bound:.2e}");
            assert!(error <= bound, "{name}: {output} is off by {error:e}, the bound is {bound:e}");
        }
    }
}

/// The sequences that `transformers` would return for the case's inputs, in the form of `case.json`.
fn sequences(case: &Case, model: &EncoderDecoder, config: &GenerationConfig) -> Vec<Vec<u32>> {
    let (input_ids, [batch, len]) = case.ids("input_ids");
    let (mask, _) = case.ids("attention_mask");
    // Padding stands at the end, so a source is its first tokens.
    let sources: Vec<Vec<u32>> = (0..batch)
        .map(|i| {
            let row = i * len..(i + 1) * len;
            input_ids[row.clone()].iter().zip(&mask[row]).filter(|(_, m)| **m != 0).map(|(id, _)| *id).collect()
        })
        .collect();
    let limits =
        Limits { rows: batch * config.num_beams, sources: batch, source_len: len, target_len: 40, encode_tokens: 64 };
    let plan = Plan::new(model, limits, &Serial).expect("the limits are sound");
    let mut buffer = vec![0.0; plan.scratch_len()];
    let mut session = Session::new(model, &plan, &mut buffer).expect("the buffer is long enough");
    let prompt = [config.decoder_start_token_id.expect("the case has a start token")];
    let mut found: Vec<Vec<Vec<u32>>> = vec![Vec::new(); batch];
    let emit = |index: usize, search: Result<&Search, ModelError>| -> Result<(), ModelError> {
        found[index] = search?.hypotheses().map(|h| h.tokens.to_vec()).collect();
        Ok(())
    };
    generate(&mut session, &Serial, config, &prompt, sources.into_iter(), emit).expect("generation runs");
    let mut flat: Vec<Vec<u32>> = found.into_iter().flatten().collect();
    let longest = flat.iter().map(Vec::len).max().unwrap_or(0);
    for sequence in &mut flat {
        sequence.resize(longest, config.padding());
    }
    flat
}

fn id_rows(json: &Json) -> Vec<Vec<u32>> {
    let row = |row: &Json| row.items().expect("a row").iter().map(|id| id.as_u32().expect("an id")).collect();
    json.items().expect("rows").iter().map(row).collect()
}

fn set(config: &mut GenerationConfig, options: &Json) {
    for (key, value) in options.entries().expect("options") {
        let number = || value.as_usize().expect("a number");
        match key {
            "max_new_tokens" => config.max_new_tokens = Some(number()),
            "min_new_tokens" => config.min_new_tokens = Some(number()),
            "min_length" => config.min_length = number(),
            "num_beams" => config.num_beams = number(),
            "num_return_sequences" => config.num_return_sequences = number(),
            "no_repeat_ngram_size" => config.no_repeat_ngram_size = number(),
            "length_penalty" => config.length_penalty = value.as_f64().expect("a number"),
            "repetition_penalty" => config.repetition_penalty = value.as_f32().expect("a number"),
            "early_stopping" => {
                config.early_stopping = match value.as_bool() {
                    Ok(true) => EarlyStopping::Always,
                    Ok(false) => EarlyStopping::Heuristic,
                    Err(_) => EarlyStopping::Never,
                };
            }
            "forced_bos_token_id" => config.forced_bos_token_id = Some(value.as_u32().expect("an id")),
            "do_sample" | "use_cache" => {}
            other => panic!("the test does not know the option {other}"),
        }
    }
}

#[test]
fn generated_ids_are_those_of_transformers() {
    let mut compared = 0;
    for name in cases() {
        let case = Case::open(&name);
        let model = load(&case, Isa::best());
        let stored = generation_config(case.folder.config(), case.folder.generation_config()).expect("it is read");
        let mut compare = |what: &str, config: &GenerationConfig, expected: &Json| {
            assert_eq!(sequences(&case, &model, config), id_rows(expected), "{name}: {what}");
            compared += 1;
        };
        let common = GenerationConfig { max_new_tokens: Some(10), ..stored.clone() };
        compare("greedy", &common, case.info.required("greedy").expect("greedy ids"));
        let beam =
            GenerationConfig { num_beams: 4, length_penalty: 0.6, early_stopping: EarlyStopping::Always, ..common };
        compare("beam4", &beam, case.info.required("beam4").expect("beam ids"));
        for generation in case.info.get("generations").map_or(&[][..], |list| list.items().expect("a list")) {
            let options = generation.required("options").expect("options");
            let mut config = stored.clone();
            set(&mut config, options);
            compare(&format!("{options:?}"), &config, generation.required("sequences").expect("ids"));
        }
    }
    println!("{compared} generations identical");
}
