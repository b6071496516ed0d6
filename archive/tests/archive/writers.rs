//! Two archivers of one log: the later one goes on, the earlier one stops, and its late puts are in no manifest.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use chunked_wal::storage::MemoryStorage;
use chunked_wal_archive::object_store::memory::InMemory;
use chunked_wal_archive::{Archive, Archiver, Error, Keep, PruneMode};

use crate::common::{
    Deed, FaultyStore, LONG, TestLog, attach, compare, eager, names, original_in, original_on, random,
    restore_all, small, until,
};

const DIR: &str = "/log";

#[test]
fn the_earlier_of_two_archivers_stops_with_an_error_of_its_own() {
    let memory = Arc::new(InMemory::new());
    let storage = MemoryStorage::default();
    let mut log = TestLog::open(Path::new(DIR), Arc::new(storage.clone())).unwrap();
    let first = attach(&log, &storage, memory.clone());
    log.append(20).unwrap();
    first.wait_archived(log.end(), LONG).unwrap();
    let second = attach(&log, &storage, memory.clone());
    until(|| second.status().epoch > 0);
    log.append(20).unwrap();
    second.wait_archived(log.end(), LONG).unwrap();
    until(|| first.error().is_some());
    let error = first.close(LONG).unwrap_err();
    assert!(matches!(error, Error::Fenced { epoch: 1, by: 2 }), "{error}");
    assert_eq!(error.status(), 9);
    log.append(5).unwrap();
    second.wait_archived(log.end(), LONG).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let restored = dir.path().join("log");
    assert_eq!(restore_all(memory, &restored).unwrap().end, log.end());
    assert_eq!(compare(&restored, original_on(&storage, Path::new(DIR))), 45);
}

/// Without a record to archive, and without a log to read.
#[test]
fn an_idle_archiver_learns_that_it_was_fenced_and_asks_no_more_often_than_it_should() {
    const PERIOD: Duration = Duration::from_millis(40);
    let dir = tempfile::tempdir().unwrap();
    let memory = Arc::new(InMemory::new());
    let store = FaultyStore::new(&memory, |_| Deed::Do);
    let log = TestLog::on_disk(&dir.path().join("log"));
    let places = [log.wal.dir().to_owned(), dir.path().join("none")];
    for place in places {
        let options = small(Archiver::of_directory(&place)).fence_check(PERIOD);
        let first = options.clone().start(store.clone()).unwrap();
        until(|| first.status().epoch > 0 || !place.exists());
        let started = Instant::now();
        store.gets.lock().unwrap().clear();
        std::thread::sleep(6 * PERIOD);
        let asked = store.gets.lock().unwrap().iter().filter(|name| name.starts_with("epochs/")).count();
        let periods = started.elapsed().div_duration_f64(PERIOD) as usize;
        assert!((1..=periods + 1).contains(&asked), "{asked} times in {periods} periods");
        assert!(first.error().is_none());
        let _second = options.start(store.clone()).unwrap();
        until(|| first.error().is_some());
        assert!(matches!(first.error(), Some(Error::Fenced { .. })), "{:?}", first.error());
    }
}

/// The first archiver hangs at each operation, a second one takes over and archives so much that the first one's
/// manifests are deleted, and the first one wakes.
#[test]
fn an_archiver_that_wakes_after_another_has_taken_over_changes_nothing() {
    let mut fenced = 0;
    for at in 1..40 {
        let memory = Arc::new(InMemory::new());
        let storage = MemoryStorage::default();
        let mut log = TestLog::open(Path::new(DIR), Arc::new(storage.clone())).unwrap();
        let asleep = Arc::new(AtomicBool::new(false));
        let woken = Arc::new(AtomicBool::new(false));
        let (sleeps, wakes) = (asleep.clone(), woken.clone());
        let sleepy = FaultyStore::new(&memory, move |n| {
            if n == at {
                sleeps.store(true, SeqCst);
                until(|| wakes.load(SeqCst));
            }
            Deed::Do
        });
        let first = attach(&log, &storage, sleepy);
        until(|| {
            log.append(3).unwrap();
            asleep.load(SeqCst)
        });
        let reported = first.status().end;
        let second = attach(&log, &storage, memory.clone());
        // Old manifests are deleted after each 16 new ones.
        for _ in 0..36 {
            log.append(2).unwrap();
            second.wait_archived(log.end(), LONG).unwrap();
        }
        woken.store(true, SeqCst);
        // The one that was fenced learns it with its next manifest, so there must be something to archive.
        until(|| {
            log.append(1).unwrap();
            first.error().is_some() || second.error().is_some()
        });
        // If the first one slept before its claim, it is the later one.
        let (kept, lost) = if first.error().is_some() { (&second, &first) } else { (&first, &second) };
        assert!(matches!(lost.error(), Some(Error::Fenced { .. })), "{:?}", lost.error());
        kept.wait_archived(log.end(), LONG).unwrap();
        fenced += u64::from(first.error().is_some());
        assert!(first.error().is_none() || first.status().end == reported, "reported after it was fenced");
        let dir = tempfile::tempdir().unwrap();
        let restored = dir.path().join("log");
        assert_eq!(restore_all(memory, &restored).unwrap().end, log.end());
        assert_eq!(compare(&restored, original_on(&storage, Path::new(DIR))), log.count.0);
    }
    assert!(fenced > 30, "{fenced}");
}

/// Archivers start at random, with stores that fail one request in three and answer late.
#[test]
fn any_number_of_archivers_that_take_over_from_each_other_lose_nothing() {
    let memory = Arc::new(InMemory::new());
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("log");
    let mut log = TestLog::on_disk(&log_dir);
    let mut archivers: Vec<(Archiver, Arc<FaultyStore>)> = Vec::new();
    for round in 0..25 {
        let store = FaultyStore::new(&memory, move |n| match random(round, n) % 12 {
            0 | 1 => Deed::Fail,
            2 => Deed::DoAndFail,
            3 => Deed::FailAndDoLater,
            _ => Deed::Do,
        });
        let options = small(Archiver::of_directory(&log_dir)).fence_check(Duration::from_millis(100));
        archivers.push((options.start(store.clone()).unwrap(), store));
        for step in 0..10 {
            log.append(random(round, step) % 9).unwrap();
            for (_, store) in &archivers {
                if random(round, step + 100).is_multiple_of(3) {
                    store.do_late();
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
    let (last, _) = archivers.last().unwrap();
    log.wal.wait_idle().unwrap();
    let end = log.end();
    until(|| last.status().end >= end);
    archivers.iter().for_each(|(_, store)| store.do_late());
    // One that has nothing to publish looks from time to time.
    until(|| archivers.iter().filter(|(archiver, _)| archiver.error().is_some()).count() == 24);
    for (archiver, _) in &archivers[..24] {
        assert!(matches!(archiver.error(), Some(Error::Fenced { .. })), "{:?}", archiver.error());
    }
    drop(archivers);
    let restored = dir.path().join("restored");
    assert_eq!(restore_all(memory.clone(), &restored).unwrap().end, end);
    assert_eq!(compare(&restored, original_in(&log_dir)), log.count.0);

    // What they left unpublished goes with the first prune of a later archiver.
    let last = small(Archiver::of_directory(&log_dir)).start(memory.clone()).unwrap();
    log.append(1).unwrap();
    last.wait_archived(log.end(), LONG).unwrap();
    let before = names(&memory, "objects").len();
    let archive = Archive::with_retry(memory.clone(), eager());
    archive.prune(Keep::From(0), PruneMode::Apply).unwrap();
    assert!(names(&memory, "objects").len() <= before);
    let again = dir.path().join("again");
    assert_eq!(restore_all(memory, &again).unwrap().end, log.end());
}

#[test]
fn an_archive_belongs_to_one_log_and_one_history_of_it() {
    let memory = Arc::new(InMemory::new());
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
    let mut log = TestLog::on_disk(&one);
    log.append(4).unwrap();
    let archiver = small(Archiver::of_log(&log.wal)).start(memory.clone()).unwrap();
    archiver.wait_archived(log.end(), LONG).unwrap();
    archiver.close(LONG).unwrap();
    let stranger = TestLog::on_disk(&other);
    let archiver = small(Archiver::of_log(&stranger.wal)).start(memory.clone()).unwrap();
    until(|| archiver.error().is_some());
    assert!(matches!(archiver.error(), Some(Error::OtherLog { .. })), "{:?}", archiver.error());
    drop(stranger);

    // The log loses its newest records, and goes on.
    log.wal.close().unwrap();
    let (name, bytes) = crate::common::files(&one).pop().unwrap();
    std::fs::write(one.join(name), &bytes[..300]).unwrap();
    let mut log = TestLog::on_disk(&one);
    log.append(4).unwrap();
    let archiver = small(Archiver::of_log(&log.wal)).start(memory).unwrap();
    until(|| archiver.error().is_some());
    assert!(matches!(archiver.error(), Some(Error::Diverged { .. })), "{:?}", archiver.error());
}
