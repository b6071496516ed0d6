//! Reading while the log continues: the appended records, or an error that says why not.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use chunked_wal::codeq::Encode;
use chunked_wal::storage::OpKind;
use chunked_wal::{ChunkId, Error, Flush, Segment, WalReader, WalRecord};

use crate::common::*;

/// The appender's reports: every record so far by offset, and the start of the records kept.
#[derive(Default)]
struct Told {
    appended: Mutex<BTreeMap<u64, (Segment, String)>>,
    drained_to: AtomicU64,
    done: AtomicBool,
}

/// A number that differs from call to call.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn read_at_random(reader: &WalReader<Words>, told: &Told, mut seed: u64) -> u64 {
    let mut reads = 0;
    while !told.done.load(SeqCst) || reads == 0 {
        let picked = {
            let appended = told.appended.lock().unwrap();
            let Some(last) = appended.keys().next_back() else { continue };
            // Half of the reads go to the newest records, which are still on their way to the disk.
            let from = if random(&mut seed).is_multiple_of(2) { 0 } else { last.saturating_sub(400) };
            let at = from + random(&mut seed) % (last - from + 1);
            appended.range(at..).next().map(|(_, record)| record.clone())
        };
        let Some((segment, word)) = picked else { continue };
        match reader.read_record(segment) {
            Ok(record) => assert_eq!(record, action(&word)),
            Err(Error::NotInLog { .. }) => {
                assert!(segment.offset < told.drained_to.load(SeqCst), "{segment:?} was not drained");
            }
            Err(error) => panic!("{segment:?}: {error}"),
        }
        reads += 1;
    }
    reads
}

/// Every record in order, each once, up to at least what was appended before.
fn read_all(reader: &WalReader<Words>, told: &Told) -> u64 {
    let mut runs = 0;
    while !told.done.load(SeqCst) || runs == 0 {
        let known = told.appended.lock().unwrap().clone();
        let mut next = None;
        let mut seen = 0;
        let mut drained = false;
        for record in reader.records() {
            match record {
                Ok((chunk_id, segment, record)) => {
                    let begins_chunk = segment.offset == chunk_id.0 + 64;
                    let expected =
                        next.map_or(segment.offset, |next| if begins_chunk { chunk_id.0 + 64 } else { next });
                    assert_eq!(segment.offset, expected, "no gap");
                    next = Some(segment.offset + segment.size);
                    if let (WalRecord::Action(word), Some((_, appended))) =
                        (record, known.get(&segment.offset))
                    {
                        assert_eq!(word, *appended);
                        seen += 1;
                    }
                }
                Err(Error::NotInLog { offset, .. }) => {
                    assert!(offset < told.drained_to.load(SeqCst), "{offset} was not drained");
                    drained = true;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let kept = known.range(told.drained_to.load(SeqCst)..).count();
        assert!(drained || seen >= kept, "{seen} of {kept}");
        runs += 1;
    }
    runs
}

#[test]
fn readers_find_every_record_while_the_log_flushes_rotates_and_removes() {
    let disk = Disk::with(|config| config.chunk_max_size = 1024);
    let (mut wal, _) = disk.open();
    let told = Arc::new(Told::default());
    let readers: Vec<_> = (0..3)
        .map(|seed| {
            let (reader, told) = (wal.reader(), told.clone());
            thread::spawn(move || match seed {
                0 => read_all(&reader, &told),
                _ => read_at_random(&reader, &told, seed),
            })
        })
        .collect();
    let mut seed = 7;
    for i in 0..20_000 {
        let word = format!("{i}-{}", "x".repeat((random(&mut seed) % 90) as usize));
        let segment = wal.append(&action(&word)).unwrap();
        told.appended.lock().unwrap().insert(segment.offset, (segment, word));
        match random(&mut seed) % 40 {
            0..10 => wal.flush(Flush::Write, None).unwrap(),
            10 => wal.sync().unwrap(),
            11 => {
                wal.try_close_full_chunk(&List::default()).unwrap();
            }
            12 if i % 5 == 0 => {
                // Reported before it is done, because a reader may miss the chunk at once.
                let stats = wal.closed_chunk_stats();
                let Some(newest) = stats.get(stats.len().saturating_sub(3)) else { continue };
                told.drained_to.store(newest.global_end, SeqCst);
                let mut left = stats.len().saturating_sub(2);
                let ids = wal.drain_closed_chunks_while(|_| {
                    left = left.wrapping_sub(1);
                    left != usize::MAX
                });
                wal.remove_chunks(ids).unwrap();
            }
            _ => {}
        }
    }
    told.done.store(true, SeqCst);
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
    wal.wait_idle().unwrap();
    assert!(wal.flush_metrics().removed_count > 10);
}

#[test]
fn a_segment_of_no_record_gets_a_plain_error() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    for i in 0..400 {
        wal.append_and_apply(format!("word-{i}"), &mut list).unwrap();
    }
    wal.sync().unwrap();
    let drained = wal.drain_closed_chunks_while({
        let mut first = true;
        move |_| std::mem::take(&mut first)
    });
    assert_eq!(drained, [ChunkId(0)]);
    wal.append(&action("in memory")).unwrap();

    let kept = wal.closed_chunk_stats();
    let closed = kept[0].clone();
    let last_of_closed = list.applied.iter().rfind(|(chunk, _)| *chunk == closed.chunk_id).unwrap().1;
    let (open, end) = (wal.open_chunk_id(), wal.progress().appended);
    let somewhere = list.applied.last().unwrap().1;
    let answers = |cases: &[(&str, u64, u64)], is: fn(&Error) -> bool| {
        for (case, offset, size) in cases {
            let answer = wal.read_record(Segment::new(*offset, *size));
            assert!(answer.as_ref().is_err_and(is), "{case}: {answer:?}");
        }
    };
    answers(
        &[
            ("drained", 64, 16),
            ("never appended", end, 16),
            ("far away", u64::MAX - 7, 8),
            ("past the end of numbers", u64::MAX, u64::MAX),
            ("as large as all", 0, u64::MAX),
            ("from a record to the end of numbers", somewhere.offset, u64::MAX - somewhere.offset),
            ("one byte past the end", wal.last_segment().offset, wal.last_segment().size + 8),
            ("empty", somewhere.offset, 0),
            ("less than a frame", somewhere.offset, 8),
            ("no multiple of 8", somewhere.offset, somewhere.size - 1),
            ("the header of a closed chunk", closed.chunk_id.0, 64),
            ("the header of the open chunk", open.0, 64),
            ("from a header into the first frame", open.0 + 56, 24),
            ("over the border of two chunks", last_of_closed.offset, last_of_closed.size + 88),
            ("over all chunks", closed.chunk_id.0 + 64, end - closed.chunk_id.0 - 64),
        ],
        |error| matches!(error, Error::NotInLog { .. }),
    );
    answers(
        &[
            ("in the middle of a frame", somewhere.offset + 8, 16),
            ("misaligned", somewhere.offset + 1, somewhere.size),
            ("two frames", last_of_closed.offset - 32, last_of_closed.size + 32),
            ("a part of a frame", somewhere.offset, somewhere.size - 8),
            ("two frames in memory", wal.last_segment().offset - 32, wal.last_segment().size + 32),
            ("all of the open chunk", open.0 + 64, end - open.0 - 64),
        ],
        |error| matches!(error, Error::NoSuchRecord { .. }),
    );
    assert_eq!(wal.read_record(somewhere).unwrap(), action("word-399"));
}

#[test]
fn every_offset_and_size_is_answered() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    for word in ["a", "b", "c", "d"] {
        wal.append_and_apply(word.to_string(), &mut list).unwrap();
        match word {
            "a" => wal.close_open_chunk(&list).map(drop).unwrap(),
            "c" => wal.sync().unwrap(),
            _ => {}
        }
    }
    let records: BTreeMap<_, _> = wal
        .records()
        .map(|record| record.unwrap())
        .map(|(_, s, record)| ((s.offset, s.size), record))
        .collect();
    assert_eq!(records.len(), 6);
    let end = wal.progress().appended;
    for offset in 0..end + 16 {
        for size in 0..end + 16 {
            match wal.read_record(Segment::new(offset, size)) {
                Ok(record) => assert_eq!(Some(&record), records.get(&(offset, size))),
                Err(Error::NotInLog { .. }) => assert!(!records.contains_key(&(offset, size))),
                // Nothing is damaged, and what is there is named.
                Err(Error::NoSuchRecord { found, .. }) => {
                    assert!(!records.contains_key(&(offset, size)));
                    assert!(records.contains_key(&(found.offset, found.size)));
                    assert!((found.offset..found.offset + found.size).contains(&offset));
                }
                Err(error) => panic!("{offset}, {size}: {error}"),
            }
        }
    }
}

#[test]
fn records_end_where_the_log_ended_when_they_were_asked_for() {
    let disk = Disk::with(|config| config.read_buffer_size = 100);
    let (mut wal, mut list) = disk.open();
    wal.append_and_apply("a".to_string(), &mut list).unwrap();
    wal.close_open_chunk(&list).unwrap();
    wal.append_and_apply("b".to_string(), &mut list).unwrap();
    let mut records = wal.records();
    let first = records.next().unwrap().unwrap();
    assert_eq!((first.0, first.2), (ChunkId(0), checkpoint("")));
    for i in 0..100 {
        wal.append_and_apply(format!("later-{i}"), &mut list).unwrap();
    }
    wal.sync().unwrap();
    let rest: Vec<_> = records.map(|record| record.unwrap().2).collect();
    assert_eq!(rest, [action("a"), checkpoint("a"), action("b")]);
    assert_eq!(wal.records().count() as u64, {
        let closed: u64 = wal.closed_chunk_stats().iter().map(|stat| stat.records_count).sum();
        closed + wal.open_chunk_stat(String::new()).records_count
    });
}

#[test]
fn a_corrupted_byte_is_an_error_when_it_is_read_and_never_returned() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let segment = wal.append_and_apply("precious".to_string(), &mut list).unwrap();
    let other = wal.append_and_apply("other".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    let path = disk.config.chunk_path(wal.open_chunk_id());
    for bit in segment.offset * 8..(segment.offset + segment.size) * 8 {
        disk.storage.flip_bit(&path, bit).unwrap();
        let read = wal.read_record(segment);
        let Err(Error::Corrupt { offset, path: told, .. }) = read else { panic!("bit {bit}: {read:?}") };
        assert_eq!((offset, &told), (segment.offset, &path), "bit {bit}");
        assert_eq!(wal.read_record(other).unwrap(), action("other"));
        let errors: Vec<_> = wal.records().filter_map(Result::err).collect();
        assert!(matches!(errors[..], [Error::Corrupt { .. }]), "bit {bit}: {errors:?}");
        disk.storage.flip_bit(&path, bit).unwrap();
    }
    assert_eq!(wal.read_record(segment).unwrap(), action("precious"));
}

#[test]
fn a_file_that_is_cut_short_is_corrupt_when_it_is_read() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let segment = wal.append_and_apply("precious".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    let path = disk.config.chunk_path(wal.open_chunk_id());
    let bytes = disk.storage.read_file(&path).unwrap();
    disk.storage.write_file(&path, &bytes[..segment.offset as usize + 20]).unwrap();
    assert!(matches!(wal.read_record(segment), Err(Error::Corrupt { .. })));
}

#[test]
fn a_reader_of_a_closed_log_says_so() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    let segment = wal.append(&action("a")).unwrap();
    let reader = wal.reader();
    let mut records = reader.records();
    assert!(records.next().unwrap().is_ok());
    wal.close().unwrap();
    assert!(matches!(reader.read_record(segment), Err(Error::Closed)));
    assert!(matches!(reader.records().next(), Some(Err(Error::Closed))));
    assert!(matches!(records.next(), Some(Err(Error::Closed))));
    assert!(records.next().is_none());
    // It holds no lock.
    let _wal = disk.open();
    assert!(matches!(reader.read_record(segment), Err(Error::Closed)));
}

#[test]
fn a_codec_can_read_and_not_wait() {
    let disk = Disk::default();
    let mut wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    let segment = wal.append(&spell("before")).unwrap();
    let reader = Arc::new(OnceLock::new());
    reader.set((wal.reader(), wal.progress_handle())).unwrap();
    let said = Seen::default();
    let (inside, noted) = (reader.clone(), said.clone());
    let nosy = Spell::encoded_by(move |w| {
        let (reader, progress) = inside.get().unwrap();
        let waited = progress.wait_synced(segment.offset + segment.size);
        noted.lock().unwrap().extend([
            reader.read_record(segment).unwrap() == spell("before"),
            reader.records().all(|record| record.is_ok()),
            matches!(waited, Err(Error::WouldDeadlock { .. })),
        ]);
        "nosy".encode(w)
    });
    let segment = wal.append(&WalRecord::Action(nosy.clone())).unwrap();
    wal.close_open_chunk_with(nosy).unwrap();
    assert_eq!(*said.lock().unwrap(), [true; 6]);
    assert_eq!(reader.get().unwrap().0.read_record(segment).unwrap(), spell("nosy"));
}

#[test]
fn a_removed_chunk_is_not_overwritten_while_it_is_read() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let segment = wal.append_and_apply("old".to_string(), &mut list).unwrap();
    let other = wal.append_and_apply("old too".to_string(), &mut list).unwrap();
    wal.close_open_chunk(&list).unwrap();
    wal.wait_idle().unwrap();
    let path = disk.config.chunk_path(ChunkId(0));
    let gate = Gate::new(&disk.storage, move |op| op.kind == OpKind::Read && op.path == path);
    let reading = thread::spawn({
        let reader = wal.reader();
        move || reader.read_record(segment)
    });
    gate.wait_for(1);

    let ids = wal.drain_closed_chunks_while(|_| true);
    wal.remove_chunks(ids).unwrap();
    wal.wait_idle().unwrap();
    let spares = || disk.storage.files("/log").iter().filter(|name| name.starts_with("spare")).count();
    assert_eq!(spares(), 0, "its bytes stay as they are for the one who reads");
    for _ in 0..3 {
        wal.append_and_apply("new".to_string(), &mut list).unwrap();
        wal.close_open_chunk(&list).unwrap();
    }
    gate.open();
    assert_eq!(reading.join().unwrap().unwrap(), action("old"));
    assert!(matches!(wal.read_record(other), Err(Error::NotInLog { .. })));

    // Without a reader the files are reused, also those that were read before.
    wal.read_record(list.applied.iter().rfind(|(id, _)| *id != wal.open_chunk_id()).unwrap().1).unwrap();
    let ids = wal.drain_closed_chunks_while(|_| true);
    wal.remove_chunks(ids).unwrap();
    wal.wait_idle().unwrap();
    assert_eq!(spares(), 2);
}

#[test]
fn threads_that_have_read_in_a_chunk_hold_none_of_its_files() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    for word in ["a", "b"] {
        wal.append_and_apply(word.to_string(), &mut list).unwrap();
        wal.close_open_chunk(&list).unwrap();
    }
    wal.wait_idle().unwrap();
    // Threads that never read again.
    for (_, segment, _) in wal.records().map(|record| record.unwrap()) {
        let reader = wal.reader();
        let read = move || [(); 3].map(|()| reader.read_record(segment).unwrap());
        thread::spawn(read).join().unwrap();
    }
    let ids = wal.drain_closed_chunks_while(|_| true);
    assert_eq!(ids.len(), 2);
    wal.remove_chunks(ids).unwrap();
    wal.wait_idle().unwrap();
    assert_eq!(disk.storage.files("/log").iter().filter(|name| name.starts_with("spare")).count(), 2);
}

#[test]
fn a_wrong_segment_is_distinguished_from_damage() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let segments: Vec<_> =
        (0..9).map(|i| wal.append_and_apply(format!("{i}").repeat(40), &mut list).unwrap()).collect();
    let large = wal.append_and_apply("x".repeat(100_000), &mut list).unwrap();
    wal.close_open_chunk(&list).unwrap();
    wal.sync().unwrap();
    let size = segments[5].size;
    let wrong =
        [(segments[5].offset, size + 8), (segments[5].offset + 8, size), (segments[5].offset, 100_016)];
    let options = WalReader::<Words>::read_only_options(&disk.config.dir);
    let directory = options.storage(Arc::new(disk.storage.clone())).open().unwrap();
    let readers = [wal.reader(), directory];
    for reader in &readers {
        for (offset, size) in wrong {
            let error = reader.read_record(Segment::new(offset, size)).unwrap_err();
            assert!(matches!(error, Error::NoSuchRecord { found, .. } if found == segments[5]), "{error}");
        }
        let error = reader.read_record(Segment::new(large.offset + 64, 4096)).unwrap_err();
        assert!(matches!(error, Error::NoSuchRecord { found, .. } if found == large), "{error}");
    }
    // With the header of that record lost, its own segment is damaged, and so is one that can't be judged without the
    // header.
    let path = disk.config.chunk_path(ChunkId(0));
    disk.storage.flip_bit(&path, (segments[5].offset + 9) * 8).unwrap();
    for reader in &readers {
        for (offset, size) in
            [(segments[5].offset, size), (segments[5].offset + 8, size), (large.offset + 64, 4096)]
        {
            let error = reader.read_record(Segment::new(offset, size)).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{offset}: {error}");
        }
    }
}
