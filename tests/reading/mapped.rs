//! Closed chunks read from memory maps: the same records, the same errors, and nothing stays mapped that
//! may be cut or written.
#![cfg(feature = "mmap")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::{fs, thread};

use chunked_wal::{ChunkedWal, ClosedReads, Config, Error, Replay, Segment};
use tempfile::TempDir;

use crate::common::*;

/// A directory on the real disk, and how a log is kept there.
struct Home {
    _dir: TempDir,
    config: Config,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().canonicalize().unwrap());
        config.chunk_max_size = 4096;
        config.closed_reads = ClosedReads::Mapped;
        Home { _dir: dir, config }
    }

    fn open(&self) -> (Wal, List) {
        let mut list = List::default();
        let wal = ChunkedWal::options(self.config.clone()).replay(Replay::All).open(&mut list).unwrap();
        (wal, list)
    }

    /// A log whose first chunk is closed and holds these words; returns their segments.
    fn with_closed(&self, words: &[&str]) -> (Wal, List, Vec<Segment>) {
        let (mut wal, mut list) = self.open();
        let append = |word: &&str| wal.append_and_apply(word.to_string(), &mut list).unwrap();
        let segments = words.iter().map(append).collect();
        wal.close_open_chunk(&list).unwrap();
        wal.wait_idle().unwrap();
        (wal, list, segments)
    }

    /// Chunk files of this log that the process has mapped now; `None` where the system doesn't report them.
    fn mapped(&self) -> Option<Vec<String>> {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        let dir = self.config.dir.to_str().unwrap();
        Some(maps.lines().filter(|line| line.contains(dir)).map(str::to_string).collect())
    }

    fn assert_mapped(&self, count: usize) {
        if let Some(mapped) = self.mapped() {
            assert_eq!(mapped.len(), count, "{mapped:?}");
        }
    }

    fn spares(&self) -> usize {
        let names = fs::read_dir(&self.config.dir).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with("spare")).count()
    }
}

#[test]
fn every_offset_and_size_is_answered_as_by_position() {
    let mut home = Home::new();
    let answers = |home: &Home| {
        let (wal, _) = home.open();
        let end = wal.progress().appended + 16;
        let all = (0..end).flat_map(|offset| (0..end).map(move |size| Segment::new(offset, size)));
        let answers: Vec<_> = all.map(|segment| format!("{:?}", wal.read_record(segment))).collect();
        (answers, home.mapped())
    };
    let (mut wal, mut list, _) = home.with_closed(&["a", "b"]);
    wal.append_and_apply("c".to_string(), &mut list).unwrap();
    wal.close().unwrap();

    let (mapped, maps) = answers(&home);
    home.config.closed_reads = ClosedReads::Positional;
    let (by_position, no_maps) = answers(&home);
    assert!(mapped == by_position);
    assert_eq!((maps.map(|maps| maps.len()), no_maps.map(|maps| maps.len())), {
        let told = home.mapped().is_some();
        (told.then_some(1), told.then_some(0))
    });
    assert!(mapped.iter().filter(|answer| answer.starts_with("Ok")).count() >= 5);
}

#[test]
fn a_corrupted_byte_is_an_error_and_never_returned() {
    let home = Home::new();
    let (wal, _list, segments) = home.with_closed(&["precious", "other"]);
    let (segment, other) = (segments[0], segments[1]);
    let path = home.config.chunk_path(wal.closed_chunk_stats()[0].chunk_id);
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    assert_eq!(wal.read_record(segment).unwrap(), action("precious"));
    home.assert_mapped(1);
    for at in segment.offset..segment.offset + segment.size {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        let read = wal.read_record(segment);
        let Err(Error::Corrupt { offset, path: told, .. }) = read else { panic!("byte {at}: {read:?}") };
        assert_eq!((offset, &told), (segment.offset, &path), "byte {at}");
        assert_eq!(wal.read_record(other).unwrap(), action("other"));
        file.write_all_at(&byte, at).unwrap();
    }
    assert_eq!(wal.read_record(segment).unwrap(), action("precious"));
}

#[test]
fn a_file_that_was_cut_before_is_not_mapped_and_corrupt() {
    let home = Home::new();
    let (wal, _list, segments) = home.with_closed(&["whole", "cut"]);
    let path = home.config.chunk_path(wal.closed_chunk_stats()[0].chunk_id);
    OpenOptions::new().write(true).open(path).unwrap().set_len(segments[1].offset + 20).unwrap();
    assert_eq!(wal.read_record(segments[0]).unwrap(), action("whole"));
    assert!(matches!(wal.read_record(segments[1]), Err(Error::Corrupt { .. })));
    home.assert_mapped(0);
}

#[test]
fn a_removed_chunk_is_unmapped_and_its_file_used_again() {
    let home = Home::new();
    let (mut wal, mut list, segments) = home.with_closed(&["old"]);
    let reader = wal.reader();
    assert_eq!(reader.read_record(segments[0]).unwrap(), action("old"));
    home.assert_mapped(1);
    assert_eq!(home.spares(), 0);

    let ids = wal.drain_closed_chunks_while(|_| true);
    assert!(matches!(reader.read_record(segments[0]), Err(Error::NotInLog { .. })));
    wal.remove_chunks(ids).unwrap();
    wal.wait_idle().unwrap();
    home.assert_mapped(0);
    assert_eq!(home.spares(), 1);

    let new = wal.append_and_apply("new".to_string(), &mut list).unwrap();
    wal.close_open_chunk(&list).unwrap();
    wal.wait_idle().unwrap();
    assert!(matches!(reader.read_record(segments[0]), Err(Error::NotInLog { .. })));
    assert_eq!(reader.read_record(new).unwrap(), action("new"));
}

#[test]
fn maps_are_bounded_and_end_with_the_log() {
    let home = Home::new();
    let (mut wal, mut list) = home.open();
    let mut segments = Vec::new();
    for i in 0..150 {
        segments.push(wal.append_and_apply(format!("{i}"), &mut list).unwrap());
        wal.close_open_chunk(&list).unwrap();
    }
    wal.wait_idle().unwrap();
    for _ in 0..2 {
        for (i, segment) in segments.iter().enumerate() {
            assert_eq!(wal.read_record(*segment).unwrap(), action(&format!("{i}")));
        }
    }
    if let Some(mapped) = home.mapped() {
        assert!((32..=64).contains(&mapped.len()), "{}", mapped.len());
    }
    let reader = wal.reader();
    wal.close().unwrap();
    home.assert_mapped(0);
    assert!(matches!(reader.read_record(segments[0]), Err(Error::Closed)));
    home.assert_mapped(0);
}

/// Reads the records in `known` until it is stopped: each is right, or removed.
fn read_until_done(
    wal: &chunked_wal::WalReader<Words>,
    known: &Mutex<BTreeMap<u64, (Segment, String)>>,
    drained_to: &AtomicU64,
    done: &AtomicBool,
) -> u64 {
    let (mut seed, mut reads) = (1u64, 0);
    while !done.load(SeqCst) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let picked = {
            let known = known.lock().unwrap();
            let Some((last, _)) = known.last_key_value() else { continue };
            known.range((seed >> 33) % (last + 1)..).next().map(|(_, record)| record.clone())
        };
        let Some((segment, word)) = picked else { continue };
        match wal.read_record(segment) {
            Ok(record) => assert_eq!(record, action(&word)),
            Err(Error::NotInLog { .. }) => assert!(segment.offset < drained_to.load(SeqCst)),
            Err(Error::Closed) => return reads,
            Err(error) => panic!("{segment:?}: {error}"),
        }
        reads += 1;
    }
    reads
}

/// Files are removed, reused, and cut, because the next log has smaller chunks.
#[test]
fn readers_go_on_while_chunks_are_removed_and_their_files_cut() {
    let mut home = Home::new();
    for round in 0..6 {
        home.config.chunk_max_size = if round % 2 == 0 { 1 << 16 } else { 1 << 12 };
        let known = Mutex::new(BTreeMap::new());
        let (drained_to, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let (mut wal, mut list) = home.open();
        let reads: u64 = thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let reader = wal.reader();
                    let (known, drained_to, done) = (&known, &drained_to, &done);
                    scope.spawn(move || read_until_done(&reader, known, drained_to, done))
                })
                .collect();
            for i in 0..400 {
                let word = format!("{round}-{i}-{}", "x".repeat(200));
                let segment = wal.append_and_apply(word.clone(), &mut list).unwrap();
                known.lock().unwrap().insert(segment.offset, (segment, word));
                if i % 10 == 9 {
                    wal.close_open_chunk_with(String::new()).unwrap();
                }
                if i % 40 == 39 {
                    let stats = wal.closed_chunk_stats();
                    let keep_from = stats[stats.len() - 2].global_start;
                    drained_to.store(keep_from, SeqCst);
                    let mut left = stats.len() - 2;
                    let ids = wal.drain_closed_chunks_while(|_| {
                        let drain = left > 0;
                        left = left.saturating_sub(1);
                        drain
                    });
                    wal.remove_chunks(ids).unwrap();
                }
            }
            // The readers are reading.
            wal.close().unwrap();
            home.assert_mapped(0);
            done.store(true, SeqCst);
            readers.into_iter().map(|reader| reader.join().unwrap()).sum()
        });
        assert!(reads > 0);
    }
}
