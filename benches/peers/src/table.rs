//! Markdown tables of a report: one for each workload and metric, a line for each contestant, a column
//! for each case.

use std::fmt::Write as _;

use crate::contest::Report;
use crate::contest::Row;
use crate::workload::Workload;

/// All tables of a report.
pub(crate) fn markdown(report: &Report) -> String {
    let mut out = String::new();
    for workload in Workload::ALL {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.workload == workload).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(out, "### {workload:?}: {}\n", workload.title());
        for (metric, unit) in distinct(&rows, |row| (row.metric, row.unit)) {
            let rows: Vec<&Row> = rows.iter().filter(|row| row.metric == metric).copied().collect();
            table(&mut out, &format!("{metric}, {unit}"), &rows);
        }
    }
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
                Some(row) => write!(out, " {} |", number(row.median)),
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
            metric: "p50",
            unit: "µs",
            median,
            rounds: vec![median],
            not_compared: None,
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_contestant_and_a_column_for_each_case() {
        let mut report = Report::default();
        report.rows = vec![row("64 B", "raw", 89.0), row("64 B", "ours", 92.34), row("256 B", "ours", 1.0)];
        report.rows[1].not_compared = Some("never calls fsync");
        let expected = "\
            ### S1: one thread, each append durable before the next\n\n\
            | p50, µs | 64 B | 256 B |\n\
            | --- | ---: | ---: |\n\
            | raw | 89.0 | – |\n\
            | ours | 92.3 (does not sync) | 1.00 |\n\n";
        assert_eq!(markdown(&report), expected);
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.123, 9.876, 98.76, 987.6, 98765.4, f64::NAN].map(number);
        assert_eq!(shown, ["0.12", "9.88", "98.8", "988", "98765", "–"]);
    }
}
