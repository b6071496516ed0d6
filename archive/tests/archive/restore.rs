//! Restores to any record and any time, interrupted ones, and what damage does.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use chunked_wal::Segment;
use chunked_wal_archive::object_store::ObjectStoreExt;
use chunked_wal_archive::object_store::memory::InMemory;
use chunked_wal_archive::object_store::path::Path as Name;
use chunked_wal_archive::{Archive, Archiver, Error, Progress, RestoreFrom, RestoreTo};

use crate::common::{
    Deed, FaultyStore, LONG, TestLog, compare, eager, files, futures_executor, names, original_in, small,
    until,
};

/// A log of several chunks, and its archive.
pub(crate) fn archived(dir: &Path) -> (TestLog, Arc<InMemory>) {
    let memory = Arc::new(InMemory::new());
    let mut log = TestLog::on_disk(&dir.join("log"));
    let archiver = small(Archiver::of_log(&log.wal)).start(memory.clone()).unwrap();
    for _ in 0..8 {
        log.append(10).unwrap();
        archiver.wait_archived(log.end(), LONG).unwrap();
    }
    archiver.close(LONG).unwrap();
    (log, memory)
}

fn restore(memory: &Arc<InMemory>, from: RestoreFrom, to: RestoreTo, dir: &Path) -> Result<u64, Error> {
    let archive = Archive::with_retry(memory.clone(), eager());
    archive.restore(from, to, dir, &Progress::default()).map(|restored| restored.end)
}

#[test]
fn to_every_record_from_the_nearest_checkpoint_and_from_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let (log, memory) = archived(dir.path());
    let log_dir = dir.path().join("log");
    let records: Vec<Segment> = log.wal.records().map(|record| record.unwrap().1).collect();
    assert!(records.len() > 80);
    for (i, segment) in records.iter().enumerate() {
        let end = segment.offset + segment.size;
        for (from, offset) in [(RestoreFrom::Nearest, end), (RestoreFrom::Oldest, end + 7)] {
            let restored = dir.path().join(format!("{i}"));
            assert_eq!(
                restore(&memory, from, RestoreTo::Offset(offset.min(log.end())), &restored).unwrap(),
                end
            );
            let is_one = files(&restored).len() == 1;
            assert_eq!(
                is_one,
                from == RestoreFrom::Nearest || end <= log.wal.closed_chunk_stats()[0].global_end
            );
            let count = compare(&restored, original_in(&log_dir));
            let checkpoints = records[..=i].iter().filter(|record| is_first(&log, record)).count();
            assert_eq!(count, (i + 1 - checkpoints) as u64);
            std::fs::remove_dir_all(&restored).unwrap();
        }
    }
    let beyond =
        restore(&memory, RestoreFrom::Nearest, RestoreTo::Offset(log.end() + 8), &dir.path().join("x"));
    assert!(matches!(beyond, Err(Error::NotInArchive { .. })), "{beyond:?}");
}

fn is_first(log: &TestLog, segment: &Segment) -> bool {
    let mut chunks = log.wal.closed_chunk_stats().into_iter().map(|chunk| chunk.chunk_id);
    chunks.any(|id| id.0 + 64 == segment.offset) || log.wal.open_chunk_id().0 + 64 == segment.offset
}

#[test]
fn to_a_time_between_two_writes() {
    let dir = tempfile::tempdir().unwrap();
    let memory = Arc::new(InMemory::new());
    let mut log = TestLog::on_disk(&dir.path().join("log"));
    let archiver = small(Archiver::of_log(&log.wal)).start(memory.clone()).unwrap();
    let mut moments = Vec::new();
    for _ in 0..6 {
        log.append(9).unwrap();
        archiver.wait_archived(log.end(), LONG).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        moments.push((now, log.end(), log.count.0));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for (i, (time, end, count)) in moments.into_iter().enumerate() {
        let restored = dir.path().join(format!("{i}"));
        assert_eq!(restore(&memory, RestoreFrom::Oldest, RestoreTo::TimeMs(time), &restored).unwrap(), end);
        assert_eq!(compare(&restored, original_in(&dir.path().join("log"))), count);
    }
    let before = restore(&memory, RestoreFrom::Oldest, RestoreTo::TimeMs(1), &dir.path().join("x"));
    assert!(matches!(before, Err(Error::NotInArchive { .. })), "{before:?}");
}

#[test]
fn a_restore_cut_at_any_operation_goes_on_and_reads_no_part_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (log, memory) = archived(dir.path());
    let target = dir.path().join("restored");
    let (mut failed, mut parts) = (0, Vec::new());
    let mut retry = eager();
    retry.give_up_after = Some(std::time::Duration::ZERO);
    for at in 1..1000 {
        // From this operation on, the store is away.
        let store = FaultyStore::new(&memory, move |n| if n >= at { Deed::Fail } else { Deed::Do });
        let archive = Archive::with_retry(store.clone(), retry.clone());
        let result = archive.restore(RestoreFrom::Oldest, RestoreTo::Latest, &target, &Progress::default());
        parts.extend(store.gets.lock().unwrap().drain(..).filter(|name| name.starts_with("objects/")));
        let Ok(restored) = result else {
            failed += 1;
            assert!(!target.exists());
            continue;
        };
        assert!(restored.kept_bytes > restored.downloaded_bytes, "{restored:?}");
        break;
    }
    assert!(failed > 3, "{failed}");
    let read = parts.len();
    parts.sort_unstable();
    parts.dedup();
    assert_eq!(read, parts.len(), "a part was read twice");
    assert_eq!(compare(&target, original_in(&dir.path().join("log"))), log.count.0);
    let again = restore(&memory, RestoreFrom::Oldest, RestoreTo::Latest, &target);
    assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
}

#[test]
fn a_part_that_an_interrupted_restore_left_damaged_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, memory) = archived(dir.path());
    let [target, staging] = ["restored", "restored.restoring"].map(|name| dir.path().join(name));
    let mut retry = eager();
    retry.give_up_after = Some(std::time::Duration::ZERO);
    let away = FaultyStore::new(&memory, |n| if n >= 15 { Deed::Fail } else { Deed::Do });
    let archive = Archive::with_retry(away, retry);
    archive.restore(RestoreFrom::Oldest, RestoreTo::Latest, &target, &Progress::default()).unwrap_err();
    let left: Vec<_> = files(&staging).into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    assert!(left.len() > 1, "{}", left.len());
    for (name, mut bytes) in left {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(staging.join(name), bytes).unwrap();
    }
    restore(&memory, RestoreFrom::Oldest, RestoreTo::Latest, &target).unwrap();
    assert_eq!(compare(&target, original_in(&dir.path().join("log"))), log.count.0);
}

/// A process may have 1024 files open, and a log may have more chunks.
#[test]
#[cfg(target_os = "linux")]
fn a_restore_of_many_chunks_has_few_files_open() {
    use std::cell::Cell;
    use std::rc::Rc;

    let dir = tempfile::tempdir().unwrap();
    let memory = Arc::new(InMemory::new());
    let mut log = TestLog::on_disk(&dir.path().join("log"));
    while log.wal.closed_chunk_stats().len() < 300 {
        log.append(50).unwrap();
    }
    small(Archiver::of_log(&log.wal)).start(memory.clone()).unwrap().close(crate::common::LONG).unwrap();
    let restored = dir.path().join("restored");
    let (most, staging) = (Rc::new(Cell::new(0)), dir.path().join("restored.restoring"));
    let seen = most.clone();
    let progress = Progress::new(move |_, _| {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let open = open.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        seen.set(seen.get().max(open.filter(|path| path.starts_with(&staging)).count()));
    });
    let archive = Archive::with_retry(memory, eager());
    archive.restore(RestoreFrom::Oldest, RestoreTo::Latest, &restored, &progress).unwrap();
    assert!((1..200).contains(&most.get()), "{}", most.get());
    assert_eq!(compare(&restored, original_in(&dir.path().join("log"))), log.count.0);
}

#[test]
fn a_damaged_or_missing_object_is_found_and_never_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, memory) = archived(dir.path());
    for (i, name) in names(&memory, "objects").into_iter().enumerate() {
        let (name, path) = (Name::from(name.clone()), name);
        let copy = Arc::new(memory.fork());
        if i % 2 == 0 {
            let bytes = futures_executor(async { copy.get(&name).await.unwrap().bytes().await.unwrap() });
            let mut bytes = bytes.to_vec();
            let at = i * 7 % bytes.len();
            bytes[at] ^= 4;
            futures_executor(copy.put(&name, bytes.into())).unwrap();
        } else {
            futures_executor(copy.delete(&name)).unwrap();
        }
        // Each its own: an interrupted restore leaves sound parts in their places, which the next one keeps.
        let restored = dir.path().join(format!("{i}"));
        let error = restore(&copy, RestoreFrom::Oldest, RestoreTo::Latest, &restored).unwrap_err();
        assert!(matches!(&error, Error::Damaged { name, .. } if *name == path), "{error}");
        assert!(!restored.exists());
        let findings = Archive::with_retry(copy, eager()).verify(&Progress::default()).unwrap().findings;
        assert!(findings.iter().any(|finding| finding.contains(&path)), "{findings:?}");
    }
    let sound = Archive::with_retry(memory, eager()).verify(&Progress::default()).unwrap();
    assert_eq!((sound.findings.len(), sound.records > 80), (0, true), "{sound:?}");
}

#[test]
fn a_log_restored_to_an_earlier_record_is_not_archived_over_the_later_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (log, memory) = archived(dir.path());
    let ends: Vec<u64> = log.wal.closed_chunk_stats().iter().map(|chunk| chunk.global_end).collect();
    for (i, end) in [log.end() - 8, ends[1], ends[0]].into_iter().enumerate() {
        for more in [0, 1, 200] {
            let restored = dir.path().join(format!("{i}-{more}"));
            restore(&memory, RestoreFrom::Oldest, RestoreTo::Offset(end), &restored).unwrap();
            let mut log = TestLog::on_disk(&restored);
            log.append(more).unwrap();
            let archiver = small(Archiver::of_log(&log.wal)).start(Arc::new(memory.fork())).unwrap();
            until(|| archiver.error().is_some());
            assert!(matches!(archiver.error(), Some(Error::Diverged { .. })), "{:?}", archiver.error());
            assert_eq!(archiver.archived_upto(), 0);
        }
    }
}
