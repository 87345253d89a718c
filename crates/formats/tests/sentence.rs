//! Folders of sentence-transformers.
#![cfg(feature = "std")]

use kernform_formats::{Error, ErrorKind, Json, Pooling, SentenceConfig};

const MODULES: &str = r#"[
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;
const MEAN: &str =
    r#"{"word_embedding_dimension": 8, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}"#;

fn parse(modules: &str, files: &[(&str, &str)]) -> Result<SentenceConfig, Error> {
    SentenceConfig::parse(&Json::parse("modules.json", modules.as_bytes())?, |path| {
        let file = files.iter().find(|(name, _)| *name == path);
        file.map(|(name, text)| Json::parse(name, text.as_bytes())).transpose()
    })
}

fn refused(modules: &str, files: &[(&str, &str)], part: &str) {
    let error = parse(modules, files).expect_err(part);
    assert!(error.to_string().contains(part), "{error} does not tell of {part}");
    assert!(error.file().is_some(), "{error}");
}

#[test]
fn the_usual_folder() {
    let config = parse(
        MODULES,
        &[
            ("1_Pooling/config.json", MEAN),
            ("sentence_bert_config.json", r#"{"max_seq_length": 256, "do_lower_case": false}"#),
            (
                "config_sentence_transformers.json",
                r#"{"prompts": {"query": "query: ", "passage": ""}, "default_prompt_name": "query"}"#,
            ),
        ],
    )
    .unwrap();
    assert_eq!(config.pooling, [Pooling::Mean]);
    assert!(config.normalize);
    assert_eq!(config.max_seq_length, Some(256));
    assert_eq!(config.default_prompt.as_deref().and_then(|name| config.prompt(name)), Some("query: "));
    assert_eq!(config.prompt("passage"), Some(""));
    assert_eq!(config.prompt("other"), None);
}

#[test]
fn little_is_needed_and_several_ways_of_pooling_go_together() {
    let modules = MODULES.replace(r#", "type": "sentence_transformers.models.Normalize"#, r#", "type": "x.Normalize"#);
    let both = r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true, "pooling_mode_lasttoken": true}"#;
    let config = parse(&modules, &[("1_Pooling/config.json", both)]).unwrap();
    assert_eq!(config.pooling, [Pooling::Cls, Pooling::Mean, Pooling::LastToken]);
    assert_eq!((config.max_seq_length, config.default_prompt), (None, None));
}

#[test]
fn what_is_wrong_is_told() {
    let pooling = [("1_Pooling/config.json", MEAN)];
    refused("[]", &pooling, "Pooling");
    refused(MODULES, &[], "there is no 1_Pooling/config.json");
    refused(MODULES, &[("1_Pooling/config.json", "{}")], "no way of pooling");
    refused(MODULES, &[("1_Pooling/config.json", r#"{"pooling_mode_max_tokens": 1}"#)], "pooling_mode_max_tokens");
    refused(&MODULES.replace("1_Pooling\"", "../1_Pooling\""), &pooling, "inside");
    refused(&MODULES.replace("models.Normalize", "models.Dense"), &pooling, "Dense");
    refused(&MODULES.replace("\"path\": \"\"", "\"path\": \"0_Transformer\""), &pooling, "0_Transformer");
    let prompts = ("config_sentence_transformers.json", r#"{"default_prompt_name": "query"}"#);
    refused(MODULES, &[pooling[0], prompts], "query");
    assert!(matches!(parse("{}", &pooling).unwrap_err().kind(), ErrorKind::WrongType { .. }));
}
