//! What a store offers beside raft's own operations: user data, statistics, eviction, calls that block.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::mpsc::{Sender, channel};

use chunked_wal::codeq::Encode;
use chunked_wal::{Config, Error, WalRecord};
use chunked_wal_raft::{Action, CacheStats, Change, Indexer, LogStore, RaftTypes, blocking};

/// Commands are texts; a log id is a term and an index.
#[derive(Debug, Clone, PartialEq)]
struct Texts;

impl RaftTypes for Texts {
    type LogId = (u64, u64);
    type Vote = (u64, u64);
    type Entry = ((u64, u64), String);
    type Callback = Sender<Result<(), Error>>;

    fn index(log_id: &(u64, u64)) -> u64 {
        log_id.1
    }

    fn log_id(entry: &Self::Entry) -> (u64, u64) {
        entry.0
    }
}

type Blocking = blocking::LogStore<Texts>;

/// Chunks of a few entries.
fn config(dir: &tempfile::TempDir) -> Config {
    let mut config = Config::new(dir.path());
    config.chunk_max_size = 600;
    config
}

fn entries(indexes: std::ops::Range<u64>) -> Vec<((u64, u64), String)> {
    indexes.map(|index| ((1, index), format!("entry {index}"))).collect()
}

/// Appends entries, and waits until they are durable.
fn append(store: &mut Blocking, indexes: std::ops::Range<u64>) {
    let (durable, wait) = channel();
    store.append(entries(indexes), durable).unwrap();
    wait.recv().unwrap().unwrap();
}

fn cache(store: &Blocking) -> CacheStats {
    store.get_ref().stats().cache
}

#[test]
fn user_data_comes_back_after_a_reopen_and_a_purge_of_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let user_data = |store: &Blocking| store.get_ref().reader().meta().user_data;
    let mut store = Blocking::open(config(&dir)).unwrap();
    assert_eq!(user_data(&store), None);
    store.save_user_data(Some(vec![0, 255, 7])).unwrap();
    append(&mut store, 0..100);
    store.purge((1, 90)).unwrap();
    store.get_ref().wal().wait_idle().unwrap();
    assert!(store.get_ref().stats().closed_chunks[0].global_start > 0, "the record is still there");
    store.close().unwrap();

    let mut store = Blocking::open(config(&dir)).unwrap();
    assert_eq!(user_data(&store).unwrap(), [0, 255, 7]);
    store.save_user_data(Some(Vec::new())).unwrap();
    assert!(user_data(&store).unwrap().is_empty());
    store.save_user_data(None).unwrap();
    store.close().unwrap();
    assert_eq!(user_data(&Blocking::open(config(&dir)).unwrap()), None);
}

#[test]
fn at_the_hard_budget_entries_are_refused_and_a_purge_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir).chunk_max_size(4096);
    config.hard_budget = 20 << 12;
    let mut store = Blocking::open(config).unwrap();
    let mut next = 0;
    let error = loop {
        let (durable, wait) = channel();
        match store.append(entries(next..next + 1), durable) {
            Ok(()) => wait.recv().unwrap().unwrap(),
            Err(error) => break error,
        }
        next += 1;
    };
    assert!(error.to_string().contains("`hard_budget` allows 81920"), "{error:?}");
    assert!(next > 500, "{next}");
    // What raft can't do without is not refused.
    store.save_vote((7, 1)).unwrap();
    store.truncate(next - 5).unwrap();
    store.purge((1, next - 10)).unwrap();
    append(&mut store, next - 5..next + 100);
    store.close().unwrap();
}

/// Checks the index of each checkpoint after the first, as a program that writes the records itself would make it.
fn assert_indexed(store: &Blocking, checkpoints_min: usize) {
    let (mut indexer, mut checkpoints) = (Indexer::default(), 0);
    for record in store.get_ref().wal().records() {
        let (chunk_id, place, record) = record.unwrap();
        let change = match record {
            WalRecord::Checkpoint(checkpoint) => {
                let (mut expected, mut found) = (Vec::new(), Vec::new());
                checkpoint.meta.encode(&mut expected).unwrap();
                indexer.write(&mut expected).unwrap();
                checkpoint.encode(&mut found).unwrap();
                // The first one is about a chunk that may be gone.
                assert!(checkpoints == 0 || found == expected, "{checkpoint:?}, {indexer:?}");
                checkpoints += 1;
                continue;
            }
            WalRecord::Action(Action::Entry(entry)) => Change::Entry(entry.0.1),
            WalRecord::Action(Action::Truncate { since, .. }) => Change::Truncate(since),
            WalRecord::Action(Action::Purge((_, index))) => Change::Purge(index),
            WalRecord::Action(_) => Change::Nothing,
        };
        indexer.apply(change, chunk_id, place);
    }
    assert!(checkpoints >= checkpoints_min, "{checkpoints}");
}

#[test]
fn an_indexer_makes_the_index_of_each_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Blocking::open(config(&dir)).unwrap();
    append(&mut store, 0..30);
    store.truncate(24).unwrap();
    append(&mut store, 24..50);
    store.truncate(49).unwrap();
    store.save_vote((2, 1)).unwrap();
    append(&mut store, 49..70);
    assert_indexed(&store, 6);
    // Of the entries in the chunk of this purge, its index keeps none.
    store.purge((3, 90)).unwrap();
    append(&mut store, 91..130);
    store.get_ref().wal().wait_idle().unwrap();
    assert_indexed(&store, 4);
}

#[test]
fn statistics_say_what_each_chunk_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Blocking::open(config(&dir)).unwrap();
    store.save_vote((3, 7)).unwrap();
    append(&mut store, 0..100);
    let stats = store.get_ref().stats();
    assert!(stats.closed_chunks.len() > 3, "{stats:?}");
    let lasts: Vec<_> = stats.closed_chunks.iter().map(|chunk| chunk.checkpoint.last.unwrap().1).collect();
    assert!(lasts.is_sorted() && lasts[0] > 0 && *lasts.last().unwrap() < 99, "{lasts:?}");
    assert_eq!(stats.open_chunk.checkpoint.last, Some((1, 99)));
    assert_eq!(stats.open_chunk.checkpoint.vote, Some((3, 7)));
    assert_eq!(stats.open_chunk.global_end, store.get_ref().wal().progress().appended);
    assert!(stats.flush.sync_batch_count >= 2);
}

#[test]
fn evicted_entries_are_read_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Blocking::open(config(&dir)).unwrap();
    append(&mut store, 0..50);
    let before = cache(&store);
    assert_eq!((before.entries, before.hits, before.misses), (50, 0, 0));
    let reader = store.get_ref().reader().clone();
    assert_eq!(reader.recent(10..20, u64::MAX).unwrap(), entries(10..20));
    reader.evict(14);
    assert_eq!(reader.recent(10..20, u64::MAX), None);
    assert_eq!(reader.read(10..20, u64::MAX).unwrap(), entries(10..20));
    let after = cache(&store);
    assert_eq!((after.entries, after.hits, after.misses), (35, 15, 5));
    assert!(after.bytes < before.bytes && after.max_bytes == before.max_bytes);
    // An index that was evicted, and one beyond the end.
    reader.evict(3);
    assert_eq!(cache(&store).entries, 35);
    reader.evict(u64::MAX);
    assert_eq!((cache(&store).entries, cache(&store).bytes), (0, 0));
    append(&mut store, 50..52);
    assert_eq!(reader.recent(50..52, u64::MAX).unwrap(), entries(50..52));
    assert_eq!(reader.read(.., u64::MAX).unwrap(), entries(0..52));
}

#[test]
fn what_is_not_durable_is_not_evicted() {
    use std::sync::Arc;

    use chunked_wal::ChunkedWal;
    use chunked_wal::storage::{Fault, FaultHow, MemoryStorage, OpKind};
    use chunked_wal_raft::{Limits, RaftWal};

    let disk = MemoryStorage::default();
    let options = ChunkedWal::<RaftWal<Texts>>::options(Config::new("/log")).storage(Arc::new(disk.clone()));
    let mut store = Blocking::open_with(options, Limits::default()).unwrap();
    append(&mut store, 0..10);
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    let (durable, wait) = channel();
    store.append(entries(10..15), durable).unwrap();
    assert!(wait.recv().unwrap().is_err());
    store.get_ref().reader().evict(u64::MAX);
    assert_eq!(cache(&store).entries, 5);
    assert_eq!(store.get_ref().reader().recent(10..15, u64::MAX).unwrap(), entries(10..15));
}

#[test]
fn calls_that_block_do_what_the_others_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Blocking::open(config(&dir)).unwrap();
    append(&mut store, 0..20);
    store.save_committed(Some((1, 15))).unwrap();
    store.truncate(18).unwrap();
    store.purge((1, 4)).unwrap();
    let (durable, wait) = channel();
    let hole = store.append(entries(30..31), durable);
    assert!(hole.is_err() && wait.recv().unwrap().is_err());
    store.close().unwrap();

    let store = LogStore::<Texts>::open(config(&dir)).unwrap();
    assert_eq!(store.reader().meta().committed, Some((1, 15)));
    assert_eq!(store.reader().read(.., u64::MAX).unwrap(), entries(5..18));
}
