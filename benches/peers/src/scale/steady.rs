//! A long time at full rate: threads commit, full chunks end and are removed, a reader follows. Rate,
//! latency, memory and disk should stay as they are at the beginning.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::anyhow;
use parking_lot::Mutex;

use super::Measured;
use super::Options;
use super::disk_use;
use super::mib;
use super::outcome::Table;
use super::outcome::shown;
use crate::memory;
use crate::peer::Log;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::peer::payload;
use crate::peers::ours::Ours;
use crate::peers::ours::Reader;
use crate::stats::median;
use crate::stats::quantile;

/// What the threads report, and when they are to end.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Latencies since the last line, in µs; a list for each thread.
    latencies: Vec<Mutex<Vec<f64>>>,
    /// Since the last line: records read, and how often the removal overtook the reader, which then started
    /// over.
    read: AtomicU64,
    overtaken: AtomicU64,
}

/// The columns of a line.
const COLUMNS: [&str; 8] = [
    "s",
    "rate, k/s",
    "p50, µs",
    "p99.9, µs",
    "memory, MiB",
    "disk, MiB",
    "read, k/s",
    "reader overtaken by the removal",
];

pub(super) fn run(options: &Options, dir: &Path) -> Result<Measured> {
    std::fs::create_dir_all(dir)?;
    let mut log = Box::new(Ours::Plain.open_own(dir, &Setup::forgetting(options.chunk))?);
    log.set_payload(&payload(options.record as usize));
    let reader = log.reader();
    let log = log.share();
    let latencies = (0..options.threads).map(|_| Mutex::default()).collect();
    let shared = Shared { latencies, ..Shared::default() };
    let lines = std::thread::scope(|scope| {
        let (log, reader, shared) = (&*log, &reader, &shared);
        let mut threads = Vec::new();
        for latencies in &shared.latencies {
            threads.push(scope.spawn(move || commit(log, latencies, &shared.stop)));
        }
        threads.push(scope.spawn(move || follow(reader, shared)));
        let lines = report(options, dir, shared);
        shared.stop.store(true, Relaxed);
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        lines
    })?;
    drop((reader, log));
    std::fs::remove_dir_all(dir)?;
    let quarters = quarters(&lines);
    let sentences = sentences(&quarters);
    let title = format!(
        "{} s at full rate: {} threads, chunks of {} MiB that are removed, a reader",
        options.seconds,
        options.threads,
        shown(mib(options.chunk)),
    );
    Ok(Measured { title, tables: vec![quarters], sentences, curves: lines })
}

/// The medians of each quarter of the time.
fn quarters(lines: &Table) -> Table {
    let mut quarters = Table::new(&COLUMNS);
    "quarter".clone_into(&mut quarters.columns[0]);
    for (i, lines) in lines.rows.chunks(lines.rows.len().div_ceil(4).max(1)).enumerate() {
        let median_of = |column: usize| median(&lines.iter().map(|line| line[column]).collect::<Vec<_>>());
        let medians = (1..COLUMNS.len()).map(median_of);
        quarters.rows.push(std::iter::once((i + 1) as f64).chain(medians).collect());
    }
    quarters
}

fn sentences(quarters: &Table) -> Vec<String> {
    let change = |what: &str, column: usize, unit: &str| {
        let [first, last] = quarters.ends(column);
        let values = quarters.column(column);
        let change = values.last().zip(values.first()).map_or(f64::NAN, |(last, first)| last / first - 1.0);
        let change = change * 100.0;
        format!("{what}: {first} {unit} in the first quarter, {last} {unit} in the last ({change:+.0} %).")
    };
    vec![
        change("Rate, which is not to depend on the time", 1, "k/s"),
        change("p99.9, likewise", 3, "µs"),
        change("Memory of the process, O(chunks kept) and not O(records)", 4, "MiB"),
        change("Disk, likewise", 5, "MiB"),
    ]
}

fn commit(log: &dyn SharedLog, latencies: &Mutex<Vec<f64>>, stop: &AtomicBool) -> Result<()> {
    let mut before = Instant::now();
    while !stop.load(Relaxed) {
        log.append_durable()?;
        let after = Instant::now();
        latencies.lock().push((after - before).as_secs_f64() * 1e6);
        before = after;
    }
    Ok(())
}

fn follow(reader: &Reader, shared: &Shared) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(100);
    let mut follow = reader.follow(reader.end());
    while !shared.stop.load(Relaxed) {
        match follow.next_timeout(PAUSE) {
            Ok(Some(_)) => {
                shared.read.fetch_add(1, Relaxed);
            }
            Ok(None) => {}
            // The chunk that it was at was removed.
            Err(_) => {
                shared.overtaken.fetch_add(1, Relaxed);
                follow = reader.follow(reader.end());
            }
        }
    }
    Ok(())
}

/// Prints a line for each interval; returns them.
fn report(options: &Options, dir: &Path, shared: &Shared) -> Result<Table> {
    let mut lines = Table::new(&COLUMNS);
    println!("{}", lines.markdown().trim_end());
    let started = Instant::now();
    let mut before = started;
    // This and the threads' own keep their memory, which would look like the log's otherwise.
    let mut latencies: Vec<f64> = Vec::new();
    while started.elapsed() < Duration::from_secs(options.seconds) {
        std::thread::sleep(Duration::from_secs(options.interval));
        latencies.clear();
        shared.latencies.iter().for_each(|of_one| latencies.append(&mut of_one.lock()));
        let elapsed = before.elapsed().as_secs_f64();
        before = Instant::now();
        latencies.sort_by(f64::total_cmp);
        let line = vec![
            started.elapsed().as_secs_f64().round(),
            latencies.len() as f64 / elapsed / 1e3,
            quantile(&latencies, 0.5),
            quantile(&latencies, 0.999),
            mib(memory::resident()?),
            mib(disk_use(dir)?.0),
            shared.read.swap(0, Relaxed) as f64 / elapsed / 1e3,
            shared.overtaken.swap(0, Relaxed) as f64,
        ];
        let cells: Vec<String> = line.iter().map(|value| shown(*value)).collect();
        println!("| {} |", cells.join(" | "));
        lines.rows.push(line);
    }
    Ok(lines)
}
