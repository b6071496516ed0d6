//! Results as JSON: written by a run after each of its workloads, put together from several runs, kept in
//! `docs/benchmarks/` for each release, and compared.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use serde::Deserialize;
use serde::Serialize;

use crate::contest::Report;
use crate::contest::Row;
use crate::goals::more_is_better;
use crate::machine::Machine;
use crate::table::number;

/// The manifest of the log that is measured.
const MANIFEST: &str = include_str!("../../../Cargo.toml");

/// The results of a run, or of several.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Results {
    /// Of the log.
    pub(crate) version: String,
    /// The arguments of each run.
    pub(crate) commands: Vec<String>,
    pub(crate) machine: Machine,
    #[serde(flatten)]
    pub(crate) report: Report,
}

impl Results {
    /// The results of this run, without figures yet.
    pub(crate) fn new(machine: Machine) -> Result<Self> {
        let commands = vec![command(std::env::args().skip(1))];
        Ok(Results { version: version()?.to_owned(), commands, machine, report: Report::default() })
    }

    /// Reads results that [`Results::write`] wrote.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a file of results", path.display()))
    }

    /// Puts the results of several runs together. What two files have of the same case is taken from the
    /// later file.
    pub(crate) fn merged(paths: &[PathBuf]) -> Result<Self> {
        let mut all =
            paths.iter().map(|path| Ok((path, Results::read(path)?))).collect::<Result<Vec<_>>>()?;
        ensure!(!all.is_empty(), "no files");
        let (_, mut merged) = all.remove(0);
        for (path, results) in all {
            merged.add(results).with_context(|| path.display().to_string())?;
        }
        Ok(merged)
    }

    fn add(&mut self, later: Results) -> Result<()> {
        let Results { version, commands, machine, report } = later;
        ensure!(version == self.version, "version {version} was measured, not {}", self.version);
        let date = machine.date.clone();
        let same = Machine { date: self.machine.date.clone(), ..machine };
        ensure!(same == self.machine, "measured on another machine: {same:?}, not {:?}", self.machine);
        if !self.machine.date.ends_with(&date) {
            self.machine.date = format!("{} and {date}", self.machine.date);
        }
        self.commands.extend(commands);
        let Report { rows, failures } = &mut self.report;
        rows.retain(|old| {
            !report.rows.iter().any(|new| old.workload == new.workload && old.case == new.case)
        });
        failures.retain(|old| {
            let is_of_the_case = |new: &Row| old.workload == new.workload && old.case == new.case;
            !report.rows.iter().any(is_of_the_case)
        });
        rows.extend(report.rows);
        failures.extend(report.failures);
        Ok(())
    }

    /// Writes the results: a line for each row, so that two files can be compared by eye, too. A file of
    /// this name is replaced as a whole.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        fn lines(values: &[impl Serialize]) -> Result<String> {
            let lines = values.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
            Ok(if lines.is_empty() { String::new() } else { format!("\n{}\n", lines.join(",\n")) })
        }
        let text = format!(
            "{{\"version\":{:?},\"commands\":{},\"machine\":{},\n\"rows\":[{}],\n\"failures\":[{}]}}\n",
            self.version,
            serde_json::to_string(&self.commands)?,
            serde_json::to_string(&self.machine)?,
            lines(&self.report.rows)?,
            lines(&self.report.failures)?,
        );
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, text).with_context(|| format!("write {}", unfinished.display()))?;
        fs::rename(&unfinished, path).with_context(|| format!("write {}", path.display()))
    }
}

/// The arguments of a run as a reader would repeat it: without the places where it put its files.
pub(crate) fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut kept = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--dir" | "--out" => drop(arguments.next()),
            place if place.starts_with("--dir=") || place.starts_with("--out=") => {}
            _ => kept.push(argument),
        }
    }
    kept.join(" ")
}

/// The version of the log that is measured.
fn version() -> Result<&'static str> {
    let line = MANIFEST.lines().find_map(|line| line.strip_prefix("version = "));
    Ok(line.context("no version in the log's Cargo.toml")?.trim_matches('"'))
}

/// Compares two files: a Markdown table of the figures that are in both.
pub(crate) fn compare(old: &Path, new: &Path) -> Result<String> {
    let (old, new) = (Results::read(old)?, Results::read(new)?);
    let mut out = String::new();
    for (name, Results { version, machine, .. }) in [("old", &old), ("new", &new)] {
        let Machine { cpu, cores, kernel, filesystem, date, .. } = machine;
        let _ =
            writeln!(out, "{name}: {version}, {date}: {cpu}, {cores} cores, Linux {kernel}, {filesystem}\n");
    }
    let _ = writeln!(out, "| | old | new | change | |\n| --- | ---: | ---: | ---: | --- |");
    let mut missing = 0;
    let (old, new) = (old.report.rows, new.report.rows);
    for row in &new {
        let Some(before) = old.iter().find(|before| is_of_the_same(before, row)) else {
            missing += 1;
            continue;
        };
        let Row { workload, case, contestant, metric, unit, .. } = row;
        let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
        let (was, is) = (before.median, row.median);
        if was.is_nan() || is.is_nan() {
            continue;
        }
        let change =
            if was == 0.0 { "–".to_owned() } else { format!("{:+.0} %", (is / was - 1.0) * 100.0) };
        let _ = writeln!(
            out,
            "| {workload} {case}: {metric}{unit}, {contestant} | {} | {} | {change} | {} |",
            number(was),
            number(is),
            verdict(before, row),
        );
    }
    let gone = old.iter().filter(|before| !new.iter().any(|row| is_of_the_same(before, row))).count();
    if missing + gone > 0 {
        let _ = writeln!(out, "\n{missing} figures are only in the new file, {gone} only in the old one.");
    }
    Ok(out)
}

fn is_of_the_same(one: &Row, other: &Row) -> bool {
    one.workload == other.workload
        && one.case == other.case
        && one.contestant == other.contestant
        && one.metric == other.metric
}

/// Whether a later figure is better or worse: only if no round of one is among the rounds of the other.
fn verdict(old: &Row, new: &Row) -> &'static str {
    let ((old_least, old_most), (new_least, new_most)) = (old.spread(), new.spread());
    let (grew, shrank) = (new_least > old_most, new_most < old_least);
    match (grew || shrank, grew == more_is_better(&old.metric)) {
        (false, _) => "within the spread",
        (true, true) => "better",
        (true, false) => "**worse**",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contest::Failure;
    use crate::workload::Workload;

    fn row(case: &str, metric: &str, rounds: &[f64]) -> Row {
        Row {
            workload: Workload::S1,
            case: case.to_owned(),
            contestant: "ours".to_owned(),
            metric: metric.to_owned(),
            unit: "µs".to_owned(),
            median: crate::stats::median(rounds),
            rounds: rounds.to_vec(),
            not_compared: None,
        }
    }

    fn written(dir: &Path, name: &str, rows: Vec<Row>) -> PathBuf {
        let mut results = Results::new(Machine::of(dir).unwrap()).unwrap();
        results.commands = vec![format!("--out {name}")];
        results.report = Report { rows, failures: Vec::new() };
        let path = dir.join(name);
        results.write(&path).unwrap();
        path
    }

    #[test]
    fn only_figures_out_of_the_spread_are_better_or_worse() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name, rounds: [(&str, [f64; 2]); 3]| {
            let rows = rounds.iter().map(|(metric, rounds)| row("64 B", metric, rounds));
            written(dir.path(), name, rows.collect())
        };
        let old = of("old", [("p50", [10.0, 12.0]), ("p99", [20.0, 24.0]), ("rate", [5.0, 6.0])]);
        let new = of("new", [("p50", [12.5, 15.5]), ("p99", [18.0, 22.0]), ("rate", [7.0, 9.0])]);
        let shown = compare(&old, &new).unwrap();
        for line in [
            "| S1 64 B: p50, µs, ours | 11.0 | 14.0 | +27 % | **worse** |",
            "| S1 64 B: p99, µs, ours | 22.0 | 20.0 | -9 % | within the spread |",
            "| S1 64 B: rate, µs, ours | 5.50 | 8.00 | +45 % | better |",
        ] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        let few = written(dir.path(), "few", vec![row("64 B", "p50", &[1.0])]);
        assert!(
            compare(&few, &new)
                .unwrap()
                .contains("2 figures are only in the new file, 0 only in the old one.")
        );
    }

    #[test]
    fn the_later_file_of_a_case_counts() {
        let dir = tempfile::tempdir().unwrap();
        let first =
            written(dir.path(), "1", vec![row("64 B", "p50", &[1.0]), row("4 KiB", "p50", &[f64::NAN])]);
        let second = written(dir.path(), "2", vec![row("64 B", "p50", &[2.0])]);
        let merged = Results::merged(&[first.clone(), second.clone()]).unwrap();
        let medians: Vec<f64> = merged.report.rows.iter().map(|row| row.median).collect();
        assert!(medians[0].is_nan(), "{medians:?}");
        assert_eq!(medians[1..], [2.0]);
        assert_eq!(merged.commands, ["--out 1", "--out 2"]);
        assert!(Results::merged(&[]).is_err());

        let mut other = Results::read(&second).unwrap();
        other.machine.date = "later".to_owned();
        let (workload, case) = (Workload::S1, "64 B".to_owned());
        other.report.failures =
            vec![Failure { workload, case, contestant: "a".to_owned(), error: "b".to_owned() }];
        let mut merged = merged;
        merged.add(other.clone()).unwrap();
        assert!(merged.machine.date.ends_with(" and later"), "{}", merged.machine.date);
        merged.add(Results::read(&first).unwrap()).unwrap();
        assert_eq!(merged.report.failures.len(), 0, "the case was measured again");
        other.machine.cpu = "another".to_owned();
        assert!(merged.add(other).is_err());
    }

    #[test]
    fn a_command_has_no_places() {
        let arguments = ["--only", "S1", "--dir", "/a", "--out=/b", "--write-docs"].map(str::to_owned);
        assert_eq!(command(arguments.into_iter()), "--only S1 --write-docs");
    }

    #[test]
    fn a_file_of_something_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "[]").unwrap();
        assert!(format!("{:#}", compare(&path, &path).unwrap_err()).contains("is not a file of results"));
    }
}
