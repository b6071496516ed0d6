//! Runs the values of a setting in turns, and prints a table of the results.

/// The number of rounds that count.
const ROUNDS: usize = 5;

/// A value of a setting: its name, and its turn, which returns a figure for each column.
pub(crate) type Contestant<'a> = (String, Box<dyn FnMut() -> Vec<f64> + 'a>);

/// Runs all in turns; returns the medians as a table.
pub(crate) fn compare(setting: &str, columns: &[&str], mut contestants: Vec<Contestant<'_>>) -> String {
    let mut figures = vec![vec![Vec::new(); columns.len()]; contestants.len()];
    for round in 0..=ROUNDS {
        for ((_, turn), figures) in contestants.iter_mut().zip(&mut figures) {
            let measured = turn();
            assert_eq!(measured.len(), columns.len(), "a figure for each column");
            // The first round fills the caches.
            if round > 0 {
                figures.iter_mut().zip(measured).for_each(|(column, figure)| column.push(figure));
            }
        }
    }
    let mut lines = vec![
        format!("| {setting} | {} |", columns.join(" | ")),
        format!("| --- |{}", " ---: |".repeat(columns.len())),
    ];
    for ((name, _), figures) in contestants.iter().zip(&mut figures) {
        let shown: Vec<_> = figures.iter_mut().map(|rounds| show(quantile(rounds, 0.5))).collect();
        lines.push(format!("| {name} | {} |", shown.join(" | ")));
    }
    lines.join("\n")
}

/// Three digits, more than these measurements are worth.
fn show(figure: f64) -> String {
    let whole = figure.abs();
    match whole {
        _ if whole < 100.0 && whole.fract() == 0.0 => format!("{figure:.0}"),
        _ if whole < 10.0 => format!("{figure:.2}"),
        _ if whole < 100.0 => format!("{figure:.1}"),
        _ => {
            let digits = format!("{figure:.0}");
            let grouped = digits.as_bytes().rchunks(3).rev().map(|part| String::from_utf8_lossy(part));
            grouped.collect::<Vec<_>>().join(",")
        }
    }
}

/// The value that this share of all values does not exceed; sorts them.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

/// 4096 as `4 KiB`, and so on.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0 => "0".to_string(),
        _ if count.is_multiple_of(1 << 20) => format!("{} MiB", count >> 20),
        _ if count.is_multiple_of(1 << 10) => format!("{} KiB", count >> 10),
        _ => format!("{count} B"),
    }
}
