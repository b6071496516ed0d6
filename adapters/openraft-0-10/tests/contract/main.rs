//! What openraft's contract asks beyond its suite: that of 0.9, and the streams and errors of 0.10.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../../../openraft/tests/contract/cases.rs"]
mod cases;

mod streams;

use chunked_wal::Config;
use chunked_wal::storage::{Fault, FaultHow, MemoryStorage, OpKind};
use openraft::storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt};
use openraft::type_config::TypeConfigExt;

use common::{Texts, Vote, entries, entry, log_id, open, run, tiny};

#[test]
fn a_failed_disk_fails_what_waits_and_everything_after() {
    run(async {
        let disk = MemoryStorage::default();
        let mut store = open(&disk, tiny(Config::new("/log"))).unwrap();
        store.blocking_append(entries(1, 0..3)).await.unwrap();
        disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io).sticky());
        let failed = store.blocking_append(entries(1, 3..4)).await.unwrap_err();
        assert!(failed.to_string().contains("Write Logs"), "{failed}");
        store.save_vote(&Vote::new(1, 1)).await.unwrap_err();
        store.truncate_after(Some(log_id(1, 1))).await.unwrap_err();
        disk.heal();
        store.blocking_append(entries(1, 3..4)).await.expect_err("a failure is final");
    });
}

/// openraft goes on after `append` has returned, and learns by the callback that entries are durable.
#[test]
fn an_append_returns_before_it_is_durable_and_calls_back_once_it_is() {
    run(async {
        let disk = MemoryStorage::default();
        let mut store = open(&disk, tiny(Config::new("/log"))).unwrap();
        disk.pause_syncs(true);
        let (told, mut tells) = Texts::oneshot();
        store.append(entries(1, 0..3), IOFlushed::signal(told)).await.unwrap();
        let (read, early) = (common::all(&mut store).await, tells.try_recv());
        // Before anything may fail: closing waits for the disk.
        disk.pause_syncs(false);
        assert_eq!(read, entries(1, 0..3));
        early.expect_err("not durable yet");
        tells.await.unwrap().unwrap();

        // Of a refused entry, the caller and the callback both learn.
        let (told, tells) = Texts::oneshot();
        let refused = store.append([entry(1, 7, "")], IOFlushed::signal(told)).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
        tells.await.unwrap().unwrap_err();
        store.blocking_append(entries(1, 3..4)).await.unwrap();
    });
}
