//! The cost of the adapter: entries of 256 bytes appended through it, and the same bytes appended to
//! the bare log. Both wait once per batch until it is durable.
//!
//! On Linux the log is in `/dev/shm`, where a sync costs nothing, so that the difference is visible. A
//! real disk's sync takes a hundred times as long.
//!
//! ```text
//! cargo bench -p chunked-wal-benches --bench openraft
//! ```
#![allow(missing_docs, reason = "criterion's macros")]
#![allow(clippy::unwrap_used, reason = "a bench")]

use std::convert::Infallible;
use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

use chunked_wal::{ChunkId, ChunkedWal, Config, Flush, Segment, StateMachine, WalRecord, WalTypes};
use chunked_wal_openraft::LogStore;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, RaftTypeConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

openraft::declare_raft_types!(Texts: D = String, R = ());
openraft::declare_raft_types!(Bytes: D = Vec<u8>, R = ());

/// A log of texts, without raft.
struct Bare;

impl WalTypes for Bare {
    type Action = String;
    type Checkpoint = u64;
    type Callback = ();
}

struct Nothing;

impl StateMachine<Bare> for Nothing {
    type Error = Infallible;

    fn apply(&mut self, _: &WalRecord<Bare>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        0
    }
}

const SIZE: usize = 256;

/// Entries between two purges, which are not timed.
const KEPT: u64 = 100_000;

fn dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn log_id(index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

fn bare(batch: u64, iterations: u64, runtime: &Runtime) -> Duration {
    let dir = dir();
    let mut wal = ChunkedWal::<Bare>::open(Config::new(dir.path()), &mut Nothing).unwrap();
    let mut took = Duration::ZERO;
    let mut appended = 0;
    for _ in 0..iterations {
        let records: Vec<_> = (0..batch).map(|_| WalRecord::Action("x".repeat(SIZE))).collect();
        let started = Instant::now();
        runtime.block_on(async {
            for record in &records {
                wal.try_close_full_chunk(&Nothing).unwrap();
                wal.append(record).unwrap();
            }
            wal.flush_ticket(Flush::Sync).unwrap().await.unwrap();
        });
        took += started.elapsed();
        appended += batch;
        if appended >= KEPT {
            appended = 0;
            let drained = wal.drain_closed_chunks_while(|_| true);
            wal.remove_chunks(drained).unwrap();
            wal.wait_idle().unwrap();
        }
    }
    took
}

fn adapter<C>(command: &C::D, batch: u64, iterations: u64, runtime: &Runtime) -> Duration
where
    C: RaftTypeConfig<Entry = Entry<C>, NodeId = u64, D: Clone>,
{
    let dir = dir();
    let mut store = LogStore::<C>::open(Config::new(dir.path())).unwrap();
    let mut took = Duration::ZERO;
    let mut next = 0;
    let mut purged = 0;
    for _ in 0..iterations {
        let entry = |index| Entry { log_id: log_id(index), payload: EntryPayload::Normal(command.clone()) };
        let entries: Vec<Entry<C>> = (next..next + batch).map(entry).collect();
        next += batch;
        let started = Instant::now();
        runtime.block_on(store.blocking_append(entries)).unwrap();
        took += started.elapsed();
        if next - purged >= KEPT {
            purged = next;
            runtime.block_on(store.purge(log_id(next - 1))).unwrap();
            store.wal().wait_idle().unwrap();
        }
    }
    took
}

fn append(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = "x".repeat(SIZE);
    for batch in [1, 16, 256] {
        let mut group = c.benchmark_group(format!("append {batch}"));
        group.throughput(Throughput::Elements(batch));
        group.bench_function("bare log", |b| b.iter_custom(|n| bare(batch, n, &runtime)));
        group.bench_function("adapter, text", |b| {
            b.iter_custom(|n| adapter::<Texts>(&text, batch, n, &runtime));
        });
        // serde takes a `Vec<u8>` for a list of numbers.
        group.bench_function("adapter, bytes as a list", |b| {
            b.iter_custom(|n| adapter::<Bytes>(&vec![0xab; SIZE], batch, n, &runtime));
        });
        group.finish();
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
