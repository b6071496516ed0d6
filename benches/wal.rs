//! What the log costs on this machine's disk: appending, reaching the disk, opening, reading.
//!
//! ```text
//! cargo bench                    all of it, about a minute
//! cargo bench -- sync            what has `sync` in its name
//! ```
//!
//! Whatever waits for a sync measures the disk first and the log second: compare only what ran on the
//! same disk.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a bench may stop at the first error")]

mod common;

use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use chunked_wal::Flush;
use chunked_wal::Replay;
use chunked_wal::Segment;
use criterion::BatchSize;
use criterion::BenchmarkId;
use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;

use common::Home;
use common::Log;
use common::payload;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const SIZES: [usize; 3] = [64, 256, 4096];
const THREADS: u64 = 8;

/// Into memory; what accumulates there is written in the background, and back pressure is part of it.
fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    for size in SIZES {
        let home = Home::new(64 * MIB);
        let mut log = home.open(Replay::All).unwrap();
        let record = payload(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| log.append_to_short_log(black_box(&record)).unwrap());
        });
    }
    group.finish();
}

/// One record, one sync, and waiting for it: the shortest way to the disk.
fn append_sync(c: &mut Criterion) {
    let mut group = c.benchmark_group("append_sync");
    for size in SIZES {
        let home = Home::new(64 * MIB);
        let mut log = home.open(Replay::All).unwrap();
        let record = payload(size);
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                log.append_to_short_log(black_box(&record)).unwrap();
                log.wal.sync().unwrap();
            });
        });
    }
    group.finish();
}

/// Eight threads, each waiting until its own record is durable: they share syncs.
fn group_commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("group_commit");
    group.throughput(Throughput::Elements(1));
    let home = Home::new(64 * MIB);
    let log = Mutex::new(home.open(Replay::All).unwrap());
    group.bench_function(BenchmarkId::new("threads", THREADS), |b| {
        b.iter_custom(|iterations| commit_from_threads(&log, iterations));
    });
    group.finish();
}

/// Commits `iterations` records in all; returns how long that took.
fn commit_from_threads(log: &Mutex<Log>, iterations: u64) -> Duration {
    let record = payload(256);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let record = &record;
            let share = iterations / THREADS + u64::from(thread < iterations % THREADS);
            scope.spawn(move || {
                for _ in 0..share {
                    let ticket = {
                        let mut log = log.lock().unwrap();
                        log.append_to_short_log(record).unwrap();
                        log.wal.flush_ticket(Flush::Sync).unwrap()
                    };
                    ticket.wait().unwrap();
                }
            });
        }
    });
    started.elapsed()
}

/// Opening a log and applying every record of it.
fn replay(c: &mut Criterion) {
    const RECORDS: usize = 100_000;
    let home = Home::new(8 * MIB);
    fill(&home, 256, RECORDS);
    let mut group = c.benchmark_group("replay");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function(BenchmarkId::new("records_of_256", RECORDS), |b| {
        b.iter_batched(|| (), |()| home.open(Replay::All).unwrap(), BatchSize::PerIteration);
    });
    group.finish();
}

/// Opening at the newest chunk's checkpoint: how much do older chunks cost?
fn open_from_last_checkpoint(c: &mut Criterion) {
    let mut group = c.benchmark_group("open_from_last_checkpoint");
    for chunks in [4, 32, 256] {
        let home = Home::new(256 * KIB);
        fill_chunks(&home, chunks);
        group.bench_function(BenchmarkId::new("chunks", chunks), |b| {
            b.iter_batched(
                || (),
                |()| home.open(Replay::FromLastCheckpoint).unwrap(),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// One record at a random place of a closed chunk, which the page cache holds.
fn random_read(c: &mut Criterion) {
    let mut group = c.benchmark_group("random_read");
    for size in [256, 4096] {
        let home = Home::new(16 * MIB);
        let (log, segments) = closed_chunk(&home, size);
        let reader = log.wal.reader();
        let mut random = 1u64;
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let segment = segments[(random >> 33) as usize % segments.len()];
                reader.read_record(black_box(segment)).unwrap()
            });
        });
    }
    group.finish();
}

fn fill(home: &Home, size: usize, records: usize) {
    let mut log = home.open(Replay::All).unwrap();
    let record = payload(size);
    for _ in 0..records {
        log.append(&record).unwrap();
    }
    log.wal.close().unwrap();
}

/// A log of so many closed chunks and an open one that holds only its checkpoint.
fn fill_chunks(home: &Home, chunks: usize) {
    let mut log = home.open(Replay::All).unwrap();
    let record = payload(4096);
    for _ in 0..chunks {
        while !log.wal.is_open_chunk_full() {
            log.wal.append(&record).unwrap();
        }
        log.wal.close_open_chunk_with(0).unwrap();
    }
    log.wal.close().unwrap();
}

fn closed_chunk(home: &Home, size: usize) -> (Log, Vec<Segment>) {
    let mut log = home.open(Replay::All).unwrap();
    let record = payload(size);
    let mut segments = Vec::new();
    while !log.wal.is_open_chunk_full() {
        segments.push(log.wal.append(&record).unwrap());
    }
    log.wal.close_open_chunk_with(0).unwrap();
    log.wal.wait_idle().unwrap();
    (log, segments)
}

criterion_group! {
    name = wal;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = append, append_sync, group_commit, replay, open_from_last_checkpoint, random_read
}
criterion_main!(wal);
