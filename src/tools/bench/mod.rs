//! `bench`: measures a disk, and the log on that disk.
//!
//! - Everything happens in a new directory, which is removed at the end.
//! - The raw measurements use the same calls as the log: space is reserved, then written, then
//!   `fdatasync`.

mod bars;
mod machine;
mod plot;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use serde_json::{Value, json};

use super::args::BenchArgs;
use super::outcome::{Failure, Outcome};
use super::print;
use crate::config::Config;
use crate::error::Error;
use crate::flush::Flush;
use crate::position::{ChunkId, Segment};
use crate::raw::{Listing, Payload, Raw};
use crate::record::{StateMachine, WalRecord};
use crate::storage::{DiskStorage, Storage, StorageFile, write_all_at};
use crate::wal::ChunkedWal;

/// The most bytes that a measurement of throughput writes.
const BYTES_MAX: u64 = 512 << 20;

/// The size of large records, and of the raw writes to compare them with.
const LARGE: usize = 64 << 10;

/// How many commits are under way at a time in the measurements that share syncs.
const IN_FLIGHT: [usize; 2] = [16, 256];

/// The raw writes wrap around in a file of this size, allocated ahead like a chunk.
const RAW_FILE: u64 = 64 << 20;

pub(crate) fn run(args: &BenchArgs) -> Result<Outcome, Failure> {
    let listed = Listing::of(&args.dir).map_err(|error| match &error {
        Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Failure::no_directory(&args.dir, "does not exist: no such directory")
        }
        _ => error.into(),
    })?;
    if !listed.chunks.is_empty() {
        let line = format!("'{}' is a log: give another directory on the same disk", args.dir.display());
        return Err(Failure::usage(line));
    }
    let scratch = Scratch::new(&args.dir)?;
    let bench =
        Bench { dir: &scratch.0, time: Duration::from_secs_f64(args.seconds), small: args.size as usize };
    let mut rows = vec![bench.raw_commits()?, bench.commits(1)?];
    for in_flight in IN_FLIGHT {
        rows.push(bench.commits(in_flight)?);
    }
    rows.push(bench.raw_throughput()?);
    rows.extend(bench.throughput_and_replay()?);
    drop(scratch);
    let text = if args.report.is_json() { format!("{:#}\n", json(&rows, args)) } else { table(&rows, args) };
    print::all(text.as_bytes())?;
    if let Some(path) = &args.plot {
        fs::write(path, plot::draw(&rows, args)).map_err(|e| Failure::io("write", path, &e))?;
    }
    Ok(Outcome::Sound)
}

/// A new directory, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path) -> Result<Self, Failure> {
        let path = parent.join(format!("chunked-wal-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|e| Failure::io("create directory", &path, &e))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            print::complain(&format!("'{}' can't be removed: {e}", self.0.display()));
        }
    }
}

/// One measurement.
struct Row {
    name: String,
    /// The unit of comparison: operations or bytes.
    unit: Unit,
    is_raw: bool,
    operations: u64,
    bytes: u64,
    elapsed: Duration,
    /// The latency of each operation, sorted; empty where an operation has no latency of its own.
    latencies: Vec<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Operations,
    Bytes,
}

impl Row {
    fn per_second(&self, n: u64) -> f64 {
        n as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn rate(&self) -> f64 {
        self.per_second(if self.unit == Unit::Operations { self.operations } else { self.bytes })
    }

    fn percentile(&self, percent: usize) -> Option<Duration> {
        self.latencies
            .get((self.latencies.len() * percent / 100).min(self.latencies.len().checked_sub(1)?))
            .copied()
    }
}

/// A state machine without state, because only the log is measured.
struct Count(u64);

impl StateMachine<Raw> for Count {
    type Error = Infallible;

    fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        self.0 += 1;
        Ok(())
    }

    fn checkpoint(&self) -> Payload {
        Payload(Vec::new())
    }
}

struct Bench<'a> {
    dir: &'a Path,
    time: Duration,
    small: usize,
}

impl Bench<'_> {
    /// Writes a small record's bytes and syncs, again and again.
    fn raw_commits(&self) -> Result<Row, Failure> {
        let (path, file) = self.raw_file()?;
        let record = vec![7; self.small];
        let mut latencies = Vec::new();
        let started = Instant::now();
        let mut position = 0;
        while started.elapsed() < self.time {
            let operation_started = Instant::now();
            if position + record.len() as u64 > RAW_FILE {
                position = 0;
            }
            write_all_at(&*file, &mut [IoSlice::new(&record)], position)
                .and_then(|()| file.sync())
                .map_err(|e| Failure::io("write", &path, &e))?;
            position += record.len() as u64;
            latencies.push(operation_started.elapsed());
        }
        let elapsed = started.elapsed();
        fs::remove_file(&path).map_err(|e| Failure::io("remove", &path, &e))?;
        Ok(self.commit_row("write and fdatasync".into(), true, elapsed, latencies))
    }

    /// Appends small records and makes each durable, `in_flight` at a time.
    fn commits(&self, in_flight: usize) -> Result<Row, Failure> {
        let (dir, mut wal) = self.open(&format!("commits-{in_flight}"))?;
        let record = WalRecord::Action(Payload(vec![7; self.small]));
        let mut latencies = Vec::new();
        let mut waiting = VecDeque::new();
        let started = Instant::now();
        while started.elapsed() < self.time {
            let operation_started = Instant::now();
            wal.append(&record)?;
            waiting.push_back((operation_started, wal.flush_ticket(Flush::Sync)?));
            if waiting.len() >= in_flight
                && let Some((operation_started, ticket)) = waiting.pop_front()
            {
                ticket.wait()?;
                latencies.push(operation_started.elapsed());
            }
            rotate_if_full(&mut wal)?;
        }
        for (operation_started, ticket) in waiting {
            ticket.wait()?;
            latencies.push(operation_started.elapsed());
        }
        let elapsed = started.elapsed();
        drop(wal);
        remove_dir(&dir)?;
        let name = match in_flight {
            1 => "log: append and sync".into(),
            n => format!("log: {n} commits at a time"),
        };
        Ok(self.commit_row(name, false, elapsed, latencies))
    }

    fn commit_row(&self, name: String, is_raw: bool, elapsed: Duration, mut latencies: Vec<Duration>) -> Row {
        latencies.sort_unstable();
        let operations = latencies.len() as u64;
        let bytes = operations * self.small as u64;
        Row { name, unit: Unit::Operations, is_raw, operations, bytes, elapsed, latencies }
    }

    /// Writes large pieces one after the other, and syncs once.
    fn raw_throughput(&self) -> Result<Row, Failure> {
        let (path, file) = self.raw_file()?;
        let piece = vec![7; 1 << 20];
        let failed = |e: io::Error| Failure::io("write", &path, &e);
        let started = Instant::now();
        let (mut bytes, mut operations) = (0_u64, 0);
        while started.elapsed() < self.time && bytes < BYTES_MAX {
            write_all_at(&*file, &mut [IoSlice::new(&piece)], bytes % RAW_FILE).map_err(failed)?;
            bytes += piece.len() as u64;
            operations += 1;
            if bytes.is_multiple_of(RAW_FILE) {
                file.sync().map_err(failed)?;
            }
        }
        file.sync().map_err(failed)?;
        let elapsed = started.elapsed();
        fs::remove_file(&path).map_err(|e| Failure::io("remove", &path, &e))?;
        let name = "write, fdatasync each 64 MiB".into();
        Ok(Row { name, unit: Unit::Bytes, is_raw: true, operations, bytes, elapsed, latencies: Vec::new() })
    }

    /// Appends large records, syncs once; then opens that log.
    fn throughput_and_replay(&self) -> Result<[Row; 2], Failure> {
        let (dir, mut wal) = self.open("throughput")?;
        let record = WalRecord::Action(Payload(vec![7; LARGE]));
        let (mut bytes, mut operations) = (0, 0);
        let started = Instant::now();
        while started.elapsed() < self.time && bytes < BYTES_MAX {
            wal.append(&record)?;
            bytes += LARGE as u64;
            operations += 1;
            rotate_if_full(&mut wal)?;
        }
        wal.sync()?;
        let elapsed = started.elapsed();
        let name = "log: append 64 KiB records".into();
        let (unit, is_raw, latencies) = (Unit::Bytes, false, Vec::new());
        let written = Row { name, unit, is_raw, operations, bytes, elapsed, latencies };
        drop(wal);

        let mut count = Count(0);
        let started = Instant::now();
        let wal = ChunkedWal::<Raw>::open(Config::new(&dir), &mut count)?;
        let elapsed = started.elapsed();
        drop(wal);
        remove_dir(&dir)?;
        let name = "log: replay, from the page cache".into();
        let operations = count.0;
        let replayed = Row { name, unit, is_raw, operations, bytes, elapsed, latencies: Vec::new() };
        Ok([written, replayed])
    }

    fn raw_file(&self) -> Result<(PathBuf, Arc<dyn StorageFile>), Failure> {
        let path = self.dir.join("raw");
        let made = DiskStorage.create(&path).and_then(|file| {
            file.allocate(RAW_FILE)?;
            file.sync()?;
            Ok(file)
        });
        let file = made.map_err(|e| Failure::io("create", &path, &e))?;
        Ok((path, file))
    }

    fn open(&self, name: &str) -> Result<(PathBuf, ChunkedWal<Raw>), Failure> {
        let dir = self.dir.join(name);
        let wal = ChunkedWal::open(Config::new(&dir), &mut Count(0))?;
        Ok((dir, wal))
    }
}

fn rotate_if_full(wal: &mut ChunkedWal<Raw>) -> Result<(), Failure> {
    if wal.is_open_chunk_full() {
        wal.close_open_chunk_with(Payload(Vec::new()))?;
    }
    Ok(())
}

fn remove_dir(dir: &Path) -> Result<(), Failure> {
    fs::remove_dir_all(dir).map_err(|e| Failure::io("remove", dir, &e))
}

fn table(rows: &[Row], args: &BenchArgs) -> String {
    let mut text = format!(
        "{} bytes in a small record, {} s each\n\n{:<34} {:>12} {:>14} {:>12} {:>12}\n",
        print::number(args.size.into()),
        args.seconds,
        "",
        "OPERATIONS/S",
        "BYTES/S",
        "P50",
        "P99"
    );
    for row in rows {
        let latency = |percent| row.percentile(percent).map_or("-".into(), print::micros);
        let (operations, bytes) = (row.per_second(row.operations), row.per_second(row.bytes));
        text += &format!(
            "{:<34} {:>12} {:>14} {:>12} {:>12}\n",
            row.name,
            print::number(operations as u64),
            print::bytes(bytes as u64),
            latency(50),
            latency(99),
        );
    }
    text
}

fn json(rows: &[Row], args: &BenchArgs) -> Value {
    let micros = |latency: Duration| latency.as_secs_f64() * 1e6;
    let row = |row: &Row| {
        json!({
            "name": row.name,
            "operations_per_second": row.per_second(row.operations),
            "bytes_per_second": row.per_second(row.bytes),
            "p50_us": row.percentile(50).map(micros),
            "p99_us": row.percentile(99).map(micros),
        })
    };
    let rows: Vec<Value> = rows.iter().map(row).collect();
    json!({ "record_bytes": args.size, "seconds": args.seconds, "rows": rows })
}
