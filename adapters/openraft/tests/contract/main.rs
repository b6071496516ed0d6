//! What openraft's contract asks beyond its suite.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod cases;

use chunked_wal::Config;
use chunked_wal::storage::{Fault, FaultHow, MemoryStorage, OpKind};
use openraft::StorageError;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};

use common::{Vote, entries, log_id, open, run, tiny};

#[test]
fn a_failed_disk_fails_what_waits_and_everything_after() {
    run(async {
        let disk = MemoryStorage::default();
        let mut store = open(&disk, tiny(Config::new("/log"))).unwrap();
        store.blocking_append(entries(1, 0..3)).await.unwrap();
        disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io).sticky());
        let failed = store.blocking_append(entries(1, 3..4)).await.unwrap_err();
        assert!(matches!(failed, StorageError::IO { .. }), "{failed}");
        let failed = store.save_vote(&Vote::new(1, 1)).await.unwrap_err();
        assert!(failed.to_string().contains("Write Vote"), "{failed}");
        let failed = store.truncate(log_id(1, 2)).await.unwrap_err();
        assert!(failed.to_string().contains("Delete Log(LogId"), "{failed}");
        disk.heal();
        store.blocking_append(entries(1, 3..4)).await.expect_err("a failure is final");
    });
}
