//! Snapshots beside a log: what is loaded, what is replayed, what is kept, what is refused.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use chunked_wal::snapshot::{Restored, Snapshots};
use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkedWal, Config, Error, SharedWal, SnapshotFault};

use crate::common::{All, Numbers, open_counted};

/// A log with this many snapshots, `each` numbers before each and after the last.
fn with_snapshots(count: usize, each: usize) -> MemoryStorage {
    let disk = MemoryStorage::default();
    let Restored { mut log, state: mut all, snapshots, .. } = open_counted(&disk).unwrap();
    for _ in 0..count {
        (0..each).for_each(|_| all.go_on(&mut log));
        snapshots.take(&mut log, &all, |file| all.write(file)).unwrap();
    }
    (0..each).for_each(|_| all.go_on(&mut log));
    log.close().unwrap();
    disk
}

/// The snapshots' paths, oldest first.
fn files(disk: &MemoryStorage) -> Vec<String> {
    disk.files("/db/snapshots").into_iter().map(|name| format!("/db/snapshots/{name}")).collect()
}

fn fault(opened: Result<Restored<Numbers, All>, Error>) -> (String, SnapshotFault) {
    match opened {
        Err(Error::Snapshot { path, reason }) => (path.display().to_string(), reason),
        other => panic!("{other:?}"),
    }
}

fn numbers(count: u64) -> Vec<u64> {
    (0..count).collect()
}

#[test]
fn a_snapshot_is_loaded_and_only_what_follows_is_replayed() {
    let disk = with_snapshots(3, 10);
    let restored = open_counted(&disk).unwrap();
    assert_eq!(restored.state.numbers, numbers(40));
    assert_eq!(restored.state.applied, 10);
    let loaded = restored.loaded.unwrap();
    assert_eq!(loaded.path.to_str().unwrap(), files(&disk)[1]);
    assert!(restored.damaged.is_empty());
}

#[test]
fn two_are_kept_and_the_log_from_the_older_one_on() {
    let disk = MemoryStorage::default();
    let Restored { mut log, state: mut all, snapshots, .. } = open_counted(&disk).unwrap();
    let mut before = Vec::new();
    for round in 0..6 {
        (0..30).for_each(|_| all.go_on(&mut log));
        let removed = snapshots.take(&mut log, &all, |file| all.write(file)).unwrap();
        assert_eq!(removed.is_empty(), round == 0, "round {round}: {removed:?}");
        log.wait_idle().unwrap();
        let (oldest, older) = (log.closed_chunk_stats()[0].global_start, before.last().copied());
        assert_eq!(oldest, older.unwrap_or(0), "round {round}");
        assert_eq!(snapshots.unneeded_before(), older.unwrap_or(0));
        before.push(log.open_chunk_id().offset());
        assert_eq!(files(&disk).len(), (round + 1).min(2));
    }
    // Nothing new: nothing is written.
    let operations = disk.operations();
    snapshots.take(&mut log, &all, |_| panic!("it was asked to write")).unwrap();
    assert!(disk.operations() - operations < 3);
}

#[test]
fn a_damaged_one_is_replaced_by_the_older_and_the_log() {
    let disk = with_snapshots(3, 10);
    let newest = files(&disk).pop().unwrap();
    disk.flip_bit(&newest, 70 * 8).unwrap();
    let Restored { mut log, state: mut all, snapshots, loaded, damaged, .. } = open_counted(&disk).unwrap();
    assert_eq!(all.numbers, numbers(40));
    assert_eq!(all.applied, 20);
    assert_eq!(loaded.unwrap().path.to_str().unwrap(), files(&disk)[0]);
    let [Error::Snapshot { path, reason: SnapshotFault::Damaged { .. } }] = &damaged[..] else {
        panic!("{damaged:?}")
    };
    assert_eq!(path.to_str().unwrap(), newest);
    // With the next one it is gone.
    all.go_on(&mut log);
    snapshots.take(&mut log, &all, |file| all.write(file)).unwrap();
    assert_eq!(files(&disk).len(), 2);
    assert!(!files(&disk).contains(&newest));
    log.close().unwrap();
    assert_eq!(open_counted(&disk).unwrap().state.numbers, numbers(41));
}

#[test]
fn the_first_one_may_be_damaged_as_the_log_is_whole() {
    let disk = with_snapshots(1, 10);
    disk.flip_bit(&files(&disk)[0], 3).unwrap();
    let restored = open_counted(&disk).unwrap();
    assert_eq!((restored.state.applied, restored.damaged.len()), (20, 1));
    assert_eq!(restored.loaded, None);
}

#[test]
fn without_a_snapshot_that_reaches_the_log_it_is_refused_and_nothing_changes() {
    // Both damaged; both gone; the directory gone in effect.
    type Harm = fn(&MemoryStorage);
    let harms: [(Harm, bool); 3] = [
        (|disk| files(disk).iter().for_each(|file| disk.flip_bit(file, 480).unwrap()), true),
        (|disk| files(disk).iter().for_each(|file| disk.remove_file(file).unwrap()), false),
        (|disk| files(disk).iter().for_each(|file| disk.write_file(file, b"").unwrap()), true),
    ];
    for (harm, names_the_file) in harms {
        let disk = with_snapshots(3, 10);
        let newest = files(&disk).pop().unwrap();
        harm(&disk);
        let before = disk.snapshot();
        let (path, reason) = fault(open_counted(&disk));
        assert_eq!(path, if names_the_file { &newest } else { "/db/snapshots" });
        assert!(matches!(reason, SnapshotFault::Missing { covered: 0, start: 1.. }), "{reason:?}");
        assert!(reason.to_string().contains("restore the newer snapshot from a copy"));
        assert_eq!(disk.snapshot(), before);
    }
}

#[test]
fn a_log_that_lost_its_end_or_its_directory_is_refused() {
    let disk = with_snapshots(3, 10);
    for chunk in disk.files("/db/log") {
        disk.remove_file(format!("/db/log/{chunk}")).unwrap();
    }
    let before = disk.snapshot();
    let error = open_counted(&disk).unwrap_err();
    assert!(matches!(error, Error::EndMissing { found: 0, expected: 1.., .. }), "{error}");
    assert_eq!(disk.snapshot(), before);
}

#[test]
fn a_snapshot_of_another_log_is_refused() {
    let (disk, other) = (with_snapshots(3, 10), with_snapshots(3, 10));
    for file in files(&other) {
        disk.write_file(&file, &other.read_file(&file).unwrap()).unwrap();
    }
    let (path, reason) = fault(open_counted(&disk));
    assert!(matches!(reason, SnapshotFault::OtherLog), "{reason:?}");
    assert_eq!(path, files(&disk)[1]);

    let first = with_snapshots(1, 1);
    let mut log = open_counted(&first).unwrap().log;
    let Restored { log: _own, state, snapshots, .. } = open_counted(&with_snapshots(1, 1)).unwrap();
    let mut refused = |snapshots: &Snapshots| {
        let taken = snapshots.take(&mut log, &state, |_| Ok(()));
        assert!(matches!(taken, Err(Error::Snapshot { reason: SnapshotFault::OtherLog, .. })), "{taken:?}");
    };
    refused(&snapshots);
    // A copy, with the same id.
    let copy = open_counted(&first.kill()).unwrap();
    refused(&copy.snapshots);
}

#[test]
fn neither_an_older_state_nor_one_ahead_of_the_log_is_written() {
    let disk = with_snapshots(2, 10);
    let Restored { mut log, state: mut all, snapshots, .. } = open_counted(&disk).unwrap();
    let fault = |written| match written {
        Err(Error::Snapshot { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let reason = fault(snapshots.write(8, |_| panic!("it was asked to write")));
    assert!(matches!(reason, SnapshotFault::NotNewer { newest: 9.. }), "{reason:?}");
    all.go_on(&mut log);
    let end = log.progress().appended;
    let reason = fault(snapshots.write(end, |_| panic!("it was asked to write")));
    assert!(matches!(reason, SnapshotFault::AheadOfLog { offset, synced } if synced < offset), "{reason:?}");
    log.sync().unwrap();
    // In the middle of a chunk.
    snapshots.write(end, |file| all.write(file)).unwrap();
    log.close().unwrap();
    let restored = open_counted(&disk).unwrap();
    assert_eq!((restored.state.numbers, restored.state.applied), (numbers(31), 0));
}

#[test]
fn snapshots_of_a_closed_log_touch_nothing() {
    let disk = with_snapshots(1, 1);
    let Restored { log, state: old_state, snapshots: old, .. } = open_counted(&disk).unwrap();
    let at = log.progress().synced;
    log.close().unwrap();
    let is_closed = |done: Result<(), Error>| assert!(matches!(done, Err(Error::Closed)), "{done:?}");
    is_closed(old.write(at, |file| old_state.write(file)));

    // The same log, open again, is not theirs.
    let Restored { mut log, state: mut all, snapshots, .. } = open_counted(&disk).unwrap();
    for _ in 0..3 {
        all.go_on(&mut log);
        snapshots.take(&mut log, &all, |file| all.write(file)).unwrap();
        log.wait_idle().unwrap();
    }
    all.go_on(&mut log);
    log.sync().unwrap();
    let before = disk.snapshot();
    is_closed(old.write(at, |file| old_state.write(file)));
    is_closed(old.take(&mut log, &all, |file| all.write(file)).map(drop));
    let shared = SharedWal::new(log, all);
    is_closed(old.take_shared(&shared, All::clone, |all, file| all.write(file)).map(drop));
    assert_eq!(disk.snapshot(), before);
    shared.close().unwrap();
    assert_eq!(open_counted(&disk).unwrap().state.numbers, numbers(6));
}

#[test]
fn a_snapshot_under_way_keeps_the_lock_of_a_log_that_closes() {
    let disk = with_snapshots(1, 1);
    let Restored { log, state, snapshots, .. } = open_counted(&disk).unwrap();
    let log = SharedWal::new(log, state);
    log.commit(2).unwrap().wait().unwrap();
    let taken = snapshots.take_shared(&log, All::clone, |all, file| {
        log.close().unwrap();
        let other = open_counted(&disk);
        assert!(matches!(other, Err(Error::Locked { .. })), "{other:?}");
        all.write(file)
    });
    assert!(matches!(taken, Err(Error::Closed)), "{taken:?}");
    // It is durable all the same, and the log is free.
    let restored = open_counted(&disk).unwrap();
    assert_eq!((restored.state.numbers, restored.state.applied), (numbers(3), 0));
}

#[test]
fn a_newer_snapshot_is_never_removed() {
    let disk = with_snapshots(3, 10);
    let newest = files(&disk).pop().unwrap();
    disk.flip_bit(&newest, 70 * 8).unwrap();
    let Restored { log: _log, snapshots, loaded, .. } = open_counted(&disk).unwrap();
    // Between the older one and the damaged one; only the offset matters here.
    snapshots.write(loaded.unwrap().offset + 1, |_| Ok(())).unwrap();
    assert_eq!(files(&disk).len(), 3);
    assert_eq!(files(&disk).pop().unwrap(), newest);
}

#[test]
fn a_snapshot_at_zero_is_of_a_log_too() {
    let disk = MemoryStorage::default();
    let Restored { mut log, state: all, snapshots, .. } = open_counted(&disk).unwrap();
    snapshots.take(&mut log, &all, |file| all.write(file)).unwrap();
    log.close().unwrap();
    assert_eq!(open_counted(&disk).unwrap().loaded.unwrap().offset, 0);
    let open_at = |dir| {
        let options = ChunkedWal::<Numbers>::options(Config::new(dir)).storage(Arc::new(disk.clone()));
        Snapshots::open("/db/snapshots", options, All::restore)
    };
    for chunk in disk.files("/db/log") {
        disk.remove_file(format!("/db/log/{chunk}")).unwrap();
    }
    for dir in ["/db/log", "/db/missing"] {
        let before = disk.snapshot();
        let opened = open_at(dir);
        assert!(matches!(&opened, Err(Error::NotFound { path }) if path.ends_with(dir)), "{opened:?}");
        assert_eq!(disk.snapshot(), before);
    }
}

#[test]
fn the_closure_that_writes_may_ask_but_not_write() {
    let disk = with_snapshots(2, 10);
    let Restored { mut log, state: mut all, snapshots, .. } = open_counted(&disk).unwrap();
    all.go_on(&mut log);
    log.sync().unwrap();
    let end = log.progress().synced;
    let would_deadlock = |done: Result<(), Error>, name| {
        assert!(matches!(done, Err(Error::WouldDeadlock { method }) if method == name), "{done:?}");
    };
    snapshots
        .write(end, |file| {
            assert_eq!(snapshots.unneeded_before(), 0);
            would_deadlock(snapshots.write(end, |_| Ok(())), "Snapshots::write");
            let taken = snapshots.take(&mut log, &all, |_| Ok(()));
            would_deadlock(taken.map(drop), "Snapshots::take");
            all.write(file)
        })
        .unwrap();
    assert_eq!(log.progress().appended, end);
    assert!(snapshots.unneeded_before() > 0);

    let log = SharedWal::new(log, all);
    log.commit(31).unwrap().wait().unwrap();
    snapshots
        .take_shared(&log, All::clone, |all, file| {
            let taken = snapshots.take_shared(&log, All::clone, |_, _| Ok(()));
            would_deadlock(taken.map(drop), "Snapshots::take_shared");
            all.write(file)
        })
        .unwrap();
    log.close().unwrap();
    let restored = open_counted(&disk).unwrap();
    assert_eq!((restored.state.numbers.len(), restored.state.applied), (32, 0));
}

#[test]
fn what_the_program_refuses_is_named() {
    let disk = with_snapshots(1, 1);
    let options = ChunkedWal::<Numbers>::options(Config::new("/db/log")).storage(Arc::new(disk.clone()));
    let restore = |_: Option<&[u8]>| Err::<All, _>("a state of another kind");
    let (path, reason) = fault(Snapshots::open("/db/snapshots", options, restore));
    assert_eq!(path, files(&disk)[0]);
    assert!(matches!(reason, SnapshotFault::Restore { .. }), "{reason:?}");
    assert!(reason.to_string().ends_with("a state of another kind"));
}

#[test]
fn a_writer_that_fails_leaves_the_snapshot_before() {
    let disk = with_snapshots(1, 1);
    let Restored { mut log, state: mut all, snapshots, .. } = open_counted(&disk).unwrap();
    all.go_on(&mut log);
    let before = files(&disk);
    let taken = snapshots.take(&mut log, &all, |file| {
        file.write_all(b"half of ")?;
        Err(std::io::Error::other("no more"))
    });
    assert!(taken.unwrap_err().to_string().contains("no more"));
    assert_eq!(files(&disk), before);
}

#[test]
fn a_shared_log_goes_on_meanwhile() {
    let disk = MemoryStorage::default();
    let Restored { log, state, snapshots, .. } = open_counted(&disk).unwrap();
    let log = SharedWal::new(log, state);
    let mut count = 0;
    for round in 0..4 {
        for _ in 0..10 {
            log.commit(count).unwrap().wait().unwrap();
            count += 1;
        }
        let removed = snapshots.take_shared(&log, All::clone, |all, file| {
            log.commit(count).unwrap().wait().unwrap();
            count += 1;
            all.write(file)
        });
        assert_eq!(removed.unwrap().is_empty(), round == 0);
    }
    log.close().unwrap();
    let restored = open_counted(&disk).unwrap();
    assert_eq!((restored.state.numbers, restored.state.applied), (numbers(44), 1));
    assert_eq!(files(&disk).len(), 2);
}

#[test]
fn foreign_files_are_left_alone_and_leftovers_are_not() {
    let disk = with_snapshots(2, 1);
    disk.write_file("/db/snapshots/notes.txt", b"mine").unwrap();
    disk.write_file("/db/snapshots/s-00_000_000_000_000_000_001.snap.tmp", b"half").unwrap();
    let Restored { mut log, state: mut all, snapshots, .. } = open_counted(&disk).unwrap();
    all.go_on(&mut log);
    snapshots.take(&mut log, &all, |file| all.write(file)).unwrap();
    let left = disk.files("/db/snapshots");
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.contains(&"notes.txt".to_string()), "{left:?}");
}
