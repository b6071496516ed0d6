//! A sector that was under write when the power failed and can't be read any more.
//!
//! It is an error, unless `OpenOptions::cut_unreadable_tail` says that it is the end.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use chunked_wal::Error;
use chunked_wal::storage::UnreadableSectors;

use crate::common::*;

const SECTOR: u64 = 512;

/// A disk on which a log was at work, how far it was durable, and where each word ended.
fn at_work(synced: usize, len: usize) -> (Disk, u64, Vec<(String, u64)>) {
    let disk = Disk::default();
    let mut list = List::default();
    let mut wal = disk.options::<Words>().open(&mut list).unwrap();
    let mut ends = Vec::new();
    for i in 0..synced + 9 {
        let word = format!("{i:0len$}");
        wal.append_and_apply(word.clone(), &mut list).unwrap();
        ends.push((word, wal.progress().appended));
        if i + 1 == synced {
            wal.sync().unwrap();
        }
    }
    wal.flush(chunked_wal::Flush::Write, None).unwrap();
    while wal.progress().written < wal.progress().appended {
        std::thread::yield_now();
    }
    disk.storage.set_unreadable_sectors(UnreadableSectors::Possible);
    let crashable = disk.on(disk.storage.kill());
    crashable.storage.set_unreadable_sectors(UnreadableSectors::Possible);
    drop(wal);
    (crashable, ends[synced - 1].1, ends)
}

fn open_cutting(disk: &Disk) -> Result<(Wal, List), Error> {
    let mut list = List::default();
    disk.options().cut_unreadable_tail().open(&mut list).map(|wal| (wal, list))
}

fn chunks(disk: &Disk) -> usize {
    disk.storage.files("/log").iter().filter(|name| name.starts_with("r-")).count()
}

fn is_eio(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.raw_os_error() == Some(5))
}

#[test]
fn the_end_in_a_sector_that_can_not_be_read_is_cut_on_request_and_else_an_error() {
    let (mut cut, mut proven, mut proven_by_later, mut acknowledged_lost) = (0, 0, 0, 0);
    for (synced, len) in [(1, 20), (3, 100), (9, 33), (20, 50), (5, 700), (2, 1500)] {
        let (disk, durable_end, ends) = at_work(synced, len);
        for seed in 0..150 {
            let what = format!("{synced} synced, {len} bytes each, seed {seed}");
            let after = disk.on(disk.storage.crash(seed));
            after.storage.write_file("/log/LOCK", b"").unwrap();
            let (before, chunks_before) =
                ((after.storage.snapshot(), after.storage.operations()), chunks(&after));
            match after.try_open() {
                Ok(_) => continue,
                Err(error) => assert!(is_eio(&error), "{what}: {error}"),
            }
            // A chunk that the crash left without its name has got it back.
            if chunks(&after) == chunks_before {
                assert_eq!((after.storage.snapshot(), after.storage.operations()), before, "{what}");
            }
            let operations = after.storage.operations();
            let (mut wal, mut list) = match open_cutting(&after) {
                Ok(opened) => opened,
                Err(error) => {
                    assert!(is_eio(&error), "{what}: {error}");
                    assert_eq!(after.storage.operations(), operations, "{what}: nothing is written");
                    proven += 1;
                    // Not by the file's name, which proves the first record.
                    proven_by_later += usize::from(durable_end > SECTOR);
                    continue;
                }
            };
            cut += 1;
            let all: Vec<_> = ends.iter().map(|(word, _)| word.clone()).collect();
            assert!(all.starts_with(&list.words), "{what}: {:?}", list.words);
            // What shares the sector may be lost, and nothing else that was acknowledged.
            let sure = ends.iter().filter(|(_, end)| *end <= durable_end / SECTOR * SECTOR).count();
            assert!(list.words.len() >= sure.min(synced), "{what}: {} of {synced}", list.words.len());
            acknowledged_lost += usize::from(list.words.len() < synced);
            let torn = wal.recovery().torn_tail.unwrap();
            assert!(torn.lost > 0 && torn.data_end == wal.open_chunk_id().0, "{what}: {torn:?}");

            // It goes on, needs nothing any more, and has made durable what it replayed.
            wal.append_and_apply("next".to_string(), &mut list).unwrap();
            wal.sync().unwrap();
            assert_eq!(wal.records().filter(|record| record.is_err()).count(), 0, "{what}");
            after.storage.set_unreadable_sectors(UnreadableSectors::Impossible);
            for seed in 0..4 {
                let (wal, again) = after.on(after.storage.crash(seed)).open();
                assert_eq!((again.words, wal.recovery().torn_tail), (list.words.clone(), None), "{what}");
            }
        }
    }
    let counts = [cut, proven, proven_by_later, acknowledged_lost];
    assert!(counts.iter().zip([15, 10, 3, 2]).all(|(n, least)| *n > least), "{counts:?}");
}

#[test]
fn an_open_that_cuts_an_unreadable_sector_may_crash_at_every_operation() {
    let (disk, _, ends) = at_work(20, 50);
    let all: Vec<_> = ends.into_iter().map(|(word, _)| word).collect();
    let mut tried = BTreeSet::new();
    for seed in 0..60 {
        let found = disk.on(disk.storage.crash(seed));
        let copy = || {
            let copy = found.on(found.storage.kill());
            // Another crash is not to leave another such sector.
            copy.storage.set_unreadable_sectors(UnreadableSectors::Impossible);
            copy
        };
        if copy().try_open().is_ok() {
            continue;
        }
        let Ok((_, list)) = open_cutting(&copy()) else { continue };
        for n in 0.. {
            let disk = copy();
            disk.storage.crash_after(n);
            let is_open = open_cutting(&disk).is_ok();
            for storage in (0..6).map(|seed| disk.storage.crash(seed)).chain([disk.storage.kill()]) {
                let (_, left) = open_cutting(&disk.on(storage)).unwrap();
                // Until it is open, the sector may come back readable.
                let is_right =
                    if is_open { left.words == list.words } else { left.words.starts_with(&list.words) };
                assert!(is_right && all.starts_with(&left.words), "seed {seed}, operation {n}: {left:?}");
            }
            if is_open {
                tried.insert(n);
                break;
            }
        }
    }
    assert!(tried.iter().all(|n| *n > 8), "{tried:?}");
}
