//! Opening a raft log with many entries: how long it takes in a new process, and how much memory the index takes; and
//! what a rotation adds to an append.
//!
//! ```text
//! cargo bench -p chunked-wal-benches --bench raft_opening                        # a million entries of 256 bytes
//! cargo bench -p chunked-wal-benches --bench raft_opening -- 1000000 10000000    # or others; 10 million take 4 GB
//! ```
//!
//! The log is in the directory for temporary files (`TMPDIR`), and in the page cache when it is opened. No recent
//! entries are kept, so the memory is that of the index and of the log.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]

use std::fs;
use std::future::poll_fn;
use std::io::Cursor;
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::task::Poll;
use std::time::{Duration, Instant};

use chunked_wal::{ChunkedWal, Config};
use chunked_wal_openraft::{Limits, LogStore};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, RaftLogReader};

openraft::declare_raft_types!(Texts: D = String, R = ());

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const SIZE: usize = 256;

/// Entries of an append.
const BATCH: u64 = 100;

/// New processes that open each log; the median counts.
const ROUNDS: usize = 5;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [what, dir, entries] = &args[..]
        && what == "open"
    {
        return open(Path::new(dir), entries.parse()?);
    }
    let mut counts: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    if counts.is_empty() {
        counts.push(1_000_000);
    }
    println!(
        "| entries | on disk, MiB | chunks | open, ms | resident, bytes an entry | append of {BATCH}, us | with a rotation, us | first page of the oldest entries, ms |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    counts.into_iter().try_for_each(measure)
}

fn measure(entries: u64) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let (appends, rotations) = fill(dir.path(), entries)?;
    let chunks = fs::read_dir(dir.path())?.filter_map(Result::ok);
    let chunks: Vec<_> =
        chunks.filter(|entry| entry.path().extension().is_some_and(|e| e == "wal")).collect();
    let bytes: u64 = chunks.iter().map(|entry| entry.metadata().map_or(0, |meta| meta.len())).sum();
    let (mut opens, mut resident, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let child = Command::new(std::env::current_exe()?)
            .args(["open".as_ref(), dir.path().as_os_str(), entries.to_string().as_ref()])
            .output()?;
        let said = String::from_utf8(child.stdout)?;
        let numbers: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [open, memory, read] = numbers[..] else {
            return Err(format!("{said}{}", String::from_utf8_lossy(&child.stderr)).into());
        };
        opens.push(Duration::from_micros(open));
        resident.push(memory);
        reads.push(Duration::from_micros(read));
    }
    resident.sort_unstable();
    println!(
        "| {entries} | {} | {} | {:.1} | {:.2} | {} | {} | {:.1} |",
        bytes >> 20,
        chunks.len(),
        median(opens).as_secs_f64() * 1e3,
        resident[ROUNDS / 2] as f64 / entries as f64,
        median(appends).as_micros(),
        median(rotations).as_micros(),
        median(reads).as_secs_f64() * 1e3,
    );
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Appends the entries. Returns the times of appends without and with a rotation, without the waits for the disk.
fn fill(dir: &Path, entries: u64) -> Outcome<(Vec<Duration>, Vec<Duration>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut store = LogStore::<Texts>::open(Config::new(dir))?;
    let (mut appends, mut rotations) = (Vec::new(), Vec::new());
    let text = "x".repeat(SIZE);
    for first in (0..entries).step_by(BATCH as usize) {
        let entry = |index| Entry {
            log_id: LogId::new(CommittedLeaderId::new(1, 1), index),
            payload: EntryPayload::Normal(text.clone()),
        };
        let batch: Vec<Entry<Texts>> = (first..entries.min(first + BATCH)).map(entry).collect();
        let chunk = store.wal().open_chunk_id();
        let took = runtime.block_on(append(&mut store, batch))?;
        if store.wal().open_chunk_id() == chunk { appends.push(took) } else { rotations.push(took) }
    }
    store.close()?;
    Ok((appends, rotations))
}

/// Returns how long an append took up to the wait for the disk.
async fn append(store: &mut LogStore<Texts>, batch: Vec<Entry<Texts>>) -> Outcome<Duration> {
    let started = Instant::now();
    let mut appending = pin!(store.blocking_append(batch));
    let polled = poll_fn(|context| Poll::Ready(appending.as_mut().poll(context))).await;
    let took = started.elapsed();
    match polled {
        Poll::Ready(appended) => appended?,
        Poll::Pending => appending.await?,
    }
    Ok(took)
}

/// In a process of its own: opens the log, and prints how long that took, in microseconds, the memory that it takes,
/// and how long it took to read the oldest entries.
fn open(dir: &Path, entries: u64) -> Outcome<()> {
    let before = resident()?;
    let mut limits = Limits::default();
    limits.recent_max_bytes = 0;
    let started = Instant::now();
    let mut store = LogStore::<Texts>::open_with(ChunkedWal::options(Config::new(dir)), limits)?;
    let opened = started.elapsed();
    let memory = resident()?.saturating_sub(before);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let started = Instant::now();
    let read = runtime.block_on(store.limited_get_log_entries(0, entries))?;
    let took = started.elapsed();
    assert_eq!(read.first().map(|entry| entry.log_id.index), Some(0));
    let state = runtime.block_on(store.get_log_state())?;
    assert_eq!(state.last_log_id.map(|last| last.index + 1), Some(entries));
    println!("{} {memory} {}", opened.as_micros(), took.as_micros());
    store.close()?;
    Ok(())
}

/// The process's resident memory in bytes.
fn resident() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}
