//! A sync that the appender does itself, the mark of an idle log, and zeros ahead.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::thread::sleep;
use std::time::{Duration, Instant};

use chunked_wal::storage::{Fault, FaultHow, OpKind};
use chunked_wal::{ChunkId, Error};

use crate::common::*;

fn sync_often(wal: &mut Wal, syncs: usize) {
    for _ in 0..syncs {
        wal.append(&action("word")).unwrap();
        wal.sync().unwrap();
    }
}

#[test]
fn a_sync_never_passes_what_is_queued() {
    let disk = Disk::with(|config| {
        config.chunk_max_size = 1 << 20;
        // Queued flushes stay in the queue, while no thread has the worker's lock.
        config.flush_batch_wait = Duration::from_millis(100);
    });
    let (mut wal, mut list) = disk.open();
    for round in 0..3 {
        wal.append_and_apply(format!("before {round}"), &mut list).unwrap();
        wal.close_open_chunk(&list).unwrap();
        wal.append_and_apply(format!("behind {round}"), &mut list).unwrap();
        wal.sync().unwrap();
        let again = disk.on(disk.storage.crash(round));
        assert_eq!(again.open().1.words, list.words);
    }
}

#[test]
fn an_idle_log_gets_its_mark_and_is_left_alone() {
    const MARK: u8 = 4;
    for pause_us in [0, 20, 300, 4000, 5200] {
        let disk = Disk::with(|config| config.chunk_max_size = 1 << 20);
        let (mut wal, _) = disk.open();
        for _ in 0..5 {
            sync_often(&mut wal, 1);
            sleep(Duration::from_micros(pause_us));
        }
        let end = wal.progress().appended as usize;
        let began = Instant::now();
        let path = disk.config.chunk_path(ChunkId(0));
        while disk.storage.read_file(&path).unwrap()[end + 8] != MARK {
            assert!(began.elapsed() < Duration::from_secs(20), "no mark, syncs {pause_us} us apart");
            sleep(Duration::from_millis(1));
        }
        let operations = disk.storage.operations();
        sleep(Duration::from_millis(20));
        assert_eq!(disk.storage.operations(), operations);
    }
}

#[test]
fn zeros_take_no_space_that_the_file_does_not_have() {
    let mut disk = Disk::with(|config| {
        config.chunk_max_size = 16 << 10;
        config.zero_ahead_bytes = 64 << 10;
    });
    let (mut wal, _) = disk.open();
    sync_often(&mut wal, 1);
    wal.close().unwrap();
    disk.config.chunk_max_size = 1 << 20;
    let used = disk.storage.used();
    disk.storage.set_capacity(Some(used + (100 << 10)));
    let (mut wal, _) = disk.open();
    sync_often(&mut wal, 40);
    wal.wait_idle().unwrap();
    assert_eq!(disk.storage.used(), used);
}

#[test]
fn zeros_without_space_are_skipped_and_other_failures_are_the_logs() {
    for (kind, nth, how, is_fatal) in [
        (OpKind::Write, 1, FaultHow::NoSpace, false),
        (OpKind::Write, 1, FaultHow::Short(100), false),
        (OpKind::Write, 1, FaultHow::Io, true),
        // The sync of the record makes the zeros durable too.
        (OpKind::Sync, 0, FaultHow::Io, true),
        (OpKind::Sync, 0, FaultHow::SyncLies, true),
    ] {
        let disk = Disk::with(|config| {
            config.chunk_max_size = 64 << 10;
            config.zero_ahead_bytes = 16 << 10;
        });
        let (mut wal, _) = disk.open();
        sync_often(&mut wal, 7);
        wal.wait_idle().unwrap();
        // After the operation of the record itself.
        disk.storage.fail(Fault::new(kind, nth, how));
        wal.append(&action("word")).unwrap();
        let synced = wal.sync();
        assert_eq!(synced.is_err(), is_fatal, "{kind:?} {how:?}: {synced:?}");
        assert!(!is_fatal || matches!(wal.sync(), Err(Error::Poisoned { .. })));
        drop(wal);
        let again = disk.on(disk.storage.crash(3));
        let words = again.open().1.words.len();
        assert!(words == 8 || (words == 7 && is_fatal), "{kind:?} {how:?}: {words}");
    }
}
