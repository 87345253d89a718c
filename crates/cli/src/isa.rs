//! `kernform isa`.

use core::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use kernform_simd::{Isa, Level};
use serde::Serialize;

use crate::errors::Failure;
use crate::level::{self, Chosen};
use crate::machine::{self, Feature};
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kernform isa
  kernform isa --json
  kernform --isa scalar isa
  KERNFORM_ISA=portable kernform isa")]
pub(crate) struct IsaArgs {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    architecture: &'static str,
    cpu: Option<String>,
    threads: usize,
    features: Vec<Feature>,
    levels: Vec<LevelReport>,
    used: &'static str,
    reason: String,
    class: String,
    build_cap: Option<&'static str>,
}

#[derive(Serialize)]
struct LevelReport {
    name: &'static str,
    available: bool,
    class: String,
    needs: &'static str,
}

pub(crate) fn run(args: &IsaArgs, chosen: Chosen) -> Result<ExitCode, Failure> {
    let report = Report::new(chosen);
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&report.text())?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn new(chosen: Chosen) -> Self {
        let levels = Level::ALL.into_iter().rev().map(|level| LevelReport {
            name: level.name(),
            available: Isa::new(level).is_ok(),
            class: level.class().to_string(),
            needs: level.requirement(),
        });
        Self {
            architecture: std::env::consts::ARCH,
            cpu: machine::cpu_name(),
            threads: machine::threads(),
            features: machine::features(),
            levels: levels.collect(),
            used: chosen.isa.level().name(),
            reason: chosen.reason.to_string(),
            class: chosen.isa.class().to_string(),
            build_cap: level::build_cap().map(Level::name),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let list = |present| {
            let names: Vec<_> = self.features.iter().filter(|f| f.present == present).map(|f| f.name).collect();
            if names.is_empty() { String::from("none") } else { names.join(" ") }
        };
        let threads = if self.threads == 1 { "1 thread".into() } else { format!("{} threads", self.threads) };
        let cpu = self.cpu.as_deref().unwrap_or("name unknown");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "cpu      {cpu} ({}, {threads})", self.architecture);
        let _ = writeln!(text, "has      {}", list(true));
        let _ = writeln!(text, "has not  {}", list(false));
        let _ = writeln!(text, "used     {}, {}", self.used, self.reason);
        let _ = writeln!(text, "class    {}, {}\n", self.class, self.class_meaning());
        let _ = writeln!(text, "   level           runs  class    needs");
        for level in &self.levels {
            let mark = if level.name == self.used { "->" } else { "  " };
            let runs = if level.available { "yes" } else { "no" };
            let _ = writeln!(text, "{mark} {:<15} {runs:<5} {:<8} {}", level.name, level.class, level.needs);
        }
        text.push_str("\nLevels of one class give the same bits. --isa LEVEL or KERNFORM_ISA=LEVEL takes another.\n");
        text
    }

    fn class_meaning(&self) -> &'static str {
        if self.class == "fused" { "a * b + c is rounded once" } else { "a * b + c is rounded twice" }
    }
}
