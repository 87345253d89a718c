//! The settings that stand beside and inside Marian's models: YAML of one level, with scalars and lists of scalars.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Settings by name. What is no `name: value`, no list under a name and no comment is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    entries: Vec<(String, Vec<String>)>,
}

impl Settings {
    /// Reads the text of settings.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut entries: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines() {
            let line = line.trim();
            if let Some(item) = line.strip_prefix("- ") {
                if let Some((_, values)) = entries.last_mut() {
                    values.push(plain(item));
                }
            } else if let Some((name, value)) = line.split_once(':').filter(|_| !line.starts_with('#')) {
                let value = plain(value);
                entries.push((name.trim().to_string(), if value.is_empty() { Vec::new() } else { alloc::vec![value] }));
            }
        }
        Self { entries }
    }

    /// The values of a name: one for a scalar, those of a list; none where the name is not there.
    #[must_use]
    pub fn list(&self, name: &str) -> &[String] {
        self.entries.iter().find(|(key, _)| key == name).map_or(&[], |(_, values)| values)
    }

    /// The first value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.list(name).first().map(String::as_str)
    }

    /// The first value of a name as a number; `None` where it is not there or none.
    #[must_use]
    pub fn number<T: core::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    /// Whether the first value of a name is `true`.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

/// A scalar without the white space and the quotes around it.
fn plain(text: &str) -> String {
    let text = text.trim();
    let inner = |quote| text.strip_prefix(quote).and_then(|text: &str| text.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text).to_string()
}
