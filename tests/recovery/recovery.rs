//! The decision table of recovery: each state of a directory, and its outcome.
//!
//! The states are forged, so that every row has exactly its own case. A row that succeeds is held
//! to all that an open promises ([`recovers`]), a row that fails to having changed nothing
//! ([`refused`]).
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use chunked_wal::storage::{Access, DiskStorage, Fault, FaultHow, MemoryStorage, OpKind, Storage};
use chunked_wal::{
    ChunkId, ChunkPersisted, ChunkedWal, Config, Damage, Error, Foreign, Proof, RecoveryReport, Replay,
    Segment, StateMachine, TornTail, WalRecord,
};

use crate::common::*;

// What is found ---------------------------------------------------------------------------------------

/// A whole chunk at the beginning of a log: `a` and `b`.
fn first() -> Forge {
    Forge::chunk(0).checkpoint("").action("a").action("b").seal()
}

/// A chunk after [`first`], with no end yet.
fn second() -> Forge {
    first().next().checkpoint("a,b").action("c").synced().action("d")
}

/// A lone chunk, with no end yet: `a` was known to be durable when `b` was appended, and no more when
/// `c` was.
fn newest() -> Forge {
    Forge::chunk(0).checkpoint("").action("a").synced().action("b").action("c")
}

/// Bytes after the last record up to the last that isn't zero.
fn visible(chunk: &Forge) -> u64 {
    let behind = &chunk.bytes[(chunk.end - chunk.id) as usize..];
    behind.iter().rposition(|b| *b != 0).map_or(0, |last| last as u64 + 1)
}

/// A piece of an action's frame: its header and a part of the payload.
fn half_a_frame(behind: &Forge) -> Vec<u8> {
    let whole = behind.clone().action("a longer word that is torn");
    whole.bytes[behind.bytes.len()..whole.bytes.len() - 8].to_vec()
}

const STALE: &[u8] = b"what an earlier life of the file left behind the end of this one";

/// A log found on a disk, that opens.
#[derive(Clone)]
struct Found {
    name: &'static str,
    disk: Disk,
    newest: Forge,
    words: &'static [&'static str],
    /// How many of the words are sure to be there after a power loss before the open.
    durable: usize,
    chunk: Chunk,
    lost: Option<u64>,
}

/// Which chunk takes the next record.
#[derive(Clone, Copy, PartialEq)]
enum Chunk {
    GoesOn,
    New,
}

/// What was found is durable.
fn found(name: &'static str, chunks: &[Forge], words: &'static [&'static str], chunk: Chunk) -> Found {
    let disk = Disk::default();
    chunks.iter().for_each(|chunk| chunk.put(&disk));
    let newest = chunks[chunks.len() - 1].clone();
    Found { name, disk, newest, words, durable: words.len(), chunk, lost: None }
}

/// What was found is durable in the newest chunk up to `durable_end`, and written from there on.
fn written(
    name: &'static str,
    newest: Forge,
    words: &'static [&'static str],
    (durable, durable_end): (usize, u64),
    chunk: Chunk,
) -> Found {
    let disk = Disk::default();
    newest.put_written(&disk, durable_end);
    Found { name, disk, newest, words, durable, chunk, lost: None }
}

impl Found {
    fn losing(self, lost: u64) -> Self {
        Found { lost: Some(lost), ..self }
    }

    fn copy(&self) -> Disk {
        self.disk.on(self.disk.storage.kill())
    }
}

// What must hold --------------------------------------------------------------------------------------

const SEEDS: std::ops::Range<u64> = 0..24;

/// Holds an open that succeeds to all its promises.
fn recovers(found: Found) {
    let Found { name, newest, words, .. } = &found;
    let disk = found.copy();
    let storage = &disk.storage;
    let (mut wal, mut list) = disk.open();
    assert_eq!(list.words, *words, "{name}");
    check_report(&found, &wal);
    let same_chunk = wal.open_chunk_id() == ChunkId(newest.id);
    assert_eq!(same_chunk, found.chunk == Chunk::GoesOn, "{name}");
    if !same_chunk {
        assert_eq!(wal.open_chunk_id(), ChunkId(newest.end), "{name}");
        let sealed = storage.read_file(path(newest.id)).unwrap();
        let whole = newest.end - newest.id + SEAL;
        assert_eq!(sealed.len() as u64, whole, "{name}: cut right behind the seal");
    }

    // All that was replayed is durable.
    for seed in SEEDS {
        let (_, left) = disk.on(storage.crash(seed)).open();
        assert_eq!(left.words, *words, "{name}, crash {seed}");
        assert!(left.applied.starts_with(&list.applied), "{name}, crash {seed}");
    }

    // The next record can be appended, and read.
    let segment = wal.append_and_apply("next".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    for seed in SEEDS {
        let (_, left) = disk.on(storage.crash(seed)).open();
        assert_eq!(left.words, list.words, "{name}, crash {seed} behind the next record");
    }
    assert_eq!(wal.read_record(segment).unwrap(), action("next"), "{name}");
    let read: Vec<_> = wal.records().map(|record| record.unwrap()).collect();
    wal.close().unwrap();

    // Opening again agrees, and has nothing to repair.
    let closed = storage.snapshot();
    for _ in 0..2 {
        let (wal, again) = disk.open();
        assert_eq!(again.words, list.words, "{name}");
        assert_eq!(wal.recovery().torn_tail, None, "{name}");
        assert_eq!(wal.records().map(|record| record.unwrap()).collect::<Vec<_>>(), read, "{name}");
        wal.close().unwrap();
        assert_eq!(storage.snapshot(), closed, "{name}");
    }
    survives_a_crash_at_every_operation(&found);
}

fn check_report(found: &Found, wal: &Wal) {
    let Found { name, newest, .. } = found;
    let report = wal.recovery();
    let chunks = if newest.id == 0 { 1 } else { 2 };
    let records = newest.records + if newest.id == 0 { 0 } else { first().records };
    assert_eq!((report.chunks, report.records, report.bytes), (chunks, records, newest.end), "{name}");
    let lost = found.lost;
    let torn = lost.map(|lost| TornTail { chunk_id: ChunkId(newest.id), data_end: newest.end, lost });
    assert_eq!(report.torn_tail, torn, "{name}");
    assert!(report.foreign_names.is_empty(), "{name}");
}

/// Cuts the power at each operation of an open in turn, opens what is left, and compares.
fn survives_a_crash_at_every_operation(found: &Found) {
    let Found { name, words, .. } = found;
    for n in 0..100 {
        let disk = found.copy();
        disk.storage.crash_after(n);
        let opened = disk.try_open();
        let durable = if opened.is_ok() { words.len() } else { found.durable };
        let (_, killed) = disk.on(disk.storage.kill()).open();
        assert_eq!(killed.words, *words, "{name}, killed at operation {n}");
        for seed in 0..8 {
            let (_, left) = disk.on(disk.storage.crash(seed)).open();
            let at = format!("{name}, crash {seed} at operation {n}: {:?}", left.words);
            assert!(words.starts_with(&left.words.iter().map(String::as_str).collect::<Vec<_>>()), "{at}");
            assert!(left.words.len() >= durable, "{at}");
        }
        if opened.is_ok() {
            return;
        }
    }
    panic!("{name}: the open never ended");
}

/// The error of an open that fails, and has not even tried to change anything.
fn refused(disk: &Disk) -> Error {
    disk.storage.write_file("/log/LOCK", b"").unwrap();
    let before = (disk.storage.snapshot(), disk.storage.operations());
    let error = disk.try_open().unwrap_err();
    assert_eq!((disk.storage.snapshot(), disk.storage.operations()), before, "{error}");
    error
}

/// Compares all fields.
fn assert_refused(name: &str, chunks: &[&Forge], expected: &Error) {
    let disk = Disk::default();
    chunks.iter().for_each(|chunk| chunk.put(&disk));
    assert_eq!(format!("{:?}", refused(&disk)), format!("{expected:?}"), "{name}");
}

fn path(id: u64) -> PathBuf {
    Disk::default().config.chunk_path(ChunkId(id))
}

fn corrupt(chunk: &Forge, offset: u64, damage: Damage, proof: Proof) -> Error {
    Error::Corrupt { path: path(chunk.id), chunk_id: ChunkId(chunk.id), offset, damage, proof }
}

// Rows that succeed -----------------------------------------------------------------------------------

#[test]
fn a_sealed_chunk_with_its_successor_is_replayed() {
    let all = &["a", "b", "c", "d"];
    recovers(found("two chunks", &[first(), second().mark()], all, Chunk::GoesOn));
    for (name, behind) in [("zeros", vec![0; 300]), ("old bytes", STALE.to_vec())] {
        recovers(found(name, &[first().raw(&behind), second().mark()], all, Chunk::GoesOn));
    }
}

#[test]
fn a_sealed_newest_chunk_is_sealed_again_and_a_new_one_started() {
    let words = &["a", "b"];
    let seal_begins = first().end;
    recovers(found("durable", &[first()], words, Chunk::New));
    recovers(written("seal written", first(), words, (2, seal_begins), Chunk::New));
    for (name, behind) in [("zeros", vec![0; 4000]), ("old bytes", STALE.repeat(20))] {
        recovers(found(name, &[first().raw(&behind)], words, Chunk::New));
        recovers(written(name, first().raw(&behind), words, (2, seal_begins), Chunk::New));
    }
}

#[test]
fn a_sync_mark_ends_a_chunk_that_goes_on() {
    let words = &["a", "b", "c"];
    let durable = (3, newest().end);
    recovers(found("end of file", &[newest().mark()], words, Chunk::GoesOn));
    recovers(found("new file", &[newest().mark().zeros(2000)], words, Chunk::GoesOn));
    recovers(written("mark written", newest().mark().zeros(2000), words, durable, Chunk::GoesOn));
    let reused = newest().used_before().mark().raw(&STALE.repeat(30));
    recovers(found("used before", std::slice::from_ref(&reused), words, Chunk::GoesOn));
    recovers(written("used before, mark written", reused, words, durable, Chunk::GoesOn));
}

#[test]
fn zeros_end_a_chunk_that_goes_on() {
    let words = &["a", "b", "c"];
    let chunk = newest();
    let known = (1, chunk.at[2]);
    recovers(found("zeros", &[newest().zeros(2000)], words, Chunk::GoesOn));
    recovers(found("end of file", &[newest()], words, Chunk::GoesOn));
    recovers(written("written", newest().zeros(2000), words, known, Chunk::GoesOn));
    recovers(written("nothing synced", newest().zeros(2000), words, (0, chunk.at[1]), Chunk::GoesOn));
    let two = second().zeros(2000);
    recovers(found("of two chunks", &[first(), two], &["a", "b", "c", "d"], Chunk::GoesOn));
}

#[test]
fn a_new_name_that_was_not_synced_is_durable_after_an_open() {
    let disk = Disk::default();
    first().put(&disk);
    let newest = first().next().checkpoint("a,b").zeros(2000);
    newest.put_renamed(&disk);
    let (words, durable) = (&["a", "b"], 2);
    assert_eq!(disk.storage.crash(0).files("/log").len(), 2, "the name is not durable yet");
    recovers(Found { name: "renamed", disk, newest, words, durable, chunk: Chunk::GoesOn, lost: None });
}

/// After a sync that failed, the page cache calls clean what is not on the disk: reading it back, or
/// one more sync, proves nothing.
#[test]
fn pages_that_a_failed_sync_left_clean_are_written_again() {
    let long = ["x".repeat(5000), "y".repeat(3000), "z".repeat(9000)];
    let words: Vec<_> = long.iter().map(String::as_str).collect();
    for tail in [[0; 64], [0xFF; 64]] {
        let disk = Disk::default();
        let chunk = Forge::chunk(0).checkpoint("").actions(&words).raw(&tail);
        disk.storage.fail(Fault::new(OpKind::Sync, 1, FaultHow::SyncLies));
        let file = chunk.put_written(&disk, chunk.at[1]);
        file.sync().unwrap_err();
        file.sync().unwrap();
        assert!(disk.on(disk.storage.crash(0)).open().1.words.is_empty(), "it is in the page cache alone");
        let disk = disk.on(disk.storage.kill());
        let (_wal, list) = disk.open();
        assert_eq!(list.words, words);
        for seed in SEEDS {
            assert_eq!(disk.on(disk.storage.crash(seed)).open().1.words, words, "crash {seed}");
        }
    }
}

/// The same of a directory: its names are seen, and later syncs of it succeed, and write nothing.
#[test]
fn a_name_whose_sync_failed_is_made_again_before_it_is_trusted() {
    let rotated = |spare: bool| {
        let disk = Disk::default();
        if spare {
            disk.storage.write_file(format!("/log/{}", spare_name(1)), &STALE.repeat(100)).unwrap();
        }
        let (mut wal, mut list) = disk.open();
        wal.append_and_apply("acknowledged".to_string(), &mut list).unwrap();
        wal.sync().unwrap();
        wal.wait_idle().unwrap();
        // The first sync is that of a new spare.
        disk.storage.fail(Fault::new(OpKind::SyncDir, 1, FaultHow::SyncLies));
        wal.close_open_chunk(&list).unwrap();
        wal.close().unwrap_err();
        disk
    };
    for spare in [false, true] {
        let disk = rotated(spare);
        // A sync that fails again makes nothing better.
        disk.storage.fail(Fault::new(OpKind::SyncDir, 0, FaultHow::SyncLies));
        disk.try_open().map(drop).unwrap_err();
        let (mut wal, mut list) = disk.open();
        wal.append_and_apply("acknowledged later".to_string(), &mut list).unwrap();
        wal.sync().unwrap();
        for seed in SEEDS {
            let (_, left) = disk.on(disk.storage.crash(seed)).open();
            assert_eq!(left.words, ["acknowledged", "acknowledged later"], "spare {spare}, crash {seed}");
        }
    }
    // Cut at every operation, the open that makes the name anew loses nothing.
    for n in 0.. {
        let disk = rotated(true);
        disk.storage.crash_after(n);
        let opened = disk.try_open();
        let done = opened.is_ok();
        drop(opened);
        for seed in SEEDS {
            let (wal, left) = disk.on(disk.storage.crash(seed)).open();
            assert_eq!(left.words, ["acknowledged"], "cut at {n}, crash {seed}");
            assert!(disk.storage.files("/log").iter().all(|name| !name.ends_with(".away")) || !done);
            drop(wal);
        }
        if done {
            break;
        }
    }
}

/// A removal whose directory sync failed is not durable by a second sync either, and the next one must not
/// come before it.
#[test]
fn a_removal_whose_sync_failed_is_made_again() {
    for reopened in [false, true] {
        let disk = Disk::with(|config| config.spare_chunks = 1);
        let (mut wal, mut list) = disk.open();
        for word in ["a", "b", "c", "d"] {
            wal.append_and_apply(word.to_string(), &mut list).unwrap();
            wal.close_open_chunk(&list).unwrap();
        }
        wal.wait_idle().unwrap();
        let remove_one = |wal: &mut Wal| {
            let mut first = true;
            let drained = wal.drain_closed_chunks_while(|_| std::mem::take(&mut first));
            assert_eq!(drained.len(), 1);
            wal.remove_chunks(drained).unwrap();
            wal.sync().unwrap();
        };
        disk.storage.fail(Fault::new(OpKind::SyncDir, 0, FaultHow::SyncLies).sticky());
        remove_one(&mut wal);
        for _ in 0..3 {
            wal.wait_idle().unwrap_err();
        }
        if reopened {
            drop(wal);
            disk.storage.heal();
            wal = disk.open().0;
        }
        disk.storage.heal();
        // The last failure may not have been returned yet.
        let _told = wal.wait_idle();
        wal.wait_idle().unwrap();
        remove_one(&mut wal);
        wal.wait_idle().unwrap();
        let oldest = wal.closed_chunk_stats()[0].chunk_id;
        let spares = disk.storage.files("/log").iter().filter(|name| name.starts_with("spare-")).count();
        assert!(spares <= 1, "{spares} spares");
        for seed in SEEDS {
            let (_, left) = disk.on(disk.storage.crash(seed)).open();
            assert_eq!(left.words, list.words, "reopened {reopened}, crash {seed}");
            assert_eq!(left.applied[0].0, oldest, "reopened {reopened}, crash {seed}");
        }
    }
}

#[test]
fn records_that_the_page_cache_lost_during_an_open_are_not_written() {
    let long = ["x".repeat(5000), "y".repeat(3000), "z".repeat(9000)];
    let words: Vec<_> = long.iter().map(String::as_str).collect();
    let disk = Disk::default();
    let chunk = Forge::chunk(0).checkpoint("").actions(&words);
    disk.storage.fail(Fault::new(OpKind::Sync, 1, FaultHow::SyncLies));
    let file = chunk.put_written(&disk, chunk.at[1]);
    file.sync().unwrap_err();
    let disk = disk.on(disk.storage.kill());
    // All is replayed; the pages go before it is written again.
    let (storage, opened) = (disk.storage.clone(), AtomicUsize::new(0));
    disk.storage.on_operation(move |op| {
        if op.kind == OpKind::Open && opened.fetch_add(1, Relaxed) == 1 {
            storage.evict();
        }
    });
    let error = disk.try_open().unwrap_err();
    assert!(matches!(&error, Error::Io { op: "read again", .. }), "{error}");
    assert!(error.to_string().contains("open the log again"), "{error}");
    // What the disk has is no log's end that a record follows: none is replayed and lost by turns.
    disk.storage.on_operation(|_| ());
    let (_wal, list) = disk.open();
    assert!(list.words.is_empty());
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let words = &["a", "b", "c"];
    let known = (1, newest().at[2]);
    let half = half_a_frame(&newest());
    let torn = |name, chunk: Forge| {
        let lost = visible(&chunk);
        recovers(found(name, std::slice::from_ref(&chunk), words, Chunk::New).losing(lost));
        recovers(written(name, chunk, words, known, Chunk::New).losing(lost));
    };
    torn("half a frame", newest().raw(&half));
    torn("half a frame, then zeros", newest().raw(&half).zeros(2000));
    torn("a header's first bytes", newest().raw(&half[..7]).zeros(2000));
    torn("other bytes", newest().raw(&[0xFF; 100]).zeros(2000));
    torn("a bit that should be zero, far behind", newest().zeros(1001).raw(&[1]).zeros(50));
    torn("a lost frame, then a whole one", with_a_hole().zeros(2000));
}

/// [`newest`] with two unacknowledged frames after it, the first of them lost.
fn with_a_hole() -> Forge {
    Forge { end: newest().end, records: newest().records, ..newest().action("x").action("y").lost(4) }
}

fn hole_len() -> u64 {
    with_a_hole().bytes.len() as u64 - newest().end
}

#[test]
fn a_torn_tail_in_a_file_used_before_is_cut_and_reported() {
    let words = &["a", "b", "c"];
    let known = (1, newest().at[2]);
    let reused = || newest().used_before();
    let torn = |name, chunk: Forge, lost| {
        recovers(found(name, std::slice::from_ref(&chunk), words, Chunk::New).losing(lost));
        recovers(written(name, chunk, words, known, Chunk::New).losing(lost));
    };
    let half = half_a_frame(&newest());
    let claimed = half.len() as u64 + 8;
    torn("half a frame, then old bytes", reused().raw(&half).raw(&STALE.repeat(20)), claimed);
    let hole = Forge { end: newest().end, records: newest().records, ..with_a_hole().used_before() };
    torn("a lost frame, then a whole one", hole.raw(&STALE.repeat(20)), hole_len());
}

/// A busy log that was killed has no mark, and in a file used before old bytes follow: nothing was cut.
#[test]
fn a_log_that_was_killed_between_two_writes_has_no_torn_tail() {
    let words = &["a", "b", "c"];
    let known = (1, newest().at[2]);
    let reused = || newest().used_before();
    for (name, chunk) in [
        ("zeros", reused().zeros(2000)),
        ("old bytes", reused().raw(&STALE.repeat(20))),
        ("end of file", reused()),
        ("a header's first bytes", reused().raw(&half_a_frame(&newest())[..7]).raw(&STALE.repeat(20))),
    ] {
        recovers(found(name, std::slice::from_ref(&chunk), words, Chunk::New));
        recovers(written(name, chunk.clone(), words, known, Chunk::New));
        let disk = Disk::with(|config| config.truncate_torn_tail = false);
        chunk.put(&disk);
        assert_eq!(disk.open().1.words, words, "{name}: there is nothing to be cut");
    }
}

#[test]
fn abandoned_frames_after_a_mark_are_cut() {
    let words = &["a", "b", "c"];
    let (known, at_mark) = ((3, newest().end), newest().end);
    for used_before in [false, true] {
        // The mark's sector is that of before the next batch, whose second frame is on the disk.
        let batch = newest().synced().action("x").action("y");
        let mut chunk = newest().mark();
        let behind = (batch.at[5] - chunk.end) as usize - MARK as usize;
        chunk = chunk.zeros(behind).raw(&batch.bytes[batch.at[5] as usize..]);
        let lost = if used_before { batch.end - at_mark } else { visible(&chunk) };
        chunk = if used_before { chunk.used_before().raw(STALE) } else { chunk.zeros(700) };
        recovers(found("abandoned", std::slice::from_ref(&chunk), words, Chunk::New).losing(lost));
        recovers(written("abandoned", chunk, words, known, Chunk::New).losing(lost));
    }
}

#[test]
fn later_frames_that_prove_nothing_beyond_the_hole_leave_it_torn() {
    // `c` proves just the bytes before the hole.
    let hole = newest().lost(2).zeros(500);
    let end = hole.at[2];
    let hole = Forge { end, records: 2, ..hole };
    let lost = visible(&hole);
    recovers(written("at the boundary", hole, &["a"], (1, end), Chunk::New).losing(lost));
}

#[test]
fn no_chunk_at_all_is_a_new_log() {
    let empty_dir = Disk::default();
    empty_dir.storage.write_file("/log/LOCK", b"").unwrap();
    let only_spares = Disk::default();
    only_spares.storage.write_file(format!("/log/{}", spare_name(7)), &[7; 9000]).unwrap();
    for (name, disk) in [("nothing", Disk::default()), ("LOCK", empty_dir), ("a spare", only_spares)] {
        let (wal, list) = disk.open();
        let report = wal.recovery();
        assert_eq!((report.chunks, report.records, report.bytes), (0, 0, 0), "{name}");
        assert_eq!((list, wal.open_chunk_id()), (List::default(), ChunkId(0)), "{name}");
        assert_eq!(wal.records().count(), 1, "{name}");
        for seed in SEEDS {
            let left = disk.on(disk.storage.crash(seed));
            let mut list = List::default();
            let wal: Wal = left.options().must_exist().open(&mut list).unwrap();
            assert_eq!(wal.recovery().records, 1, "{name}, crash {seed}");
        }
    }
}

#[test]
fn a_new_log_survives_a_crash_at_every_operation_of_its_first_open() {
    for n in 0..100 {
        let disk = Disk::with(|config| config.dir = PathBuf::from("/some/where/deep"));
        disk.storage.crash_after(n);
        let opened = disk.try_open();
        for seed in SEEDS {
            let left = disk.on(disk.storage.crash(seed));
            let (wal, list) = left.open();
            assert!(list.words.is_empty());
            assert!(opened.is_err() || wal.recovery().chunks == 1, "crash {seed} at operation {n}");
        }
        if opened.is_ok() {
            return;
        }
    }
    panic!("the open never ended");
}

// Damage that is mended ---------------------------------------------------------------------------------

/// Two chunks that are damaged, what they were, and what is to be reported.
fn is_mended(name: &str, damaged: &[Forge], whole: &[Forge], expected: &[(u64, u64, Damage)]) {
    let found = Disk::default();
    damaged.iter().for_each(|chunk| chunk.put(&found));
    let error = refused(&found);
    assert!(matches!(error, Error::Corrupt { damage, .. } if damage.can_be_mended()), "{name}: {error:?}");
    for replay in [Replay::All, Replay::FromLastCheckpoint] {
        let n = (0..100).find(|n| survives_a_crash_while_mending(name, &found, replay, *n));
        let last = n.unwrap_or_else(|| panic!("{name}: the open never ended"));
        assert!(last >= 5, "{name}: {last} operations");
        let disk = found.on(found.storage.kill());
        let (wal, list) = open_mending(&disk, replay).unwrap();
        assert_eq!(list.words, WORDS, "{name}");
        let mended = wal.recovery().mended.iter().map(|m| (m.chunk_id.0, m.offset, m.damage));
        assert_eq!(mended.collect::<Vec<_>>(), expected, "{name}");
        assert!(wal.recovery().mended.iter().all(|m| m.path == path(m.chunk_id.0)), "{name}");
        assert_eq!(wal.recovery().torn_tail, None, "{name}");
        drop(wal);
        // It opens without the option, too, and each file is what it was before it was damaged.
        assert_eq!(disk.open().1.words, WORDS, "{name}");
        assert_eq!(disk.storage.read_file(path(0)).unwrap(), whole[0].bytes, "{name}");
        let bytes = disk.storage.read_file(path(whole[1].id)).unwrap();
        assert!(bytes.starts_with(&whole[1].bytes[..(whole[1].end - whole[1].id) as usize]), "{name}");
    }
}

const WORDS: [&str; 4] = ["a", "b", "c", "d"];

fn open_mending(disk: &Disk, replay: Replay) -> Result<(Wal, List), Error> {
    let mut list = List::default();
    disk.options().mend().replay(replay).open(&mut list).map(|wal| (wal, list))
}

/// Cuts the power at the `n`th operation of an open that mends, and opens what is left. Whether that open
/// came to its end.
fn survives_a_crash_while_mending(name: &str, found: &Disk, replay: Replay, n: u64) -> bool {
    let disk = found.on(found.storage.kill());
    disk.storage.crash_after(n);
    let is_open = open_mending(&disk, replay).is_ok();
    let left = (0..12).map(|seed| disk.storage.crash(seed)).chain([disk.storage.kill()]);
    for storage in left {
        let (wal, list) = open_mending(&disk.on(storage), Replay::All).unwrap();
        assert_eq!(list.words, WORDS, "{name}: a crash at operation {n}");
        assert!(wal.recovery().mended.is_empty() || !is_open, "{name}, operation {n}");
    }
    is_open
}

#[test]
fn the_seal_of_an_older_chunk_is_mended() {
    let seal = [(0, first().end, Damage::Seal)];
    let open = || Forge::chunk(0).checkpoint("").action("a").action("b");
    let used_before = open().used_before();
    for (name, damaged, whole) in [
        ("a bit of it", first().decayed(3), first()),
        ("zeros", first().lost(3), first()),
        ("cut short", first().cut(8), first()),
        ("cut away", first().cut(SEAL as usize), first()),
        ("zeros behind", first().lost(3).zeros(500), first()),
        ("a mark", open().mark().zeros(100), first()),
        ("old bytes", used_before.clone().raw(STALE), used_before.seal()),
    ] {
        let second = second().mark();
        is_mended(name, &[damaged, second.clone()], &[whole, second], &seal);
    }
}

#[test]
fn one_flipped_bit_of_a_header_is_mended() {
    let (first, second) = (first(), second().mark());
    let flipped = |chunk: &Forge, bit: usize| {
        let mut chunk = chunk.clone();
        chunk.bytes[bit / 8] ^= 1 << (bit % 8);
        chunk
    };
    for bit in (0..HEADER as usize * 8).step_by(7) {
        let whole = [first.clone(), second.clone()];
        let name = format!("bit {bit}");
        let expected = |chunk: &Forge| [(chunk.id, chunk.id, Damage::HeaderBit)];
        is_mended(&name, &[flipped(&first, bit), second.clone()], &whole, &expected(&first));
        is_mended(&name, &[first.clone(), flipped(&second, bit)], &whole, &expected(&second));
    }
    let both = [flipped(&first.clone().decayed(3), 200), flipped(&second, 300)];
    let expected =
        [(0, 0, Damage::HeaderBit), (0, first.end, Damage::Seal), (second.id, second.id, Damage::HeaderBit)];
    is_mended("all at once", &both, &[first, second], &expected);
}

#[test]
fn unproven_damage_is_not_mended() {
    let second = second().mark();
    let mut two_bits = first();
    two_bits.bytes[30] ^= 5;
    let mut salt = first().decayed(0);
    salt.bytes[30] ^= 4;
    for (name, chunk, successor) in [
        ("a record", first().decayed(2), &second),
        ("a record, and the seal", first().decayed(2).lost(3), &second),
        ("another history", first().lost(3), &second.clone().header(56, b"else")),
        ("two bits of a header", two_bits, &second),
        ("one of a header, and the first record", salt, &second),
    ] {
        let disk = Disk::default();
        chunk.put(&disk);
        successor.put(&disk);
        disk.storage.write_file("/log/LOCK", b"").unwrap();
        let before = disk.storage.snapshot();
        let mended = open_mending(&disk, Replay::All);
        for error in [mended.unwrap_err(), disk.try_open().unwrap_err()] {
            assert!(
                matches!(error, Error::Corrupt { damage, .. } if !damage.can_be_mended()),
                "{name}: {error}"
            );
        }
        assert_eq!(disk.storage.snapshot(), before, "{name}");
    }
}

// Rows that fail --------------------------------------------------------------------------------------

#[test]
fn a_torn_tail_is_refused_where_it_may_not_be_cut() {
    let chunk = newest().raw(&half_a_frame(&newest())).zeros(500);
    let disk = Disk::with(|config| config.truncate_torn_tail = false);
    chunk.put(&disk);
    let lost = half_a_frame(&newest()).len() as u64;
    let expected = Error::TornTail { path: path(0), chunk_id: ChunkId(0), data_end: newest().end, lost };
    assert_eq!(format!("{:?}", refused(&disk)), format!("{expected:?}"));

    for sound in [newest().mark(), newest().zeros(500), first()] {
        let disk = Disk::with(|config| config.truncate_torn_tail = false);
        sound.put(&disk);
        disk.open();
    }
}

/// With another length in the second frame's header, which no longer fits its check.
fn other_length(mut chunk: Forge) -> Forge {
    let at = chunk.at[1] - chunk.id;
    chunk.bytes[at as usize + 4 + 2] ^= 1;
    chunk
}

#[test]
fn bit_rot_in_the_newest_chunk_is_refused_by_each_proof() {
    let later = |i: usize, chunk: &Forge| Proof::LaterFrame { offset: chunk.at[i], synced: newest().at[2] };
    let a_lost = newest().lost(1).zeros(500);
    let a_decayed = newest().decayed(1).zeros(500);
    let (frame, checksum) = (Damage::FrameHeader, Damage::FrameChecksum);
    for (name, chunk, i, damage, proof) in [
        ("a later frame: zeros", &a_lost, 1, frame, later(2, &a_lost)),
        ("a later frame: payload", &a_decayed, 1, checksum, later(2, &a_decayed)),
        ("a later frame: length", &other_length(newest()), 1, frame, later(2, &newest())),
        ("a later frame: two lost", &newest().lost(1).lost(2), 1, frame, later(3, &newest())),
        (
            "a mark",
            &newest().mark().decayed(3).zeros(500),
            3,
            checksum,
            Proof::SyncMark { offset: newest().end },
        ),
        ("a mark: zeros", &newest().mark().lost(3), 3, frame, Proof::SyncMark { offset: newest().end }),
        ("a seal", &first().decayed(2), 2, checksum, Proof::Seal { offset: first().end }),
        (
            "a seal, not at the end",
            &first().lost(2).zeros(500),
            2,
            frame,
            Proof::Seal { offset: first().end },
        ),
        ("first frame", &newest().decayed(0).zeros(500), 0, checksum, Proof::FinalName),
        ("first frame: zeros", &newest().lost(0).zeros(500), 0, frame, Proof::FinalName),
        (
            "first frame: an action",
            &Forge::chunk(0).action("a").action("b").mark(),
            0,
            Damage::FirstFrameKind,
            Proof::FinalName,
        ),
        ("first frame: a mark", &Forge::chunk(0).mark(), 0, Damage::FirstFrameKind, Proof::FinalName),
    ] {
        assert_refused(name, &[chunk], &corrupt(chunk, chunk.at[i], damage, proof));
        let used_before = chunk.clone().used_before().raw(STALE);
        assert_refused(name, &[&used_before], &corrupt(chunk, chunk.at[i], damage, proof));
    }
}

#[test]
fn frames_after_a_mark_that_prove_more_are_a_hole() {
    let batch = newest().synced().action("x").synced().action("y");
    let mut chunk = newest().mark();
    chunk =
        chunk.zeros((batch.at[5] - newest().end - MARK) as usize).raw(&batch.bytes[batch.at[5] as usize..]);
    let proof = Proof::LaterFrame { offset: batch.at[5], synced: batch.at[5] };
    assert_refused("mark", &[&chunk], &corrupt(&chunk, newest().end, Damage::FrameHeader, proof));
}

#[test]
fn a_damaged_header_is_refused() {
    for byte in [16, 30, 40, 50, 57, 63] {
        let mut chunk = newest().mark();
        chunk.bytes[byte] ^= 5;
        let expected = corrupt(&chunk, 0, Damage::Header, Proof::FinalName);
        assert_refused("header", &[&chunk], &expected);
    }
    let mut short = newest();
    short.bytes.truncate(63);
    let expected = corrupt(&short, 0, Damage::Header, Proof::FinalName);
    assert_refused("cut short", &[&short], &expected);
    short.bytes.truncate(HEADER as usize - 63 + 8);
    assert_refused("magic only", &[&short], &expected);
}

#[test]
fn bit_rot_in_a_closed_chunk_is_refused() {
    let successor = second().mark();
    let (frame, checksum) = (Damage::FrameHeader, Damage::FrameChecksum);
    for (name, chunk, i, damage) in [
        ("a record", first().decayed(1), 1, checksum),
        ("a record: zeros", first().lost(2), 2, Damage::NotSealed),
        ("a record: length", other_length(first()), 1, frame),
        ("first frame", first().decayed(0), 0, checksum),
        ("the seal", first().decayed(3), 3, Damage::Seal),
        ("a record, the cut lost", first().decayed(2).zeros(500), 2, checksum),
    ] {
        let proof = if i == 0 { Proof::FinalName } else { Proof::Successor };
        assert_refused(name, &[&chunk, &successor], &corrupt(&chunk, chunk.at[i], damage, proof));
    }
}

#[test]
fn a_seal_that_disagrees_with_the_records_is_refused() {
    let missing = Forge { records: 2, ..Forge::chunk(0).checkpoint("").action("a").action("b") }.seal();
    let mut swapped = Forge::chunk(0).checkpoint("").action("a").action("b");
    let other = Forge::chunk(0).checkpoint("").action("x").action("b").seal();
    let seal = &other.bytes[other.end as usize..];
    swapped.at.push(swapped.end);
    swapped = swapped.raw(seal);
    let successor = second().mark();
    for (name, chunk) in [("record count", missing), ("other records", swapped)] {
        let proof = Proof::Seal { offset: chunk.end };
        let expected = corrupt(&chunk, chunk.end, Damage::SealMismatch, proof);
        assert_refused(name, &[&chunk], &expected);
        assert_refused(name, &[&chunk, &successor], &expected);
    }
}

#[test]
fn a_chunk_with_a_successor_and_no_seal_is_refused() {
    let open = || Forge::chunk(0).checkpoint("").action("a").action("b");
    let successor = second().mark();
    for (name, chunk) in [
        ("end of file", open()),
        ("zeros", open().zeros(500)),
        ("mark", open().mark()),
        ("mark, zeros", open().mark().zeros(500)),
        ("used before", open().used_before().raw(&[0; 500])),
        ("seal cut away", first().cut(SEAL as usize)),
    ] {
        assert_seal_lost(name, &chunk, &successor, Damage::NotSealed);
    }
    for (name, chunk, damage) in [
        ("torn", open().raw(&[0xFF; 30]), Damage::FrameHeader),
        ("frame cut short", open().raw(&half_a_frame(&open())), Damage::FrameCutShort),
        ("seal cut short", first().cut(8), Damage::FrameCutShort),
    ] {
        assert_seal_lost(name, &chunk, &successor, damage);
    }
}

/// The successor proves that no record is missing, or, of another history, doesn't.
fn assert_seal_lost(name: &str, chunk: &Forge, successor: &Forge, damage: Damage) {
    let refused = |damage| corrupt(chunk, chunk.end, damage, Proof::Successor);
    assert_refused(name, &[chunk, successor], &refused(Damage::Seal));
    let other = successor.clone().header(56, b"else");
    assert_refused(name, &[chunk, &other], &refused(damage));
    let foreign = successor.clone().header(32, b"another");
    assert_refused(name, &[chunk, &foreign], &refused(damage));
}

#[test]
fn a_gap_is_refused() {
    let end = first().end;
    let third = |id| Forge::chunk(id).checkpoint("a,b").mark();
    let gap = |expected, found| Error::Gap { path: path(found), expected, found };
    let in_the_middle = second().seal();
    assert_refused("behind", &[&first(), &third(end + 8)], &gap(end, end + 8));
    assert_refused("overlap", &[&first(), &third(end - 8)], &gap(end, end - 8));
    assert_refused("not cut", &[&first().zeros(500), &third(end + 8)], &gap(end, end + 8));
    let next = in_the_middle.end;
    assert_refused("middle missing", &[&first(), &third(next)], &gap(end, next));
    let all = [&first(), &in_the_middle, &third(next + 800)];
    assert_refused("second gap", &all, &gap(next, next + 800));
}

#[test]
fn the_oldest_chunks_may_be_gone() {
    let disk = Disk::default();
    second().mark().put(&disk);
    let (wal, list) = disk.open();
    assert_eq!(list.words, ["a", "b", "c", "d"]);
    assert_eq!(wal.recovery().bytes, second().end - second().id);
    assert_eq!(wal.on_disk_size(), second().end - second().id);
}

#[test]
fn a_file_that_is_no_chunk_is_refused() {
    let not_a_chunk = |chunk: &Forge| {
        let found = chunk.bytes[..chunk.bytes.len().min(8)].to_vec();
        Error::NotAChunk { path: path(chunk.id), found }
    };
    let damaged = |chunk: Forge| {
        let magic = chunk.clone().header(7, b"\r");
        let other = Forge { bytes: b"#!/bin/sh\n".repeat(50), ..chunk.clone() };
        let zeros = Forge { bytes: vec![0; 4096], ..chunk.clone() };
        let short = Forge { bytes: b"CHNK".to_vec(), ..chunk.clone() };
        let empty = Forge { bytes: Vec::new(), ..chunk };
        [magic, other, zeros, short, empty]
    };
    for chunk in damaged(newest().mark()) {
        assert_refused("alone", &[&chunk], &not_a_chunk(&chunk));
    }
    for chunk in damaged(first()) {
        assert_refused("oldest", &[&chunk, &second()], &not_a_chunk(&chunk));
    }
    let third = second().next().checkpoint("a,b,c,d").mark();
    for chunk in damaged(second().seal()) {
        assert_refused("newest", &[&first(), &chunk], &not_a_chunk(&chunk));
        assert_refused("middle", &[&first(), &chunk, &third], &not_a_chunk(&chunk));
    }
    // A stray file after the newest chunk, which is no reason to call that one damaged.
    for chunk in damaged(newest().next().checkpoint("a,b,c,d")) {
        assert_refused("after", &[&newest().mark(), &chunk], &not_a_chunk(&chunk));
    }
}

#[test]
fn bytes_that_this_build_can_not_read_are_unsupported() {
    let unsupported =
        |id, offset, what, found, known| Error::Unsupported { path: path(id), offset, what, found, known };
    let second = second().mark();
    for (what, at, bytes, found, known) in [
        ("format version", 8, vec![2, 0], 2, 1),
        ("features", 12, 0x8000_0001_u32.to_le_bytes().to_vec(), 0x8000_0001, known_features()),
        ("header length", 10, vec![72, 0], 72, 64),
    ] {
        let alone = newest().mark().header(at, &bytes);
        assert_refused(what, &[&alone], &unsupported(0, 0, what, found, known));
        let closed = first().header(at, &bytes);
        assert_refused(what, &[&closed, &second], &unsupported(0, 0, what, found, known));
        let last = second.clone().header(at, &bytes);
        assert_refused(what, &[&first(), &last], &unsupported(second.id, second.id, what, found, known));
    }
    for (what, kind, flags, found, known) in
        [("frame kind", 6, 0, 6, 5), ("frame kind", 15, 0, 15, 5), ("frame flags", 1, 8, 8, 2)]
    {
        let end = newest().end;
        let chunk = newest().frame(kind, flags, b"from the future").zeros(500);
        assert_refused(what, &[&chunk], &unsupported(0, end, what, found, known));
        let closed = Forge::chunk(0).checkpoint("").frame(kind, flags, b"from the future").action("b").seal();
        assert_refused(
            what,
            &[&closed, &second_behind(&closed)],
            &unsupported(0, closed.at[1], what, found, known),
        );
        let first_frame = Forge::chunk(0).frame(kind, flags, b"from the future").zeros(500);
        assert_refused(what, &[&first_frame], &unsupported(0, HEADER, what, found, known));
    }
}

fn known_features() -> u64 {
    if cfg!(feature = "lz4") { 3 } else { 2 }
}

fn second_behind(first: &Forge) -> Forge {
    first.next().checkpoint("").mark()
}

#[test]
fn a_chunk_of_another_log_is_refused() {
    let found = *b"some other log's";
    let expected = LOG_ID;
    let reason = Foreign::LogId { expected, found };
    let newest = second().mark().header(32, &found);
    assert_refused("newest", &[&first(), &newest], &Error::ForeignChunk { path: path(newest.id), reason });
    let middle = second().seal().header(32, &found);
    let third = middle.next().checkpoint("").mark();
    let error = Error::ForeignChunk { path: path(middle.id), reason };
    assert_refused("middle", &[&first(), &middle, &third], &error);
}

#[test]
fn the_chunk_that_fewest_are_like_is_the_foreign_one() {
    let theirs = *b"another log's id";
    let second = second().seal();
    let third = second.next().checkpoint("a,b,c,d").mark();
    let chunks = [first(), second, third];
    let reason = Foreign::LogId { expected: LOG_ID, found: theirs };
    for i in 0..3 {
        let mut mixed = chunks.clone();
        mixed[i] = chunks[i].clone().header(32, &theirs);
        let expected = Error::ForeignChunk { path: path(mixed[i].id), reason };
        assert_refused("one of three", &[&mixed[0], &mixed[1], &mixed[2]], &expected);
    }
}

#[test]
fn a_chunk_of_another_history_of_the_log_is_refused() {
    // As long, sealed, of the same log, and with its own name: only its records are others.
    let other = Forge::chunk(0).checkpoint("").action("a").action("x").seal();
    assert_eq!(other.end, first().end);
    let crc_of = |sealed: &Forge| {
        let successor = sealed.next();
        u32::from_le_bytes(successor.bytes[56..60].try_into().unwrap())
    };
    let reason = Foreign::Predecessor { expected: crc_of(&first()), found: crc_of(&other) };
    let newest = second().mark();
    assert_refused("newest", &[&other, &newest], &Error::ForeignChunk { path: path(newest.id), reason });
    let middle = second().seal();
    let third = middle.next().checkpoint("").mark();
    let error = Error::ForeignChunk { path: path(middle.id), reason };
    assert_refused("middle", &[&other, &middle, &third], &error);
}

#[test]
fn a_chunk_under_another_name_is_refused() {
    let renamed = |chunk: Forge, named: u64| {
        (
            Forge { id: named, ..chunk.clone() },
            Foreign::Name { named: ChunkId(named), header: ChunkId(chunk.id) },
        )
    };
    let end = first().end;
    for (name, others, (chunk, reason)) in [
        ("alone", vec![], renamed(newest().mark(), 8)),
        ("duplicated as successor", vec![first()], renamed(first(), end)),
        ("duplicated far behind", vec![first(), second().seal()], renamed(first(), second().end)),
        ("newest duplicated", vec![first(), second().seal()], renamed(second().seal(), second().end)),
        // It doesn't fit its predecessor's end either, but the gap is only what follows from the name.
        ("duplicated into another", vec![first()], renamed(first(), 8)),
        ("renamed", vec![first()], renamed(second().mark(), end + 8)),
    ] {
        let mut chunks: Vec<&Forge> = others.iter().collect();
        chunks.push(&chunk);
        assert_refused(name, &chunks, &Error::ForeignChunk { path: path(chunk.id), reason });
    }
}

#[test]
fn a_missing_log_is_refused_where_it_must_exist_and_leaves_no_trace() {
    let spare = Disk::default();
    spare.storage.write_file(format!("/log/{}", spare_name(1)), &[0; 100]).unwrap();
    let empty = Disk::default();
    empty.storage.write_file("/log/notes", b"").unwrap();
    for disk in [Disk::default(), empty, spare] {
        let before = (disk.storage.snapshot(), disk.storage.operations());
        let error = disk.options::<Words>().must_exist().open(&mut List::default()).unwrap_err();
        assert!(matches!(&error, Error::NotFound { path } if *path == disk.config.dir), "{error:?}");
        assert_eq!((disk.storage.snapshot(), disk.storage.operations()), before, "not even a lock file");
    }
}

#[test]
fn a_log_that_ends_before_an_offset_it_must_reach_is_refused_unchanged() {
    let disk = Disk::default();
    let open = |reach| disk.options::<Words>().must_reach(reach).open(&mut List::default());
    let refused = |reach, end| {
        let before = disk.storage.snapshot();
        let error = open(reach).unwrap_err();
        assert!(
            matches!(&error, Error::EndMissing { path, expected, found }
                if *path == disk.config.dir && (*expected, *found) == (reach, end)),
            "{error:?}"
        );
        assert!(error.to_string().contains(&reach.to_string()), "{error}");
        assert_eq!(disk.storage.snapshot(), before, "nothing was changed");
    };
    refused(1, 0);
    let mut list = List::default();
    let mut wal: Wal = disk.options::<Words>().open(&mut list).unwrap();
    wal.append_and_apply("a".to_string(), &mut list).unwrap();
    let end = wal.progress().appended;
    wal.close().unwrap();
    refused(end + 1, end);
    open(end).unwrap().close().unwrap();
}

#[test]
fn a_record_that_the_codec_refuses_is_an_error_that_names_it() {
    let not_utf8 = [encoded("x")[..4].to_vec(), vec![0xFF]].concat();
    let left_over = [encoded("word"), vec![0]].concat();
    let too_short = encoded("word")[..5].to_vec();
    for (payload, words) in [(not_utf8, "utf-8"), (left_over, "unread"), (too_short, "end of file")] {
        for kind in [1, 2] {
            let alone = newest().record(kind, &payload).mark();
            let closed = Forge::chunk(0).checkpoint("").action("a").record(kind, &payload).seal();
            let successor = second_behind(&closed);
            for (at, chunks) in [(alone.at[4], vec![&alone]), (closed.at[2], vec![&closed, &successor])] {
                let disk = Disk::default();
                chunks.iter().for_each(|chunk| chunk.put(&disk));
                match refused(&disk) {
                    Error::Decode { path: p, chunk_id: ChunkId(0), offset, source } => {
                        assert_eq!((p, offset), (path(0), at));
                        assert!(source.to_string().contains(words), "{source}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_record_that_the_state_machine_refuses_is_an_error_with_its_cause() {
    let alone = newest().action("refuse").raw(&[0xFF; 30]);
    let closed = Forge::chunk(0).checkpoint("").action("a").action("refuse").seal();
    let successor = second_behind(&closed);
    for (at, chunks) in [(alone.at[4], vec![&alone]), (closed.at[2], vec![&closed, &successor])] {
        let disk = Disk::default();
        chunks.iter().for_each(|chunk| chunk.put(&disk));
        match refused(&disk) {
            Error::StateMachine { chunk_id: ChunkId(0), offset, source } => {
                assert_eq!((offset, source.to_string().as_str()), (at, "refused"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_directory_that_is_refused_opens_again_once_it_is_whole() {
    let disk = Disk::default();
    first().put(&disk);
    second().mark().decayed(1).put(&disk);
    refused(&disk);
    second().mark().put(&disk);
    assert_eq!(disk.open().1.words, ["a", "b", "c", "d"]);
}

// Replay from the last checkpoint ---------------------------------------------------------------------

fn open_with(disk: &Disk, replay: Replay) -> (Wal, List) {
    disk.try_open_with(replay).unwrap()
}

/// A log of some chunks of 64 KiB and more, read in small pieces.
fn long_log() -> (Disk, List) {
    let disk = Disk::with(|config| {
        config.chunk_max_size = 64 << 10;
        config.read_buffer_size = 1 << 10;
    });
    let (mut wal, mut list) = disk.open();
    for i in 0..300 {
        wal.append_and_apply(format!("{i}-{}", "x".repeat(900)), &mut list).unwrap();
        if list.words.len() > 3 {
            // What a snapshot does: the state stays small.
            list.words.remove(0);
            wal.append(&checkpoint(&list.checkpoint())).unwrap();
        }
    }
    assert!(wal.closed_chunk_stats().len() >= 4);
    wal.close().unwrap();
    (disk, list)
}

#[test]
fn replay_from_the_last_checkpoint_comes_to_the_same_state() {
    let (disk, list) = long_log();
    let (all, from_all) = open_with(&disk, Replay::All);
    let newest = all.open_chunk_id();
    let stats = all.closed_chunk_stats();
    let report = all.recovery().clone();
    all.close().unwrap();
    let (wal, from_last) = open_with(&disk, Replay::FromLastCheckpoint);
    assert_eq!(from_all.words, list.words);
    assert_eq!(from_last.words, list.words);
    assert!(from_last.applied.iter().all(|(chunk, _)| *chunk == newest));
    assert!(from_all.applied.ends_with(&from_last.applied));
    assert_eq!(from_last.applied[0].1.offset, newest.0 + HEADER);
    let again = wal.recovery();
    assert_eq!((again.chunks, again.records, again.bytes), (report.chunks, report.records, report.bytes));
    assert_eq!(wal.closed_chunk_stats(), stats);
    assert_eq!(wal.records().filter_map(Result::ok).count() as u64, report.records);
    for (chunk, segment) in &from_all.applied {
        assert!(wal.read_record(*segment).is_ok(), "{chunk}");
    }
}

#[test]
fn replay_from_the_last_checkpoint_reads_little_of_older_chunks() {
    let (disk, _) = long_log();
    let mut counts = Vec::new();
    for replay in [Replay::All, Replay::FromLastCheckpoint] {
        let reads: Seen<PathBuf> = Seen::default();
        let seen = reads.clone();
        disk.storage.on_operation(move |op| {
            if op.kind == OpKind::Read {
                seen.lock().unwrap().push(op.path.clone());
            }
        });
        let (wal, _) = open_with(&disk, replay);
        let newest = disk.config.chunk_path(wal.open_chunk_id());
        let oldest = disk.config.chunk_path(ChunkId(0));
        let reads = reads.lock().unwrap();
        let of = |path: &PathBuf| reads.iter().filter(|read| *read == path).count();
        let older = reads.iter().filter(|read| **read != newest).count();
        counts.push([of(&oldest), older.div_ceil(wal.closed_chunk_stats().len()), of(&newest)]);
    }
    let [all, last] = counts[..] else { panic!() };
    assert!(all[0] >= 30 && all[1] >= 30, "{all:?}");
    assert!(last[0] <= 4 && last[1] <= 6, "header, seal, first record: {last:?}");
    assert_eq!(all[2], last[2], "the newest is read as ever");
}

#[test]
fn replay_from_the_last_checkpoint_sees_headers_seals_and_first_records() {
    let successor = second().mark();
    for (name, chunks) in [
        ("gap", vec![first(), Forge::chunk(first().end + 8).checkpoint("").mark()]),
        ("header", vec![first().header(8, &[7]), successor.clone()]),
        ("first record", vec![first().decayed(0), successor.clone()]),
        ("seal", vec![first().decayed(3), successor.clone()]),
        ("newest", vec![first(), successor.clone().decayed(1)]),
    ] {
        let disk = Disk::default();
        chunks.iter().for_each(|chunk| chunk.put(&disk));
        disk.storage.write_file("/log/LOCK", b"").unwrap();
        let before = disk.storage.snapshot();
        let opened = disk.try_open_with::<List>(Replay::FromLastCheckpoint);
        assert!(opened.is_err(), "{name}");
        assert_eq!(disk.storage.snapshot(), before, "{name}");
    }
}

// Names that are no chunks ----------------------------------------------------------------------------

#[test]
fn foreign_names_are_reported_and_left_alone() {
    let names = ["R-0.wal", "notes.txt", "r-0.wal", "r-00_000_000_000_000_000_000.wal.bak", "spare-12.tmp"];
    let disk = Disk::with(|config| config.spare_chunks = 0);
    newest().mark().put(&disk);
    for name in names.iter().chain(&["sub/LOCK"]) {
        disk.storage.write_file(format!("/log/{name}"), name.as_bytes()).unwrap();
    }
    let (mut wal, mut list) = disk.open();
    let foreign = &wal.recovery().foreign_names;
    let expected: Vec<_> = names.iter().chain(&["sub/"]).map(|name| disk.config.dir.join(name)).collect();
    assert_eq!(*foreign, expected);
    wal.append_and_apply("more".to_string(), &mut list).unwrap();
    wal.close().unwrap();
    for name in names.iter().chain(&["sub/LOCK"]) {
        let left = disk.storage.read_file(format!("/log/{name}"));
        assert_eq!(left.as_deref(), Some(name.as_bytes()), "{name}");
    }
}

fn spares(storage: &MemoryStorage) -> usize {
    storage.files("/log").iter().filter(|name| name.starts_with("spare-")).count()
}

#[test]
fn spares_are_kept_up_to_the_limit() {
    let mut others = Vec::new();
    for (limit, kept) in [(0, 0), (1, 1), (2, 2), (3, 3), (5, 3)] {
        let disk = Disk::with(|config| config.spare_chunks = limit);
        for _ in 0..3 {
            // Removed chunks of a log of its own each.
            let other = Disk::default();
            let (mut wal, mut list) = other.open();
            wal.append_and_apply("x".repeat(2000), &mut list).unwrap();
            wal.close_open_chunk(&list).unwrap();
            let id = wal.open_chunk_id();
            wal.close().unwrap();
            let bytes = other.storage.read_file(other.config.chunk_path(id)).unwrap();
            others.push(bytes);
        }
        newest().mark().put(&disk);
        for (i, bytes) in others.drain(..).enumerate() {
            disk.storage.write_file(format!("/log/{}", spare_name(i as u64)), &bytes).unwrap();
        }
        disk.open().0.close().unwrap();
        assert_eq!(spares(&disk.storage), kept, "of at most {limit}");
    }
}

#[test]
fn spares_are_left_alone_by_an_open_that_fails() {
    let disk = Disk::with(|config| config.spare_chunks = 0);
    newest().decayed(1).put(&disk);
    disk.storage.write_file(format!("/log/{}", spare_name(1)), &[1; 100]).unwrap();
    refused(&disk);
}

/// The features in the header of a chunk's file.
fn features(disk: &Disk, id: ChunkId) -> u8 {
    disk.storage.read_file(disk.config.chunk_path(id)).unwrap()[12]
}

const EARLIER_LIFE: u8 = 2;

#[test]
fn a_spare_of_an_earlier_process_is_used_and_says_so() {
    for (leftover, expected) in
        [(None, 0), (Some(vec![]), EARLIER_LIFE), (Some(vec![9; 20_000]), EARLIER_LIFE)]
    {
        let disk = Disk::default();
        newest().mark().put(&disk);
        let spare = format!("/log/{}", spare_name(1));
        if let Some(bytes) = &leftover {
            disk.storage.write_file(&spare, bytes).unwrap();
        }
        let (mut wal, list) = disk.open();
        wal.close_open_chunk(&list).unwrap();
        wal.sync().unwrap();
        assert_eq!(features(&disk, wal.open_chunk_id()), expected);
        assert!(!disk.storage.files("/log").contains(&spare_name(1)), "it has become the chunk");
        wal.close().unwrap();
        assert_eq!(disk.open().1.words, list.words);
    }
}

#[test]
fn a_file_used_before_is_continued_only_from_a_mark() {
    for (spare, marked, goes_on) in
        [(false, false, true), (false, true, true), (true, false, false), (true, true, true)]
    {
        let disk = Disk::default();
        if spare {
            disk.storage.write_file(format!("/log/{}", spare_name(1)), &STALE.repeat(100)).unwrap();
        }
        let (mut wal, mut list) = disk.open();
        assert_eq!(features(&disk, ChunkId(0)) == EARLIER_LIFE, spare);
        wal.append_and_apply("a".to_string(), &mut list).unwrap();
        wal.sync().unwrap();
        let left = if marked {
            wal.close().unwrap();
            disk.storage.crash(0)
        } else {
            // A mark is written by now or not; it is not synced.
            disk.storage.crash(0)
        };
        let (wal, again) = disk.on(left).open();
        assert_eq!(again.words, ["a"]);
        assert_eq!(wal.open_chunk_id() == ChunkId(0), goes_on, "spare {spare}, marked {marked}");
    }
}

/// A closing mark says that nothing follows. Had it stayed on the disk under the records of the next life, a
/// crash that keeps only later sectors of them would look like a log that was closed.
#[test]
fn a_closing_mark_is_gone_from_the_disk_once_the_log_is_open() {
    let kinds_on_disk = |disk: &Disk, at: usize| -> Vec<u8> {
        let kind = |seed| disk.storage.crash(seed).read_file(path(0)).unwrap()[at + 8];
        (0..20).map(kind).collect()
    };
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    wal.append_and_apply("a".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    let at = wal.progress().synced as usize;
    wal.wait_idle().unwrap();
    assert_eq!(disk.storage.read_file(path(0)).unwrap()[at + 8], 0x04);
    wal.close().unwrap();
    assert_eq!(kinds_on_disk(&disk, at), [0x14; 20]);

    // A sync of the new mark that goes wrong leaves it in the cache alone, and clean.
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::SyncLies));
    disk.try_open().map(drop).unwrap_err();
    let (wal, _) = disk.open();
    assert_eq!(kinds_on_disk(&disk, at), [0x04; 20]);
    drop(wal);
}

// Opening changes little ------------------------------------------------------------------------------

#[test]
fn opening_changes_nothing_but_the_sync_mark() {
    let disk = Disk::default();
    first().put(&disk);
    second().zeros(4096).put(&disk);
    disk.storage.write_file("/log/LOCK", b"").unwrap();
    let mut expected = disk.storage.snapshot();
    let mut marked = second().closing_mark().zeros(4096);
    marked.bytes.truncate(second().bytes.len() + 4096);
    expected.insert(path(second().id), marked.bytes);
    for _ in 0..3 {
        disk.open().0.close().unwrap();
        // Dropping is closing.
        disk.open();
        assert_eq!(disk.storage.snapshot(), expected);
    }
    disk.storage.record(true);
    disk.open().0.close().unwrap();
    let written: Vec<_> = disk.storage.take_log().into_iter().filter(|op| !op.starts_with("sync")).collect();
    let write = format!("write {} 16@{}", ChunkId(second().id).file_name(), second().bytes.len());
    assert_eq!(written, [&write[..]; 2], "opened, closed");
}

// on_chunk_persisted ----------------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq)]
enum Event {
    Applied(ChunkId),
    Persisted(ChunkPersisted, Option<String>),
}

/// Notes what is applied.
struct Noting(Seen<Event>);

impl StateMachine<Words> for Noting {
    type Error = String;

    fn apply(&mut self, _: &Record, chunk_id: ChunkId, _: Segment) -> Result<(), String> {
        self.0.lock().unwrap().push(Event::Applied(chunk_id));
        Ok(())
    }

    fn checkpoint(&self) -> String {
        "all".to_string()
    }
}

/// Opens a log; returns what happened meanwhile, and the disk after a power loss at the time when
/// the newest chunk was said to be durable.
fn events(disk: &Disk, replay: Replay, newest: u64) -> (Vec<Event>, MemoryStorage) {
    let seen: Seen<Event> = Seen::default();
    let crashed: Arc<Mutex<Option<MemoryStorage>>> = Arc::default();
    let (persisted, left, storage) = (seen.clone(), crashed.clone(), disk.storage.clone());
    let wal: Wal = disk
        .options()
        .replay(replay)
        .on_chunk_persisted(move |chunk, checkpoint| {
            persisted.lock().unwrap().push(Event::Persisted(chunk, checkpoint.cloned()));
            if chunk.chunk_id == ChunkId(newest) {
                left.lock().unwrap().get_or_insert_with(|| storage.crash(0));
            }
        })
        .open(&mut Noting(seen.clone()))
        .unwrap();
    drop(wal);
    (seen.lock().unwrap().clone(), crashed.lock().unwrap().clone().unwrap())
}

#[test]
fn each_chunk_found_is_reported_once_it_is_durable() {
    use Event::Applied;
    let middle = second().seal();
    let last = middle.next().checkpoint("a,b,c,d").action("e").action("f");
    let ids = [0, middle.id, last.id].map(ChunkId);
    let persisted = |forge: &Forge, checkpoint: Option<&str>| {
        let (chunk_id, start, synced) = (ChunkId(forge.id), forge.id, forge.end);
        Event::Persisted(ChunkPersisted { chunk_id, start, synced }, checkpoint.map(str::to_string))
    };
    let told =
        [persisted(&first(), None), persisted(&middle, Some("a,b")), persisted(&last, Some("a,b,c,d"))];
    let all = [
        vec![told[0].clone()],
        vec![Applied(ids[0]); 3],
        vec![told[1].clone()],
        vec![Applied(ids[1]); 3],
        vec![Applied(ids[2]); 3],
        vec![told[2].clone()],
    ];
    let newest_only = [told[..2].to_vec(), vec![Applied(ids[2]); 3], vec![told[2].clone()]];
    let new_chunk = ChunkPersisted { chunk_id: ChunkId(last.end), start: last.end, synced: last.end };
    for (replay, expected) in
        [(Replay::All, all.concat()), (Replay::FromLastCheckpoint, newest_only.concat())]
    {
        for torn in [false, true] {
            let disk = Disk::default();
            first().put(&disk);
            middle.put(&disk);
            let tail: &[u8] = if torn { &[0xFF; 40] } else { &[0; 40] };
            last.clone().raw(tail).put_written(&disk, last.at[1]);
            let (seen, at_newest) = events(&disk, replay, last.id);
            assert_eq!(seen[..expected.len()], expected, "{replay:?}, torn: {torn}");
            match &seen[expected.len()..] {
                [] => assert!(!torn),
                [Event::Persisted(begun, Some(checkpoint))] if torn => {
                    assert_eq!((begun.chunk_id, begun.start), (new_chunk.chunk_id, new_chunk.start));
                    assert_eq!(checkpoint, "all");
                }
                more => panic!("{more:?}"),
            }
            assert_eq!(disk.on(at_newest).open().1.words, ["a", "b", "c", "d", "e", "f"]);
        }
    }
}

#[test]
fn a_chunk_without_a_predecessor_is_reported_without_a_checkpoint() {
    let disk = Disk::default();
    newest().mark().put(&disk);
    let (seen, _) = events(&disk, Replay::All, 0);
    let told: Vec<_> = seen.iter().filter(|event| matches!(event, Event::Persisted(..))).collect();
    assert!(
        matches!(told[..], [Event::Persisted(ChunkPersisted { synced, .. }, None)] if *synced == newest().end)
    );
}

#[test]
fn records_are_given_to_the_state_machine_with_chunk_and_segment() {
    let disk = Disk::default();
    first().put(&disk);
    second().mark().put(&disk);
    let (wal, list) = disk.open();
    let chunk = |forge: &Forge| {
        let ends = forge.at.iter().skip(1).copied().chain([forge.end]);
        let segments = forge.at.iter().zip(ends).map(|(at, end)| Segment::new(*at, end - at));
        segments.map(|segment| (ChunkId(forge.id), segment)).take(3).collect::<Vec<_>>()
    };
    assert_eq!(list.applied, [chunk(&first()), chunk(&second())].concat());
    let read = |i: usize| wal.read_record(list.applied[i].1).unwrap();
    assert_eq!((read(2), read(3)), (action("b"), WalRecord::Checkpoint("a,b".to_string())));
}

/// Opens a log of one chunk, whose file has a hole wherever there are 4 KiB of zeros.
fn open_with_holes(storage: Arc<dyn Storage>, dir: &Path, chunk: &Forge) -> Result<RecoveryReport, Error> {
    let config = Config::new(storage.create_dir(dir).unwrap());
    let file = storage.create(&config.chunk_path(ChunkId(chunk.id))).unwrap();
    file.set_len(chunk.bytes.len() as u64).unwrap();
    for (i, page) in chunk.bytes.chunks(4096).enumerate().filter(|(_, page)| page.iter().any(|b| *b != 0)) {
        assert_eq!(file.write_at(&[IoSlice::new(page)], i as u64 * 4096).unwrap(), page.len());
    }
    let options = ChunkedWal::<Words>::options(config).storage(storage);
    let wal = options.open(&mut List::default())?;
    Ok(wal.recovery().clone())
}

#[test]
fn records_after_a_hole_are_found() {
    let whole = Forge::chunk(0).checkpoint("").action("a");
    let (begun, end) = (half_a_frame(&whole), whole.end);
    for hole in [0, 4096, 100_000, 3 << 20, 5_000_003] {
        let hole = hole / 8 * 8;
        let behind = whole.clone().zeros(hole + 4096);
        let offset = behind.bytes.len() as u64;
        for tail in [0, 8, 1 << 20, 9 << 20] {
            let temp = tempfile::tempdir().unwrap();
            let each = |name: &str, chunk: &Forge| {
                let chunk = chunk.clone().zeros(tail);
                let disk = open_with_holes(Arc::new(DiskStorage), &temp.path().join(name), &chunk);
                let memory = open_with_holes(Arc::new(MemoryStorage::default()), Path::new("/log"), &chunk);
                let torn = |report: RecoveryReport| (report.records, report.torn_tail);
                let [disk, memory] = [disk, memory].map(|opened| opened.map(torn));
                assert_eq!(
                    format!("{disk:?}").replace(temp.path().to_str().unwrap(), ""),
                    format!("{memory:?}").replace("/log/", &format!("/{name}/")),
                    "{name}, {hole}, {tail}"
                );
                memory
            };
            assert!(matches!(each("zeros", &behind), Ok((2, None))));
            let lost = offset + 1 - end;
            let torn = TornTail { chunk_id: ChunkId(0), data_end: end, lost };
            assert_eq!(each("byte", &behind.clone().raw(&[1])).unwrap(), (2, Some(torn)));
            assert!(matches!(each("begun", &behind.clone().raw(&begun)), Ok((2, Some(_)))));
            let proven = each("proof", &behind.clone().mark());
            assert!(
                matches!(proven, Err(Error::Corrupt { offset: at, proof: Proof::SyncMark { offset: mark }, .. })
                    if at == end && mark == offset),
                "{proven:?}"
            );
        }
    }
}

#[test]
fn reserved_space_that_was_read_is_a_hole_again_once_the_log_is_opened() {
    let temp = tempfile::tempdir().unwrap();
    let open = || ChunkedWal::<Words>::open(Config::new(temp.path()), &mut List::default()).unwrap();
    let mut wal = open();
    wal.append(&action("a")).unwrap();
    wal.close().unwrap();
    let path = Config::new(temp.path()).chunk_path(ChunkId(0));
    let is_hole = || {
        let file = DiskStorage.open(&path, Access::Read).unwrap();
        file.next_data(8 << 20).unwrap().is_none()
    };
    // Not every file system has holes, and not every one counts what is cached as data.
    let had_hole = is_hole();
    let bytes = std::fs::read(&path).unwrap();
    drop(open());
    assert_eq!(is_hole(), had_hole);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
