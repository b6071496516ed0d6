//! Output for people: a progress bar, numbers, a table.

use std::io;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

/// The column at which the text of a step starts.
const INDENT: usize = 11;

/// The progress of an import: a bar on a terminal, otherwise a line for each quarter. It goes to
/// stderr, so that stdout has only the results.
#[derive(Debug)]
pub(crate) enum Progress {
    Bar(ProgressBar),
    Quarters { total: u64, reported: u64 },
}

impl Progress {
    pub(crate) fn new(total: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Progress::Quarters { total, reported: 0 };
        }
        let bar = ProgressBar::new(total);
        let template = "           {bar:40} {human_pos} of {human_len} acknowledged";
        // If indicatif refused the template, only the looks would suffer.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Progress::Bar(bar)
    }

    pub(crate) fn at(&mut self, done: u64) {
        match self {
            Progress::Bar(bar) => bar.set_position(done),
            Progress::Quarters { total, reported } => {
                let quarter = (done * 4).checked_div(*total).unwrap_or(4);
                if quarter > *reported {
                    *reported = quarter;
                    // A closed stderr is no reason to stop.
                    let _stderr_closed = writeln!(
                        io::stderr(),
                        "{:INDENT$}{} % acknowledged: {}",
                        "",
                        quarter * 25,
                        count(done)
                    );
                }
            }
        }
    }

    /// Leaves the bar as it is.
    pub(crate) fn stop(&self) {
        if let Progress::Bar(bar) = self {
            bar.abandon();
        }
    }
}

/// Prints steps, one below the other.
#[derive(Debug)]
pub(crate) struct Story<W> {
    out: W,
    step: usize,
}

impl<W: Write> Story<W> {
    pub(crate) fn new(out: W) -> Self {
        Story { out, step: 0 }
    }

    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Prints the start of a step.
    pub(crate) fn step(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.step += 1;
        writeln!(self.out, "{} {name:width$}{text}", self.step, width = INDENT - 2)
    }

    /// Prints a check that holds.
    pub(crate) fn holds(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{:INDENT$}ok: {text}", "")
    }

    /// Prints rows of cells, the first cell left-aligned, the others right-aligned.
    pub(crate) fn table<const N: usize>(&mut self, rows: &[[String; N]]) -> io::Result<()> {
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        writeln!(self.out)?;
        for row in rows {
            let mut line = format!("{:width$}", row[0], width = width(0));
            for (column, cell) in row.iter().enumerate().skip(1) {
                line += &format!("  {cell:>width$}", width = width(column));
            }
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }
}

pub(crate) fn count(n: u64) -> String {
    HumanCount(n).to_string()
}

/// A number with its unit, in the singular for 1.
pub(crate) fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", count(n), if n == 1 { "" } else { "s" })
}

pub(crate) fn bytes(n: u64) -> String {
    HumanBytes(n).to_string()
}

pub(crate) fn time(duration: Duration) -> String {
    match duration.as_secs_f64() {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.001 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.0} µs", s * 1e6),
    }
}

/// The number of times, and their 50th and 99th percentiles.
pub(crate) fn latency(what: &str, times: &[Duration]) -> [String; 4] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let percentile = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(rank).map_or_else(|| "-".to_string(), |at| time(*at))
    };
    [what.to_string(), count(sorted.len() as u64), percentile(50), percentile(99)]
}
