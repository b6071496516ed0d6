//! The log is kept until it is archived, and no longer.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use chunked_wal::{HolderKind, PinOptions, PinState, Subscriber};
use chunked_wal_archive::{Archiver, Error};
use object_store::memory::InMemory;

use crate::common::{Deed, FaultyStore, LONG, TestLog, files, restore_all, small, until};

/// Drains and removes all that may go; returns the number of chunks.
fn shrink(log: &mut TestLog) -> usize {
    let old = log.wal.drain_closed_chunks_while(|_| true);
    let len = old.len();
    log.wal.remove_chunks(old).unwrap();
    log.wal.wait_idle().unwrap();
    len
}

#[test]
fn a_log_in_this_process_is_kept_until_it_is_archived() {
    let memory = Arc::new(InMemory::new());
    let dir = tempfile::tempdir().unwrap();
    let mut log = TestLog::on_disk(&dir.path().join("log"));
    log.append(100).unwrap();
    let store = FaultyStore::new(&memory, |_| Deed::Do);
    *store.held.lock().unwrap() = Some("objects/");
    let archiver = small(Archiver::of_log(&log.wal)).start(store.clone()).unwrap();
    until(|| store.putting() > 0);
    assert_eq!(shrink(&mut log), 0);
    let holders = log.wal.holders().unwrap();
    assert_eq!((holders[0].name.as_str(), holders[0].kind), ("archive", HolderKind::Pin));
    *store.held.lock().unwrap() = None;
    archiver.wait_archived(log.end(), LONG).unwrap();
    until(|| log.wal.holders().unwrap()[0].offset == log.wal.open_chunk_id().offset());
    assert!(shrink(&mut log) > 3);
    // One that has stopped keeps what comes next, until it is dropped.
    let later = small(Archiver::of_log(&log.wal)).start(memory).unwrap();
    until(|| later.status().epoch > 0);
    log.append(100).unwrap();
    until(|| matches!(archiver.error(), Some(Error::Fenced { .. })));
    later.close(LONG).unwrap();
    assert_eq!(shrink(&mut log), 0);
    drop(archiver);
    assert!(shrink(&mut log) > 3);
}

#[test]
fn a_log_of_another_process_is_kept_also_while_no_archiver_runs() {
    let memory = Arc::new(InMemory::new());
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("log");
    let mut log = TestLog::on_disk(&log_dir);
    log.append(50).unwrap();
    for _ in 0..3 {
        let archiver = small(Archiver::of_directory(&log_dir)).start(memory.clone()).unwrap();
        archiver.close(LONG).unwrap();
        log.append(50).unwrap();
        shrink(&mut log);
    }
    let archiver = small(Archiver::of_directory(&log_dir)).start(memory.clone()).unwrap();
    log.wal.close().unwrap();
    archiver.close(LONG).unwrap();
    // Without a hole, although the log drained all it could.
    let restored = dir.path().join("restored");
    restore_all(memory, &restored).unwrap();
    let mut log = TestLog::on_disk(&log_dir);
    let oldest = log.wal.closed_chunk_stats()[0].chunk_id;
    assert!(oldest.0 > 0);
    assert!(files(&restored)[0].0 < files(&log_dir)[0].0);
    assert_eq!(TestLog::on_disk(&restored).count.0, log.count.0);
    // It is everybody's to end.
    log.append(50).unwrap();
    Subscriber::options(&log_dir, "archive").open().unwrap().remove().unwrap();
    assert!(shrink(&mut log) > 2);
}

#[test]
fn behind_its_cap_the_archive_loses_its_hold_and_says_what_it_lacks() {
    let memory = Arc::new(InMemory::new());
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("log");
    let mut log = TestLog::on_disk(&log_dir);
    log.append(10).unwrap();
    let subscriber = || {
        let pin = PinOptions::new().max_bytes(2000);
        Subscriber::options(&log_dir, "archive").pin(pin)
    };
    let start =
        || small(Archiver::of_directory(&log_dir)).subscriber(subscriber()).start(memory.clone()).unwrap();
    start().close(LONG).unwrap();
    log.append(200).unwrap();
    assert!(shrink(&mut log) > 3);
    assert_eq!(log.wal.holders().unwrap()[0].state, PinState::Broken);
    let archiver = start();
    until(|| archiver.error().is_some());
    assert!(matches!(archiver.error(), Some(Error::Missing { .. })), "{:?}", archiver.error());
    drop(archiver);
    // From now on it holds again.
    assert_eq!(log.wal.holders().unwrap()[0].state, PinState::Holds);
    assert!(log.wal.holders().unwrap()[0].age < Duration::from_secs(60));
}

#[test]
fn a_log_that_may_not_be_written_to_is_archived_without_a_pin() {
    let memory = Arc::new(InMemory::new());
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("log");
    let mut log = TestLog::on_disk(&log_dir);
    log.append(10).unwrap();
    // Nobody, not even root, can make a directory there.
    std::fs::write(log_dir.join("subscribers"), "a file").unwrap();
    let archiver = small(Archiver::of_directory(&log_dir)).start(memory.clone()).unwrap();
    until(|| archiver.error().is_some());
    let error = archiver.error().unwrap();
    assert!(matches!(error, Error::Pin { .. }) && error.to_string().contains("--no-pin"), "{error}");
    drop(archiver);
    let end = log.end();
    log.append(200).unwrap();
    assert!(shrink(&mut log) > 3, "a file holds nothing");
    log.wal.close().unwrap();
    let archiver = small(Archiver::of_directory(&log_dir)).without_pin().start(memory).unwrap();
    assert!(archiver.close(LONG).unwrap().end > end);
}
