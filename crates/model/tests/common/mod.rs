//! Reading the cases of `tests/golden`.

#![allow(dead_code)] // each test file uses a part

use std::fs;
use std::path::{Path, PathBuf};

use kernform_formats::{Json, ModelFolder, SafetensorsFile};

/// The repository's folder of cases.
pub(crate) fn cases_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/cases")
}

/// One reference case.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) folder: ModelFolder,
    pub(crate) info: Json,
    pub(crate) inputs: Vec<u8>,
    pub(crate) expected: Vec<u8>,
}

impl Case {
    pub(crate) fn open(name: &str) -> Case {
        let dir = cases_dir().join(name);
        let read = |file: &str| fs::read(dir.join(file)).unwrap_or_else(|e| panic!("{name}/{file}: {e}"));
        Case {
            name: name.to_owned(),
            folder: ModelFolder::open(&dir).expect("a golden folder opens"),
            info: Json::parse("case.json", &read("case.json")).expect("case.json parses"),
            inputs: read("inputs.safetensors"),
            expected: read("expected.safetensors"),
        }
    }

    /// Whether there is an input of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        SafetensorsFile::parse(&self.inputs).expect("inputs parse").names().any(|known| known == name)
    }

    /// The names of the expected outputs.
    pub(crate) fn outputs(&self) -> Vec<String> {
        SafetensorsFile::parse(&self.expected).expect("expected outputs parse").names().map(str::to_owned).collect()
    }

    /// An input of integers and its shape.
    pub(crate) fn ids(&self, name: &str) -> (Vec<u32>, [usize; 2]) {
        let file = SafetensorsFile::parse(&self.inputs).expect("inputs parse");
        let tensor = file.tensor(name).expect("the input is there");
        let ids = tensor.to_i64().expect("ids are integers").into_iter().map(|id| u32::try_from(id).expect("an id"));
        (ids.collect(), tensor.dims().try_into().expect("[batch, tokens]"))
    }

    /// An expected output.
    pub(crate) fn output(&self, name: &str) -> Vec<f32> {
        let file = SafetensorsFile::parse(&self.expected).expect("expected outputs parse");
        file.tensor(name).expect("the output is there").to_f32().expect("outputs are floats")
    }

    /// The largest error that an output may have: 4 times PyTorch's own in float32, or 1e-6 of the largest value.
    pub(crate) fn bound(&self, output: &str) -> f64 {
        let of = |key: &str| {
            self.info.required(key).and_then(|values| values.required_f64(output)).expect("case.json has it")
        };
        (4.0 * of("torch_float32_max_abs_error")).max(1e-6 * of("max_abs"))
    }
}

/// The names of all cases of encoder-decoder families.
pub(crate) fn cases() -> Vec<String> {
    cases_of(&["marian", "bart", "m2m_100"])
}

/// The names of all cases of encoders.
pub(crate) fn encoder_cases() -> Vec<String> {
    cases_of(&["bert", "distilbert", "roberta", "albert", "modernbert", "esm"])
}

fn cases_of(families: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(cases_dir())
        .expect("the folder of golden cases is there")
        .map(|entry| entry.expect("it can be listed").file_name().into_string().expect("names are text"))
        .filter(|name| {
            families
                .iter()
                .any(|family| name.split('_').next() == Some(family) || name.starts_with(&format!("{family}_")))
        })
        .collect();
    names.sort();
    assert!(names.len() >= families.len(), "cases are missing: {names:?}");
    names
}
