//! The mark of an idle log, synced on request: then damage to the last records is distinguished from a torn write.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use chunked_wal::{ChunkId, Error, Flush, IdleMark, Proof};

use crate::common::*;

fn disk(idle_mark: IdleMark) -> Disk {
    Disk::with(|config| config.idle_mark = idle_mark)
}

/// Power is lost, and a bit of the last record of chunk 0 flips: how the next open ends, for some crashes.
fn opens_after_decay(disk: &Disk, last: u64) -> Vec<Result<usize, Error>> {
    let path = disk.config.chunk_path(ChunkId(0));
    let after = (0..24).map(|seed| {
        let left = disk.on(disk.storage.crash(seed));
        left.storage.flip_bit(&path, (last + 17) * 8).unwrap();
        left.try_open().map(|(_, list)| list.words.len())
    });
    after.collect()
}

fn is_proven(result: &Result<usize, Error>, end: u64) -> bool {
    matches!(result, Err(Error::Corrupt { proof: Proof::SyncMark { offset }, .. }) if *offset == end)
}

/// Appends two records, the second of them alone in its sync; returns where that begins and ends.
fn burst(disk: &Disk) -> (Wal, u64, u64) {
    let mut list = List::default();
    let mut wal = disk.options::<Words>().open(&mut list).unwrap();
    wal.append_and_apply("first".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    let last = wal.progress().appended;
    wal.append_and_apply("second".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    let end = wal.progress().appended;
    (wal, last, end)
}

#[test]
fn a_synced_mark_proves_the_last_batch_once_the_log_is_idle() {
    let disk = disk(IdleMark::Synced);
    let (wal, last, end) = burst(&disk);
    // By itself, after some milliseconds.
    let began = Instant::now();
    while !opens_after_decay(&disk, last).iter().all(|result| is_proven(result, end)) {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", opens_after_decay(&disk, last));
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(wal);
}

#[test]
fn waiting_for_idle_waits_for_the_synced_mark() {
    let disk = disk(IdleMark::Synced);
    let (wal, last, end) = burst(&disk);
    wal.wait_idle().unwrap();
    let all = opens_after_decay(&disk, last);
    assert!(all.iter().all(|result| is_proven(result, end)), "{all:?}");
    drop(wal);
}

#[test]
fn a_mark_that_is_only_written_may_be_lost_with_the_last_batch() {
    let disk = disk(IdleMark::Written);
    let (wal, last, _) = burst(&disk);
    wal.wait_idle().unwrap();
    let all = opens_after_decay(&disk, last);
    assert!(all.iter().any(|result| matches!(result, Ok(1))), "{all:?}");
    drop(wal);
}

#[test]
fn the_mark_that_an_open_writes_is_synced_too() {
    let disk = disk(IdleMark::Synced);
    // The log of a killed process: written, and nothing synced after the first record.
    let chunk = Forge::chunk(0).checkpoint("").action("first").action("second").zeros(2000);
    chunk.put_written(&disk, chunk.at[2]);
    let wal = disk.open().0;
    let all = opens_after_decay(&disk, chunk.at[2]);
    assert!(all.iter().all(|result| is_proven(result, chunk.end)), "{all:?}");
    drop(wal);
}

#[test]
fn a_mark_that_can_not_be_synced_stops_the_log() {
    use chunked_wal::storage::{Fault, FaultHow, OpKind};
    let disk = disk(IdleMark::Synced);
    let mut list = List::default();
    let mut wal = disk.options::<Words>().open(&mut list).unwrap();
    wal.append_and_apply("a".to_string(), &mut list).unwrap();
    disk.storage.fail(Fault::new(OpKind::Sync, 1, FaultHow::Io));
    wal.sync().unwrap();
    wal.wait_idle().unwrap_err();
    assert!(matches!(wal.flush(Flush::Sync, None), Err(Error::Poisoned { .. })));
}
