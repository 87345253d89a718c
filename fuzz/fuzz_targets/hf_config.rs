//! Any bytes as a configuration: an error, or a tree of which every getter comes back.
#![no_main]

use kernform_formats::Json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(config) = Json::parse("config.json", input) {
        visit(&config);
    }
});

fn visit(value: &Json) {
    assert_eq!(value.file(), "config.json");
    let _ = (value.as_usize(), value.as_u32(), value.as_i64(), value.as_f64(), value.as_bool(), value.as_str());
    assert!(value.as_f32().is_ok_and(f32::is_finite) || value.as_f32().is_err());
    for item in value.items().unwrap_or_default() {
        visit(item);
    }
    if let Ok(entries) = value.entries() {
        for (key, entry) in entries {
            assert!(core::ptr::eq(value.get(key).expect("an entry can be had by its key"), entry));
            let _ = (value.usize_or(key, 0), value.required_str(key), value.f32_or(key, 0.0), value.bool_or(key, true));
            visit(entry);
        }
    }
}
