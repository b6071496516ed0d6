//! The workloads, each written once for all contestants.

mod append;
mod batches;
mod completions;
mod durable;
mod idle;
mod open;
mod read;
mod replay;
mod rotate;
mod threads;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;

use crate::contest::Report;
use crate::contest::Turn;
use crate::contest::Value;
use crate::context::Context;
use crate::context::Scale;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::Setup;
use crate::stats::quantile;
use crate::workload::Workload;

/// Runs one workload. The report has the contestants that failed.
pub(crate) fn run(workload: Workload, context: &Context, report: &mut Report) {
    match workload {
        Workload::S1 => durable::run(context, report),
        Workload::S2 => threads::run(context, report),
        Workload::S3 => completions::run(context, report),
        Workload::S4 => append::run(context, report),
        Workload::S5 => replay::run(context, report),
        Workload::S6 => open::run(context, report),
        Workload::S7 => read::run(context, report),
        Workload::S8 => rotate::run(context, report),
        Workload::S9 => idle::run(context, report),
        Workload::S10 => batches::run(context, report),
    }
}

/// How many records of `size` bytes make up `bytes`.
fn records(bytes: u64, size: usize) -> u64 {
    (bytes / size as u64).max(1)
}

fn case(size: usize) -> String {
    if size < 1024 { format!("{size} B") } else { format!("{} KiB", size / 1024) }
}

/// The size of the records with which a log is warmed up.
const WARM_RECORD: usize = 256 << 10;

/// A number of records, for people.
fn count_case(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{} k", count / 1000),
        _ => format!("{} M", count / 1_000_000),
    }
}

/// Whether a log was used before it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    /// Written to until its files are reused, as far as it reuses any.
    Warm,
    /// New in each turn.
    Fresh,
}

impl Age {
    /// The name of a case, with what is unusual about it.
    fn case(self, name: String) -> String {
        if self == Age::Fresh { format!("{name}, fresh log") } else { name }
    }
}

/// Opens a log that forgets and [warms](warm) it up.
fn warm_log(
    peer: &dyn Peer,
    dir: &Path,
    setup: &Setup,
    scale: &Scale,
    payload: &[u8],
) -> Result<Box<dyn Log>> {
    let mut log = peer.open(dir, setup)?;
    warm(&mut *log, scale.warm_bytes.max(6 * setup.unsynced_bytes), scale, payload)?;
    Ok(log)
}

/// Makes logs that nothing was written to, each in a directory of its own.
struct FreshLogs<'a> {
    peer: &'a dyn Peer,
    dir: PathBuf,
    setup: Setup,
    payload: Vec<u8>,
    made: u64,
}

impl FreshLogs<'_> {
    /// Opens the next one, and removes the one before, which is closed by then.
    fn open(&mut self) -> Result<Box<dyn Log>> {
        if self.made > 0 {
            std::fs::remove_dir_all(self.dir.join(self.made.to_string()))?;
        }
        self.made += 1;
        let dir = self.dir.join(self.made.to_string());
        std::fs::create_dir_all(&dir)?;
        let mut log = self.peer.open(&dir, &self.setup)?;
        log.set_payload(&self.payload);
        Ok(log)
    }
}

/// A turn with a log of this age.
fn turn_with<'a>(
    age: Age,
    peer: &'a dyn Peer,
    dir: &Path,
    setup: &Setup,
    scale: &Scale,
    payload: &[u8],
    mut measure: impl FnMut(&mut dyn Log) -> Result<Vec<Value>> + 'a,
) -> Result<Turn<'a>> {
    if age == Age::Warm {
        let mut log = warm_log(peer, dir, setup, scale, payload)?;
        return Ok(Box::new(move || measure(&mut *log)));
    }
    let (dir, setup, payload) = (dir.to_owned(), setup.clone(), payload.to_vec());
    let mut logs = FreshLogs { peer, dir, setup, payload, made: 0 };
    Ok(Box::new(move || measure(&mut *logs.open()?)))
}

/// Writes to a log until it reuses its files, if it ever does. After
/// that it appends `payload`.
fn warm(log: &mut dyn Log, bytes: u64, scale: &Scale, payload: &[u8]) -> Result<()> {
    log.set_payload(&crate::peer::payload(WARM_RECORD));
    for _ in 0..bytes / scale.chunk_bytes {
        log.append_many(records(scale.chunk_bytes, WARM_RECORD))?;
        // Otherwise the log is faster than its housekeeping, and continues in new files.
        log.wait_idle()?;
    }
    log.set_payload(payload);
    Ok(())
}

/// Runs `step` again and again for a turn; returns how long each run took, in µs, sorted.
fn latencies(turn: Duration, mut step: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut latencies = Vec::with_capacity(100_000);
    let started = Instant::now();
    let mut before = started;
    while before - started < turn {
        step()?;
        let after = Instant::now();
        latencies.push((after - before).as_secs_f64() * 1e6);
        before = after;
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

fn latency_values(sorted: &[f64]) -> Vec<Value> {
    [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)]
        .map(|(metric, q)| Value { metric, unit: "µs", value: quantile(sorted, q) })
        .to_vec()
}
