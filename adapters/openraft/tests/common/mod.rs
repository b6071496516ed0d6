//! What the tests share: types of a raft, short words for its ids and entries, a log on either disk.
//!
//! Some of the tests are run with openraft 0.10 too. There another file stands in for this one, with the
//! same names.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::future::Future;
use std::io::Cursor;
use std::sync::Arc;

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkedWal, Config, OpenOptions};
pub use chunked_wal_openraft::{Checkpoint, Limits, LogReader, LogStore, OpenError, RaftWal};
use openraft::storage::RaftLogStorage;
use openraft::{CommittedLeaderId, Entry, EntryPayload, RaftLogReader, StorageError, Violation};

openraft::declare_raft_types!(
    /// Commands are texts.
    pub Texts: D = String, R = ()
);

pub type Store = LogStore<Texts>;

pub type LogId = openraft::LogId<u64>;

pub type Vote = openraft::Vote<u64>;

/// What an operation of the store returns if it fails.
pub type Failed = StorageError<u64>;

pub fn log_id(term: u64, index: u64) -> LogId {
    openraft::LogId::new(CommittedLeaderId::new(term, 0), index)
}

pub fn entry(term: u64, index: u64, text: &str) -> Entry<Texts> {
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(text.to_string()) }
}

/// Entries of one term, with texts that differ.
pub fn entries(term: u64, indexes: std::ops::Range<u64>) -> Vec<Entry<Texts>> {
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
    store.truncate(log_id(1, since)).await
}

/// Checks that an append failed because `next` can't follow `last`.
pub fn assert_not_consecutive(failed: Failed, last: LogId, next: LogId) {
    let violation = failed.into_defensive().expect("defensive").violation;
    assert_eq!(violation, Violation::LogsNonConsecutive { prev: Some(last), next });
}

pub async fn all(store: &mut impl RaftLogReader<Texts>) -> Vec<Entry<Texts>> {
    store.try_get_log_entries(0..).await.unwrap()
}

pub async fn log_ids(store: &mut impl RaftLogReader<Texts>) -> Vec<(u64, u64)> {
    all(store).await.iter().map(|entry| (entry.log_id.leader_id.term, entry.log_id.index)).collect()
}

/// Runs a future on a runtime of one thread: whoever blocks it is noticed.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
