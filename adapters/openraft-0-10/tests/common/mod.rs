//! What the tests share: types of a raft, short words for its ids and entries, a log on either disk.
//!
//! Tests of the adapter for openraft 0.9 run here too, with this file in the place of theirs.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::future::Future;
use std::io;
use std::sync::Arc;

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkedWal, Config, OpenOptions};
pub use chunked_wal_openraft_0_10::{Checkpoint, Limits, LogReader, LogStore, OpenError, RaftWal};
use openraft::storage::RaftLogStorage;
use openraft::type_config::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::{Entry, EntryPayload, RaftLogReader, StorageError};

openraft::declare_raft_types!(
    /// Commands are texts.
    pub Texts: D = String, R = String
);

pub type Store = LogStore<Texts>;

pub type LogId = LogIdOf<Texts>;

pub type Vote = VoteOf<Texts>;

/// What an operation of the store returns if it fails.
pub type Failed = io::Error;

pub fn log_id(term: u64, index: u64) -> LogId {
    openraft::testing::log_id::<Texts>(term, 0, index)
}

pub fn entry(term: u64, index: u64, text: &str) -> EntryOf<Texts> {
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(text.to_string()) }
}

/// Entries of one term, with texts that differ.
pub fn entries(term: u64, indexes: std::ops::Range<u64>) -> Vec<EntryOf<Texts>> {
    indexes.map(|index| entry(term, index, &format!("{term}-{index}"))).collect()
}

/// Chunks of an entry or two, so that rotation and removal happen all the time.
pub fn tiny(mut config: Config) -> Config {
    config.chunk_max_size = 320;
    config
}

/// Of which nearly everything has to be read from the log.
pub fn little() -> Limits {
    let mut limits = Limits::default();
    limits.recent_max_bytes = 200;
    limits.batch_max_bytes = 500;
    limits
}

pub fn options(disk: &MemoryStorage, config: Config) -> OpenOptions<RaftWal<Texts>> {
    ChunkedWal::options(config).storage(Arc::new(disk.clone()))
}

pub fn open(disk: &MemoryStorage, config: Config) -> Result<Store, OpenError> {
    LogStore::open_with(options(disk, config), little())
}

/// Opens a log by reading all of it.
pub fn open_verified(disk: &MemoryStorage, config: Config) -> Result<Store, OpenError> {
    LogStore::open_verified(options(disk, config), little())
}

/// Voids the entries from an index on.
pub async fn truncate(store: &mut Store, since: u64) -> Result<(), Failed> {
    store.truncate_after(since.checked_sub(1).map(|last| log_id(1, last))).await
}

/// Checks that an append failed because `next` can't follow `last`.
pub fn assert_not_consecutive(failed: StorageError<Texts>, last: LogId, next: LogId) {
    let why = format!("entry {next:?} can't follow {:?}", Some(last));
    assert!(failed.to_string().contains(&why), "{failed}");
}

pub async fn all(store: &mut impl RaftLogReader<Texts>) -> Vec<EntryOf<Texts>> {
    store.try_get_log_entries(0..).await.unwrap()
}

pub async fn log_ids(store: &mut impl RaftLogReader<Texts>) -> Vec<(u64, u64)> {
    all(store).await.iter().map(|entry| (entry.log_id.leader_id.term, entry.log_id.index)).collect()
}

/// Runs a future on a runtime of one thread: whoever blocks it is noticed.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
