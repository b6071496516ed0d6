//! Zeros in the next chunk's file, by the housekeeper, and what comes in between.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::{scope, sleep};
use std::time::Duration;

use chunked_wal::Flush;
use chunked_wal::storage::{Fault, FaultHow, Op, OpKind};

use crate::common::*;

const PIECE: u64 = 8192;
/// The last piece in its file is a short one.
const CHUNK: u64 = (1 << 20) + PIECE / 2;
/// Here the spare is made, and gets its first pieces.
const EARLY: u64 = (CHUNK + (64 << 10)) / 8 + 2 * PIECE;

/// Small pieces.
fn disk() -> Disk {
    Disk::with(|config| {
        config.chunk_max_size = CHUNK;
        config.zero_ahead_bytes = PIECE;
    })
}

/// A log whose housekeeper is done with the first chunk's file: while it is busy, it is not asked for a spare.
fn open(disk: &Disk) -> (Wal, List) {
    let (wal, list) = disk.open();
    wal.wait_idle().unwrap();
    (wal, list)
}

/// Syncs small records, one by one, until the open chunk is this large.
fn sync_until(wal: &mut Wal, size: u64) {
    while wal.progress().appended - wal.open_chunk_id().0 < size {
        wal.append(&action(&"w".repeat(2000))).unwrap();
        wal.sync().unwrap();
    }
}

fn is_in_spare(op: &Op, kind: OpKind) -> bool {
    op.kind == kind && op.path.to_string_lossy().contains("spare-")
}

/// Lines of the log that name a spare, without its number.
fn spare_lines(disk: &Disk) -> Vec<String> {
    let log = disk.storage.take_log().into_iter().filter(|line| line.contains("spare-"));
    let name = |word: &str| if word.starts_with("spare-") { "spare".to_string() } else { word.to_string() };
    log.map(|line| line.split(' ').map(name).collect::<Vec<_>>().join(" ")).collect()
}

/// Where blocks of zeros were written to the open chunk.
fn zeros_in_chunk(disk: &Disk, wal: &Wal) -> Vec<u64> {
    let name = wal.open_chunk_id().file_name();
    let prefix = format!("write {name} {PIECE}@");
    disk.storage.take_log().iter().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect()
}

fn spare_files(disk: &Disk) -> Vec<Vec<u8>> {
    let names = disk.storage.files(&disk.config.dir).into_iter().filter(|name| name.starts_with("spare-"));
    names.map(|name| disk.storage.read_file(disk.config.dir.join(name)).unwrap()).collect()
}

#[test]
fn a_spare_is_zeroed_within_its_space() {
    let disk = disk();
    let (mut wal, _) = open(&disk);
    sync_until(&mut wal, EARLY);
    wal.wait_idle().unwrap();
    let len = spare_files(&disk)[0].len();
    // Zeros take no space that the file does not have.
    disk.storage.set_capacity(Some(disk.storage.used()));
    disk.storage.record(true);
    for size in (EARLY..CHUNK).step_by(2048) {
        sync_until(&mut wal, size);
        wal.wait_idle().unwrap();
    }
    let lines = spare_lines(&disk);
    assert_eq!(lines.last().unwrap(), "sync spare", "{lines:?}");
    let files = spare_files(&disk);
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].len(), len);
    assert!(files[0].iter().all(|byte| *byte == 0));
}

#[test]
fn a_rotation_waits_for_one_piece_and_goes_on_from_there() {
    let disk = disk();
    let (mut wal, list) = open(&disk);
    disk.storage.record(true);
    for size in (EARLY..EARLY + 8 * PIECE).step_by(2048) {
        sync_until(&mut wal, size);
        wal.wait_idle().unwrap();
    }
    let gate = Gate::new(&disk.storage, |op| is_in_spare(op, OpKind::Write));
    sync_until(&mut wal, EARLY + 10 * PIECE);
    gate.wait_for(1);
    let done = AtomicBool::new(false);
    scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(20));
            assert!(!done.load(SeqCst), "the file is taken while zeros are written");
            gate.open();
        });
        wal.close_open_chunk(&list).unwrap();
        done.store(true, SeqCst);
    });
    wal.sync().unwrap();
    let lines = spare_lines(&disk);
    let zeros: Vec<u64> =
        lines.iter().filter_map(|line| line.strip_prefix("write spare 8192@")?.parse().ok()).collect();
    let zeroed = zeros.last().unwrap() + PIECE;
    let header = lines.iter().rposition(|line| line.starts_with("write spare") && line.ends_with("@0"));
    assert_eq!(lines[header.unwrap()..].len(), 3, "zeros in a file that is a chunk: {lines:?}");
    sync_until(&mut wal, zeroed + 3 * PIECE);
    let ahead = zeros_in_chunk(&disk, &wal);
    // One block further if the last frame reached it.
    assert!((zeroed..=zeroed + 4096).contains(&ahead[0]), "{zeroed} {ahead:?}");
    let words = wal.records().count();
    wal.close().unwrap();
    let (wal, _) = disk.on(disk.storage.crash(7)).open();
    assert_eq!(wal.records().count(), words);
}

#[test]
fn a_full_disk_waits_for_the_piece_and_gives_the_spare_up() {
    let disk = disk();
    let (mut wal, _) = open(&disk);
    sync_until(&mut wal, EARLY);
    wal.wait_idle().unwrap();
    let gate = Gate::new(&disk.storage, |op| is_in_spare(op, OpKind::Write));
    sync_until(&mut wal, EARLY + 2 * PIECE);
    gate.wait_for(1);
    disk.storage.set_capacity(Some(disk.storage.used()));
    scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(20));
            gate.open();
        });
        // More than the chunk's file has, and about as much as the spare.
        wal.append(&action(&"w".repeat(CHUNK as usize))).unwrap();
    });
    wal.sync().unwrap();
    assert_eq!(spare_files(&disk).len(), 0);
}

#[test]
fn zeros_that_find_no_space_are_the_last() {
    let disk = disk();
    let (mut wal, list) = open(&disk);
    let pieces = Arc::new(AtomicUsize::new(0));
    let (storage, count) = (disk.storage.clone(), pieces.clone());
    disk.storage.on_operation(move |op| {
        if is_in_spare(op, OpKind::Write) {
            count.fetch_add(1, SeqCst);
            storage.fail(Fault::new(OpKind::Write, 0, FaultHow::NoSpace));
        }
    });
    sync_until(&mut wal, CHUNK);
    wal.wait_idle().unwrap();
    assert_eq!(pieces.load(SeqCst), 1);
    disk.storage.on_operation(|_| ());
    disk.storage.record(true);
    wal.close_open_chunk(&list).unwrap();
    sync_until(&mut wal, CHUNK / 2);
    wal.wait_idle().unwrap();
    let lines = spare_lines(&disk);
    assert!(lines.iter().any(|line| line.starts_with("rename spare")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("8192@")), "{lines:?}");
    assert_eq!(wal.flush_metrics().housekeeping_failure_count, 0);
}

#[test]
fn a_spare_that_fails_is_removed_and_the_log_goes_on() {
    for (kind, how) in [
        (OpKind::Write, FaultHow::Io),
        (OpKind::Write, FaultHow::DoneButIo),
        (OpKind::Sync, FaultHow::Io),
        (OpKind::Sync, FaultHow::SyncLies),
        (OpKind::Sync, FaultHow::NoSpace),
    ] {
        let disk = disk();
        let (mut wal, list) = open(&disk);
        let failed = AtomicBool::new(false);
        let storage = disk.storage.clone();
        disk.storage.on_operation(move |op| {
            if is_in_spare(op, kind) && !failed.swap(true, SeqCst) {
                storage.fail(Fault::new(kind, 0, how));
            }
        });
        disk.storage.record(true);
        for size in (EARLY..CHUNK).step_by(2048) {
            sync_until(&mut wal, size);
            wal.wait_idle().unwrap();
        }
        assert_eq!(wal.flush_metrics().housekeeping_failure_count, 1, "{kind:?} {how:?}");
        let lines = spare_lines(&disk);
        assert_eq!(lines.iter().filter(|line| *line == "remove spare").count(), 1, "{lines:?}");
        wal.close_open_chunk(&list).unwrap();
        wal.append(&action("last")).unwrap();
        wal.sync().unwrap();
        wal.close().unwrap();
        let (_, list) = disk.on(disk.storage.crash(5)).open();
        assert_eq!(list.words.last().unwrap(), "last", "{kind:?} {how:?}");
    }
}

#[test]
fn closing_waits_for_one_piece() {
    let disk = disk();
    let (mut wal, _) = open(&disk);
    let gate = Gate::new(&disk.storage, |op| is_in_spare(op, OpKind::Write));
    sync_until(&mut wal, CHUNK / 2);
    gate.wait_for(1);
    scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(20));
            gate.open();
        });
        wal.close().unwrap();
    });
    assert!(spare_files(&disk)[0].iter().all(|byte| *byte == 0));
    let (mut wal, list) = open(&disk);
    wal.close_open_chunk(&list).unwrap();
    wal.sync().unwrap();
}

#[test]
fn only_a_log_that_syncs_little_at_a_time_gets_its_spare_early() {
    for (zeros, len, is_early) in [(PIECE, 1000, true), (0, 1000, false), (PIECE, 70_000, false)] {
        let disk = Disk::with(|config| {
            config.chunk_max_size = 1 << 20;
            config.zero_ahead_bytes = zeros;
        });
        let (mut wal, _) = open(&disk);
        while wal.progress().appended < 400_000 {
            wal.append(&action(&"w".repeat(len))).unwrap();
            wal.flush(Flush::Sync, None).unwrap();
            wal.wait_idle().unwrap();
        }
        assert_eq!(spare_files(&disk).len(), usize::from(is_early), "{zeros} {len}");
        assert_eq!(wal.progress().synced, wal.progress().appended);
    }
}

#[test]
fn a_file_used_again_gets_no_zeros() {
    let disk = disk();
    let (mut wal, mut list) = open(&disk);
    wal.append_and_apply("old".to_string(), &mut list).unwrap();
    wal.close_open_chunk(&list).unwrap();
    let ids = wal.drain_closed_chunks_while(|_| true);
    wal.remove_chunks(ids).unwrap();
    wal.wait_idle().unwrap();
    assert_eq!(spare_files(&disk).len(), 1);
    disk.storage.record(true);
    sync_until(&mut wal, CHUNK);
    wal.wait_idle().unwrap();
    assert_eq!(spare_lines(&disk), Vec::<String>::new());
    wal.close_open_chunk(&list).unwrap();
    wal.sync().unwrap();
    disk.storage.take_log();
    sync_until(&mut wal, CHUNK / 3);
    assert!(zeros_in_chunk(&disk, &wal).is_empty());
    assert_eq!(spare_lines(&disk), Vec::<String>::new());
}

#[test]
fn a_spare_that_can_not_be_made_early_is_tried_again_at_half() {
    let disk = disk();
    let (mut wal, _) = open(&disk);
    disk.storage.set_capacity(Some(disk.storage.used()));
    sync_until(&mut wal, CHUNK / 4);
    // The worker's request comes after the sync.
    while wal.flush_metrics().housekeeping_failure_count == 0 {
        sleep(Duration::from_millis(1));
    }
    sync_until(&mut wal, CHUNK * 3 / 8);
    sleep(Duration::from_millis(5));
    assert_eq!(wal.flush_metrics().housekeeping_failure_count, 1);
    disk.storage.set_capacity(None);
    sync_until(&mut wal, CHUNK / 2);
    wal.wait_idle().unwrap_err();
    assert_eq!(spare_files(&disk).len(), 1);
}
