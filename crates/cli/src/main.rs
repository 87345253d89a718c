//! The `kernform` program: see its `--help`, or README.md.
#![forbid(unsafe_code)]

mod args;
mod encode;
mod errors;
mod generate;
mod inspect;
mod interrupt;
mod isa;
mod level;
mod machine;
mod memory;
mod model_input;
mod output;
mod pronounce;
mod run;
mod selftest;
mod term;
mod translate;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::errors::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse_from(args::with_attached_values(std::env::args_os()));
    interrupt::install();
    match dispatch(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let level = level::choose(cli.isa)?;
    match cli.command {
        Command::Pronounce(args) => pronounce::run(args, level),
        Command::Run(args) => run::run(&args, level),
        Command::Generate(args) => generate::run(&args, level),
        Command::Embed(args) => encode::embed(args, level),
        Command::Similar(args) => encode::similar(args, level),
        Command::Classify(args) => encode::classify(args, level),
        Command::Tag(args) => encode::tag(args, level),
        Command::Answer(args) => encode::answer(args, level),
        Command::Fill(args) => encode::fill(args, level),
        Command::Inspect(args) => inspect::run(&args, level),
        Command::Translate(args) => translate::run(args, level),
        Command::Selftest(args) => selftest::run(&args, level),
        Command::Isa(args) => isa::run(&args, level),
    }
}
