//! Runs the program.

#![allow(dead_code)] // each test file uses a part

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the program did.
pub(crate) struct Done {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

/// The program, without what the environment of the tests might tell it.
pub(crate) fn kernform() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kernform"));
    for variable in ["KERNFORM_ISA", "NO_COLOR", "CLICOLOR_FORCE", "COLORTERM", "TERM"] {
        command.env_remove(variable);
    }
    command
}

/// Runs the program with these arguments and this standard input.
pub(crate) fn run(arguments: &[&str], input: impl AsRef<[u8]>) -> Done {
    run_command(kernform().args(arguments), input)
}

/// Runs a command with this standard input.
pub(crate) fn run_command(command: &mut Command, input: impl AsRef<[u8]>) -> Done {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let input = input.as_ref().to_vec();
    // A program that answers before it has read everything must not be waited for.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the writer ends");
    Done {
        stdout: String::from_utf8(output.stdout).expect("results are UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
        code: output.status.code(),
    }
}

/// A path inside the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A new, empty folder for one test.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the folder can be made");
    path
}

/// The names of the levels that this CPU can run.
pub(crate) fn levels() -> Vec<(String, String)> {
    let report: serde_json::Value = serde_json::from_str(&run(&["isa", "--json"], "").stdout).expect("isa prints JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    let levels = report["levels"].as_array().expect("an array").iter();
    levels
        .filter(|level| level["available"] == true)
        .map(|level| (text(&level["name"]), text(&level["class"])))
        .collect()
}
