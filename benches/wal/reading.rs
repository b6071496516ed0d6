//! Opening a log and reading from it.

use std::hint::black_box;
use std::time::Instant;

use chunked_wal::{ClosedReads, Replay, Segment, WalReader};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};

use crate::common::{Log, Payloads, payload};
use crate::{MIB, home};

pub(crate) fn replay(c: &mut Criterion) {
    let mut group = c.benchmark_group("replay");
    for (size, records) in [(64, 200_000), (256, 100_000), (4096, 10_000)] {
        let home = home(16 * MIB);
        let mut log = home.open(Replay::All).unwrap();
        append_many(&mut log, size, records);
        log.wal.close().unwrap();
        group.throughput(Throughput::Elements(records));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_batched(|| (), |()| home.open(Replay::All).unwrap(), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn append_many(log: &mut Log, size: usize, records: u64) {
    let record = payload(size);
    for _ in 0..records {
        log.append(&record).unwrap();
    }
}

pub(crate) fn open_from_last_checkpoint(c: &mut Criterion) {
    const TAIL: u64 = 1000;
    let mut group = c.benchmark_group("open_from_last_checkpoint");
    for records in [10_000, 1_000_000] {
        let home = home(16 * MIB);
        let mut log = home.open(Replay::All).unwrap();
        append_many(&mut log, 100, records - TAIL);
        log.wal.close_open_chunk_with(log.count).unwrap();
        append_many(&mut log, 100, TAIL);
        log.wal.close().unwrap();
        group.bench_function(BenchmarkId::new("records", records), |b| {
            let open = |()| home.open(Replay::FromLastCheckpoint).unwrap();
            b.iter_batched(|| (), open, BatchSize::PerIteration);
        });
    }
    group.finish();
}

pub(crate) fn random_read(c: &mut Criterion) {
    random_read_by(c, "threads", ClosedReads::Positional);
    random_read_by(c, "mapped, threads", ClosedReads::Mapped);
}

fn random_read_by(c: &mut Criterion, name: &str, closed_reads: ClosedReads) {
    let mut home = home(16 * MIB);
    home.config.closed_reads = closed_reads;
    let mut log = home.open(Replay::All).unwrap();
    let record = payload(256);
    let mut segments = Vec::new();
    while !log.wal.is_open_chunk_full() {
        segments.push(log.append(&record).unwrap());
    }
    log.wal.close_open_chunk_with(log.count).unwrap();
    log.wal.wait_idle().unwrap();
    let reader = log.wal.reader();
    let mut group = c.benchmark_group("random_read");
    group.throughput(Throughput::Elements(1));
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new(name, threads), |b| {
            b.iter_custom(|iterations| {
                let started = Instant::now();
                std::thread::scope(|scope| {
                    for thread in 0..threads {
                        let (reader, segments) = (&reader, &segments);
                        scope.spawn(move || read_at_random(reader, segments, thread, iterations / threads));
                    }
                });
                started.elapsed()
            });
        });
    }
    group.finish();
}

fn read_at_random(reader: &WalReader<Payloads>, segments: &[Segment], seed: u64, count: u64) {
    let mut random = seed;
    for _ in 0..count {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let segment = segments[(random >> 33) as usize % segments.len()];
        black_box(reader.read_record(black_box(segment)).unwrap());
    }
}
