//! The cost of the log on this machine's disk: appending, reaching the disk, opening, reading.
//!
//! ```text
//! cargo bench -p chunked-wal-benches --bench wal                    all of it, about two minutes
//! cargo bench -p chunked-wal-benches --bench wal -- append_sync     benchmarks with `append_sync` in their names
//! ```
//!
//! | name | workload |
//! | --- | --- |
//! | `append_sync_steady` | one thread, a record and a `sync`; the chunks' files were used before |
//! | `append_sync_fresh` | the same in a new log, whose blocks are written for the first time |
//! | `group_commit` | 8 and 64 threads, each waits until its own record is durable |
//! | `completions_callbacks`, `completions_tickets` | 100,000 records, each with a flush of its own, waiting at the end |
//! | `append` | records only, one `sync` at the end, which is counted |
//! | `replay` | opening a log and applying every record of it, from the page cache |
//! | `open_from_last_checkpoint` | logs of different lengths with the same 1,000 records after the checkpoint |
//! | `random_read` | one 256-byte record of a closed chunk, by one thread and by two |
//! | `rotating` | durable appends while a chunk ends and is removed every 4,096 of them: all of them, and the p99.9 of one |
//!
//! The cost of an idle log is not a time, so it can't be a bench: `benches/peers/` counts its wake-ups,
//! its memory and its open files (S9 there).
//!
//! A workload that waits for a sync measures the disk first and the log second: compare only runs on
//! the same disk.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a bench may stop at the first error")]

#[path = "../../examples/tuning/common.rs"]
mod common;
mod durable;
mod reading;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use chunked_wal::Replay;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use common::{Home, payload};

const MIB: u64 = 1 << 20;
const SIZES: [usize; 3] = [64, 256, 4096];

/// Not in `/tmp`, which is memory on many machines.
fn home(chunk_max_size: u64) -> Home {
    Home::new_in(Path::new(env!("CARGO_TARGET_TMPDIR")), chunk_max_size)
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    for size in [64, 256, 4096, 64 * 1024] {
        let home = home(64 * MIB);
        let mut log = home.open(Replay::All).unwrap();
        log.warm().unwrap();
        let record = payload(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_custom(|iterations| {
                let started = Instant::now();
                for _ in 0..iterations {
                    log.append_to_short_log(black_box(&record)).unwrap();
                }
                log.wal.sync().unwrap();
                started.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = wal;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = durable::append_sync_steady, durable::append_sync_fresh, durable::group_commit,
        durable::completions, durable::rotating, append, reading::replay,
        reading::open_from_last_checkpoint, reading::random_read
}
criterion_main!(wal);
