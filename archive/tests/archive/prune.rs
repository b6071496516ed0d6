//! Prunes by age, size and offset, with pins, and cut at every operation.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use chunked_wal_archive::object_store::memory::InMemory;
use chunked_wal_archive::{Archive, Archiver, Error, Keep, Progress, PruneMode, RestoreFrom, RestoreTo};

use crate::common::{Deed, FaultyStore, LONG, compare, eager, names, original_in, restore_all, small};
use crate::restore::archived;

fn archive(memory: &Arc<InMemory>) -> Archive {
    Archive::with_retry(memory.clone(), eager())
}

/// Every object of the newest manifest is there and sound.
fn assert_sound(memory: &Arc<InMemory>) {
    let verified = archive(memory).verify(&Progress::default()).unwrap();
    assert_eq!((verified.findings, verified.missing), (vec![], vec![]));
}

#[test]
fn what_is_kept_can_be_restored_and_the_rest_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (log, memory) = archived(dir.path());
    let chunks = log.wal.closed_chunk_stats();
    let third = chunks[2].chunk_id.0;
    let cases = [
        (Keep::From(third + 100), third),
        (Keep::Age(Duration::from_secs(3600)), 0),
        (Keep::Age(Duration::ZERO), log.wal.open_chunk_id().0),
        (Keep::Bytes(0), log.wal.open_chunk_id().0),
        (Keep::Bytes(u64::MAX), 0),
        (Keep::From(u64::MAX), log.wal.open_chunk_id().0),
    ];
    for (i, (keep, start)) in cases.into_iter().enumerate() {
        let memory = Arc::new(memory.fork());
        let before = names(&memory, "objects").len();
        let dry = archive(&memory).prune(keep, PruneMode::Dry).unwrap();
        assert_eq!((dry.start, names(&memory, "objects").len()), (start, before), "{keep:?}");
        let pruned = archive(&memory).prune(keep, PruneMode::Apply).unwrap();
        assert_eq!((pruned.start_before, pruned.start), (0, start), "{keep:?}");
        assert_eq!(pruned.deleted > 0, start > 0);
        let left = names(&memory, "objects");
        assert!(left.iter().all(|name| name.split('/').nth(2).unwrap().parse::<u64>().unwrap() >= start));
        assert_sound(&memory);
        let restored = dir.path().join(format!("{i}"));
        assert_eq!(restore_all(memory, &restored).unwrap().end, log.end());
        assert_eq!(compare(&restored, original_in(&dir.path().join("log"))), log.count.0);
    }
}

#[test]
fn a_pin_keeps_its_chunk_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, memory) = archived(dir.path());
    let second = log.wal.closed_chunk_stats()[1].chunk_id.0;
    let archive = archive(&memory);
    archive.pin("backup", second + 90).unwrap();
    assert_eq!(archive.prune(Keep::Bytes(0), PruneMode::Apply).unwrap().start, second);
    let error = archive.pin("too late", second - 8).unwrap_err();
    assert!(matches!(error, Error::NotInArchive { .. }), "{error}");
    let restored = dir.path().join("restored");
    let to = RestoreTo::Offset(second + 200);
    archive.restore(RestoreFrom::Nearest, to, &restored, &Progress::default()).unwrap();
    // A pin holds while an archiver publishes.
    let archiver = small(Archiver::of_log(&log.wal)).start(memory.clone()).unwrap();
    let mut log = log;
    log.append(20).unwrap();
    archiver.wait_archived(log.end(), LONG).unwrap();
    assert_eq!(archive.status().unwrap().pins["backup"], second + 90);
    archive.unpin("backup").unwrap();
    assert!(matches!(archive.unpin("backup"), Err(Error::NoPin { .. })));
    assert!(archive.prune(Keep::Bytes(0), PruneMode::Apply).unwrap().start > second);
    // The archiver goes on from what is left.
    log.append(20).unwrap();
    archiver.wait_archived(log.end(), LONG).unwrap();
    assert!(archive.status().unwrap().start > second);
    assert_sound(&memory);
}

#[test]
fn a_prune_cut_at_any_operation_leaves_nothing_unreadable_and_is_finished_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (log, memory) = archived(dir.path());
    let keep = Keep::From(log.wal.closed_chunk_stats()[3].chunk_id.0);
    let counting = FaultyStore::new(&Arc::new(memory.fork()), |_| Deed::Do);
    Archive::with_retry(counting.clone(), eager()).prune(keep, PruneMode::Apply).unwrap();
    let operations = counting.operations.load(SeqCst);
    assert!(operations > 10, "{operations}");
    let left = names(&counting.memory, "objects");
    let mut retry = eager();
    retry.give_up_after = Some(Duration::ZERO);
    for deed in [Deed::Fail, Deed::DoAndFail, Deed::FailAndDoLater] {
        for at in 1..=operations {
            let memory = Arc::new(memory.fork());
            let store = FaultyStore::new(&memory, move |n| match n.cmp(&at) {
                std::cmp::Ordering::Less => Deed::Do,
                std::cmp::Ordering::Equal => deed,
                std::cmp::Ordering::Greater => Deed::Fail,
            });
            let cut = Archive::with_retry(store.clone(), retry.clone()).prune(keep, PruneMode::Apply);
            assert!(cut.is_err() || at == operations);
            assert_sound(&memory);
            store.do_late();
            assert_sound(&memory);
            archive(&memory).prune(keep, PruneMode::Apply).unwrap();
            assert_eq!(names(&memory, "objects"), left);
            assert_sound(&memory);
        }
    }
}

/// While an archiver publishes without a pause, prunes and pins come between, again and again.
#[test]
fn prunes_and_pins_between_an_archivers_manifests_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, memory) = archived(dir.path());
    let archiver = small(Archiver::of_log(&log.wal)).start(memory.clone()).unwrap();
    for round in 0..40_u64 {
        log.append(8).unwrap();
        let status = archive(&memory).status().unwrap();
        archive(&memory).pin("round", status.sealed_upto.max(status.start)).unwrap();
        if round.is_multiple_of(3) {
            archive(&memory).prune(Keep::Bytes(6000), PruneMode::Apply).unwrap();
        }
    }
    archiver.wait_archived(log.end(), LONG).unwrap();
    assert!(archiver.error().is_none(), "{:?}", archiver.error());
    assert_sound(&memory);
    let restored = dir.path().join("restored");
    assert_eq!(restore_all(memory, &restored).unwrap().end, log.end());
    assert_eq!(compare(&restored, original_in(&dir.path().join("log"))), log.count.0);
}
