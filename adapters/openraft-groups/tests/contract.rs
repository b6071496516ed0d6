//! What openraft's contract asks beyond its suite, on a disk that fails, loses power and waits.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chunked_wal::storage::{Fault, FaultHow, MemoryStorage, OpKind};
use chunked_wal_openraft_groups::LogStore;
use futures_util::StreamExt;
use openraft::RaftLogReader;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::EntryOf;

use common::{OTHERS, Others, Store, Texts, Vote, entries, entry, log_id, open_in, run, store};

fn new(disk: &MemoryStorage) -> Store {
    store(&open_in(disk).unwrap(), OTHERS)
}

async fn all(store: &mut LogStore<Texts>) -> Vec<EntryOf<Texts>> {
    store.try_get_log_entries(..).await.unwrap()
}

/// openraft goes on after `append` has returned, and learns by the callback that entries are durable.
#[test]
fn an_append_returns_before_it_is_durable_and_calls_back_once_it_is() {
    run(async {
        let disk = MemoryStorage::default();
        let mut store = new(&disk);
        disk.pause_syncs(true);
        let (durable, mut is_durable) = Texts::oneshot();
        store.append(entries(1, 0..3), IOFlushed::signal(durable)).await.unwrap();
        let (read, early) = (all(&mut store).await, is_durable.try_recv());
        // Before anything may fail: closing waits for the disk.
        disk.pause_syncs(false);
        assert_eq!(read, entries(1, 0..3));
        early.expect_err("not durable yet");
        is_durable.await.unwrap().unwrap();

        // Of a refused entry, the caller and the callback both learn.
        let (durable, is_durable) = Texts::oneshot();
        let refused = store.append([entry(1, 7, "")], IOFlushed::signal(durable)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        is_durable.await.unwrap().unwrap_err();
        store.blocking_append(entries(1, 3..4)).await.unwrap();
    });
}

#[test]
fn votes_and_truncations_are_durable_when_they_return() {
    run(async {
        let disk = MemoryStorage::default();
        let mut store = new(&disk);
        store.blocking_append(entries(1, 0..5)).await.unwrap();
        store.save_vote(&Vote::new(3, 2)).await.unwrap();
        let crashed = disk.crash(0);
        assert_eq!(new(&crashed).read_vote().await.unwrap(), Some(Vote::new(3, 2)));

        store.truncate_after(Some(log_id(1, 2))).await.unwrap();
        let mut crashed = new(&disk.crash(0));
        assert_eq!(all(&mut crashed).await, entries(1, 0..3));
        assert_eq!(crashed.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 2)));

        store.truncate_after(None).await.unwrap();
        assert_eq!(new(&disk.crash(0)).get_log_state().await.unwrap().last_log_id, None);
        store.blocking_append(entries(2, 0..2)).await.unwrap();
        assert_eq!(all(&mut store).await, entries(2, 0..2));
    });
}

/// A crash that comes a moment later would not show it: by then another sync may have made the vote durable.
#[test]
fn a_vote_or_a_truncation_waits_for_its_sync() {
    run(async {
        let disk = MemoryStorage::default();
        let mut store = new(&disk);
        store.blocking_append(entries(1, 0..5)).await.unwrap();
        for truncates in [false, true] {
            disk.pause_syncs(true);
            let returned = {
                let vote = Vote::new(3, 2);
                let change = async {
                    if truncates {
                        store.truncate_after(Some(log_id(1, 2))).await
                    } else {
                        store.save_vote(&vote).await
                    }
                };
                let returned = Texts::timeout(Duration::from_millis(100), change).await;
                // Before anything may fail: closing waits for the disk.
                disk.pause_syncs(false);
                returned
            };
            assert!(returned.is_err(), "truncates: {truncates}");
        }
    });
}

#[test]
fn a_failed_disk_fails_what_waits_and_everything_after() {
    run(async {
        let disk = MemoryStorage::default();
        let mut store = new(&disk);
        store.blocking_append(entries(1, 0..3)).await.unwrap();
        disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io).sticky());
        store.blocking_append(entries(1, 3..4)).await.unwrap_err();
        store.save_vote(&Vote::new(1, 1)).await.unwrap_err();
        store.truncate_after(Some(log_id(1, 1))).await.unwrap_err();
        disk.heal();
        store.blocking_append(entries(1, 3..4)).await.expect_err("a failure is final");
    });
}

/// The disk is full: the entries that a snapshot has are given up, and then others are taken.
#[test]
fn on_a_full_disk_a_purge_brings_space_back() {
    run(async {
        let disk = MemoryStorage::default();
        disk.set_capacity(Some(128 << 10));
        let mut store = new(&disk);
        let mut next = 0;
        while store.blocking_append([entry(1, next, "an entry")]).await.is_ok() {
            next += 1;
        }
        store.save_vote(&Vote::new(1, 1)).await.unwrap_err();
        store.purge(log_id(1, next - 2)).await.unwrap();
        let begun = Instant::now();
        while store.blocking_append([entry(1, next, "an entry")]).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", store.log().space());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(store.get_log_state().await.unwrap().last_purged_log_id, Some(log_id(1, next - 2)));
    });
}

/// Wherever the power goes, while space is reclaimed.
#[test]
fn a_purge_and_its_log_id_are_never_apart() {
    let disk = MemoryStorage::default();
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let (of, into) = (disk.clone(), cuts.clone());
    disk.on_operation(move |op| {
        if op.kind.is_change() {
            let mut cuts = into.lock().unwrap();
            let seed = cuts.len() as u64;
            cuts.push(of.crash(seed));
        }
    });
    run(async {
        let mut store = new(&disk);
        let mut others = Others::default();
        for index in 0..60 {
            store.blocking_append([entry(1, index, "an entry")]).await.unwrap();
            if index % 3 == 2 {
                store.purge(log_id(1, index - 1)).await.unwrap();
                store.save_committed(Some(log_id(1, index))).await.unwrap();
            }
            (0..20).for_each(|_| others.go_on(store.log()).unwrap());
        }
        assert!(store.log().space().moved > 10_000, "{:?}", store.log().space());
    });
    let cuts = std::mem::take(&mut *cuts.lock().unwrap());
    let mut purged = 0;
    for (number, disk) in cuts.into_iter().enumerate() {
        let Ok(log) = open_in(&disk) else { panic!("cut {number} can't be opened") };
        let first = log.bounds(OTHERS).map_or(0, |bounds| bounds.start);
        let upto = run(async { store(&log, OTHERS).get_log_state().await.unwrap().last_purged_log_id });
        assert_eq!(first.checked_sub(1).map(|index| log_id(1, index)), upto, "cut {number}");
        purged += u64::from(upto.is_some());
    }
    assert!(purged > 20, "{purged}");
}

#[test]
fn reads_are_limited_and_streams_have_no_hole() {
    run(async {
        let disk = MemoryStorage::default();
        let mut store = new(&disk);
        store.blocking_append(entries(1, 0..40)).await.unwrap();
        let some = store.limited_get_log_entries(3, 40).await.unwrap();
        assert!(some.len() > 1 && some.len() < 20, "{}", some.len());
        assert_eq!(some[..], entries(1, 3..40)[..some.len()]);
        let long = entry(1, 40, &"x".repeat(3000));
        store.blocking_append([long.clone()]).await.unwrap();
        assert_eq!(store.limited_get_log_entries(40, 41).await.unwrap(), [long], "at least one");

        let stream = store.entries_stream(5..40).await;
        let read: Vec<_> = stream.map(Result::unwrap).collect().await;
        assert_eq!(read, entries(1, 5..40));

        let mut reader = store.get_log_reader().await;
        let mut stream = Box::pin(reader.entries_stream(5..).await);
        assert_eq!(stream.next().await.unwrap().unwrap(), entry(1, 5, "1-5"));
        store.purge(log_id(1, 39)).await.unwrap();
        let rest: Vec<_> = stream.collect().await;
        let failed = rest.into_iter().find_map(Result::err).expect("an error in the place of a hole");
        assert_eq!(failed.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn what_is_purged_is_skipped() {
    run(async {
        let disk = MemoryStorage::default();
        let mut store = new(&disk);
        // As after a snapshot was installed.
        store.purge(log_id(1, 9)).await.unwrap();
        store.blocking_append(entries(1, 5..13)).await.unwrap();
        assert_eq!(all(&mut store).await, entries(1, 10..13));
        store.purge(log_id(1, 4)).await.unwrap();
        let state = store.get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, Some(log_id(1, 9)), "an older purge is nothing");
        store.truncate_after(Some(log_id(1, 20))).await.unwrap();
        assert_eq!(all(&mut store).await.len(), 3);
        store.truncate_after(Some(log_id(1, 5))).await.unwrap();
        let state = store.get_log_state().await.unwrap();
        assert_eq!((state.last_log_id, all(&mut store).await), (Some(log_id(1, 9)), vec![]));
    });
}

#[test]
fn groups_are_apart() {
    run(async {
        let log = open_in(&MemoryStorage::default()).unwrap();
        let (mut one, mut two) = (store(&log, 1), store(&log, u64::MAX));
        one.blocking_append(entries(1, 0..5)).await.unwrap();
        two.blocking_append(entries(2, 0..3)).await.unwrap();
        one.save_vote(&Vote::new(4, 1)).await.unwrap();
        one.purge(log_id(1, 2)).await.unwrap();
        assert_eq!(all(&mut two).await, entries(2, 0..3));
        assert_eq!(
            (two.read_vote().await.unwrap(), one.read_vote().await.unwrap()),
            (None, Some(Vote::new(4, 1)))
        );
        log.destroy(1).unwrap();
        let mut again = store(&log, 1);
        assert_eq!((again.read_vote().await.unwrap(), all(&mut again).await), (None, vec![]));
        assert_eq!(all(&mut two).await.len(), 3);
    });
}
