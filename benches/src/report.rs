//! Tables on the terminal and in a file.

use serde_json::{Value, json};

use crate::alternate::Timing;

/// One case: what ran, how long it took, and how much work it was.
pub(crate) struct Row {
    pub(crate) case: String,
    /// Units of work in a run (floating-point operations, bytes, elements).
    pub(crate) work: f64,
    pub(crate) timings: Vec<Timing>,
}

/// The cases of a suite that have the same contestants.
pub(crate) struct Table {
    pub(crate) title: String,
    /// The billions of what a second.
    pub(crate) unit: &'static str,
    /// Which contestant is ours, and who its peers are; each makes a ratio column.
    pub(crate) ratios: Vec<Ratio>,
    /// The contestant that is the machine's limit, and its units of work in a run.
    pub(crate) limit: Option<(String, f64)>,
    pub(crate) rows: Vec<Row>,
}

/// A contestant against the best of others.
pub(crate) struct Ratio {
    pub(crate) title: &'static str,
    pub(crate) ours: String,
    pub(crate) peers: Vec<String>,
}

impl Row {
    fn find(&self, name: &str) -> Option<&Timing> {
        self.timings.iter().find(|timing| timing.name == name)
    }

    /// The best peer's time over ours, by `time`; above 1 we are faster.
    fn ratio(&self, ratio: &Ratio, time: impl Fn(&Timing) -> f64) -> Option<f64> {
        let ours = time(self.find(&ratio.ours)?);
        let peers = ratio.peers.iter().filter_map(|name| self.find(name));
        peers.map(&time).min_by(f64::total_cmp).map(|best| best / ours)
    }
}

impl Table {
    /// The names of the contestants of all rows, in order, without the limit.
    fn contestants(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for timing in self.rows.iter().flat_map(|row| &row.timings) {
            let is_limit = self.limit.as_ref().is_some_and(|(limit, _)| *limit == timing.name);
            if !is_limit && !names.contains(&timing.name.as_str()) {
                names.push(&timing.name);
            }
        }
        names
    }

    /// The share of the limit that `name` reaches in `row`.
    fn share(&self, row: &Row, name: &str) -> Option<f64> {
        let (limit, work) = self.limit.as_ref()?;
        Some(row.work / row.find(name)?.least / (work / row.find(limit)?.least))
    }

    pub(crate) fn print(&self) {
        let names = self.contestants();
        println!("### {}: {} (fastest sample)\n", self.title, self.unit);
        let mut head = String::from("| case |");
        names.iter().for_each(|name| head += &format!(" {name} |"));
        self.ratios.iter().for_each(|ratio| head += &format!(" {} | by medians |", ratio.title));
        if self.limit.is_some() {
            self.ratios.iter().for_each(|ratio| head += &format!(" {}, of limit |", ratio.ours));
        }
        println!("{head}\n|{}", " --- |".repeat(head.matches('|').count() - 1));
        for row in &self.rows {
            let mut line = format!("| {} |", row.case);
            for name in &names {
                line += &row.find(name).map_or("  |".into(), |t| format!(" {:.1} |", row.work / t.least / 1e9));
            }
            let mut cell = |value: Option<f64>, percent: bool| match value {
                Some(value) if percent => line += &format!(" {:.0} % |", 100.0 * value),
                Some(value) => line += &format!(" {value:.2} |"),
                None => line += "  |",
            };
            for ratio in &self.ratios {
                cell(row.ratio(ratio, |t| t.least), false);
                cell(row.ratio(ratio, |t| t.median), false);
            }
            if self.limit.is_some() {
                self.ratios.iter().for_each(|ratio| cell(self.share(row, &ratio.ours), true));
            }
            println!("{line}");
        }
        for ratio in &self.ratios {
            let logs: Vec<f64> = self.rows.iter().filter_map(|row| Some(row.ratio(ratio, |t| t.least)?.ln())).collect();
            if !logs.is_empty() {
                let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
                println!("\nGeometric mean of \"{}\": {mean:.3}", ratio.title);
            }
        }
        println!();
    }
}

/// All tables with their minima and medians.
pub(crate) fn to_json(machine: &str, tables: &[Table]) -> String {
    let timing = |t: &Timing| json!({ "name": t.name, "least_s": t.least, "median_s": t.median });
    let row = |row: &Row| json!({ "case": row.case, "work": row.work, "timings": row.timings.iter().map(timing).collect::<Vec<Value>>() });
    let table = |table: &Table| {
        let limit = table.limit.as_ref().map(|(name, work)| json!({ "name": name, "work": work }));
        let rows: Vec<Value> = table.rows.iter().map(row).collect();
        json!({ "title": table.title, "unit": table.unit, "limit": limit, "rows": rows })
    };
    let tables: Vec<Value> = tables.iter().map(table).collect();
    format!("{:#}\n", json!({ "machine": machine, "tables": tables }))
}
