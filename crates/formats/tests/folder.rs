//! Model folders: single, sharded and hostile; files written whole or not at all.
#![cfg(feature = "std")]

use core::sync::atomic::{AtomicU32, Ordering};
use kernform_formats::safetensors::{to_bytes, write_file};
use kernform_formats::{ErrorKind, Loading, ModelFolder, ModelSource, TensorView};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("kernform-formats-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        folder.put("config.json", br#"{"model_type": "marian", "d_model": 2}"#);
        folder
    }

    fn put(&self, name: &str, bytes: &[u8]) -> &Self {
        fs::write(self.0.join(name), bytes).unwrap();
        self
    }

    /// Two shards: `a` and `b` in the first, `c` in the second.
    fn sharded(weight_map: &str) -> Self {
        let folder = Self::new();
        folder.put("one.safetensors", &weights(&[("a", 1.0), ("b", 2.0)]));
        folder.put("two.safetensors", &weights(&[("c", 3.0)]));
        folder.put("model.safetensors.index.json", format!("{{\"weight_map\": {weight_map}}}").as_bytes());
        folder
    }

    fn error(&self) -> kernform_formats::Error {
        let error = ModelFolder::open(&self.0).expect_err("a bad folder was opened");
        assert!(error.file().is_some_and(|file| file.starts_with(&*self.0.to_string_lossy())), "{error}");
        error
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn weights(tensors: &[(&str, f32)]) -> Vec<u8> {
    let values: Vec<_> = tensors.iter().map(|&(name, value)| (name, [value; 3])).collect();
    let views: Vec<_> = values.iter().map(|(name, value)| TensorView::from_slice(name, &[3], value).unwrap()).collect();
    to_bytes(&views, &[]).unwrap()
}

const GOOD_MAP: &str = r#"{"c": "two.safetensors", "a": "one.safetensors", "b": "one.safetensors"}"#;

#[test]
fn one_file_of_weights() {
    let folder = Folder::new();
    folder.put("model.safetensors", &weights(&[("b", 2.0), ("a", 1.0)]));
    for loading in [Loading::Map, Loading::Read] {
        let model = ModelFolder::open_with(&folder.0, loading).unwrap();
        assert_eq!(model.config().required_usize("d_model").unwrap(), 2);
        assert!(model.generation_config().is_none());
        assert!(model.names().eq(["b", "a"]));
        assert_eq!(model.tensor("a").unwrap().to_f32().unwrap(), [1.0; 3]);
        // The writer aligns, so mapped weights can be used in place.
        assert_eq!(model.tensor("b").unwrap().as_slice::<f32>().unwrap(), [2.0; 3]);
        let missing = model.tensor("c").unwrap_err();
        assert!(matches!(missing.kind(), ErrorKind::MissingTensor { .. }) && missing.file().is_some());
        assert!(model.optional("c").unwrap().is_none());
    }
    folder.put("generation_config.json", br#"{"eos_token_id": [1, 2]}"#);
    let model = ModelFolder::open(&folder.0).unwrap();
    let ends = model.generation_config().unwrap().required("eos_token_id").unwrap().one_or_more();
    assert!(ends.iter().map(|id| id.as_u32().unwrap()).eq([1, 2]));
}

#[test]
fn shards() {
    let folder = Folder::sharded(GOOD_MAP);
    let model = ModelFolder::open(&folder.0).unwrap();
    assert!(model.names().eq(["a", "b", "c"]));
    assert_eq!(model.files().count(), 2);
    for (name, value) in [("a", 1.0), ("b", 2.0), ("c", 3.0)] {
        assert_eq!(model.tensor(name).unwrap().to_f32().unwrap(), [value; 3]);
    }
    assert_eq!(model.tensors().map(Result::unwrap).map(|tensor| tensor.len()).sum::<usize>(), 9);
    assert!(matches!(model.tensor("d").unwrap_err().kind(), ErrorKind::MissingTensor { .. }));
}

#[test]
fn an_empty_index_has_no_tensors() {
    let folder = Folder::new();
    folder.put("model.safetensors.index.json", br#"{"weight_map": {}}"#);
    let model = ModelFolder::open(&folder.0).unwrap();
    assert!(matches!(model.tensor("a").unwrap_err().kind(), ErrorKind::MissingTensor { .. }));
}

#[test]
fn an_index_stays_in_its_folder() {
    let outside = Folder::new();
    outside.put("x.safetensors", &weights(&[("a", 1.0)]));
    let relative = format!("../{}/x.safetensors", outside.0.file_name().unwrap().to_string_lossy());
    let absolute = outside.0.join("x.safetensors").to_string_lossy().into_owned();
    for shard in [
        &relative,
        &absolute,
        "sub/x.safetensors",
        "./one.safetensors",
        "one.safetensors/",
        "..",
        ".",
        "",
        "..\\x.safetensors",
        "C:x.safetensors",
        "/etc/passwd",
        "config.json",
        "x\u{0}.safetensors",
    ] {
        let shard = shard.replace('\\', "\\\\").replace('\u{0}', "\\u0000");
        let folder = Folder::sharded(&format!(r#"{{"a": "{shard}"}}"#));
        let error = folder.error();
        assert!(matches!(error.kind(), ErrorKind::ShardName { .. }), "{shard}: {error}");
    }
}

#[test]
fn an_index_and_its_shards_agree() {
    let lacking = Folder::sharded(
        r#"{"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors", "d": "two.safetensors"}"#,
    );
    assert!(matches!(lacking.error().kind(), ErrorKind::NotInShard { tensor, .. } if tensor == "d"));
    let swapped = Folder::sharded(r#"{"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}"#);
    assert!(matches!(swapped.error().kind(), ErrorKind::NotInIndex { listed: Some(_), .. }));
    let unlisted = Folder::sharded(r#"{"a": "one.safetensors", "c": "two.safetensors"}"#);
    assert!(matches!(unlisted.error().kind(), ErrorKind::NotInIndex { tensor, listed: None, .. } if tensor == "b"));
    let twice = Folder::sharded(GOOD_MAP);
    twice.put("two.safetensors", &weights(&[("c", 3.0), ("a", 1.0)]));
    assert!(matches!(twice.error().kind(), ErrorKind::NotInIndex { tensor, .. } if tensor == "a"));
    let absent = Folder::sharded(r#"{"a": "three.safetensors"}"#);
    assert!(matches!(absent.error().kind(), ErrorKind::Io { .. }));
    let same_key = Folder::sharded(r#"{"a": "one.safetensors", "a": "two.safetensors"}"#);
    assert!(matches!(same_key.error().kind(), ErrorKind::Json { .. }));
    for map in ["[]", "null", r#"{"a": 1}"#, r#"{"a": null}"#] {
        let error = Folder::sharded(map).error();
        assert!(matches!(error.kind(), ErrorKind::WrongType { .. } | ErrorKind::MissingKey { .. }), "{error}");
    }
    let broken = Folder::sharded(GOOD_MAP);
    broken.put("two.safetensors", &weights(&[("c", 3.0)])[..30]);
    assert!(matches!(broken.error().kind(), ErrorKind::Truncated { .. }));
    assert!(broken.error().file().unwrap().ends_with("two.safetensors"));
}

#[test]
fn folders_that_are_none() {
    let none = Folder::new();
    assert!(matches!(none.error().kind(), ErrorKind::NoWeights { instead: None }));
    none.put("pytorch_model.bin", b"");
    assert!(none.error().to_string().contains("pytorch_model.bin"));
    none.put("model.safetensors", b"");
    assert!(matches!(none.error().kind(), ErrorKind::Truncated { len: 0, .. }));
    fs::remove_file(none.0.join("model.safetensors")).unwrap();
    fs::create_dir(none.0.join("model.safetensors")).unwrap();
    assert!(matches!(none.error().kind(), ErrorKind::NotAFile));
    fs::remove_file(none.0.join("config.json")).unwrap();
    assert!(matches!(none.error().kind(), ErrorKind::Io { .. }));
    let missing = ModelFolder::open(none.0.join("nowhere")).unwrap_err();
    assert!(matches!(missing.kind(), ErrorKind::Io { .. }));
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let folder = Folder::new();
    let path = folder.0.join("out.safetensors");
    let names = || fs::read_dir(&folder.0).unwrap().count();
    let view = TensorView::from_slice("a", &[2], &[1.0_f32, 2.0]).unwrap();
    write_file(&path, &[view], &[]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), to_bytes(&[view], &[]).unwrap());
    let before = fs::read(&path).unwrap();
    assert!(write_file(&path, &[view, view], &[]).is_err());
    assert_eq!(fs::read(&path).unwrap(), before);
    let other = TensorView::from_slice("b", &[1], &[5_i64]).unwrap();
    write_file(&path, &[other], &[("k", "v")]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), to_bytes(&[other], &[("k", "v")]).unwrap());
    assert_eq!(names(), 2, "no temporary file is left");
    // A folder cannot be replaced by a file.
    let taken = folder.0.join("taken");
    fs::create_dir_all(taken.join("inside")).unwrap();
    let error = write_file(&taken, &[view], &[]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }) && error.file().is_some());
    assert_eq!(names(), 3);
    assert!(write_file(Path::new("/"), &[view], &[]).is_err());
    assert!(write_file(&folder.0.join("nowhere/x"), &[view], &[]).is_err());
}

/// The committed golden cases and the embedded model are good folders.
#[test]
fn committed_models() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders: Vec<_> =
        fs::read_dir(root.join("tests/golden/cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.push(root.join("crates/model/assets/g2p"));
    assert!(folders.len() >= 4);
    for folder in folders {
        let model = ModelFolder::open(&folder).unwrap();
        assert!(!model.config().required_str("model_type").unwrap().is_empty());
        for tensor in model.tensors() {
            let tensor = tensor.unwrap();
            assert!(tensor.to_f32().unwrap().iter().all(|weight| weight.is_finite()), "{}", tensor.name());
        }
    }
}
