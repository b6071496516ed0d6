//! Appends, snapshots, drains and removals are cut at every operation of the disk. Whatever a crash leaves: the newest
//! acknowledged snapshot is there or a newer one, none with its final name is damaged, and nothing acknowledged is
//! lost.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use chunked_wal::storage::{Fault, FaultHow, MemoryStorage};

use crate::common::{All, open_counted};

/// What was acknowledged.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    numbers: usize,
    /// What the newest snapshot covers.
    offset: u64,
}

/// The disks before each change, with what was acknowledged by then.
fn work(disk: &MemoryStorage, rounds: u64) -> Vec<(MemoryStorage, Known)> {
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let known = Arc::new(Mutex::new(Known::default()));
    let (watched, list, marks) = (disk.clone(), cuts.clone(), known.clone());
    disk.on_operation(move |op| {
        if op.kind.is_change() {
            list.lock().unwrap().push((watched.kill(), *marks.lock().unwrap()));
        }
    });
    for round in 0..rounds {
        let restored = open_counted(disk).unwrap();
        let (mut log, mut all, snapshots) = (restored.log, restored.state, restored.snapshots);
        for _ in 0..3 + round % 2 {
            for _ in 0..1 + round % 4 {
                all.go_on(&mut log);
            }
            log.sync().unwrap();
            known.lock().unwrap().numbers = all.numbers.len();
            snapshots.take(&mut log, &all, |file| all.write(file)).unwrap();
            known.lock().unwrap().offset = log.open_chunk_id().offset();
        }
        all.go_on(&mut log);
        log.close().unwrap();
        known.lock().unwrap().numbers = all.numbers.len();
    }
    disk.on_operation(|_| {});
    std::mem::take(&mut *cuts.lock().unwrap())
}

fn judge(disk: &MemoryStorage, known: Known) {
    let restored = open_counted(disk).unwrap_or_else(|e| panic!("{e}, {known:?}"));
    assert!(restored.damaged.is_empty(), "{:?}", restored.damaged);
    let covered = restored.loaded.as_ref().map_or(0, |loaded| loaded.offset);
    assert!(covered >= known.offset, "a snapshot of {covered}, {known:?}");
    check(&restored.state, known);
    // It goes on, and what it does then is there after the next crash.
    let (mut log, mut all, snapshots) = (restored.log, restored.state, restored.snapshots);
    for _ in 0..2 {
        all.go_on(&mut log);
        snapshots.take(&mut log, &all, |file| all.write(file)).unwrap();
    }
    let known = Known { numbers: all.numbers.len(), offset: log.open_chunk_id().offset() };
    let disk = disk.crash(1);
    drop(log);
    let restored = open_counted(&disk).unwrap();
    assert!(restored.loaded.is_some_and(|loaded| loaded.offset >= known.offset));
    check(&restored.state, known);
}

fn check(all: &All, known: Known) {
    assert!(all.numbers.len() >= known.numbers, "{} of {known:?}", all.numbers.len());
    assert!(all.numbers.iter().copied().eq(0..all.numbers.len() as u64), "{:?}", all.numbers);
}

#[test]
fn a_crash_leaves_the_newest_acknowledged_snapshot_and_all_records_after_it() {
    let disk = MemoryStorage::default();
    let cuts = work(&disk, 6);
    let mut judged = 0;
    for (at, (cut, known)) in cuts.iter().enumerate() {
        judge(&cut.kill(), *known);
        for seed in 0..5 {
            judge(&cut.crash(if seed < 2 { seed } else { seed * 1000 + at as u64 }), *known);
            judged += 1;
        }
    }
    println!("{} cuts, {judged} disks", cuts.len());
    assert!(cuts.len() > 250, "{}", cuts.len());
}

#[test]
fn a_snapshot_that_fails_anywhere_leaves_the_one_before_and_removes_nothing() {
    for nth in 0.. {
        let disk = MemoryStorage::default();
        let restored = open_counted(&disk).unwrap();
        let (mut log, mut all, snapshots) = (restored.log, restored.state, restored.snapshots);
        for _ in 0..2 {
            all.go_on(&mut log);
            snapshots.take(&mut log, &all, |file| all.write(file)).unwrap();
        }
        all.go_on(&mut log);
        log.sync().unwrap();
        log.wait_idle().unwrap();
        let known = Known { numbers: all.numbers.len(), offset: snapshots.unneeded_before() };
        disk.fail(Fault::any(nth, FaultHow::Error(std::io::ErrorKind::Other)));
        let taken = snapshots.take(&mut log, &all, |file| all.write(file));
        drop(log.close());
        drop(snapshots);
        let (kill, crash) = (disk.kill(), disk.crash(nth));
        judge(&kill, known);
        judge(&crash, known);
        if taken.is_ok() && nth > 40 {
            return;
        }
    }
}
