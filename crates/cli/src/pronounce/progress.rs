//! How far long work has come, on stderr.

use core::time::Duration;
use std::io::IsTerminal as _;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// Work that is done sooner shows no progress.
const PATIENCE: Duration = Duration::from_millis(700);

/// A line on stderr that is redrawn; nothing where stderr is no terminal, or standard output already fills it.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    start: Instant,
    is_shown: bool,
}

impl Progress {
    /// For `len` of `unit`, where that is known.
    pub(crate) fn new(len: Option<usize>, unit: &'static str) -> Self {
        let is_wanted = std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
        Self { bar: is_wanted.then(|| hidden_bar(len, unit)), start: Instant::now(), is_shown: false }
    }

    /// So many lines are done.
    pub(crate) fn show(&mut self, lines: u64) {
        self.show_with(lines, String::new);
    }

    /// So many lines are done, and what `message` says.
    pub(crate) fn show_with(&mut self, lines: u64, message: impl FnOnce() -> String) {
        let Some(bar) = &self.bar else { return };
        bar.set_message(message());
        if !self.is_shown && self.start.elapsed() > PATIENCE {
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            self.is_shown = true;
        }
        bar.set_position(lines);
    }

    /// Runs `print` while the line is out of the way.
    pub(crate) fn above(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the line away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn hidden_bar(len: Option<usize>, unit: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(len.map(|len| len as u64), indicatif::ProgressDrawTarget::hidden());
    let form = if len.is_some() {
        format!("{{wide_bar}} {{human_pos}}/{{human_len}} {unit}, {{per_sec}} {{msg}}")
    } else {
        format!("{{spinner}} {{human_pos}} {unit}, {{per_sec}}, {{elapsed}} {{msg}}")
    };
    // A form that cannot be read leaves indicatif's own.
    bar.with_style(ProgressStyle::with_template(&form).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
