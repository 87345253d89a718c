//! `kernform embed`, `similar`, `classify`, `tag`, `answer` and `fill` on golden cases with a tokenizer of words.

mod support;

use std::path::{Path, PathBuf};

use kernform_formats::{ModelFolder, Pooling};
use kernform_model::EncoderModel;
use kernform_simd::Isa;
use kernform_tensor::Serial;
use serde_json::{Value, json};
use support::{Done, folder, repository, run};

const SPECIAL: [(&str, u32); 4] = [("[CLS]", 0), ("[SEP]", 2), ("[MASK]", 3), ("[UNK]", 4)];
const WORDS: [&str; 12] =
    ["the", "house", "is", "wonderful", "a", "river", "runs", "fast", "who", "built", "it", "nobody"];

fn id(word: &str) -> u32 {
    WORDS.iter().position(|known| *known == word).map_or(4, |place| place as u32 + 5)
}

/// The folder of a golden case with a tokenizer.
fn model(name: &str, test: &str) -> PathBuf {
    let folder = folder(&format!("{test}-{name}"));
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(repository("tests/golden/cases").join(name).join(file), folder.join(file)).unwrap();
    }
    let mut vocab = serde_json::Map::new();
    SPECIAL.iter().for_each(|(word, id)| drop(vocab.insert((*word).into(), json!(id))));
    WORDS.iter().for_each(|word| drop(vocab.insert((*word).into(), json!(id(word)))));
    let added = SPECIAL.map(|(word, id)| {
        json!({"id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true})
    });
    let special = |word: &str, kind: u32| json!({"SpecialToken": {"id": word, "type_id": kind}});
    let text = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let tokens = |word: &str, id: u32| json!({"id": word, "ids": [id], "tokens": [word]});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)],
            "pair": [special("[CLS]", 0), text("A", 0), special("[SEP]", 0), text("B", 1), special("[SEP]", 1)],
            "special_tokens": {"[CLS]": tokens("[CLS]", 0), "[SEP]": tokens("[SEP]", 2)}
        },
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a command that must do well.
fn ok(arguments: &[&str], input: impl AsRef<[u8]>) -> String {
    let done = run(arguments, input);
    assert_eq!((done.stderr.as_str(), done.code), ("", Some(0)), "{arguments:?}");
    done.stdout
}

fn objects(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn refused(done: &Done, code: i32, part: &str) {
    assert_eq!(done.code, Some(code), "{part}: {}", done.stderr);
    assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
}

const TEXTS: [&str; 5] = ["the house is wonderful", "a river runs fast", "", "nobody built it", "the the the river"];

fn vectors(stdout: &str) -> Vec<Vec<f32>> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn vectors_are_those_of_the_library_whatever_the_batch_and_the_form() {
    let folder = model("bert", "embed");
    let dir = ["embed", "--model", text(&folder)];
    let stdout = ok(&[&dir[..], &TEXTS].concat(), "");
    let source = ModelFolder::open(&folder).unwrap();
    let library = EncoderModel::load(&source, source.config(), Isa::best()).unwrap();
    for (line, found) in TEXTS.iter().zip(vectors(&stdout)) {
        let words: Vec<u32> = line.split_whitespace().map(id).collect();
        let ids = [&[0][..], &words, &[2]].concat();
        assert_eq!(library.embed(&Serial, &[&ids], Pooling::Mean, true).unwrap(), found, "{line}");
    }
    let lines = TEXTS.join("\n");
    for options in [&["--threads", "1"][..], &["--threads", "3", "--batch-tokens", "1"], &["--batch-tokens", "7"]] {
        assert_eq!(ok(&[&dir[..], options].concat(), &lines), stdout, "{options:?}");
    }
    let numbers: Vec<u8> = vectors(&stdout).concat().into_iter().flat_map(f32::to_le_bytes).collect();
    let (raw, array) = (folder.join("raw.f32"), folder.join("array.npy"));
    ok(&[&dir[..], &["--format", "f32", "--output", text(&raw)]].concat(), &lines);
    ok(&[&dir[..], &["--format", "npy", "--output", text(&array)]].concat(), &lines);
    assert_eq!(std::fs::read(&raw).unwrap(), numbers);
    let array = std::fs::read(&array).unwrap();
    assert!(array.starts_with(b"\x93NUMPY\x01\x00") && String::from_utf8_lossy(&array[..128]).contains("(5, 32)"));
    assert_eq!(array[128..], numbers);
    let records = objects(&ok(&[&dir[..], &["--json"], &TEXTS[..2]].concat(), ""));
    assert_eq!((&records[1]["line"], &records[1]["text"]), (&json!(2), &json!(TEXTS[1])));
}

#[test]
fn what_the_folder_says_of_vectors_is_done_and_options_go_before_it() {
    let folder = model("bert", "sentence");
    let modules = json!([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
    ]);
    std::fs::create_dir(folder.join("1_Pooling")).unwrap();
    std::fs::write(folder.join("modules.json"), modules.to_string()).unwrap();
    std::fs::write(folder.join("1_Pooling/config.json"), r#"{"pooling_mode_cls_token": true}"#).unwrap();
    std::fs::write(folder.join("sentence_bert_config.json"), r#"{"max_seq_length": 4}"#).unwrap();
    let prompts = r#"{"prompts": {"query": "who built "}, "default_prompt_name": null}"#;
    std::fs::write(folder.join("config_sentence_transformers.json"), prompts).unwrap();
    let dir = ["embed", "--model", text(&folder)];
    let embed = |options: &[&str], line: &str| vectors(&ok(&[&dir[..], options, &[line]].concat(), "")).concat();
    let plain = embed(&[], "the house is wonderful");
    // Cut to two words and what stands around them, not divided by the length, the first token.
    assert_eq!(plain, embed(&["--pooling", "cls", "--normalize=false"], "the house"));
    assert_ne!(plain, embed(&["--pooling", "mean"], "the house"));
    assert_eq!(embed(&["--prompt-name", "query"], "it"), embed(&[], "who built it"));
    assert_eq!(embed(&["--prompt", "the "], "house"), plain);
    refused(&run(&[&dir[..], &["--prompt-name", "passage", "it"]].concat(), ""), 2, "query");
    std::fs::write(folder.join("1_Pooling/config.json"), "{}").unwrap();
    refused(&run(&[&dir[..], &["it"]].concat(), ""), 1, "no way of pooling");
}

#[test]
fn lines_that_are_no_text_leave_their_places() {
    let folder = model("bert", "wrong-lines");
    let dir = ["embed", "--model", text(&folder)];
    let done = run(&dir, b"the house\n\xff\nit\n");
    refused(&done, 1, "not UTF-8 text, from byte 1 on; line 2 of the input");
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!((lines.len(), lines[1]), (3, "null"));
    let input = "{\"t\": \"the house\"}\n{\"u\": 1}\nno\n{\"t\": 3}\n";
    let done = run(&[&dir[..], &["--field", "t", "--json"]].concat(), input);
    refused(&done, 1, "line 4 of the input");
    let records = objects(&done.stdout);
    assert_eq!(records.len(), 4);
    assert!(records[0]["embedding"].is_array() && records[1..].iter().all(|record| record["error"].is_string()));
}

#[test]
fn weights_of_other_types_give_nearly_the_same() {
    let folder = model("bert", "types");
    let embed = |kind: &str| {
        vectors(&ok(&["embed", "--model", text(&folder), "--type", kind, "the house is wonderful"], "")).concat()
    };
    let exact = embed("f32");
    for (kind, least) in [("f16", 0.99999), ("bf16", 0.999), ("int8", 0.995)] {
        let cosine: f32 = embed(kind).iter().zip(&exact).map(|(a, b)| a * b).sum();
        assert!(cosine >= least && cosine < 1.000_001, "{kind}: {cosine}");
    }
}

#[test]
fn the_nearest_line_comes_first_and_an_index_is_used_while_it_fits() {
    let folder = model("bert", "similar");
    let (corpus, index) = (folder.join("corpus.txt"), folder.join("corpus.index"));
    std::fs::write(&corpus, "a river runs fast\nthe house is wonderful\nnobody built it\n").unwrap();
    let arguments = ["similar", "--model", text(&folder), "--corpus", text(&corpus), "--top", "2"];
    let expected = ok(&[&arguments[..], &["the house is wonderful"]].concat(), "");
    assert!(expected.starts_with("1.0000\t2\tthe house is wonderful\n"), "{expected}");
    assert_eq!(expected.lines().count(), 2);
    let with_index = [&arguments[..], &["--index", text(&index), "the house is wonderful"]].concat();
    for _ in 0..2 {
        assert_eq!(ok(&with_index, ""), expected);
        assert!(index.exists());
    }
    let json = objects(&ok(&[&with_index[..], &["--json", "it"]].concat(), ""));
    assert_eq!((json.len(), &json[0]["hits"][0]["line"]), (2, &json!(2)));
    std::fs::write(&corpus, "the house is wonderful\n").unwrap();
    let done = run(&with_index, "");
    assert_eq!(done.code, Some(0));
    assert!(done.stderr.contains("another corpus"), "{}", done.stderr);
    assert_eq!(done.stdout, "1.0000\t1\tthe house is wonderful\n");
    std::fs::write(&index, b"no index").unwrap();
    refused(&run(&with_index, ""), 1, "corpus.index");
}

#[test]
fn labels_come_with_their_probabilities() {
    let folder = model("bert_classifier", "classify");
    let dir = ["classify", "--model", text(&folder)];
    let records = objects(&ok(&[&dir[..], &["--top", "9", "--json"]].concat(), TEXTS.join("\n")));
    assert_eq!(records.len(), TEXTS.len());
    for record in &records {
        let labels = record["labels"].as_array().unwrap();
        let scores: Vec<f64> = labels.iter().map(|label| label["score"].as_f64().unwrap()).collect();
        assert_eq!(scores.len(), 3);
        assert!(scores.is_sorted_by(|a, b| a >= b) && (scores.iter().sum::<f64>() - 1.0).abs() < 1e-6);
    }
    let plain = ok(&[&dir[..], &["the house"]].concat(), "");
    assert!(plain.starts_with("LABEL_") && plain.ends_with("\tthe house\n"), "{plain}");
    let pairs = ok(&[&dir[..], &["--pairs"]].concat(), "the house\tis wonderful\n");
    assert_eq!(pairs.lines().count(), 1);
    refused(&run(&[&dir[..], &["--pairs", "it"]].concat(), ""), 1, "no tab");
}

#[test]
fn tags_answers_and_masks_point_into_their_texts() {
    let folder = model("bert_ner", "tag");
    let tags = objects(&ok(&["tag", "--model", text(&folder), "--tokens", "--json", "the house is"], ""));
    let words: Vec<&str> =
        tags[0]["entities"].as_array().unwrap().iter().map(|tag| tag["text"].as_str().unwrap()).collect();
    assert_eq!(words, ["the", "house", "is"]);
    let joined = objects(&ok(&["tag", "--model", text(&folder), "--json", "the the the"], ""));
    let entities = joined[0]["entities"].as_array().unwrap();
    assert!(entities.iter().all(|entity| entity["label"].as_str().unwrap().starts_with("LABEL_")));

    let folder = model("bert_qa", "answer");
    let context = folder.join("context.txt");
    // Longer than the model's 64 positions, so that it is read in windows.
    std::fs::write(&context, "a river runs fast . nobody built it . ".repeat(12)).unwrap();
    let common = ["answer", "--model", text(&folder), "--context", text(&context), "--top", "3", "--json"];
    let record = &objects(&ok(&[&common[..], &["who built it"]].concat(), ""))[0];
    let context = std::fs::read_to_string(&context).unwrap();
    let answers = record["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 3);
    for answer in answers {
        let (start, end) = (answer["start"].as_u64().unwrap() as usize, answer["end"].as_u64().unwrap() as usize);
        assert_eq!(answer["text"], json!(context[start..end]));
        assert!(!context[start..end].is_empty());
    }
    assert_eq!(
        ok(&common[..common.len() - 1].iter().chain(&["it"]).copied().collect::<Vec<_>>(), "").lines().count(),
        3
    );

    let folder = model("bert_mlm", "fill");
    let arguments = ["fill", "--model", text(&folder), "--top", "2", "--json", "the [MASK] is [MASK]", "[MASK]"];
    let records = objects(&ok(&arguments, ""));
    assert_eq!((records[0]["masks"].as_array().unwrap().len(), records[1]["masks"].as_array().unwrap().len()), (2, 1));
    assert_eq!(records[0]["masks"][1].as_array().unwrap().len(), 2);
    refused(&run(&["fill", "--model", text(&folder), "the house"], ""), 1, "there is no [MASK] in it");
}

#[test]
fn folders_that_do_not_serve_are_told() {
    let folder = model("bert", "serve");
    refused(&run(&["classify", "--model", text(&folder), "it"], ""), 1, "sequence classification");
    std::fs::remove_file(folder.join("tokenizer.json")).unwrap();
    refused(&run(&["embed", "--model", text(&folder), "it"], ""), 1, "no tokenizer.json");
    let marian = repository("tests/golden/cases/marian");
    refused(
        &run(&["embed", "--model", text(&marian), "it"], ""),
        1,
        "bert, distilbert, roberta, albert, modernbert, esm",
    );
}
