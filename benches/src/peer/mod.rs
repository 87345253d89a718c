//! How peers that are no crates are reached: libraries that are loaded, and a Python process that answers.

#[cfg(feature = "peers")]
mod library;
mod python;

#[cfg(feature = "peers")]
pub(crate) use library::load;
pub(crate) use python::Python;

/// The virtual environment that holds peers from PyPI: `KERNFORM_PEERS`, or the one that `benches/peers` makes.
fn environment() -> std::path::PathBuf {
    let variable = |name| std::env::var_os(name).map(std::path::PathBuf::from);
    let cache = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    variable("KERNFORM_PEERS").unwrap_or_else(|| cache().unwrap_or_default().join("kernform/peers"))
}

/// Names a peer that is not there, once.
pub(crate) fn missing(name: &str, why: impl core::fmt::Display) {
    use std::sync::Mutex;
    static NAMED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut named = NAMED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !named.iter().any(|known| known == name) {
        eprintln!("missing: {name} ({why})");
        named.push(name.to_owned());
    }
}
