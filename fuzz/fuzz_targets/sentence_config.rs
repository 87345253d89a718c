//! Any bytes as the files of a sentence-transformers folder, cut at newlines: an error that names a file, or a configuration
//! that asks for no file outside of its folder.
#![no_main]

use kernform_formats::{Json, SentenceConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.split(|byte| *byte == b'\n');
    let Ok(modules) = Json::parse("modules.json", parts.next().unwrap_or_default()) else { return };
    let config = SentenceConfig::parse(&modules, |path| {
        assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".."), "{path}");
        parts.next().map(|part| Json::parse(path, part)).transpose()
    });
    match config {
        Ok(config) => assert!(!config.pooling.is_empty()),
        Err(error) => assert!(error.file().is_some(), "{error}"),
    }
});
