//! Markdown tables of a report: one for each workload and metric, a line for each contestant, a column
//! for each case.

use std::fmt::Write as _;

use crate::contest::Report;
use crate::contest::Row;
use crate::goals::Judgement;
use crate::goals::judge;
use crate::stats::median;
use crate::workload::Workload;

/// All goals, a line for each case.
pub(crate) fn goals(report: &Report) -> String {
    let mut out = String::from(
        "| | limit | ours | best peer | ours ÷ limit | ours ÷ best peer | goal | reached |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |\n",
    );
    for Judgement { goal, ours, limit, best_peer, reached, is_close } in judge(report) {
        let Row { workload, case, metric, unit, .. } = ours;
        let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
        let limit_shown =
            limit.map_or("–".to_owned(), |row| format!("{} ({})", number(row.median), row.contestant));
        let ratio = |row: Option<&Row>| row.map_or("–".to_owned(), |row| number(ours.median / row.median));
        let peer =
            best_peer.map_or("–".to_owned(), |row| format!("{} ({})", number(row.median), row.contestant));
        let _ = writeln!(
            out,
            "| {workload} {case}: {metric}{unit} | {} | {} | {peer} | {} | {} | {} | {} |",
            limit_shown,
            with_spread(ours),
            ratio(limit),
            ratio(best_peer),
            goal.text,
            match (reached, is_close) {
                (true, false) => "yes",
                (true, true) => "yes, not in every round",
                (false, false) => "**no**",
                (false, true) => "**no**, but in some rounds",
            },
        );
    }
    out
}

/// The tables of one workload; none if it was not measured.
pub(crate) fn workload(report: &Report, workload: Workload) -> String {
    let mut out = String::new();
    let rows: Vec<&Row> = report.rows.iter().filter(|row| row.workload == workload).collect();
    for (metric, unit) in distinct(&rows, |row| (row.metric.as_str(), row.unit.as_str())) {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.metric == metric).copied().collect();
        let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
        table(&mut out, &format!("{metric}{unit}"), &rows);
    }
    out
}

/// All tables of a report.
pub(crate) fn markdown(report: &Report) -> String {
    let mut out = String::new();
    for workload in Workload::ALL {
        let tables = self::workload(report, workload);
        if !tables.is_empty() {
            let _ = write!(out, "### {workload}: {}\n\n{tables}", workload.title());
        }
    }
    let _ = writeln!(out, "### Goals\n\n{}", goals(report));
    for failure in &report.failures {
        let _ = writeln!(
            out,
            "Failed: {:?} {}, {}: {}\n",
            failure.workload, failure.case, failure.contestant, failure.error
        );
    }
    out
}

fn table(out: &mut String, title: &str, rows: &[&Row]) {
    let cases = distinct(rows, |row| row.case.as_str());
    let _ = writeln!(out, "| {title} | {} |", cases.join(" | "));
    let _ = writeln!(out, "| --- |{}", " ---: |".repeat(cases.len()));
    for contestant in distinct(rows, |row| row.contestant.as_str()) {
        let _ = write!(out, "| {contestant} |");
        for case in &cases {
            let row = rows.iter().find(|row| row.contestant == contestant && row.case == *case);
            let _ = match row {
                Some(row) if row.not_compared.is_some() => {
                    write!(out, " {} (does not sync) |", number(row.median))
                }
                Some(row) => write!(out, " {} |", with_spread(row)),
                None => write!(out, " – |"),
            };
        }
        out.push('\n');
    }
    out.push('\n');
}

/// The different values, in the order in which they come.
fn distinct<'a, T: PartialEq>(rows: &[&'a Row], value: impl Fn(&'a Row) -> T) -> Vec<T> {
    let mut values = Vec::new();
    for row in rows {
        let value = value(row);
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

/// A figure, and the least and the greatest of its rounds if they differ.
fn with_spread(row: &Row) -> String {
    let (least, most) = row.spread();
    let [median, least, most] = [row.median, least, most].map(number);
    if least == most { median } else { format!("{median} ({least}–{most})") }
}

/// The median of some values, with the least and the greatest.
pub(crate) fn with_range(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({}–{})", number(median(values)), number(least), number(most))
}

/// A number with three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(case: &str, contestant: &str, median: f64) -> Row {
        Row {
            workload: Workload::S1,
            case: case.to_owned(),
            contestant: contestant.to_owned(),
            metric: "p50".to_owned(),
            unit: "µs".to_owned(),
            median,
            rounds: vec![median],
            not_compared: None,
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_contestant_and_a_column_for_each_case() {
        let mut rows = vec![row("64 B", "raw", 89.0), row("64 B", "ours", 92.34), row("256 B", "ours", 1.0)];
        rows[1].not_compared = Some("never calls fsync".to_owned());
        rows[0].rounds = vec![89.0, 85.5, 1234.0];
        let expected = "\
            | p50, µs | 64 B | 256 B |\n\
            | --- | ---: | ---: |\n\
            | raw | 89.0 (85.5–1234) | – |\n\
            | ours | 92.3 (does not sync) | 1.00 |\n\n";
        assert_eq!(workload(&Report { rows, failures: Vec::new() }, Workload::S1), expected);
    }

    #[test]
    fn a_goal_has_a_line_for_each_case() {
        let rows =
            vec![row("64 B", "raw reused", 100.0), row("64 B", "ours", 110.0), row("64 B", "okaywal", 88.0)];
        let goals = goals(&Report { rows, failures: Vec::new() });
        let line = goals.lines().last().unwrap();
        let expected = "| S1 64 B: p50, µs | 100 (raw reused) | 110 | 88.0 (okaywal) | 1.10 | 1.25 | ≤ 1.05 × limit | **no** |";
        assert_eq!(line, expected);
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.123, 9.876, 98.76, 987.6, 98765.4, f64::NAN].map(number);
        assert_eq!(shown, ["0.12", "9.88", "98.8", "988", "98765", "–"]);
    }
}
