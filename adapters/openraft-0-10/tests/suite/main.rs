//! openraft's own suite of 45 cases, with chunks so small that rotation and removal happen inside it;
//! and once more with the log closed and opened again before every operation.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../common/machine.rs"]
mod machine;

mod reopening;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use chunked_wal::{ChunkId, ChunkedWal, Config};
use chunked_wal_openraft_0_10::{LogStore, RaftWal};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use tempfile::TempDir;

use common::{Store, Texts, little, tiny};
use machine::Machine;
use reopening::Reopening;

fn open(dir: &TempDir) -> Store {
    let options = ChunkedWal::<RaftWal<Texts>>::options(tiny(Config::new(dir.path().join("log"))));
    LogStore::open_with(options, little()).unwrap()
}

/// Cases whose log has rotated past its first chunk, and cases that have removed that chunk.
static ROTATED: AtomicU64 = AtomicU64::new(0);
static REMOVED: AtomicU64 = AtomicU64::new(0);

/// Looks at what a case leaves.
struct Look(TempDir);

impl Drop for Look {
    fn drop(&mut self) {
        let config = Config::new(self.0.path().join("log"));
        let names = std::fs::read_dir(&config.dir).unwrap().map(|entry| entry.unwrap().path());
        let chunks: Vec<_> = names.filter(|name| name.extension().is_some_and(|e| e == "wal")).collect();
        let first = config.chunk_path(ChunkId(0));
        ROTATED.fetch_add(u64::from(chunks.iter().any(|chunk| *chunk != first)), Relaxed);
        REMOVED.fetch_add(u64::from(!chunks.contains(&first)), Relaxed);
    }
}

struct Tiny;

impl StoreBuilder<Texts, Store, Machine, Look> for Tiny {
    async fn build(&self) -> Result<(Look, Store, Machine), StorageError<Texts>> {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        Ok((Look(dir), store, Machine::default()))
    }
}

#[test]
fn the_suite_passes_with_tiny_chunks() {
    Texts::run(Suite::test_all(Tiny)).unwrap();
    let (rotated, removed) = (ROTATED.load(Relaxed), REMOVED.load(Relaxed));
    println!("{rotated} cases with several chunks, {removed} with chunks removed");
    assert!(rotated >= 15 && removed >= 5, "{rotated} {removed}");
}

struct Reopened;

impl StoreBuilder<Texts, Reopening, Machine, ()> for Reopened {
    async fn build(&self) -> Result<((), Reopening, Machine), StorageError<Texts>> {
        let dir = tempfile::tempdir().unwrap();
        Ok(((), Reopening::new(move || open(&dir)), Machine::default()))
    }
}

#[test]
fn the_suite_passes_with_a_reopen_before_every_operation() {
    Texts::run(Suite::test_all(Reopened)).unwrap();
    // The wrapper is worth nothing if it doesn't do what it says.
    assert!(reopening::count() > 300, "{}", reopening::count());
}
