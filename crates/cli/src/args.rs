//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::{Parser, Subcommand};
use kernform_simd::Level;

use crate::{encode, generate, inspect, isa, pronounce, run, selftest, translate};

/// Transformers on the CPU, with the same bits as result on every machine.
#[derive(Debug, Parser)]
#[command(name = "kernform", version, after_help = AFTER_HELP, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Run the kernels of this instruction-set level instead of the best; `kernform isa` lists them
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Global options")]
    pub(crate) isa: Option<Level>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn English spelling into pronunciation, with the embedded model
    Pronounce(pronounce::PronounceArgs),
    /// Translate text with a Marian student model
    Translate(translate::TranslateArgs),
    /// One forward pass of a model folder, from and to safetensors files
    Run(run::RunArgs),
    /// Greedy or beam search with a model folder, with the token ids that transformers gives
    Generate(generate::GenerateArgs),
    /// Turn texts into vectors with an encoder
    Embed(encode::EmbedArgs),
    /// Find the lines of a file that are most like a query
    Similar(encode::SimilarArgs),
    /// Label texts, or pairs of texts
    Classify(encode::ClassifyArgs),
    /// Find entities in texts
    Tag(encode::TagArgs),
    /// Find the answer to a question in a text
    Answer(encode::AnswerArgs),
    /// Find the tokens that stand behind a mask
    Fill(encode::FillArgs),
    /// Show the tensors, types, shapes, parameters and memory of a model
    Inspect(inspect::InspectArgs),
    /// Check every kernel on every level of this CPU against its reference, and measure it
    Selftest(selftest::SelftestArgs),
    /// Say what this CPU has, which levels can run, and which is used and why
    Isa(isa::IsaArgs),
}

const AFTER_HELP: &str = "\
Environment:
  KERNFORM_ISA  an instruction-set level, as --isa, which goes before it
  NO_COLOR      no colours, whatever the terminal

Exit codes:
  0    all went well
  1    something failed, or some of the input did; the messages on stderr say what
  2    the command line, or KERNFORM_ISA, is wrong
  130  interrupted by Ctrl-C

Examples:
  kernform pronounce attention transformer
  kernform --isa scalar pronounce attention
  kernform embed --model models/all-MiniLM-L6-v2 'A sentence.'
  kernform selftest --quick";

/// The arguments with `--attention FILE.svg` written as `--attention=FILE.svg`, and `--early-stopping` the same.
///
/// The value of these options is optional, so on their own they would swallow the argument after them, a word perhaps; only
/// what can be nothing but their value is taken for it.
pub(crate) fn with_attached_values(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut attached: Vec<OsString> = Vec::new();
    let mut options_ended = false;
    for argument in arguments {
        match attached.last_mut() {
            Some(last) if !options_ended && is_value_of(last, &argument) => {
                last.push("=");
                last.push(argument);
            }
            _ => {
                options_ended |= argument == "--";
                attached.push(argument);
            }
        }
    }
    attached
}

fn is_value_of(option: &OsStr, argument: &OsStr) -> bool {
    match option.to_str() {
        Some("--attention" | "--align") => {
            Path::new(argument).extension().is_some_and(|end| end.eq_ignore_ascii_case("svg"))
        }
        Some("--early-stopping") => ["true", "false", "never"].into_iter().any(|value| argument == value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn attached(arguments: &[&str]) -> Vec<OsString> {
        with_attached_values(arguments.iter().map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_what_can_be_nothing_else_is_taken_for_a_value() {
        assert_eq!(attached(&["--attention", "a.svg", "word"]), ["--attention=a.svg", "word"]);
        assert_eq!(attached(&["--attention", "word"]), ["--attention", "word"]);
        assert_eq!(attached(&["word", "--attention"]), ["word", "--attention"]);
        assert_eq!(attached(&["--", "--attention", "a.svg"]), ["--", "--attention", "a.svg"]);
        assert_eq!(attached(&["--early-stopping", "never", "dir"]), ["--early-stopping=never", "dir"]);
        assert_eq!(attached(&["--early-stopping", "dir"]), ["--early-stopping", "dir"]);
    }
}
