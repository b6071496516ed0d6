//! The cost of a log in a region on this machine's disk: appending with a sync, in batches, opening.
//!
//! ```text
//! cargo bench -p chunked-wal-benches --bench embedded
//! ```
#![allow(clippy::unwrap_used, reason = "a bench may stop at the first error")]

use std::fs::File;
use std::hint::black_box;
use std::time::Duration;

use chunked_wal::embedded::{Checkpoint, EmbeddedWal, Region};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const MIB: u64 = 1 << 20;

/// A file on the disk of `target`, because `/tmp` is memory on many machines. Its bytes are written, so
/// that no sync waits for the file system's bookkeeping.
fn file(len: u64) -> File {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0; len as usize], 0).unwrap();
    file.sync_all().unwrap();
    file
}

fn open(file: &File, len: u64, checkpoint: Checkpoint) -> EmbeddedWal {
    EmbeddedWal::open(file.try_clone().unwrap(), Region { offset: 0, len }, checkpoint).unwrap()
}

fn release(wal: &mut EmbeddedWal) {
    if wal.should_checkpoint() {
        let checkpoint = wal.checkpoint().unwrap();
        wal.checkpoint_stored(checkpoint).unwrap();
    }
}

fn append_sync(c: &mut Criterion) {
    let mut group = c.benchmark_group("embedded_append_sync");
    for size in [64, 256, 4096] {
        let mut wal = open(&file(16 * MIB), 16 * MIB, Checkpoint::default());
        let record = vec![7; size];
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                wal.append(black_box(&record)).unwrap();
                release(&mut wal);
            });
        });
    }
    group.finish();
}

fn append_deferred(c: &mut Criterion) {
    let mut group = c.benchmark_group("embedded_append_deferred");
    let mut wal = open(&file(16 * MIB), 16 * MIB, Checkpoint::default());
    let record = vec![7; 256];
    group.throughput(Throughput::Elements(64));
    group.bench_function("64_records_of_256_and_a_flush", |b| {
        b.iter(|| {
            for _ in 0..64 {
                wal.append_deferred(black_box(&record)).unwrap();
            }
            wal.flush().unwrap();
            release(&mut wal);
        });
    });
    group.finish();
}

fn append_batch(c: &mut Criterion) {
    const RECORDS: usize = 64;
    let mut group = c.benchmark_group("embedded_append_batch");
    let mut wal = open(&file(16 * MIB), 16 * MIB, Checkpoint::default());
    let records = vec![vec![7; 256]; RECORDS];
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function(BenchmarkId::new("records_of_256", RECORDS), |b| {
        b.iter(|| {
            wal.append_batch(black_box(&records)).unwrap();
            release(&mut wal);
        });
    });
    group.finish();
}

/// With the region half full of records: the records are read, and the other half is searched.
fn open_half_full(c: &mut Criterion) {
    let mut group = c.benchmark_group("embedded_open");
    for mib in [1, 16] {
        let len = mib * MIB;
        let file = file(len);
        let mut wal = open(&file, len, Checkpoint::default());
        while !wal.should_checkpoint() {
            wal.append_batch(&vec![[7; 256]; 1000]).unwrap();
        }
        group.throughput(Throughput::Bytes(len));
        group.bench_function(BenchmarkId::new("region_mib", mib), |b| {
            b.iter(|| open(&file, len, Checkpoint::default()));
        });
    }
    group.finish();
}

criterion_group! {
    name = embedded;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = append_sync, append_deferred, append_batch, open_half_full
}
criterion_main!(embedded);
