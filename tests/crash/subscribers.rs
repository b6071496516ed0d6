//! A log and a subscriber are cut at every operation of the disk. Whatever a crash leaves: the subscriber goes on where
//! it was, and every record from there on is in the log.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use chunked_wal::storage::{Fault, FaultHow, MemoryStorage, OpKind, SectorSize};
use chunked_wal::{Subscriber, WalRecord};

use crate::common::*;

/// What was acknowledged, and what was asked for.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    is_subscribed: bool,
    advanced: u64,
    asked: u64,
    words: usize,
}

fn subscribe(disk: &Disk) -> Subscriber {
    Subscriber::options("/log", "s").storage(Arc::new(disk.storage.clone())).open().unwrap()
}

/// The disks before each change, with what was known by then.
fn work(disk: &Disk) -> Vec<(MemoryStorage, Known)> {
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let known = Arc::new(Mutex::new(Known::default()));
    let (watched, list, marks) = (disk.storage.clone(), cuts.clone(), known.clone());
    disk.storage.on_operation(move |op| {
        if op.kind.is_change() {
            list.lock().unwrap().push((watched.kill(), *marks.lock().unwrap()));
        }
    });
    let (mut wal, mut words) = disk.open();
    let mut subscriber = wal.subscriber("s").open().unwrap();
    known.lock().unwrap().is_subscribed = true;
    let mut ends = Vec::new();
    for round in 0..24_usize {
        let word = format!("{round:06}");
        let segment = wal.append_and_apply(word, &mut words).unwrap();
        ends.push(segment.offset + segment.size);
        if round % 3 == 2 {
            wal.close_open_chunk(&words).unwrap();
        }
        wal.sync().unwrap();
        known.lock().unwrap().words = round + 1;
        if round % 2 == 1 {
            // Some records behind.
            let to = ends[round - round % 5];
            if to >= subscriber.offset() {
                known.lock().unwrap().asked = to;
                subscriber.advance(to).unwrap();
                known.lock().unwrap().advanced = to;
            }
        }
        if round % 4 == 3 {
            let drained = wal.drain_closed_chunks_while(|_| true);
            wal.remove_chunks(drained).unwrap();
            wal.wait_idle().unwrap();
        }
    }
    assert!(wal.reader().start() > 0);
    wal.close().unwrap();
    disk.storage.on_operation(|_| {});
    std::mem::take(&mut *cuts.lock().unwrap())
}

fn judge(disk: &Disk, known: Known) {
    if known.words == 0 {
        return;
    }
    let (mut wal, words) = disk.open();
    assert!(words.words.len() >= known.words, "{known:?}");
    // The log alone, before the subscriber is back.
    wal.drain_closed_chunks_while(|_| true);
    let subscriber = subscribe(disk);
    let offset = subscriber.offset();
    assert!(offset == known.advanced || offset == known.asked, "{offset}, {known:?}");
    assert!(known.is_subscribed);
    let records = wal.reader().records_from(offset).unwrap();
    let read =
        records.map(Result::unwrap).filter(|(.., record)| matches!(record, WalRecord::Action(_))).count();
    let before = words.applied.iter().filter(|(_, segment)| segment.offset < offset).count();
    assert!(read > 0 || before > 0, "{known:?}");
}

/// The subscriber's own sync fails and drops what it should have written, and the log sees the place nonetheless.
#[test]
fn a_place_that_the_log_relied_on_is_there_whatever_became_of_its_sync() {
    for seed in 0..20 {
        let disk = Disk::default();
        let (mut wal, mut words) = disk.open();
        let mut subscriber = subscribe(&disk);
        for word in ["first", "second"] {
            wal.append_and_apply(word.to_string(), &mut words).unwrap();
            wal.close_open_chunk(&words).unwrap();
        }
        wal.sync().unwrap();
        let to = wal.closed_chunk_stats()[0].global_end;
        disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::SyncLies));
        subscriber.advance(to).unwrap_err();
        let drained = wal.drain_closed_chunks_while(|_| true);
        assert_eq!(drained.len(), 1);
        wal.remove_chunks(drained).unwrap();
        wal.wait_idle().unwrap();
        let disk = disk.on(disk.storage.crash(seed));
        let (wal, _) = disk.open();
        assert_eq!(wal.reader().start(), to);
        assert_eq!(subscribe(&disk).offset(), to, "{seed}");
    }
}

/// Where the disk may lose a sector of 4 KiB while it writes a part of it, a place in the other slot is not lost.
#[test]
fn a_torn_place_leaves_the_one_before() {
    let disk = Disk::default();
    disk.open().0.close().unwrap();
    disk.storage.set_sector_size(SectorSize::Bytes4096);
    let mut subscriber = subscribe(&disk);
    let mut torn = 0;
    for to in 1..20 {
        disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
        subscriber.advance(to).unwrap_err();
        for seed in 0..10 {
            let offset = subscribe(&disk.on(disk.storage.crash(seed))).offset();
            assert!(offset == to - 1 || offset == to, "{offset} for {to}");
            torn += u64::from(offset != to);
        }
        subscriber.advance(to).unwrap();
    }
    assert!(torn > 20, "{torn}");
}

#[test]
fn a_crash_leaves_the_subscribers_place_and_every_record_from_there_on() {
    let disk = Disk::default();
    let cuts = work(&disk);
    for (at, (cut, known)) in cuts.iter().enumerate() {
        judge(&disk.on(cut.kill()), *known);
        for seed in 0..8 {
            judge(&disk.on(cut.crash(if seed < 2 { seed } else { seed * 1000 + at as u64 })), *known);
        }
    }
    assert!(cuts.len() > 150, "{}", cuts.len());
}

/// A subscriber is killed before its sync, and then the log's process before its own: the next process that has the log
/// must not take for durable what only the page cache has.
#[test]
fn a_place_that_nobody_has_synced_is_not_relied_on_after_two_kills() {
    for seed in 0..50 {
        let disk = Disk::default();
        let (mut wal, mut words) = disk.open();
        let mut subscriber = subscribe(&disk);
        for word in ["first", "second"] {
            wal.append_and_apply(word.to_string(), &mut words).unwrap();
            wal.close_open_chunk(&words).unwrap();
        }
        wal.sync().unwrap();
        let to = wal.closed_chunk_stats()[0].global_end;
        // The kills, as seen from the disk: the writes are done, the syncs are not.
        disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
        subscriber.advance(to).unwrap_err();
        disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
        assert!(wal.drain_closed_chunks_while(|_| true).is_empty());
        let disk = disk.on(disk.storage.kill());

        let (mut wal, _) = disk.open();
        let drained = wal.drain_closed_chunks_while(|_| true);
        assert_eq!(drained.len(), 1);
        wal.remove_chunks(drained).unwrap();
        wal.wait_idle().unwrap();
        let disk = disk.on(disk.storage.crash(seed));
        let (wal, _) = disk.open();
        let offset = subscribe(&disk).offset();
        assert!(wal.reader().start() <= offset, "records from {offset} on are gone, seed {seed}");
    }
}
