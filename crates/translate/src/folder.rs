//! The files of a model's folder.

use std::path::{Path, PathBuf};

use kernform_formats::marian::Settings;

use crate::TranslateError;

/// Where the parts of a model are.
pub(crate) struct Folder {
    pub(crate) model: PathBuf,
    pub(crate) vocabulary: PathBuf,
    pub(crate) shortlist: Option<PathBuf>,
    pub(crate) settings: Settings,
}

/// A configuration is a short text; what is longer is none.
const LONGEST_CONFIGURATION: u64 = 1 << 20;

impl Folder {
    /// Finds the files that a configuration names (a `.yml` with `models`), or those that are named like them.
    pub(crate) fn open(path: &Path) -> Result<Self, TranslateError> {
        let missing = |missing: &str| TranslateError::Folder {
            folder: path.to_string_lossy().into_owned(),
            missing: missing.to_string(),
        };
        let mut files: Vec<String> = std::fs::read_dir(path)
            .map_err(|error| missing(&format!("the folder ({error})")))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        files.sort_unstable();
        let settings = files
            .iter()
            .filter(|name| name.ends_with(".yml") || name.ends_with(".yaml"))
            .map(|name| path.join(name))
            .filter(|file| std::fs::metadata(file).is_ok_and(|data| data.len() <= LONGEST_CONFIGURATION))
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .map(|text| Settings::parse(&text))
            .find(|settings| !settings.list("models").is_empty())
            .unwrap_or_default();
        // Names in a configuration stay within the folder.
        let named = |key| {
            let name = Path::new(settings.get(key)?).file_name()?.to_str()?;
            files.iter().find(|file| *file == name).map(|file| path.join(file))
        };
        let like = |start: &str, end: &str| {
            files.iter().find(|file| file.starts_with(start) && file.ends_with(end)).map(|file| path.join(file))
        };
        Ok(Self {
            model: named("models").or_else(|| like("model", ".bin")).ok_or_else(|| missing("model*.bin"))?,
            vocabulary: named("vocabs").or_else(|| like("vocab", ".spm")).ok_or_else(|| missing("vocab*.spm"))?,
            shortlist: named("shortlist").or_else(|| like("lex", ".bin")),
            settings,
        })
    }
}
