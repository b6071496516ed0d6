//! What people see: a progress bar, numbers, a table.

use std::io;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

/// The column at which the text of a step begins.
const INDENT: usize = 11;

/// How far an import is: a bar on a terminal, else a line for each quarter. It goes to stderr, so
/// that stdout has only what happened.
#[derive(Debug)]
pub(crate) enum Progress {
    Bar(ProgressBar),
    Quarters { total: u64, told: u64 },
}

impl Progress {
    pub(crate) fn new(total: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Progress::Quarters { total, told: 0 };
        }
        let bar = ProgressBar::new(total);
        let template = "           {bar:40} {human_pos} of {human_len} acknowledged";
        // A template that indicatif refuses would cost the looks only.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Progress::Bar(bar)
    }

    pub(crate) fn at(&mut self, done: u64) {
        match self {
            Progress::Bar(bar) => bar.set_position(done),
            Progress::Quarters { total, told } => {
                let quarter = (done * 4).checked_div(*total).unwrap_or(4);
                if quarter > *told {
                    *told = quarter;
                    // Nobody to tell is no reason to stop.
                    let _nobody = writeln!(
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

    /// Leaves the bar as it stands.
    pub(crate) fn stop(&self) {
        if let Progress::Bar(bar) = self {
            bar.abandon();
        }
    }
}

/// Tells the steps of something, one below the other.
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

    /// The beginning of a step.
    pub(crate) fn step(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.step += 1;
        writeln!(self.out, "{} {name:width$}{text}", self.step, width = INDENT - 2)
    }

    /// Something that was checked, and holds.
    pub(crate) fn holds(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{:INDENT$}ok: {text}", "")
    }

    /// Rows of cells, the first to the left, the others to the right.
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

/// A number and what it counts, in the singular where it is one.
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

/// How often, and the times that half and 99 of a hundred took at most.
pub(crate) fn latency(what: &str, times: &[Duration]) -> [String; 4] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let percentile = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(rank).map_or_else(|| "-".to_string(), |at| time(*at))
    };
    [what.to_string(), count(sorted.len() as u64), percentile(50), percentile(99)]
}
