//! Bars, one SVG file for each workload.

use std::path::Path;

use anyhow::Result;
use anyhow::anyhow;
use plotters::prelude::*;

use crate::contest::Report;
use crate::contest::Row;
use crate::table::number;
use crate::workload::Workload;

/// The metric of a workload that is drawn.
fn metric(workload: Workload) -> &'static str {
    match workload {
        Workload::S1 => "p50",
        Workload::S2 | Workload::S3 => "rate",
        Workload::S4 => "with sync",
        Workload::S5 => "per record",
        Workload::S6 => "open",
        Workload::S7 => "per read",
        Workload::S8 => "p99.9",
        Workload::S9 => "wake-ups",
    }
}

const WIDTH: i32 = 760;
const NAMES: i32 = 200;
const VALUES: i32 = 90;
const LINE: i32 = 20;

/// Draws a report's figures of a workload; returns whether there are any.
pub(crate) fn draw(report: &Report, workload: Workload, path: &Path) -> Result<bool> {
    let rows = report.rows.iter().filter(|row| row.workload == workload && row.metric == metric(workload));
    let rows: Vec<&Row> = rows.filter(|row| row.median > 0.0).collect();
    let Some(first) = rows.first() else { return Ok(false) };
    let scale = Scale::of(&rows);
    let mut cases: Vec<&str> = rows.iter().map(|row| row.case.as_str()).collect();
    cases.dedup();
    let height = LINE * (2 * cases.len() + rows.len() + 2) as i32;
    let area = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    let text = |text: String, size: i32, x: i32, y: i32| Text::new(text, (x, y), ("sans-serif", size));
    let axis = if scale.logarithmic { ", logarithmic" } else { "" };
    let title = format!("{workload}: {} ({}, {}{axis})", workload.title(), first.metric, first.unit);
    area.draw(&text(title, 15, 8, 8)).map_err(|error| anyhow!("{error}"))?;
    let mut y = 2 * LINE;
    for case in cases {
        area.draw(&text(case.to_owned(), 14, 8, y)).map_err(|error| anyhow!("{error}"))?;
        y += LINE;
        for row in rows.iter().filter(|row| row.case == case) {
            let end = NAMES + (scale.place(row.median) * f64::from(WIDTH - NAMES - VALUES)) as i32;
            let bar =
                Rectangle::new([(NAMES, y + 2), (end.max(NAMES + 1), y + LINE - 3)], color(row).filled());
            area.draw(&bar).map_err(|error| anyhow!("{error}"))?;
            let syncs = if row.not_compared.is_some() { " (no sync)" } else { "" };
            for (shown, x) in
                [(row.contestant.clone(), 20), (format!("{}{syncs}", number(row.median)), end + 6)]
            {
                area.draw(&text(shown, 13, x, y + 4)).map_err(|error| anyhow!("{error}"))?;
            }
            y += LINE;
        }
        y += LINE;
    }
    area.present().map_err(|error| anyhow!("{error}"))?;
    Ok(true)
}

fn color(row: &Row) -> RGBColor {
    match row.contestant.as_str() {
        _ if row.not_compared.is_some() => RGBColor(216, 216, 216),
        name if name.starts_with("ours") => RGBColor(31, 119, 180),
        name if name.starts_with("raw") => RGBColor(127, 127, 127),
        _ => RGBColor(174, 199, 232),
    }
}

/// Maps values to a position between 0 and 1.
struct Scale {
    logarithmic: bool,
    min: f64,
    max: f64,
}

impl Scale {
    fn of(rows: &[&Row]) -> Self {
        let min = rows.iter().map(|row| row.median).fold(f64::INFINITY, f64::min);
        let max = rows.iter().map(|row| row.median).fold(0.0, f64::max);
        Scale { logarithmic: max > 50.0 * min, min, max }
    }

    fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            // The smallest is a tenth of a decade long.
            let decades = |value: f64| (value / self.min).log10() + 0.1;
            decades(value) / decades(self.max)
        } else {
            value / self.max
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(contestant: &str, median: f64) -> Row {
        Row {
            workload: Workload::S1,
            case: "64 B".to_owned(),
            contestant: contestant.to_owned(),
            metric: "p50",
            unit: "µs",
            median,
            rounds: vec![median],
            not_compared: None,
        }
    }

    #[test]
    fn values_that_differ_much_are_drawn_by_decades() {
        let place = |values: &[f64]| {
            let rows: Vec<Row> = values.iter().map(|value| row("x", *value)).collect();
            let scale = Scale::of(&rows.iter().collect::<Vec<_>>());
            values.iter().map(|value| (scale.place(*value) * 100.0).round()).collect::<Vec<_>>()
        };
        assert_eq!(place(&[10.0, 20.0, 40.0]), [25.0, 50.0, 100.0]);
        assert_eq!(place(&[1.0, 1000.0]), [3.0, 100.0]);
    }

    #[test]
    fn a_plot_names_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s1.svg");
        let report = Report { rows: vec![row("raw reused", 89.0), row("ours", 92.0)], failures: Vec::new() };
        assert!(draw(&report, Workload::S1, &path).unwrap());
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(svg.contains("raw reused") && svg.contains("ours") && svg.contains("89.0"), "{svg}");
        assert!(!draw(&report, Workload::S2, &path).unwrap());
    }
}
