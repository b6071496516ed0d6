//! A batch of records compared with as many appends, and replay of both.
//!
//! ```text
//! cargo bench -p chunked-wal-benches --bench batches
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]

mod common;

use std::time::{Duration, Instant};

use chunked_wal::{Batch, ChunkedWal, Config, Flush, WalRecord};

use common::{Nothing, Types};

/// How many times each case is measured, in alternation; the median counts.
const ROUNDS: usize = 15;

/// Bytes of records in each round.
const BYTES: usize = 16 << 20;

/// Appends the same records, one by one or in batches; returns how long appending and replay took.
fn round(len: usize, per_batch: usize) -> [Duration; 2] {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.flush_queue_max_bytes = 1 << 30;
    let mut wal = ChunkedWal::<Types>::open(config.clone(), &mut Nothing).unwrap();
    let record = || WalRecord::Action(vec![7; len]);
    let batch: Batch<Types> = (0..per_batch).map(|_| record()).collect();
    let appends = BYTES / len / per_batch;
    // The first append asks for the file's space.
    wal.append(&record()).unwrap();
    let started = Instant::now();
    for _ in 0..appends {
        if per_batch > 1 {
            wal.append_batch(&batch).unwrap();
        } else {
            wal.append(&batch.records()[0]).unwrap();
        }
    }
    let appending = started.elapsed();
    wal.flush(Flush::Sync, None).unwrap();
    wal.close().unwrap();
    let started = Instant::now();
    ChunkedWal::<Types>::open(config, &mut Nothing).unwrap();
    [appending, started.elapsed()]
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    println!("| payload | records in a batch | append, ns for a record | open, ns for a record |");
    println!("| ---: | ---: | ---: | ---: |");
    for len in [64, 256, 1024] {
        let cases = [1, 4, 16, 256];
        let mut times = cases.map(|_| [Vec::new(), Vec::new()]);
        for _ in 0..ROUNDS {
            for (case, times) in cases.iter().zip(&mut times) {
                let [append, open] = round(len, *case);
                times[0].push(append);
                times[1].push(open);
            }
        }
        for (case, times) in cases.iter().zip(times) {
            let records = (BYTES / len / case * case) as u32;
            let [append, open] = times.map(|times| median(times) / records);
            println!("| {len} | {case} | {} | {} |", append.as_nanos(), open.as_nanos());
        }
    }
}
