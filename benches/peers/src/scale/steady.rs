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

use super::Options;
use super::disk_use;
use super::mib;
use crate::memory;
use crate::peer::Log;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::peer::payload;
use crate::peers::ours::Ours;
use crate::peers::ours::Reader;
use crate::stats::median;
use crate::stats::quantile;
use crate::table::number;

/// What the threads report, and when they are to end.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Latencies since the last line, in µs; a list for each thread.
    latencies: Vec<Mutex<Vec<f64>>>,
    /// Records read, and how often the reader was overtaken by the removal and started over.
    read: AtomicU64,
    overtaken: AtomicU64,
}

/// The metrics of a line.
const METRICS: [&str; 6] = ["rate, k/s", "p50, µs", "p99.9, µs", "memory, MiB", "disk, MiB", "read, k/s"];

pub(super) fn run(options: &Options, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    println!("## {} s at full rate, {} threads\n", options.seconds, options.threads);
    println!("| s | {} |\n| ---: |{}", METRICS.join(" | "), " ---: |".repeat(METRICS.len()));
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
    println!("\n| median of | {} |\n| --- |{}", METRICS.join(" | "), " ---: |".repeat(METRICS.len()));
    let quarter = lines.len().div_ceil(4);
    for (name, part) in
        [("the first quarter", &lines[..quarter]), ("the last quarter", &lines[lines.len() - quarter..])]
    {
        let medians: Vec<String> = (0..METRICS.len())
            .map(|i| number(median(&part.iter().map(|line| line[i]).collect::<Vec<_>>())))
            .collect();
        println!("| {name} | {} |", medians.join(" | "));
    }
    println!("\nThe removal overtook the reader {} times.\n", shared.overtaken.load(Relaxed));
    drop((reader, log));
    Ok(std::fs::remove_dir_all(dir)?)
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

/// Prints a line for each interval; returns their metrics.
fn report(options: &Options, dir: &Path, shared: &Shared) -> Result<Vec<[f64; METRICS.len()]>> {
    let started = Instant::now();
    let mut lines = Vec::new();
    let mut before = started;
    while started.elapsed() < Duration::from_secs(options.seconds) {
        std::thread::sleep(Duration::from_secs(options.interval));
        let mut latencies: Vec<f64> =
            shared.latencies.iter().flat_map(|of_one| std::mem::take(&mut *of_one.lock())).collect();
        let elapsed = before.elapsed().as_secs_f64();
        before = Instant::now();
        latencies.sort_by(f64::total_cmp);
        let line = [
            latencies.len() as f64 / elapsed / 1e3,
            quantile(&latencies, 0.5),
            quantile(&latencies, 0.999),
            mib(memory::resident()?),
            mib(disk_use(dir)?.0),
            shared.read.swap(0, Relaxed) as f64 / elapsed / 1e3,
        ];
        println!("| {} | {} |", started.elapsed().as_secs(), line.map(number).join(" | "));
        lines.push(line);
    }
    Ok(lines)
}
