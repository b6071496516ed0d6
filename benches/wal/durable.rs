//! Workloads that wait until records are durable.

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chunked_wal::{Flush, Replay, WalRecord};
use criterion::{BenchmarkId, Criterion, Throughput};

use crate::common::{Completions, Home, Log, OneMore, Payloads, payload};
use crate::{MIB, SIZES, home};

pub(crate) fn append_sync_steady(c: &mut Criterion) {
    append_sync(c, "append_sync_steady", |home| {
        let mut log = home.open(Replay::All).unwrap();
        log.warm().unwrap();
        log
    });
}

/// Each measurement stays within its first chunk, whose file is new.
pub(crate) fn append_sync_fresh(c: &mut Criterion) {
    append_sync(c, "append_sync_fresh", |home| {
        home.config.chunk_max_size = 1 << 30;
        home.open(Replay::All).unwrap()
    });
}

fn append_sync(c: &mut Criterion, name: &str, open: impl Fn(&mut Home) -> Log) {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let mut home = home(16 * MIB);
        let mut log = open(&mut home);
        let record = payload(size);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                log.append_to_short_log(black_box(&record)).unwrap();
                log.wal.sync().unwrap();
            });
        });
    }
    group.finish();
}

pub(crate) fn group_commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("group_commit");
    group.throughput(Throughput::Elements(1));
    for threads in [8, 64] {
        let home = home(16 * MIB);
        let mut log = home.open(Replay::All).unwrap();
        log.warm().unwrap();
        let log = Mutex::new(log);
        group.bench_function(BenchmarkId::new("threads", threads), |b| {
            b.iter_custom(|iterations| commit_from_threads(&log, threads, iterations));
        });
    }
    group.finish();
}

/// Commits `iterations` records in all; returns how long that took.
fn commit_from_threads(log: &Mutex<Log>, threads: u64, iterations: u64) -> Duration {
    let record = payload(64);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let record = &record;
            let share = iterations / threads + u64::from(thread < iterations % threads);
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

pub(crate) fn completions(c: &mut Criterion) {
    const RECORDS: u64 = 100_000;
    for (name, callbacks) in [("completions_callbacks", true), ("completions_tickets", false)] {
        let mut group = c.benchmark_group(name);
        group.sample_size(10).throughput(Throughput::Elements(RECORDS));
        for size in SIZES {
            let home = home(64 * MIB);
            let mut log = home.open(Replay::All).unwrap();
            log.warm().unwrap();
            let record = payload(size);
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter(|| {
                    if callbacks {
                        let done = Arc::new(Completions::default());
                        for _ in 0..RECORDS {
                            log.append_to_short_log(&record).unwrap();
                            log.wal.flush(Flush::Sync, Some(OneMore(done.clone()))).unwrap();
                        }
                        done.wait_for(RECORDS);
                    } else {
                        let ticket = |_| {
                            log.append_to_short_log(&record).unwrap();
                            log.wal.flush_ticket(Flush::Sync).unwrap()
                        };
                        let tickets: Vec<_> = (0..RECORDS).map(ticket).collect();
                        tickets.into_iter().for_each(|ticket| ticket.wait().unwrap());
                    }
                });
            });
        }
        group.finish();
    }
}

/// An iteration is as many durable appends as fill a chunk; one of them waits for the rotation.
pub(crate) fn rotating(c: &mut Criterion) {
    const RECORDS: u64 = 4096;
    let mut group = c.benchmark_group("rotating");
    group.sample_size(10);
    for (name, quantile) in [("all", None), ("p99.9", Some(0.999))] {
        let home = home(RECORDS * 4096);
        let mut log = home.open(Replay::All).unwrap();
        log.warm().unwrap();
        let record = payload(4096);
        group.bench_function(name, |b| {
            b.iter_custom(|iterations| {
                (0..iterations).map(|_| durable_appends(&mut log, &record, RECORDS, quantile)).sum()
            });
        });
    }
    group.finish();
}

/// Returns how long `iterations` durable appends took, in all or by a quantile of one.
fn durable_appends(
    log: &mut Log,
    record: &WalRecord<Payloads>,
    count: u64,
    quantile: Option<f64>,
) -> Duration {
    let mut took: Vec<_> = (0..count)
        .map(|_| {
            let started = Instant::now();
            log.append_to_short_log(record).unwrap();
            log.wal.sync().unwrap();
            started.elapsed()
        })
        .collect();
    took.sort();
    match quantile {
        None => took.iter().sum(),
        Some(quantile) => took[(count as f64 * quantile) as usize],
    }
}
