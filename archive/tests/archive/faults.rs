//! Stores that are away, slow, or fail: nothing is lost, nothing is there twice, and no write waits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use chunked_wal::ChunkedWal;
use chunked_wal::storage::MemoryStorage;
use chunked_wal_archive::object_store::memory::InMemory;
use chunked_wal_archive::{Archiver, Error};

use crate::common::{
    Count, Deed, FaultyStore, LONG, TestLog, attach, compare, config, names, original_on, random,
    restore_all, small, until,
};

const DIR: &str = "/log";

#[test]
fn one_request_in_three_fails_and_nothing_is_lost_or_there_twice() {
    let mut failures = 0;
    for seed in 0..20 {
        let memory = Arc::new(InMemory::new());
        let store = FaultyStore::new(&memory, move |n| match random(seed, n) % 9 {
            0 => Deed::Fail,
            1 => Deed::DoAndFail,
            2 => Deed::FailAndDoLater,
            _ => Deed::Do,
        });
        let storage = MemoryStorage::default();
        let mut log = TestLog::open(Path::new(DIR), Arc::new(storage.clone())).unwrap();
        let archiver = attach(&log, &storage, store.clone());
        for _ in 0..12 {
            log.append(7).unwrap();
            archiver.wait_archived(log.end(), LONG).unwrap();
            store.do_late();
        }
        failures += archiver.status().failures;
        let dir = tempfile::tempdir().unwrap();
        let restored = dir.path().join("log");
        assert_eq!(restore_all(memory, &restored).unwrap().end, log.end());
        assert_eq!(compare(&restored, original_on(&storage, Path::new(DIR))), 84);
    }
    assert!(failures > 20 * 20, "{failures}");
}

#[test]
fn a_store_that_is_away_costs_no_write_and_is_caught_up_with() {
    let memory = Arc::new(InMemory::new());
    let away = Arc::new(AtomicBool::new(true));
    let is_away = away.clone();
    let store = FaultyStore::new(&memory, move |_| if is_away.load(SeqCst) { Deed::Fail } else { Deed::Do });
    let storage = MemoryStorage::default();
    let mut log = TestLog::open(Path::new(DIR), Arc::new(storage.clone())).unwrap();
    let archiver = attach(&log, &storage, store);
    let started = Instant::now();
    for _ in 0..200 {
        log.append(5).unwrap();
    }
    // A disk in memory takes milliseconds for this.
    assert!(started.elapsed() < Duration::from_secs(5));
    let error = archiver.wait_archived(log.end(), Duration::from_millis(50)).unwrap_err();
    assert!(matches!(&error, Error::NotYet { end: 0, last_error: Some(_) }), "{error}");
    assert_eq!(archiver.archived_upto(), 0);
    away.store(false, SeqCst);
    archiver.wait_archived(log.end(), LONG).unwrap();
    assert_eq!(archiver.status().last_error, None);
    let dir = tempfile::tempdir().unwrap();
    let restored = dir.path().join("log");
    assert_eq!(restore_all(memory, &restored).unwrap().end, log.end());
    assert_eq!(compare(&restored, original_on(&storage, Path::new(DIR))), 1000);
}

#[test]
fn parts_go_up_side_by_side_and_never_more_than_may_be() {
    let memory = Arc::new(InMemory::new());
    let store = FaultyStore::new(&memory, |_| Deed::DoSlowly);
    let storage = MemoryStorage::default();
    let mut log = TestLog::open(Path::new(DIR), Arc::new(storage.clone())).unwrap();
    log.append(200).unwrap();
    let archiver = attach(&log, &storage, store.clone());
    archiver.wait_archived(log.end(), LONG).unwrap();
    assert_eq!(store.putting_max(), 3);
    let puts = store.puts.lock().unwrap();
    let objects = puts.iter().filter(|(name, _)| name.starts_with("objects/"));
    assert!(objects.clone().count() > 20 && objects.clone().all(|(_, size)| *size <= 700));
}

#[test]
fn the_next_parts_go_up_while_a_manifest_is_published() {
    let memory = Arc::new(InMemory::new());
    let store = FaultyStore::new(&memory, |_| Deed::Do);
    let storage = MemoryStorage::default();
    let mut log = TestLog::open(Path::new(DIR), Arc::new(storage.clone())).unwrap();
    let archiver = attach(&log, &storage, store.clone());
    log.append(1).unwrap();
    archiver.wait_archived(log.end(), LONG).unwrap();
    let before = archiver.status();
    *store.held.lock().unwrap() = Some("manifests/");
    let parts = names(&memory, "objects").len();
    for more in 1..=5 {
        log.append(1).unwrap();
        until(|| names(&memory, "objects").len() >= parts + more);
    }
    assert_eq!(archiver.status().end, before.end, "reported before it was published");
    *store.held.lock().unwrap() = None;
    archiver.wait_archived(log.end(), LONG).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let restored = dir.path().join("log");
    assert_eq!(restore_all(memory, &restored).unwrap().end, log.end());
    assert_eq!(compare(&restored, original_on(&storage, Path::new(DIR))), 6);
}

#[test]
fn what_was_read_before_the_log_removed_the_rest_is_archived() {
    let memory = Arc::new(InMemory::new());
    let dir = tempfile::tempdir().unwrap();
    let mut log = TestLog::on_disk(&dir.path().join("log"));
    log.append(100).unwrap();
    let store = FaultyStore::new(&memory, |_| Deed::Do);
    *store.held.lock().unwrap() = Some("objects/");
    let archiver = small(Archiver::of_log(&log.wal)).without_pin().start(store.clone()).unwrap();
    until(|| store.putting() == 3);
    let old = log.wal.drain_closed_chunks_while(|_| true);
    log.wal.remove_chunks(old).unwrap();
    log.wal.wait_idle().unwrap();
    *store.held.lock().unwrap() = None;
    until(|| archiver.error().is_some());
    let error = archiver.error().unwrap();
    let end = archiver.status().end;
    assert!(matches!(error, Error::Missing { from, .. } if from == end && end > 0), "{end}: {error}");
}

#[test]
fn each_byte_goes_up_once_and_little_else() {
    let memory = Arc::new(InMemory::new());
    let store = FaultyStore::new(&memory, |_| Deed::Do);
    let dir = tempfile::tempdir().unwrap();
    let mut log = TestLog::on_disk(&dir.path().join("log"));
    let options = Archiver::of_log(&log.wal).pause(Duration::from_millis(20)).part_bytes(64 << 10);
    let archiver = options.start(store.clone()).unwrap();
    // Much more than a manifest in each pause.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        log.append(400).unwrap();
    }
    archiver.wait_archived(log.end(), LONG).unwrap();
    let status = archiver.close(LONG).unwrap();
    let seals = 40 * log.wal.closed_chunk_stats().len() as u64;
    assert_eq!(status.log_bytes, log.end() + seals, "no byte goes up twice");
    let put: u64 = store.puts.lock().unwrap().iter().map(|(_, size)| size).sum();
    assert!(put - status.uploaded_bytes < 500, "all but the claim is counted: {put} {status:?}");
}

#[test]
fn an_archiver_that_goes_on_uploads_no_byte_twice() {
    let memory = Arc::new(InMemory::new());
    let dir = tempfile::tempdir().unwrap();
    let mut log = TestLog::on_disk(&dir.path().join("log"));
    let mut uploaded = 0;
    for records in [1, 5, 40, 2, 30, 1] {
        let archiver = small(Archiver::of_log(&log.wal)).start(memory.clone()).unwrap();
        log.append(records).unwrap();
        archiver.wait_archived(log.end(), LONG).unwrap();
        uploaded += archiver.close(LONG).unwrap().log_bytes;
    }
    let seals = 40 * log.wal.closed_chunk_stats().len() as u64;
    assert_eq!(uploaded, log.end() + seals);
    // Names sort by chunk and position.
    let parts = names(&memory, "objects").into_iter().map(|name| {
        let fields: Vec<u64> =
            name.split(['/', '-']).skip(2).take(3).map(|field| field.parse().unwrap()).collect();
        (fields[0], fields[1], fields[2])
    });
    let mut parts: Vec<_> = parts.collect();
    parts.sort_unstable();
    for two in parts.windows(2) {
        let ((chunk, _, to), (next, from, _)) = (two[0], two[1]);
        assert_eq!(from, if next == chunk { to } else { 0 }, "{two:?}");
    }
}

/// One look makes one part, however fast the log grows meanwhile.
#[test]
fn a_log_that_grows_is_looked_at_after_each_pause_only() {
    let memory = Arc::new(InMemory::new());
    let storage = MemoryStorage::default();
    let mut config = config(Path::new(DIR));
    config.chunk_max_size = 1 << 20;
    let mut count = Count::default();
    let wal = ChunkedWal::options(config).storage(Arc::new(storage.clone())).open(&mut count).unwrap();
    let mut log = TestLog { wal, count };
    let options = Archiver::of_log(&log.wal).storage(Arc::new(storage)).pause(Duration::from_millis(100));
    let archiver = options.start(memory.clone()).unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(500) {
        log.append(1).unwrap();
    }
    let looks = 2 + started.elapsed().as_millis() as usize / 100;
    let chunks = 1 + log.wal.closed_chunk_stats().len();
    let parts = names(&memory, "objects").len();
    assert!(parts <= looks + chunks, "{parts} parts in {looks} looks of {chunks} chunks");
    drop(archiver);
}

#[test]
fn records_that_were_removed_too_early_are_an_error_or_skipped_on_request() {
    let memory = Arc::new(InMemory::new());
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("log");
    let mut log = TestLog::on_disk(&log_dir);
    log.append(10).unwrap();
    let archiver = small(Archiver::of_log(&log.wal)).start(memory.clone()).unwrap();
    archiver.wait_archived(log.end(), LONG).unwrap();
    let archived = archiver.close(LONG).unwrap().end;
    log.append(100).unwrap();
    let old = log.wal.drain_closed_chunks_while(|_| true);
    log.wal.remove_chunks(old).unwrap();
    log.wal.wait_idle().unwrap();
    let start = log.wal.open_chunk_id().0;
    let archiver = small(Archiver::of_log(&log.wal)).start(memory.clone()).unwrap();
    until(|| archiver.error().is_some());
    let error = archiver.error().unwrap();
    assert!(matches!(error, Error::Missing { from, to } if from == archived && to == start), "{error}");
    drop(archiver);

    let skipping = small(Archiver::of_log(&log.wal)).on_missing(chunked_wal_archive::OnMissing::Skip);
    let archiver = skipping.start(memory.clone()).unwrap();
    archiver.wait_archived(log.end(), LONG).unwrap();
    let error = restore_all(memory.clone(), &dir.path().join("all")).unwrap_err();
    assert!(matches!(error, Error::NotInArchive { .. }), "{error}");
    let archive = chunked_wal_archive::Archive::new(memory);
    let verified = archive.verify(&Default::default()).unwrap();
    assert_eq!((verified.missing, verified.findings), (vec![(archived, start)], vec![]));
    let newest = dir.path().join("newest");
    archive.restore(Default::default(), Default::default(), &newest, &Default::default()).unwrap();
    assert_eq!(compare(&newest, crate::common::original_in(&log_dir)), log.count.0);
}
