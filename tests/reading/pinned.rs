//! Pinned readers: the log at one moment, whatever is drained and removed meanwhile.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::thread;

use chunked_wal::storage::{Fault, FaultHow, OpKind, Storage};
use chunked_wal::{ChunkId, Error, Flush, PinnedReader, Segment, WalReader};

use crate::common::*;

/// Appends these words and closes their chunk.
fn chunk_of(wal: &mut Wal, list: &mut List, words: &[&str]) -> Vec<Segment> {
    let segments = words.iter().map(|word| wal.append_and_apply(word.to_string(), list).unwrap()).collect();
    wal.close_open_chunk(list).unwrap();
    segments
}

/// Drains and removes the `count` oldest chunks.
fn remove(wal: &mut Wal, count: usize) -> Vec<ChunkId> {
    let mut left = count;
    let ids = wal.drain_closed_chunks_while(|_| {
        let takes = left > 0;
        left = left.saturating_sub(1);
        takes
    });
    assert_eq!(ids.len(), count);
    wal.remove_chunks(ids.clone()).unwrap();
    ids
}

fn is_there(disk: &Disk, id: ChunkId) -> bool {
    disk.storage.open(&disk.config.chunk_path(id), chunked_wal::storage::Access::Read).is_ok()
}

fn actions(reader: &PinnedReader<Words>) -> Vec<String> {
    let records = reader.records().map(|record| record.unwrap().2);
    records.filter_map(|record| if let Record::Action(word) = record { Some(word) } else { None }).collect()
}

fn pins(wal: &Wal) -> (u64, u64) {
    let metrics = wal.flush_metrics();
    (metrics.pinned_reader_count, metrics.pinned_removal_count)
}

#[test]
fn a_removal_takes_nothing_from_a_pinned_reader_and_is_done_once_it_is_dropped() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let one = chunk_of(&mut wal, &mut list, &["a", "b"]);
    chunk_of(&mut wal, &mut list, &["c"]);
    let last = wal.append_and_apply("d".to_string(), &mut list).unwrap();
    let pinned = wal.pinned_reader();
    let (start, end) = (pinned.start(), pinned.end());
    assert_eq!((start, end), (0, last.offset + last.size));
    assert_eq!(pins(&wal), (1, 0));

    let later = wal.append_and_apply("e".to_string(), &mut list).unwrap();
    wal.close_open_chunk(&list).unwrap();
    let removed = remove(&mut wal, 3);
    wal.wait_idle().unwrap();
    assert_eq!(pins(&wal), (1, 3));
    assert!(removed.iter().all(|id| is_there(&disk, *id)));
    assert!(matches!(wal.read_record(one[0]), Err(Error::NotInLog { .. })), "drained, for all others");

    assert_eq!(actions(&pinned), ["a", "b", "c", "d"]);
    assert_eq!((pinned.start(), pinned.end()), (start, end));
    for (segment, word) in [(one[0], "a"), (one[1], "b"), (last, "d")] {
        assert_eq!(pinned.read_record(segment).unwrap(), action(word));
    }
    let error = pinned.read_record(later).unwrap_err();
    assert!(matches!(error, Error::NotInLog { end: found, .. } if found == end), "{error}");
    assert!(matches!(pinned.records_from(end + 8), Err(Error::NotInLog { .. })));
    assert_eq!(pinned.records_from(last.offset).unwrap().count(), 1);
    assert_eq!(pinned.records_from(end).unwrap().count(), 0);

    drop(pinned);
    wal.wait_idle().unwrap();
    assert_eq!(pins(&wal), (0, 0));
    assert!(!removed.iter().any(|id| is_there(&disk, *id)));
    assert_eq!(wal.flush_metrics().removed_count, 3);
}

#[test]
fn clones_and_iterators_hold_the_pin_too() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    chunk_of(&mut wal, &mut list, &["a"]);
    let pinned = wal.reader().pin().unwrap();
    let clone = pinned.clone();
    let removed = remove(&mut wal, 1);
    drop(pinned);
    let mut records = clone.records();
    drop(clone);
    wal.wait_idle().unwrap();
    assert_eq!(pins(&wal), (1, 1));
    records.next().unwrap().unwrap();
    assert!(is_there(&disk, removed[0]));
    // An iterator that has ended holds nothing.
    assert_eq!(records.by_ref().filter_map(Result::ok).count(), 2);
    wal.wait_idle().unwrap();
    assert!(!is_there(&disk, removed[0]));
}

#[test]
fn the_oldest_of_many_pins_decides() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let mut readers = Vec::new();
    for word in ["a", "b", "c", "d"] {
        chunk_of(&mut wal, &mut list, &[word]);
    }
    // Drained before the pin: not the reader's.
    let mut removed = Vec::new();
    for before in 0..4 {
        let mut one = true;
        let drained = wal.drain_closed_chunks_while(|_| std::mem::take(&mut one));
        readers.push(wal.pinned_reader());
        wal.remove_chunks(drained.clone()).unwrap();
        wal.wait_idle().unwrap();
        removed.extend(drained);
        assert!(!is_there(&disk, removed[0]), "nobody has it");
        assert_eq!(pins(&wal), (before + 1, before));
    }
    // A later reader's end frees nothing as long as an earlier one is there.
    drop(readers.remove(1));
    assert_eq!(pins(&wal), (3, 3));
    assert_eq!(readers.iter().map(|reader| actions(reader).len()).collect::<Vec<_>>(), [3, 1, 0]);
    for (left, kept) in [(2, 1), (1, 0), (0, 0)] {
        drop(readers.remove(0));
        wal.wait_idle().unwrap();
        assert_eq!(pins(&wal), (left, kept));
        assert_eq!(removed.iter().filter(|id| is_there(&disk, **id)).count() as u64, kept);
    }
}

#[test]
fn a_pin_holds_up_neither_rotations_nor_the_spares_of_chunks_before_it() {
    let disk = Disk::with(|config| config.spare_chunks = 2);
    let (mut wal, mut list) = disk.open();
    chunk_of(&mut wal, &mut list, &["a"]);
    let _pinned = wal.pinned_reader();
    for round in 0..20 {
        chunk_of(&mut wal, &mut list, &[&round.to_string()]);
        remove(&mut wal, 1);
        wal.sync().unwrap();
    }
    wal.wait_idle().unwrap();
    assert_eq!(pins(&wal), (1, 20));
    assert_eq!(wal.flush_metrics().removed_count, 0);
}

#[test]
fn closing_ends_the_pins_and_does_the_removals_that_they_put_off() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    chunk_of(&mut wal, &mut list, &["a"]);
    let segment = wal.last_segment();
    let pinned = wal.pinned_reader();
    let reader = wal.reader();
    let mut records = pinned.records();
    records.next().unwrap().unwrap();
    let removed = remove(&mut wal, 1);
    wal.close().unwrap();
    assert!(!is_there(&disk, removed[0]));
    assert!(matches!(pinned.read_record(segment), Err(Error::Closed)));
    assert!(matches!(records.next(), Some(Err(Error::Closed))));
    assert!(matches!(reader.pin(), Err(Error::Closed)));
    drop((pinned, records));
    let (wal, _) = disk.open();
    assert_eq!(wal.reader().start(), segment.offset - 64);
}

#[test]
fn a_log_that_failed_is_closed_with_pins_too() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    chunk_of(&mut wal, &mut list, &["a"]);
    let pinned = wal.pinned_reader();
    remove(&mut wal, 1);
    wal.wait_idle().unwrap();
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    wal.append(&action("b")).unwrap();
    wal.sync().unwrap_err();
    assert_eq!(actions(&pinned), ["a"], "what can be read can be read");
    drop(wal);
    assert!(matches!(pinned.records().next(), Some(Err(Error::Closed))));
}

#[test]
fn removals_put_off_by_a_pin_are_undone_by_a_crash() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    chunk_of(&mut wal, &mut list, &["a"]);
    chunk_of(&mut wal, &mut list, &["b"]);
    let pinned = wal.pinned_reader();
    let removed = remove(&mut wal, 2);
    wal.wait_idle().unwrap();
    for seed in 0..20 {
        let (wal, found) = disk.on(disk.storage.crash(seed)).open();
        assert_eq!(found.words, list.words);
        assert_eq!(wal.closed_chunk_stats()[0].chunk_id, removed[0]);
    }

    // Cut while they are removed at last: the oldest goes first.
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let (storage, seen) = (disk.storage.clone(), cuts.clone());
    disk.storage.on_operation(move |_| seen.lock().unwrap().push(storage.kill()));
    drop(pinned);
    wal.wait_idle().unwrap();
    disk.storage.on_operation(|_| {});
    let cuts = std::mem::take(&mut *cuts.lock().unwrap());
    assert!(cuts.len() > 4);
    let mut starts = Vec::new();
    for (cut, seed) in cuts.iter().flat_map(|cut| (0..8).map(move |seed| (cut, seed))) {
        let (wal, found) = disk.on(cut.crash(seed)).open();
        assert_eq!(found.words, list.words);
        starts.push(wal.reader().start());
    }
    starts.dedup();
    assert!(starts.contains(&removed[0].0) && starts.contains(&removed[1].0), "{starts:?}");
}

#[test]
fn a_reader_of_a_directory_pins_nothing() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    wal.sync().unwrap();
    let options = WalReader::<Words>::read_only_options(&disk.config.dir);
    let reader = options.storage(Arc::new(disk.storage.clone())).open().unwrap();
    let error = reader.pin().unwrap_err();
    assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::Unsupported));
    assert!(error.to_string().contains("only the process that writes the log"), "{error}");
}

/// The appender's reports: every word so far, by the offset of its record.
type Told = Arc<Mutex<Vec<(Segment, String)>>>;

/// Pins the log again and again, and reads all of it.
fn pin_and_read(reader: &WalReader<Words>, told: &Told, done: &AtomicBool) -> u64 {
    let mut rounds = 0;
    while !done.load(SeqCst) || rounds == 0 {
        let before = told.lock().unwrap().len();
        let pinned = reader.pin().unwrap();
        thread::yield_now();
        let (start, end) = (pinned.start(), pinned.end());
        let found: Vec<_> = pinned.records().map(|record| record.unwrap()).collect();
        let (first, last) = (found.first().unwrap(), found.last().unwrap());
        assert_eq!((first.1.offset, last.1.offset + last.1.size), (start + 64, end));
        let told = told.lock().unwrap();
        let known = told.iter().take(before).filter(|(segment, _)| segment.offset >= start);
        let mut words = found.iter().filter(|(.., record)| matches!(record, Record::Action(_)));
        for (segment, word) in known {
            let (_, at, record) = words.next().unwrap();
            assert_eq!((at, record), (segment, &action(word)));
        }
        let in_view = |segment: &Segment| (start..end).contains(&segment.offset);
        if let Some((segment, word)) = told.iter().find(|(segment, _)| in_view(segment)) {
            assert_eq!(pinned.read_record(*segment).unwrap(), action(word));
        }
        rounds += 1;
    }
    rounds
}

#[test]
fn pinned_readers_read_all_while_the_log_rotates_and_removes() {
    let disk = Disk::with(|config| {
        config.chunk_max_size = 1024;
        config.spare_chunks = 2;
    });
    let (mut wal, mut list) = disk.open();
    let (told, done) = (Told::default(), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (reader, told, done) = (wal.reader(), told.clone(), done.clone());
            thread::spawn(move || pin_and_read(&reader, &told, &done))
        })
        .collect();
    for i in 0..4_000 {
        let word = format!("{i}{}", "x".repeat(i % 90));
        let segment = wal.append(&action(&word)).unwrap();
        told.lock().unwrap().push((segment, word));
        if i % 7 == 0 {
            wal.flush(Flush::Write, None).unwrap();
        }
        list.words.clear();
        if wal.try_close_full_chunk(&list).unwrap().is_some() && i % 3 == 0 {
            let closed = wal.closed_chunk_stats().len();
            remove(&mut wal, closed.saturating_sub(2));
        }
    }
    done.store(true, SeqCst);
    let rounds: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    wal.wait_idle().unwrap();
    assert_eq!(pins(&wal), (0, 0));
    assert!(rounds.iter().all(|rounds| *rounds > 5), "{rounds:?}");
    assert!(wal.flush_metrics().removed_count > 50);
}
