//! Archivers and logs cut at every operation of the store and of the disk.
//!
//! After each cut: what the archiver had reported as archived can be restored, byte for byte; the next archiver goes
//! on, even while puts of the first one arrive late; and in the end all of the log can be restored.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use chunked_wal::Error as WalError;
use chunked_wal::storage::MemoryStorage;
use chunked_wal_archive::Error;
use chunked_wal_archive::object_store::memory::InMemory;

use crate::common::{Deed, FaultyStore, LONG, TestLog, attach, compare, original_on, restore_all, until};

const DIR: &str = "/log";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DiskFails {
    Yes,
    No,
}

/// Appends in steps, each archived before the next, until the store hangs or the disk fails. Returns the end of
/// the last step that the archiver has reported as archived.
fn workload(storage: &MemoryStorage, store: &Arc<FaultyStore>, fails: DiskFails) -> (u64, Option<TestLog>) {
    let Ok(mut log) = TestLog::open(Path::new(DIR), Arc::new(storage.clone())) else { return (0, None) };
    let archiver = attach(&log, storage, store.clone());
    let mut reported = 0;
    for records in [3, 9, 1, 30, 2] {
        if log.append(records).is_err() {
            break;
        }
        let end = log.end();
        until(|| archiver.status().end >= end || store.hangs() || archiver.error().is_some());
        if archiver.status().end < end {
            break;
        }
        reported = end;
        // Fails if the disk fails, which ends the next step.
        let upto = archiver.archived_upto();
        let mut chunks = log.wal.closed_chunk_stats().into_iter();
        let kept = log.wal.closed_chunk_stats().len().saturating_sub(3);
        let mut drained = 0;
        let old = log.wal.drain_closed_chunks_while(|_| {
            drained += 1;
            drained <= kept && chunks.next().is_some_and(|chunk| chunk.global_end <= upto)
        });
        let _fails_with_the_disk = log.wal.remove_chunks(old);
    }
    let error = archiver.error();
    // It reads a disk that has crashed.
    let is_the_disks = matches!(error, Some(Error::Io { .. } | Error::Log(WalError::Io { .. })));
    assert!(error.is_none() || is_the_disks && fails == DiskFails::Yes, "{error:?}");
    (reported, Some(log))
}

/// Opens the log again, archives all of it, and restores it.
fn go_on(storage: &MemoryStorage, memory: &Arc<InMemory>, first: &Arc<FaultyStore>, reported: u64) {
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before");
    if reported > 0 {
        let restored = restore_all(memory.clone(), &before).unwrap();
        assert!(restored.end >= reported, "{} after {reported} was reported", restored.end);
    }
    let mut log = TestLog::open(Path::new(DIR), Arc::new(storage.clone())).unwrap();
    let second = FaultyStore::new(memory, |_| Deed::Do);
    let archiver = attach(&log, storage, second);
    log.append(1).unwrap();
    archiver.wait_archived(log.end(), LONG).unwrap();
    first.do_late();
    log.append(7).unwrap();
    archiver.wait_archived(log.end(), LONG).unwrap();
    archiver.close(LONG).unwrap();
    let after = dir.path().join("after");
    let restored = restore_all(memory.clone(), &after).unwrap();
    assert_eq!(restored.end, log.end());
    // The log has removed its oldest chunks, so what was restored before is compared with what was restored now.
    let original = original_on(storage, Path::new(DIR));
    let restored_later = |name: &str| std::fs::read(after.join(name)).ok();
    for (name, bytes) in crate::common::files(&after) {
        assert!(original(&name).is_none_or(|original| original.starts_with(&bytes)), "{name} differs");
    }
    if reported > 0 {
        compare(&before, restored_later);
    }
    assert_eq!(compare(&after, restored_later), log.count.0);
}

#[test]
fn an_archiver_cut_at_any_operation_of_the_store_is_continued_by_the_next() {
    let memory = Arc::new(InMemory::new());
    let store = FaultyStore::new(&memory, |_| Deed::Do);
    let storage = MemoryStorage::default();
    workload(&storage, &store, DiskFails::No);
    let operations = store.operations.load(SeqCst);
    assert!(operations > 20, "{operations}");
    for deed in [Deed::Hang, Deed::DoAndHang, Deed::FailAndDoLater] {
        for at in 1..=operations {
            let memory = Arc::new(InMemory::new());
            let store = FaultyStore::hanging_at(&memory, at, deed);
            let storage = MemoryStorage::default();
            let (reported, log) = workload(&storage, &store, DiskFails::No);
            drop(log);
            go_on(&storage, &memory, &store, reported);
        }
    }
}

#[test]
fn a_log_cut_at_any_operation_of_the_disk_is_archived_on_after_the_crash() {
    let memory = Arc::new(InMemory::new());
    let storage = MemoryStorage::default();
    workload(&storage, &FaultyStore::new(&memory, |_| Deed::Do), DiskFails::No);
    let operations = storage.operations();
    assert!(operations > 40, "{operations}");
    for at in 1..operations {
        let memory = Arc::new(InMemory::new());
        let store = FaultyStore::new(&memory, |_| Deed::Do);
        let storage = MemoryStorage::default();
        storage.crash_after(at);
        let (reported, log) = workload(&storage, &store, DiskFails::Yes);
        drop(log);
        for seed in 0..2 {
            // Each crash has its own store, with the objects that were there at the crash.
            let memory = Arc::new(memory.fork());
            go_on(&storage.crash(at + seed), &memory, &store, reported);
        }
    }
}
