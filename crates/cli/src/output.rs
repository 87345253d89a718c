//! Standard output in whole lines.

use std::io::Write as _;

use serde::Serialize;

use crate::errors::Failure;
use crate::interrupt;

/// Writes `text`, which ends in a newline, without a chance for Ctrl-C to cut it.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let _guard = interrupt::hold();
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| Failure::output(&error))
}

/// Writes `value` as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = json(value)?;
    text.push('\n');
    print(&text)
}

/// `value` as JSON without a newline.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| {
        Failure::new(format_args!("a result cannot be written as JSON: {error}"), "--json", "leave it out")
    })
}
