//! `kernform selftest`: every kernel on every level of this CPU, against its reference and against the machine.

mod attention;
mod data;
mod limits;
mod measure;
mod probe;
mod products;
mod products_int8;
#[cfg(feature = "quant-selftest")]
mod quant;
mod rows;

use core::fmt::Write as _;
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use kernform_simd::Isa;
use serde::Serialize;

use self::data::Random;
use self::limits::Limits;
use self::measure::{Budget, seconds_per_run};
use self::probe::{Effort, Probe, Unit};
use crate::errors::{EXIT_FAILED, Failure, complain};
use crate::level::{Chosen, Reason};
use crate::{machine, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Each kernel runs on each level that this CPU has, on fixed pseudo-random inputs with NaN, infinities,
denormals and extremes among them, and on shapes around the edges of its tiles. Its results must be those of
its scalar reference, bit by bit; `=` in the table says that they are. The speeds are of one thread. Shares
are of what the machine's best level can do: GFLOP/s of its multiply-adds, GB/s of its first-level cache.
With --isa only that level is tested. The exit code is 1 when anything differs.

Examples:
  kernform selftest
  kernform selftest --quick
  kernform selftest --json >selftest.json")]
pub(crate) struct SelftestArgs {
    /// Fewer shapes and shorter measurements: some seconds
    #[arg(long)]
    quick: bool,

    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    cpu: Option<String>,
    architecture: &'static str,
    limits: Limits,
    results: Vec<Measured>,
    values: usize,
    equal: bool,
    seconds: f64,
}

/// One kernel on one level.
#[derive(Serialize)]
struct Measured {
    kernel: &'static str,
    level: &'static str,
    class: String,
    equal: bool,
    values: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<String>,
    speed: f64,
    unit: &'static str,
    /// Of the machine's limit in that unit.
    share: f64,
}

pub(crate) fn run(args: &SelftestArgs, chosen: Chosen) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    let budget = Budget { each: Duration::from_millis(if args.quick { 4 } else { 60 }) };
    let levels: Vec<Isa> = match chosen.reason {
        Reason::Best | Reason::Build => Isa::available().collect(),
        Reason::Flag | Reason::Environment => vec![chosen.isa],
    };
    let limits = Limits::measure(Budget { each: budget.each * 4 });
    let table = Table { levels: &levels };
    if !args.json {
        output::print(&table.head(&limits))?;
    }
    let mut results: Vec<Measured> = Vec::new();
    for probe in probes() {
        let row = levels.iter().map(|isa| measure(probe, *isa, effort, budget, &limits));
        results.extend(row);
        if !args.json {
            output::print(&table.row(probe, &results[results.len() - levels.len()..]))?;
        }
    }
    let report = Report {
        cpu: machine::cpu_name(),
        architecture: std::env::consts::ARCH,
        limits,
        values: results.iter().map(|result| result.values).sum(),
        equal: results.iter().all(|result| result.equal),
        results,
        seconds: start.elapsed().as_secs_f64(),
    };
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&report.summary(levels.len()))?;
    }
    for Measured { kernel, level, difference, .. } in &report.results {
        if let Some(difference) = difference {
            complain(format_args!(
                "{kernel} differs from its reference; level {level}, {difference}; report it, with `kernform isa`"
            ));
        }
    }
    Ok(if report.equal { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// Every kernel, in the order of the table.
fn probes() -> impl Iterator<Item = &'static Probe> {
    let attention = attention::PROBES.iter().chain(&attention::CACHED).chain(&attention::ROTARY);
    let probes = products::PROBES.iter().chain(&products_int8::PROBES).chain(attention).chain(&rows::PROBES);
    #[cfg(feature = "quant-selftest")]
    let probes = probes.chain(&quant::PROBES).chain(&quant::DECODING);
    probes
}

fn measure(probe: &Probe, isa: Isa, effort: Effort, budget: Budget, limits: &Limits) -> Measured {
    // The same inputs for every level.
    let outcome = (probe.check)(isa, &mut Random::new(7), effort);
    let mut workload = (probe.workload)(effort);
    let seconds = seconds_per_run(budget, || (workload.run)(isa));
    let speed = workload.amount / seconds / 1e9;
    let limit = match probe.unit {
        Unit::Gflops => limits.fma_gflops,
        Unit::GbPerSecond => limits.cache_gb_s,
    };
    Measured {
        kernel: probe.name,
        level: isa.level().name(),
        class: isa.class().to_string(),
        equal: outcome.difference.is_none(),
        values: outcome.values,
        difference: outcome.difference,
        speed,
        unit: probe.unit.name(),
        share: speed / limit,
    }
}

/// A row a kernel, a column a level.
struct Table<'l> {
    levels: &'l [Isa],
}

impl Table<'_> {
    fn head(&self, limits: &Limits) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let cpu = machine::cpu_name().unwrap_or_else(|| "a CPU without a name".into());
        let _ = writeln!(
            text,
            "{cpu} ({}): {:.1} GFLOP/s, {:.1} GB/s first-level cache, {:.1} GB/s memory, one thread\n",
            std::env::consts::ARCH,
            limits.fma_gflops,
            limits.cache_gb_s,
            limits.memory_gb_s
        );
        let _ = write!(text, "{:<21} {:<7}", "kernel", "");
        for isa in self.levels {
            let _ = write!(text, "  {:>14}", isa.level().name());
        }
        text.push('\n');
        text
    }

    fn row(&self, probe: &Probe, results: &[Measured]) -> String {
        let mut text = format!("{:<21} {:<7}", probe.name, probe.unit.name());
        for result in results {
            let bits = if result.equal { "=" } else { "DIFF" };
            let (speed, share) = (Significant(result.speed), (result.share * 100.0).round());
            let cell = format!("{bits} {speed:>6} {share:>3} %");
            let _ = write!(text, "  {cell:>14}");
        }
        text.push('\n');
        text
    }
}

impl Report {
    fn summary(&self, levels: usize) -> String {
        let kernels = self.results.len() / levels.max(1);
        let different = self.results.iter().filter(|result| !result.equal).count();
        let verdict = if self.equal {
            "all bits equal those of the references".into()
        } else {
            format!("{different} of {} differ from their references", self.results.len())
        };
        format!(
            "\n{kernels} kernels on {levels} levels, {} values compared: {verdict} ({:.1} s)\n",
            self.values, self.seconds
        )
    }
}

/// A number with about three digits.
struct Significant(f64);

impl core::fmt::Display for Significant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let places = match self.0 {
            x if x >= 100.0 => 0,
            x if x >= 10.0 => 1,
            _ => 2,
        };
        f.pad(&format!("{:.places$}", self.0))
    }
}
