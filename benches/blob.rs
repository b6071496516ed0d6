//! The cost of blobs beside the log on this machine's disk: appending, committing a blob with the
//! record that names it, reading it from its file and from the cache.
//!
//! ```text
//! cargo bench -p chunked-wal-benches --bench blob
//! ```
#![allow(clippy::unwrap_used, reason = "a bench may stop at the first error")]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use chunked_wal::blob::{BlobConfig, BlobRef, BlobStore, BlobWal};
use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord, WalTypes};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;

const SIZES: [usize; 4] = [1 << 10, 16 << 10, 256 << 10, 4 << 20];

/// Not in `/tmp`, which is memory on many machines.
fn dir() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

/// Keeps only the newest chunks: a long measurement must not fill the disk.
fn keep_short(store: &mut BlobStore) {
    let chunks = store.chunks();
    if chunks.len() > 4 {
        store.remove_chunks_before(chunks[3].chunk_id).unwrap();
    }
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("blob_append");
    for size in SIZES {
        let dir = dir();
        let mut store = BlobStore::open(BlobConfig::new(dir.path())).unwrap();
        let blob = payload(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                keep_short(&mut store);
                store.append(black_box(&blob)).unwrap()
            });
        });
    }
    group.finish();
}

/// Actions are references, which are ignored.
struct Refs;

impl WalTypes for Refs {
    type Action = BlobRef;
    type Checkpoint = ();
    type Callback = ();
}

struct Nothing;

impl StateMachine<Refs> for Nothing {
    type Error = Infallible;
    fn apply(&mut self, _: &WalRecord<Refs>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        Ok(())
    }
    fn checkpoint(&self) {}
}

/// A blob and the record that names it, durable: two syncs, one after the other.
fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("blob_commit");
    for size in [1 << 10, 256 << 10] {
        let dir = dir();
        let wal = ChunkedWal::<Refs>::open(Config::new(dir.path().join("log")), &mut Nothing).unwrap();
        let store = BlobStore::open(BlobConfig::new(dir.path().join("blobs"))).unwrap();
        let mut joined = BlobWal::new(wal, store);
        let blob = payload(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                let named = joined.append_blob(black_box(&blob)).unwrap();
                let wal = joined.wal().unwrap();
                wal.append_and_apply(named, &mut Nothing).unwrap();
                wal.sync().unwrap();
                let chunks = joined.blobs().chunks();
                if chunks.len() > 4 {
                    joined.remove_blobs_before(named).unwrap();
                }
            });
        });
    }
    group.finish();
}

/// From a closed chunk in the page cache: each time from the file, or from the store's cache.
fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("blob_read");
    for size in SIZES {
        for (name, cache_bytes_max) in [("file", 0), ("cache", 1 << 30)] {
            let dir = dir();
            let mut config = BlobConfig::new(dir.path());
            config.cache_bytes_max = cache_bytes_max;
            let mut store = BlobStore::open(config).unwrap();
            let blob = payload(size);
            let refs: Vec<_> = (0..(64 << 20) / size).map(|_| store.append(&blob).unwrap()).collect();
            store.sync().unwrap();
            let mut random = 1u64;
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    store.read(refs[(random >> 33) as usize % refs.len()]).unwrap()
                });
            });
        }
    }
    group.finish();
}

/// 4 KiB of a blob of 4 MiB in the page cache, at any place.
fn read_range(c: &mut Criterion) {
    let dir = dir();
    let mut config = BlobConfig::new(dir.path());
    config.cache_bytes_max = 0;
    let mut store = BlobStore::open(config).unwrap();
    let blob = store.append(&payload(4 << 20)).unwrap();
    store.sync().unwrap();
    let mut random = 1u64;
    c.bench_function("blob_read_range/4096_of_4194304", |b| {
        b.iter(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (random >> 33) % ((4 << 20) - 4096);
            store.read_range(blob, at..at + 4096).unwrap()
        });
    });
}

criterion_group! {
    name = blob;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = append, commit, read, read_range
}
criterion_main!(blob);
