//! `kernform-bench compare`: our kernels beside their peers, alternating on one core of one machine.
//!
//! A suite (a file in `suites`) names cases; a case names contestants, which are run in turn, so that noise and changes
//! of frequency meet all of them. The machine's limits are contestants too.

mod alternate;
mod machine;
mod peer;
mod report;
mod suites;

use std::process::ExitCode;

const USAGE: &str =
    "usage: kernform-bench compare [--only SUITE,…] [--case TEXT] [--rounds N] [--core N] [--threads N] [--json FILE]

  --only    suites to run (default: all): attention, gemm, gemm_int8, quant, rows, minilm
  --case    only cases whose name contains TEXT
  --rounds  samples of each contestant (default 25)
  --core    the core to be pinned to (default: the last one)
  --threads threads of each contestant, on any cores where they are several (default 1; only minilm takes more)
  --json    writes all samples' minima and medians there

Peers are compiled in with --features peers; what is missing is named.";

/// What the command line asks for.
struct Settings {
    only: Vec<String>,
    case: String,
    rounds: usize,
    core: Option<usize>,
    threads: usize,
    json: Option<String>,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Settings, String> {
    if args.next().as_deref() != Some("compare") {
        return Err(USAGE.into());
    }
    let (only, case) = (Vec::new(), String::new());
    let mut settings = Settings { only, case, rounds: 25, core: None, threads: 1, json: None };
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value\n\n{USAGE}"))?;
        let number = || value.parse::<usize>().map_err(|_| format!("{name} needs a number, not {value:?}"));
        match name.as_str() {
            "--only" => settings.only = value.split(',').map(str::to_owned).collect(),
            "--case" => settings.case = value,
            "--rounds" => settings.rounds = number()?.max(1),
            "--core" => settings.core = Some(number()?),
            "--threads" => settings.threads = number()?.max(1),
            "--json" => settings.json = Some(value),
            _ => return Err(format!("unknown option {name}\n\n{USAGE}")),
        }
    }
    let is_minilm = settings.only.len() == 1 && settings.only[0] == "minilm";
    if settings.threads > 1 && (!is_minilm || settings.core.is_some()) {
        return Err(format!("--threads is for --only minilm without --core\n\n{USAGE}"));
    }
    Ok(settings)
}

fn run(settings: &Settings) -> Result<(), String> {
    if let Some(unknown) = settings.only.iter().find(|name| suites::ALL.iter().all(|suite| suite.name != **name)) {
        return Err(format!("there is no suite {unknown:?}\n\n{USAGE}"));
    }
    if settings.threads == 1 {
        #[cfg(feature = "peers")]
        suites::candle::on_one_thread();
        machine::pin(settings.core)?;
    }
    println!("{}\n", machine::describe(settings.threads));
    let mut tables = Vec::new();
    for suite in suites::ALL {
        if settings.only.is_empty() || settings.only.iter().any(|name| name == suite.name) {
            tables.extend((suite.run)(settings));
        }
    }
    if let Some(path) = &settings.json {
        let json = report::to_json(&machine::describe(settings.threads), &tables);
        std::fs::write(path, json).map_err(|error| format!("cannot write {path}: {error}"))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|settings| run(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
