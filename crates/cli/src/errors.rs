//! Failures that end the program, and its exit codes.

use core::fmt;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

/// Something failed, or some of the input did.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command line or the environment is wrong.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Ended by Ctrl-C: 128 and the signal's number, as shells say it.
pub(crate) const EXIT_INTERRUPTED: i32 = 130;

/// Why the program stops.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the environment is wrong.
    Usage(String),
    /// Something that the command line names, or a result, is wrong.
    Failed(String),
    /// Nobody reads the output any more, which is no error.
    BrokenPipe,
}

impl Failure {
    /// `what; place; remedy`.
    pub(crate) fn new(what: impl fmt::Display, place: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::Failed(format!("{what}; {place}; {remedy}"))
    }

    /// As [`Failure::new`], for a mistake on the command line.
    pub(crate) fn usage(what: impl fmt::Display, place: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::Usage(format!("{what}; {place}; {remedy}"))
    }

    /// Writing the results to standard output failed.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::new(
                format_args!("cannot write the results: {error}"),
                "standard output",
                "see that there is space left",
            )
        }
    }

    /// Prints the failure on stderr and gives its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Usage(message) => {
                complain(message);
                ExitCode::from(EXIT_USAGE)
            }
            Self::Failed(message) => {
                complain(message);
                ExitCode::from(EXIT_FAILED)
            }
            Self::BrokenPipe => ExitCode::SUCCESS,
        }
    }
}

/// A line `error: message` on stderr; a closed stderr is no reason to stop.
pub(crate) fn complain(message: impl fmt::Display) {
    note(format_args!("error: {message}"));
}

/// A line on stderr.
pub(crate) fn note(message: impl fmt::Display) {
    // One write, so that lines of several processes on one terminal stay whole.
    let _ = std::io::stderr().lock().write_all(format!("{message}\n").as_bytes());
}
