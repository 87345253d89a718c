//! `kernform run` and `generate` on the golden cases.

mod support;

use std::path::{Path, PathBuf};

use kernform_formats::{SafetensorsFile, TensorView, safetensors::write_file};
use support::{folder, repository, run};

const CASES: [&str; 3] = ["marian", "bart", "m2m_100"];

const ENCODERS: [&str; 10] = [
    "bert",
    "bert_classifier",
    "bert_ner",
    "bert_qa",
    "bert_mlm",
    "distilbert",
    "roberta",
    "albert",
    "modernbert",
    "esm",
];

fn case(name: &str) -> PathBuf {
    repository("tests/golden/cases").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn outputs_are_within_the_stated_bound() {
    let folder = folder("outputs");
    for name in CASES.into_iter().chain(ENCODERS) {
        let (case, outputs) = (case(name), folder.join(format!("{name}.safetensors")));
        let inputs = case.join("inputs.safetensors");
        let done = run(&["run", text(&case), "--inputs", text(&inputs), "--outputs", text(&outputs)], "");
        assert_eq!((done.stderr.as_str(), done.code), ("", Some(0)));
        let info = json(&case.join("case.json"));
        let (found, expected) =
            (std::fs::read(&outputs).unwrap(), std::fs::read(case.join("expected.safetensors")).unwrap());
        let (found, expected) = (SafetensorsFile::parse(&found).unwrap(), SafetensorsFile::parse(&expected).unwrap());
        for (output, peer) in info["torch_float32_max_abs_error"].as_object().unwrap() {
            let bound = (4.0 * peer.as_f64().unwrap()).max(1e-6 * info["max_abs"][output].as_f64().unwrap());
            let (found, expected) = (found.tensor(output).unwrap(), expected.tensor(output).unwrap());
            assert_eq!(found.dims(), expected.dims());
            let pairs = found.to_f32().unwrap().into_iter().zip(expected.to_f32().unwrap());
            let error = pairs.map(|(a, b)| (f64::from(a) - f64::from(b)).abs()).fold(0.0, f64::max);
            assert!(error <= bound, "{name} {output}: {error:e} is beyond {bound:e}");
        }
    }
}

#[test]
fn sequences_are_those_of_transformers() {
    for name in CASES {
        let case = case(name);
        let inputs = case.join("inputs.safetensors");
        let info = json(&case.join("case.json"));
        let common = ["generate", text(&case), "--inputs", text(&inputs), "--max-new-tokens", "10", "--json"];
        let beam4 = ["--num-beams", "4", "--length-penalty", "0.6", "--early-stopping"];
        for (key, options) in [("greedy", &["--num-beams", "1"][..]), ("beam4", &beam4)] {
            let done = run(&[&common, options].concat(), "");
            let found: serde_json::Value =
                serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}", done.stderr));
            assert_eq!(found["sequences"], info[key], "{name} {key}");
        }
    }
}

#[test]
fn early_stopping_takes_its_three_values_and_none() {
    let case = case("marian");
    let inputs = case.join("inputs.safetensors");
    let common = ["generate", text(&case), "--inputs", text(&inputs), "--num-beams", "3", "--max-new-tokens", "6"];
    for option in [
        &["--early-stopping"][..],
        &["--early-stopping", "never"],
        &["--early-stopping=false"],
        &["--early-stopping", "true"],
    ] {
        let done = run(&[&common, option].concat(), "");
        assert_eq!(done.code, Some(0), "{option:?}: {}", done.stderr);
        assert_eq!(done.stdout.lines().count(), 1 + 2, "a head and a line an input");
    }
    assert_eq!(run(&[&common[..], &["--early-stopping=often"]].concat(), "").code, Some(2));
}

/// Writes inputs of these ids, with a mask where there is one.
fn inputs(path: &Path, ids: &[i64], mask: Option<&[i64]>, columns: usize) {
    let dims = [ids.len() / columns, columns];
    let mut tensors = vec![TensorView::from_slice("input_ids", &dims, ids).unwrap()];
    tensors.extend(mask.map(|mask| TensorView::from_slice("attention_mask", &dims, mask).unwrap()));
    write_file(path, &tensors, &[]).unwrap();
}

#[test]
fn wrong_inputs_are_told_and_nothing_is_written() {
    let folder = folder("wrong-inputs");
    let (case, file, outputs) = (case("marian"), folder.join("inputs.safetensors"), folder.join("outputs.safetensors"));
    let run_it = || run(&["run", text(&case), "--inputs", text(&file), "--outputs", text(&outputs)], "");
    let generate = || run(&["generate", text(&case), "--inputs", text(&file)], "");
    let refused = |done: support::Done, part: &str| {
        assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""), "{part}");
        assert!(done.stderr.starts_with("error: ") && done.stderr.contains(part), "{part}: {}", done.stderr);
    };
    refused(run_it(), "cannot read the inputs");
    std::fs::write(&file, b"no tensors").unwrap();
    refused(run_it(), "inputs.safetensors");
    inputs(&file, &[5, 6, 2], None, 3);
    refused(run_it(), "`decoder_input_ids`: it is missing");
    inputs(&file, &[5, 6, 1 << 20], None, 3);
    refused(generate(), "not in the vocabulary");
    inputs(&file, &[5, -6, 2], None, 3);
    refused(generate(), "`input_ids`");
    inputs(&file, &[5, 6, 2], Some(&[0, 1, 1]), 3);
    refused(generate(), "padding before its last token");
    inputs(&file, &[5, 6, 2], Some(&[0, 0, 0]), 3);
    refused(generate(), "nothing but padding");
    let strange = TensorView::from_slice("pixel_values", &[1], &[1.0_f32]).unwrap();
    write_file(&file, &[strange], &[]).unwrap();
    refused(generate(), "`pixel_values` is no input here");
    assert!(!outputs.exists());
}

#[test]
fn rows_are_padded_and_padding_does_not_change_them() {
    let folder = folder("padding");
    let (case, short, padded) = (case("marian"), folder.join("short.safetensors"), folder.join("padded.safetensors"));
    inputs(&short, &[7, 9, 2], None, 3);
    inputs(&padded, &[7, 9, 2, 5, 11, 2, 8, 2, 9, 9, 9, 9], Some(&[1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0]), 4);
    let sequences = |file: &Path| {
        let done = run(&["generate", text(&case), "--inputs", text(file), "--max-new-tokens", "8", "--json"], "");
        let value: serde_json::Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}", done.stderr));
        value["sequences"].as_array().unwrap().iter().map(|row| row.as_array().unwrap().clone()).collect::<Vec<_>>()
    };
    let (alone, together) = (sequences(&short), sequences(&padded));
    assert_eq!(together.len(), 3);
    assert!(together.iter().all(|row| row.len() == together[0].len()));
    assert!(together[0].starts_with(&alone[0]));
}

#[test]
fn a_folder_that_is_no_model_is_refused() {
    let folder = folder("no-folder");
    let inputs = case("marian").join("inputs.safetensors");
    let done = run(&["generate", text(&folder), "--inputs", text(&inputs)], "");
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("config.json"), "{}", done.stderr);
    std::fs::write(folder.join("config.json"), br#"{"model_type": "rnn"}"#).unwrap();
    std::fs::copy(case("marian").join("model.safetensors"), folder.join("model.safetensors")).unwrap();
    let done = run(&["generate", text(&folder), "--inputs", text(&inputs)], "");
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("\"rnn\"") && done.stderr.contains("marian"), "{}", done.stderr);
    // It can be looked at, though.
    let done = run(&["inspect", text(&folder)], "");
    assert_eq!(done.code, Some(0));
    assert!(done.stdout.contains("family  rnn") && done.stdout.contains("cannot be run"), "{}", done.stdout);
}
