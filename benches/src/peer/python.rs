//! A Python process on the same core that runs what a line asks for and answers with its time.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A script of `benches/peers` that is waiting for requests. It ends with its standard input.
pub(crate) struct Python {
    process: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// Starts `script` in the peers' virtual environment and waits until it says that it is ready.
    #[cfg(feature = "peers")]
    pub(crate) fn start(script: &str) -> Result<Self, String> {
        Self::start_with(script, &[])
    }

    /// [`Python::start`] with arguments.
    pub(crate) fn start_with(script: &str, arguments: &[String]) -> Result<Self, String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/");
        let python = super::environment().join("bin/python");
        let mut process = Command::new(&python)
            .arg(format!("{folder}{script}"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", python.display()))?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut this = Self { process, requests: Some(requests), answers: BufReader::new(answers) };
        let version = this.answer()?;
        eprintln!("peer: {version}");
        Ok(this)
    }

    /// The seconds that one run of `request` takes over `repeats` runs.
    pub(crate) fn time(&mut self, request: &str, repeats: u32) -> Result<f64, String> {
        let requests = self.requests.as_mut().ok_or("closed")?;
        writeln!(requests, "{request} {repeats}").and_then(|()| requests.flush()).map_err(|error| error.to_string())?;
        let answer = self.answer()?;
        answer.parse().map_err(|_| answer)
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err("it ended".into()),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The end of its input ends the process.
        self.requests = None;
        drop(self.process.wait());
    }
}
