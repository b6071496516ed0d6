//! Bars, one SVG file for each workload.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anyhow::Result;

use crate::bars::Bar;
use crate::bars::Better;
use crate::bars::Chart;
use crate::bars::Group;
use crate::bars::Kind;
use crate::bars::Picture;
use crate::bars::svg;
use crate::contest::Report;
use crate::contest::Row;
use crate::machine::Machine;
use crate::table::number;
use crate::workload::Workload;

/// The metric of a workload that is drawn.
fn metric(workload: Workload) -> &'static str {
    match workload {
        Workload::S1 => "p50",
        Workload::S2 | Workload::S3 | Workload::S10 => "rate",
        Workload::S4 => "with sync",
        Workload::S5 => "per record",
        Workload::S6 => "open",
        Workload::S7 => "per read",
        Workload::S8 => "p99.9",
        Workload::S9 => "wake-ups",
    }
}

/// Draws a report's figures of a workload; returns whether there are any.
pub(crate) fn draw(report: &Report, machine: &Machine, workload: Workload, path: &Path) -> Result<bool> {
    let rows = report.rows.iter().filter(|row| row.workload == workload && row.metric == metric(workload));
    let rows: Vec<&Row> = rows.filter(|row| row.median > 0.0).collect();
    let Some(first) = rows.first() else { return Ok(false) };
    let mut cases: Vec<&str> = rows.iter().map(|row| row.case.as_str()).collect();
    cases.dedup();
    let group = |case: &str| {
        let bars = rows.iter().filter(|row| row.case == case).map(|row| bar(row)).collect();
        Group { name: case.to_owned(), bars }
    };
    let chart = Chart {
        title: format!("{workload}: {}", workload.title()),
        what: format!("{}, {}", first.metric, first.unit),
        // Rates are per second; all other figures are times.
        better: if first.metric == "rate" { Better::Higher } else { Better::Lower },
        groups: cases.into_iter().map(group).collect(),
        tick: &tick,
    };
    let Machine { cpu, cores, kernel, filesystem, date, .. } = machine;
    let disk = filesystem.split(" (").next().unwrap_or(filesystem);
    let footer = vec![format!("{date}: {cpu}, {cores} cores, Linux {kernel}, logs on {disk}")];
    let drawn = svg(&Picture { charts: vec![chart], footer });
    fs::write(path, drawn).with_context(|| format!("write {}", path.display()))?;
    Ok(true)
}

fn bar(row: &Row) -> Bar {
    let syncs = if row.not_compared.is_some() { " (no sync)" } else { "" };
    let kind = match row.contestant.as_str() {
        _ if row.not_compared.is_some() => Kind::NotCompared,
        name if name.starts_with("ours") => Kind::Ours,
        name if name.starts_with("raw") => Kind::Limit,
        _ => Kind::Other,
    };
    let shown = format!("{}{syncs}", grouped(&number(row.median)));
    Bar { name: row.contestant.clone(), value: row.median, shown, kind }
}

/// A round value at the axis, without the zeros that say nothing.
pub(crate) fn tick(value: f64) -> String {
    grouped(format!("{value:.4}").trim_end_matches('0').trim_end_matches('.'))
}

/// A number with its digits in groups of three.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut shown = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(contestant: &str, median: f64) -> Row {
        Row {
            workload: Workload::S1,
            case: "64 B".to_owned(),
            contestant: contestant.to_owned(),
            metric: "p50".to_owned(),
            unit: "µs".to_owned(),
            median,
            rounds: vec![median],
            not_compared: None,
        }
    }

    #[test]
    fn a_plot_names_everybody_and_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s1.svg");
        let machine = Machine {
            cpu: "a processor".to_owned(),
            cores: 2,
            memory_mib: 1,
            kernel: "6.1".to_owned(),
            filesystem: "ext4 on /dev/a (rw)".to_owned(),
            date: "2026-11-20".to_owned(),
        };
        let report = Report { rows: vec![row("raw reused", 89.0), row("ours", 92.0)], failures: Vec::new() };
        assert!(draw(&report, &machine, Workload::S1, &path).unwrap());
        let svg = std::fs::read_to_string(&path).unwrap();
        for part in [
            "raw reused",
            "▸ ours",
            "89.0",
            "p50, µs; lower is better",
            "2026-11-20: a processor",
            "ext4 on /dev/a<",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(!draw(&report, &machine, Workload::S2, &path).unwrap());
    }

    #[test]
    fn ticks_are_short() {
        assert_eq!([0.0, 0.25, 10.0, 1000.0].map(tick), ["0", "0.25", "10", "1,000"]);
        assert_eq!(["12.5", "123", "1234567"].map(grouped), ["12.5", "123", "1,234,567"]);
    }
}
