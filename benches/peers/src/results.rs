//! Results as JSON: written by a run, kept in `docs/benchmarks/` for each release, and compared.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::contest::Report;
use crate::goals::more_is_better;
use crate::machine::Machine;
use crate::table::number;

/// The manifest of the log that is measured.
const MANIFEST: &str = include_str!("../../../Cargo.toml");

/// The version of the log that is measured.
pub(crate) fn version() -> Result<&'static str> {
    let line = MANIFEST.lines().find_map(|line| line.strip_prefix("version = "));
    Ok(line.context("no version in the log's Cargo.toml")?.trim_matches('"'))
}

/// Writes a report: a line for each row, so that two files can be compared by eye, too.
pub(crate) fn write(path: &Path, machine: &Machine, report: &Report) -> Result<()> {
    fn lines(values: &[impl Serialize]) -> Result<String> {
        let lines = values.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        Ok(if lines.is_empty() { String::new() } else { format!("\n{}\n", lines.join(",\n")) })
    }
    let machine = serde_json::to_string(machine)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = format!(
        "{{\"version\":{:?},\"arguments\":{},\"machine\":{machine},\n\"rows\":[{}],\n\"failures\":[{}]}}\n",
        version()?,
        serde_json::to_string(&arguments)?,
        lines(&report.rows)?,
        lines(&report.failures)?,
    );
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// What was written.
#[derive(Debug, Deserialize)]
struct Results {
    version: String,
    machine: Measured,
    rows: Vec<Figure>,
}

/// When and where.
#[derive(Debug, Deserialize)]
struct Measured {
    cpu: String,
    cores: usize,
    kernel: String,
    filesystem: String,
    date: String,
}

#[derive(Debug, Deserialize)]
struct Figure {
    workload: String,
    case: String,
    contestant: String,
    metric: String,
    unit: String,
    /// None if it was no number.
    median: Option<f64>,
    rounds: Vec<Option<f64>>,
}

/// Compares two files: a Markdown table of the figures that are in both.
pub(crate) fn compare(old: &Path, new: &Path) -> Result<String> {
    let (old, new) = (read(old)?, read(new)?);
    let mut out = String::new();
    for (name, Results { version, machine, .. }) in [("old", &old), ("new", &new)] {
        let Measured { cpu, cores, kernel, filesystem, date } = machine;
        let _ =
            writeln!(out, "{name}: {version}, {date}: {cpu}, {cores} cores, Linux {kernel}, {filesystem}\n");
    }
    let _ = writeln!(out, "| | old | new | change | |\n| --- | ---: | ---: | ---: | --- |");
    let mut missing = 0;
    for row in &new.rows {
        let Some(before) = old.rows.iter().find(|before| before.is_of_the_same(row)) else {
            missing += 1;
            continue;
        };
        let Figure { workload, case, contestant, metric, unit, .. } = row;
        let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
        let (Some(was), Some(is)) = (before.median, row.median) else { continue };
        let change =
            if was == 0.0 { "–".to_owned() } else { format!("{:+.0} %", (is / was - 1.0) * 100.0) };
        let _ = writeln!(
            out,
            "| {workload} {case}: {metric}{unit}, {contestant} | {} | {} | {change} | {} |",
            number(was),
            number(is),
            before.verdict(row),
        );
    }
    let gone =
        old.rows.iter().filter(|before| !new.rows.iter().any(|row| row.is_of_the_same(before))).count();
    if missing + gone > 0 {
        let _ = writeln!(out, "\n{missing} figures are only in the new file, {gone} only in the old one.");
    }
    Ok(out)
}

fn read(path: &Path) -> Result<Results> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a file of results", path.display()))
}

impl Figure {
    fn is_of_the_same(&self, other: &Figure) -> bool {
        self.workload == other.workload
            && self.case == other.case
            && self.contestant == other.contestant
            && self.metric == other.metric
    }

    /// Whether a later figure is better or worse: only if no round of one is among the rounds of the other.
    fn verdict(&self, new: &Figure) -> &'static str {
        let spread = |figure: &Figure| {
            let rounds = || figure.rounds.iter().flatten().copied();
            (rounds().fold(f64::INFINITY, f64::min), rounds().fold(f64::NEG_INFINITY, f64::max))
        };
        let ((old_least, old_most), (new_least, new_most)) = (spread(self), spread(new));
        let (grew, shrank) = (new_least > old_most, new_most < old_least);
        match (grew || shrank, grew == more_is_better(&self.metric)) {
            (false, _) => "within the spread",
            (true, true) => "better",
            (true, false) => "**worse**",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contest::Row;
    use crate::workload::Workload;

    fn written(dir: &Path, name: &str, rounds: &[(&'static str, &[f64])]) -> std::path::PathBuf {
        let rows = rounds.iter().map(|(metric, rounds)| Row {
            workload: Workload::S1,
            case: "64 B".to_owned(),
            contestant: "ours".to_owned(),
            metric,
            unit: "µs",
            median: crate::stats::median(rounds),
            rounds: rounds.to_vec(),
            not_compared: None,
        });
        let report = Report { rows: rows.collect(), failures: Vec::new() };
        let path = dir.join(name);
        write(&path, &Machine::of(dir).unwrap(), &report).unwrap();
        path
    }

    #[test]
    fn only_figures_out_of_the_spread_are_better_or_worse() {
        let dir = tempfile::tempdir().unwrap();
        let old: &[(&str, &[f64])] = &[("p50", &[10.0, 12.0]), ("p99", &[20.0, 24.0]), ("rate", &[5.0, 6.0])];
        let new: &[(&str, &[f64])] = &[("p50", &[12.5, 15.5]), ("p99", &[18.0, 22.0]), ("rate", &[7.0, 9.0])];
        let (old, new) = (written(dir.path(), "old", old), written(dir.path(), "new", new));
        let shown = compare(&old, &new).unwrap();
        for line in [
            "| S1 64 B: p50, µs, ours | 11.0 | 14.0 | +27 % | **worse** |",
            "| S1 64 B: p99, µs, ours | 22.0 | 20.0 | -9 % | within the spread |",
            "| S1 64 B: rate, µs, ours | 5.50 | 8.00 | +45 % | better |",
        ] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        let few = written(dir.path(), "few", &[("p50", &[1.0])]);
        assert!(
            compare(&few, &new)
                .unwrap()
                .contains("2 figures are only in the new file, 0 only in the old one.")
        );
    }

    #[test]
    fn a_file_of_something_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "[]").unwrap();
        assert!(format!("{:#}", compare(&path, &path).unwrap_err()).contains("is not a file of results"));
    }
}
