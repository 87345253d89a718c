//! Configurations: typed access, and errors that name file and key.
#![cfg(feature = "alloc")]

use kernform_formats::{ErrorKind, Json, MAX_JSON_VALUES};
use proptest::prelude::*;

fn config(text: &str) -> Json {
    Json::parse("config.json", text.as_bytes()).unwrap()
}

fn message<T: core::fmt::Debug>(result: Result<T, kernform_formats::Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn values_by_key() {
    let config = config(
        r#"{"d": 8, "eps": 1e-5, "on": true, "name": "gelu", "none": null, "neg": -3, "list": [1, [2, {"k": "v"}]],
            "rope_parameters": {"rope_theta": 10000.0, "inner": {"deep": []}}}"#,
    );
    assert_eq!(config.file(), "config.json");
    assert_eq!(config.required_usize("d").unwrap(), 8);
    assert_eq!(config.usize_or("none", 7).unwrap(), 7);
    assert_eq!(config.optional_usize("missing").unwrap(), None);
    assert_eq!(config.required_f32("eps").unwrap(), 1e-5);
    assert_eq!(config.required_f32("d").unwrap(), 8.0);
    assert_eq!(config.f64_or("neg", 0.0).unwrap(), -3.0);
    assert_eq!(config.required_i64("neg").unwrap(), -3);
    assert!(config.bool_or("on", false).unwrap());
    assert_eq!(config.str_or("name", "relu").unwrap(), "gelu");
    assert_eq!(config.str_or("other", "relu").unwrap(), "relu");
    assert!(config.get("none").unwrap().is_null());
    assert_eq!(config.required("rope_parameters").unwrap().required_f32("rope_theta").unwrap(), 10000.0);
    let list = config.required("list").unwrap().items().unwrap();
    assert_eq!(list[1].items().unwrap()[1].required_str("k").unwrap(), "v");
    assert_eq!(config.required("d").unwrap().one_or_more().len(), 1);
    let keys: Vec<_> = config.entries().unwrap().map(|(key, _)| key).collect();
    assert_eq!(keys, ["d", "eps", "list", "name", "neg", "none", "on", "rope_parameters"]);
}

#[test]
fn errors_name_the_key() {
    let config =
        config(r#"{"a": {"b": [0, {"c": "x"}]}, "n": -1, "f": 1.5, "big": 1e39, "huge": 18446744073709551616}"#);
    let inner = &config.required("a").unwrap().required("b").unwrap().items().unwrap()[1];
    assert_eq!(message(inner.required_usize("c")), "config.json: `a.b[1].c` must be an integer and is a string");
    assert_eq!(message(inner.required_bool("d")), "config.json: key `a.b[1].d` is missing");
    assert_eq!(message(config.required_str("n")), "config.json: `n` must be a string and is a number");
    for key in ["n", "f", "huge"] {
        assert!(matches!(config.usize_or(key, 0).unwrap_err().kind(), ErrorKind::NumberOutOfRange { .. }), "{key}");
        assert!(matches!(config.u32_or(key, 0).unwrap_err().kind(), ErrorKind::NumberOutOfRange { .. }), "{key}");
    }
    assert!(matches!(config.required_f32("big").unwrap_err().kind(), ErrorKind::NumberOutOfRange { .. }));
    assert_eq!(config.required_f64("big").unwrap(), 1e39);
    assert!(matches!(config.required_i64("huge").unwrap_err().kind(), ErrorKind::NumberOutOfRange { .. }));
    let list = Json::parse("list.json", b"[1]").unwrap();
    assert_eq!(message(list.usize_or("a", 1)), "list.json: `the whole text` must be an object and is an array");
    assert_eq!(message(list.items().unwrap()[0].as_str()), "list.json: `[0]` must be a string and is a number");
    assert!(list.get("a").is_none());
}

#[test]
fn texts_that_are_refused() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    for text in ["", "{", "{\"a\":1,}", "nul", "1 2", "1e400", "NaN", "\"\\ud800\"", "{\"a\":1,\"a\":1}", &deep] {
        let error = Json::parse("x.json", text.as_bytes()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Json { .. }), "{text}: {error}");
        assert_eq!(error.file(), Some("x.json"));
    }
    assert!(Json::parse("x.json", b"\"\xff\"").is_err());
    assert!(message(Json::parse("x.json", br#"{"a":{"b":1,"b":2}}"#)).contains("`a.b`"));
    let at_most = |values: usize| "[".to_string() + &"1,".repeat(values - 2) + "1]";
    assert!(Json::parse("x.json", at_most(MAX_JSON_VALUES).as_bytes()).is_ok());
    assert!(message(Json::parse("x.json", at_most(MAX_JSON_VALUES + 1).as_bytes())).contains("values"));
}

#[test]
fn too_long_a_text_is_not_read() {
    let text = vec![b' '; (64 << 20) + 1];
    assert!(matches!(Json::parse("x.json", &text).unwrap_err().kind(), ErrorKind::TooLarge { .. }));
}

proptest! {
    #[test]
    fn numbers_are_the_nearest(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
        let config = config(&format!("{{\"x\": {value:e}}}"));
        prop_assert_eq!(config.required_f64("x").unwrap().to_bits(), value.to_bits());
        match config.required_f32("x") {
            Ok(single) => prop_assert_eq!(single.to_bits(), (value as f32).to_bits()),
            Err(_) => prop_assert!((value as f32).is_infinite()),
        }
    }

    #[test]
    fn any_text_comes_back(text in "[\\[\\]{}:,\"a0-9.e \\\\-]{0,60}") {
        if let Ok(json) = Json::parse("x.json", text.as_bytes()) {
            prop_assert_eq!(json.file(), "x.json");
            let shown = format!("{json:?}");
            prop_assert!(!shown.is_empty());
            let values = json.one_or_more().iter();
            for value in values {
                let _ = (value.as_usize(), value.as_f32(), value.as_str(), value.entries().map(Iterator::count));
            }
        }
    }
}
