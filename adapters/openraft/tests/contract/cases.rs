//! What openraft's contract asks beyond its suite: ends and edges, readers, refusals, a slow disk.
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use chunked_wal::storage::{Fault, FaultHow, MemoryStorage, OpKind};
use chunked_wal::{ChunkId, ChunkStat, Config, Error, Replay};
use openraft::RaftLogReader;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};

use crate::common::*;

fn config() -> Config {
    tiny(Config::new("/log"))
}

fn new() -> (MemoryStorage, Store) {
    let disk = MemoryStorage::default();
    let store = open(&disk, config()).unwrap();
    (disk, store)
}

/// Closes and opens.
fn reopen(disk: &MemoryStorage, store: Store) -> Store {
    store.close().unwrap();
    open(disk, config()).unwrap()
}

async fn state(store: &mut Store) -> (Option<u64>, Option<u64>) {
    let state = store.get_log_state().await.unwrap();
    (state.last_purged_log_id.map(|id| id.index), state.last_log_id.map(|id| id.index))
}

fn indexes(log_ids: &[(u64, u64)]) -> Vec<u64> {
    log_ids.iter().map(|(_, index)| *index).collect()
}

#[test]
fn user_data_is_kept_and_a_reader_sees_and_frees_the_memory() {
    run(async {
        let (disk, mut store) = new();
        store.save_user_data(Some(b"cluster 7".to_vec())).await.unwrap();
        store.blocking_append(entries(1, 0..9)).await.unwrap();
        let mut store = reopen(&disk, store);
        assert_eq!(store.user_data().unwrap(), b"cluster 7");

        let mut reader = store.get_log_reader().await;
        let kept = reader.cache();
        assert!(kept.entries > 0 && kept.bytes <= kept.max_bytes, "{kept:?}");
        reader.evict(u64::MAX);
        assert_eq!(store.stats().cache.entries, 0);
        assert_eq!(indexes(&log_ids(&mut reader).await), (0..9).collect::<Vec<_>>());
        assert_eq!(reader.cache().misses, 9);
    });
}

#[test]
fn an_empty_log_starts_anywhere_and_continues_without_a_hole() {
    run(async {
        let (disk, mut store) = new();
        store.blocking_append(entries(3, 7..9)).await.unwrap();
        for wrong in [0, 6, 8, 10, u64::MAX] {
            let refused = store.blocking_append([entry(3, wrong, "wrong")]).await.unwrap_err();
            assert_not_consecutive(refused, log_id(3, 8), log_id(3, wrong));
        }
        store.blocking_append(entries(3, 9..11)).await.unwrap();
        let mut store = reopen(&disk, store);
        assert_eq!(log_ids(&mut store).await, [(3, 7), (3, 8), (3, 9), (3, 10)]);
        assert_eq!(state(&mut store).await, (None, Some(10)));

        // Truncated to nothing, it begins anywhere again.
        truncate(&mut store, 7).await.unwrap();
        assert_eq!(state(&mut store).await, (None, None));
        store.blocking_append(entries(4, 2..4)).await.unwrap();
        let mut store = reopen(&disk, store);
        assert_eq!(log_ids(&mut store).await, [(4, 2), (4, 3)]);

        // So it does at a purge point below the first entry of before.
        store.purge(log_id(4, 0)).await.unwrap();
        truncate(&mut store, 2).await.unwrap();
        assert_eq!(state(&mut store).await, (Some(0), Some(0)));
        store.blocking_append(entries(5, 1..3)).await.unwrap();
        let mut store = reopen(&disk, store);
        assert_eq!(log_ids(&mut store).await, [(5, 1), (5, 2)]);
    });
}

#[test]
fn truncation_and_purge_go_to_either_end_and_beyond() {
    run(async {
        // (what is done, what is left, purged, last)
        type Case = (&'static [(char, u64)], &'static [u64], Option<u64>, Option<u64>);
        let cases: [Case; 13] = [
            (&[('t', 11)], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], None, Some(10)),
            (&[('t', 100)], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], None, Some(10)),
            (&[('t', 10)], &[1, 2, 3, 4, 5, 6, 7, 8, 9], None, Some(9)),
            (&[('t', 2)], &[1], None, Some(1)),
            (&[('t', 1)], &[], None, None),
            (&[('t', 0)], &[], None, None),
            (&[('p', 0)], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], Some(0), Some(10)),
            (&[('p', 4), ('p', 2)], &[5, 6, 7, 8, 9, 10], Some(4), Some(10)),
            (&[('p', 10)], &[], Some(10), Some(10)),
            (&[('p', 30)], &[], Some(30), Some(30)),
            (&[('p', 4), ('t', 5)], &[], Some(4), Some(4)),
            (&[('p', 4), ('t', 1)], &[], Some(4), Some(4)),
            (&[('p', 4), ('t', 7)], &[5, 6], Some(4), Some(6)),
        ];
        for (steps, left, purged, last) in cases {
            let (disk, mut store) = new();
            store.blocking_append(entries(1, 1..11)).await.unwrap();
            for (what, index) in steps {
                match what {
                    't' => truncate(&mut store, *index).await.unwrap(),
                    _ => store.purge(log_id(1, *index)).await.unwrap(),
                }
            }
            for _ in 0..2 {
                assert_eq!(indexes(&log_ids(&mut store).await), left, "{steps:?}");
                assert_eq!(state(&mut store).await, (purged, last), "{steps:?}");
                store = reopen(&disk, store);
            }
            // Appending continues after the last entry. Entries that are purged already are ignored.
            let next = last.map_or(5, |last| last + 1);
            let from = purged.filter(|_| left.is_empty()).unwrap_or(next);
            store.blocking_append(entries(2, from..next + 2)).await.unwrap();
            let expected: Vec<u64> = left.iter().copied().chain([next, next + 1]).collect();
            let mut store = reopen(&disk, store);
            assert_eq!(indexes(&log_ids(&mut store).await), expected, "{steps:?}");
        }
    });
}

#[test]
fn a_truncated_entry_is_replaced_for_every_reader() {
    run(async {
        let (disk, mut store) = new();
        let mut reader = store.get_log_reader().await;
        store.blocking_append(entries(1, 0..10)).await.unwrap();
        assert_eq!(log_ids(&mut reader).await.len(), 10);
        truncate(&mut store, 6).await.unwrap();
        assert_eq!(log_ids(&mut reader).await.len(), 6);
        store.blocking_append(entries(2, 6..8)).await.unwrap();
        let expected = [entries(1, 0..6), entries(2, 6..8)].concat();
        assert_eq!(all(&mut reader).await, expected);
        let mut store = reopen(&disk, store);
        assert_eq!(all(&mut store).await, expected);
        // The old reader's log is closed; what it has in memory it may give, the rest is an error.
        assert!(reader.try_get_log_entries(0..8).await.is_err());
    });
}

#[test]
fn a_range_may_be_anything() {
    run(async {
        let (_disk, mut store) = new();
        store.blocking_append(entries(1, 5..15)).await.unwrap();
        use std::ops::Bound::{Excluded, Included};
        let count = async |store: &mut Store, range| store.try_get_log_entries(range).await.unwrap().len();
        assert_eq!(count(&mut store, (Included(0), Excluded(5))).await, 0);
        assert_eq!(count(&mut store, (Included(0), Included(5))).await, 1);
        assert_eq!(count(&mut store, (Excluded(5), Included(14))).await, 9);
        assert_eq!(count(&mut store, (Included(14), Excluded(100))).await, 1);
        assert_eq!(count(&mut store, (Included(15), Included(u64::MAX))).await, 0);
        assert_eq!(count(&mut store, (Excluded(u64::MAX), Included(u64::MAX))).await, 0);
        assert_eq!(count(&mut store, (Included(9), Excluded(7))).await, 0);
    });
}

#[test]
fn a_message_takes_the_entries_that_fit_and_at_least_one() {
    run(async {
        let (_disk, mut store) = new();
        let large = "x".repeat(2000);
        store.blocking_append(entries(1, 0..20)).await.unwrap();
        store.blocking_append([entry(1, 20, &large), entry(1, 21, &large)]).await.unwrap();
        let mut reader = store.get_log_reader().await;
        let first = reader.limited_get_log_entries(0, 22).await.unwrap();
        assert!((2..8).contains(&first.len()), "{}", first.len());
        assert_eq!(first, entries(1, 0..first.len() as u64));
        let last = reader.limited_get_log_entries(20, 22).await.unwrap();
        assert_eq!(last, [entry(1, 20, &large)]);
    });
}

#[test]
fn removal_goes_up_to_the_oldest_entry_and_keeps_the_rest() {
    run(async {
        let (disk, mut store) = new();
        store.save_vote(&Vote::new(7, 3)).await.unwrap();
        store.blocking_append(entries(1, 0..100)).await.unwrap();
        store.save_committed(Some(log_id(1, 80))).await.unwrap();
        truncate(&mut store, 90).await.unwrap();
        let chunks = store.wal().closed_chunk_stats().len();
        store.purge(log_id(1, 69)).await.unwrap();
        store.wal().wait_idle().unwrap();
        let left = store.wal().closed_chunk_stats();
        assert!(left.len() < chunks / 2, "{} of {chunks}", left.len());
        assert_eq!(disk.read_file(config().chunk_path(ChunkId(0))), None);
        let mut store = reopen(&disk, store);
        assert_eq!(all(&mut store).await, entries(1, 70..90));
        assert_eq!(store.read_vote().await.unwrap(), Some(Vote::new(7, 3)));
        assert_eq!(store.read_committed().await.unwrap(), Some(log_id(1, 80)));
        // With no entry left, all closed chunks go.
        store.purge(log_id(1, 200)).await.unwrap();
        assert_eq!(store.wal().closed_chunk_stats().len(), 0);
        let mut store = reopen(&disk, store);
        assert_eq!(state(&mut store).await, (Some(200), Some(200)));
        assert_eq!(store.read_vote().await.unwrap(), Some(Vote::new(7, 3)));
        assert_eq!(store.read_committed().await.unwrap(), Some(log_id(1, 80)));
    });
}

#[test]
fn chunks_that_a_crash_kept_are_removed_when_the_log_is_opened() {
    run(async {
        let disk = MemoryStorage::default();
        let mut no_spares = config();
        no_spares.spare_chunks = 0;
        let mut store = open(&disk, no_spares).unwrap();
        store.blocking_append(entries(1, 0..50)).await.unwrap();
        disk.fail(Fault::new(OpKind::Rename, 0, FaultHow::Io).sticky());
        store.purge(log_id(1, 40)).await.unwrap();
        store.wal().wait_idle().unwrap_err();
        let killed = disk.kill();
        assert!(killed.read_file(config().chunk_path(ChunkId(0))).is_some());
        let mut store = open(&killed, config()).unwrap();
        store.wal().wait_idle().unwrap();
        assert_eq!(killed.read_file(config().chunk_path(ChunkId(0))), None);
        assert_eq!(all(&mut store).await, entries(1, 41..50));
    });
}

#[test]
fn a_log_whose_oldest_chunks_are_gone_is_refused() {
    run(async {
        let (disk, mut store) = new();
        store.blocking_append(entries(1, 0..20)).await.unwrap();
        store.close().unwrap();
        disk.remove_file(config().chunk_path(ChunkId(0))).unwrap();
        match open(&disk, config()) {
            Err(OpenError::EntriesMissing { first: 0, last: 19, missing: 1.. }) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn the_index_is_whole_after_every_kind_of_replay() {
    run(async {
        let (disk, mut store) = new();
        store.blocking_append(entries(1, 0..20)).await.unwrap();
        store.close().unwrap();
        for replay in [Replay::All, Replay::FromLastCheckpoint] {
            let options = options(&disk, config()).replay(replay);
            let mut store = LogStore::open_with(options, Limits::default()).unwrap();
            assert_eq!(all(&mut store).await, entries(1, 0..20));
        }
        assert_eq!(all(&mut open_verified(&disk, config()).unwrap()).await, entries(1, 0..20));
    });
}

#[test]
fn opening_reads_no_older_entries_and_damage_is_found_when_they_are_read() {
    run(async {
        let (disk, mut store) = new();
        store.blocking_append((0..20).map(|index| entry(1, index, &"x".repeat(500)))).await.unwrap();
        let chunk = store.wal().closed_chunk_stats()[3].clone();
        store.close().unwrap();
        // In the text of the chunk's only entry.
        let path = config().chunk_path(chunk.chunk_id);
        disk.flip_bit(path, 8 * (chunk.size - 100)).unwrap();
        let mut store = open(&disk, config()).unwrap();
        let mut damaged = Vec::new();
        for index in 0..20 {
            match store.try_get_log_entries(index..index + 1).await {
                Ok(read) => assert_eq!(read, [entry(1, index, &"x".repeat(500))]),
                Err(error) => damaged.push(error.to_string()),
            }
        }
        assert_eq!(damaged.len(), 1, "{damaged:?}");
        assert!(damaged[0].contains("checksum"), "{damaged:?}");
        store.close().unwrap();
        match open_verified(&disk, config()) {
            Err(OpenError::Wal(Error::Corrupt { chunk_id, .. })) => assert_eq!(chunk_id, chunk.chunk_id),
            other => panic!("{other:?}"),
        }
    });
}

/// A checkpoint has the index of the chunk before it, and has to fit into `max_record_size`.
#[test]
fn a_chunk_ends_before_its_index_is_too_large() {
    run(async {
        let mut config = Config::new("/log");
        config.max_record_size = 1000;
        let disk = MemoryStorage::default();
        let mut store = open(&disk, config.clone()).unwrap();
        store.blocking_append(entries(1, 0..2000)).await.unwrap();
        let stats = store.wal().closed_chunk_stats();
        assert!((2..5).contains(&stats.len()), "{}", stats.len());
        let indexed = |stat: &ChunkStat<Checkpoint<Texts>>| stat.checkpoint.index.is_some();
        assert!(stats.iter().all(indexed));
        store.close().unwrap();

        // Now the open chunk's index, which is there already, does not fit: that chunk is read.
        config.max_record_size = 450;
        let mut store = open(&disk, config.clone()).unwrap();
        store.blocking_append(entries(1, 2000..2100)).await.unwrap();
        let stats = store.wal().closed_chunk_stats();
        assert_eq!(stats.iter().filter(|stat| !indexed(stat)).count(), 1);
        store.close().unwrap();
        for open in [open, open_verified] {
            let mut store = open(&disk, config.clone()).unwrap();
            assert_eq!(all(&mut store).await, entries(1, 0..2100));
        }
    });
}

/// Readers go on while entries are purged and their chunks removed under them: what they get has no
/// hole, and is what was appended.
#[test]
fn readers_see_no_hole_while_chunks_are_removed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let (_disk, mut store) = new();
        let reads = Arc::new(AtomicU64::new(0));
        let reader = store.get_log_reader().await;
        let read_all = |mut reader: LogReader<Texts>, reads: Arc<AtomicU64>| async move {
            loop {
                let read = reader.try_get_log_entries(0..).await.unwrap();
                let Some(first) = read.first().map(|entry| entry.log_id.index) else { continue };
                let end = first + read.len() as u64;
                assert_eq!(read, entries(1, first..end));
                reads.fetch_add(1, Relaxed);
                if end == 3000 {
                    return;
                }
            }
        };
        let tasks: Vec<_> = (0..3).map(|_| tokio::spawn(read_all(reader.clone(), reads.clone()))).collect();
        for from in (0..3000).step_by(10) {
            store.blocking_append(entries(1, from..from + 10)).await.unwrap();
            if from >= 100 {
                store.purge(log_id(1, from - 50)).await.unwrap();
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert!(reads.load(Relaxed) > 30, "{reads:?}");
    });
}

/// A disk that takes its time holds up whoever waits for it, and not the runtime's only thread.
#[test]
fn a_full_queue_does_not_block_the_runtime() {
    let long = 3 << 19;
    // Small entries; entries that pass all that the log holds back by itself; and chunks of one of these.
    appends_to_a_held_disk(1500, 1000, |_| {});
    appends_to_a_held_disk(4, long, |_| {});
    appends_to_a_held_disk(4, long, |config| config.chunk_max_size = 1 << 20);
    appends_to_a_held_disk(1500, 1000, |config| config.open_buffer_max_bytes = 5000);
}

/// Syncs are held until the runtime's thread has done 20 other things, or for 5 s if it does none.
fn appends_to_a_held_disk(count: u64, len: usize, change: impl FnOnce(&mut Config)) {
    let disk = MemoryStorage::default();
    let (ran, has_run) = std::sync::mpsc::channel();
    let watchdog = {
        let disk = disk.clone();
        std::thread::spawn(move || {
            let outcome = has_run.recv_timeout(Duration::from_secs(5));
            disk.pause_syncs(false);
            outcome
        })
    };
    run(async {
        let mut config = Config::new("/log");
        change(&mut config);
        config.flush_queue_max_bytes = 1000;
        let mut store = open(&disk, config).unwrap();
        disk.pause_syncs(true);
        // The worker is in a sync from now on: what is handed over stays in the queue.
        let vote = Vote::new(1, 1);
        let voted = tokio::time::timeout(Duration::from_millis(50), store.save_vote(&vote)).await;
        assert!(voted.is_err(), "it can't be durable");
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = ticks.clone();
        let ticker = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                counted.fetch_add(1, Relaxed);
            }
        });
        let resume = {
            let ticks = ticks.clone();
            tokio::spawn(async move {
                while ticks.load(Relaxed) < 20 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                ran.send(()).unwrap();
            })
        };
        // More than the log holds back by itself, so that the queue is full in the middle.
        let text = "x".repeat(len);
        let many = (0..count).map(|index| entry(1, index, &text));
        store.blocking_append(many).await.unwrap();
        resume.await.unwrap();
        ticker.abort();
        let (_, last) = state(&mut store).await;
        assert_eq!(last, Some(count - 1));
    });
    watchdog.join().unwrap().expect("the runtime's thread was blocked");
}
