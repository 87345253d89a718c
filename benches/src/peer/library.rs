//! Shared libraries: where the loader finds them, or in the peers' virtual environment.

use std::path::PathBuf;

use libloading::{Error, Library};

/// Loads the first of `names` that is there.
///
/// # Safety
/// What the library does when it is loaded must be sound.
pub(crate) unsafe fn load(names: &[&str]) -> Result<Library, Error> {
    let folder = super::environment().join("lib");
    let paths = names.iter().flat_map(|name| [PathBuf::from(name), folder.join(name)]);
    let mut result = Err(Error::DlOpenUnknown);
    for path in paths {
        // SAFETY: the caller's word.
        result = unsafe { Library::new(path) };
        if result.is_ok() {
            break;
        }
    }
    result
}
