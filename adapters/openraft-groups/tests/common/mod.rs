//! What the tests share: types of a raft, short words for its ids and entries, and a log with 100 other groups.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use chunked_wal::ChunkedWal;
use chunked_wal::storage::{DiskStorage, MemoryStorage, Storage};
use chunked_wal_groups::{Config, Error, GroupWal};
use chunked_wal_openraft_groups::{LogStore, RaftEntry, RaftGroups, State};
use openraft::type_config::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::{Entry, EntryPayload};

openraft::declare_raft_types!(
    /// Commands are texts.
    pub Texts: D = String, R = String
);

pub type Log = RaftGroups<Texts>;
pub type LogId = LogIdOf<Texts>;
pub type Vote = VoteOf<Texts>;

/// The other groups are those before this one.
pub const OTHERS: u64 = 100;

pub fn log_id(term: u64, index: u64) -> LogId {
    openraft::testing::log_id::<Texts>(term, 0, index)
}

pub fn entry(term: u64, index: u64, text: &str) -> EntryOf<Texts> {
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(text.to_string()) }
}

/// Entries of one term, with texts that differ.
pub fn entries(term: u64, indexes: Range<u64>) -> Vec<EntryOf<Texts>> {
    indexes.map(|index| entry(term, index, &format!("{term}-{index}"))).collect()
}

/// Opens a log with tiny chunks, so that space is reclaimed all the time.
pub fn open_on(storage: Arc<dyn Storage>, mut config: Config) -> Result<Log, Error> {
    config.wal.chunk_max_size = 4096;
    Log::open_with(ChunkedWal::<GroupWal>::options(config.wal).storage(storage), 1.3)
}

pub fn open_in(disk: &MemoryStorage) -> Result<Log, Error> {
    open_on(Arc::new(disk.clone()), Config::new("/log"))
}

pub fn open_at(dir: &std::path::Path) -> Log {
    open_on(Arc::new(DiskStorage), Config::new(dir)).unwrap()
}

/// The store of a group, of which entries are read in small batches.
pub fn store(log: &Log, group: u64) -> Store {
    Store { store: LogStore::open(log, group).unwrap().batch_max_bytes(500), log: log.clone() }
}

/// A store, and the log to be closed.
#[derive(Debug)]
pub struct Store {
    store: LogStore<Texts>,
    log: Log,
}

impl Store {
    /// Closes the log of all groups.
    pub fn close(self) -> Result<(), Error> {
        self.log.close()
    }
}

impl Deref for Store {
    type Target = LogStore<Texts>;

    fn deref(&self) -> &Self::Target {
        &self.store
    }
}

impl DerefMut for Store {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.store
    }
}

/// Other groups that append and purge: each keeps its last entries.
#[derive(Debug, Default)]
pub struct Others {
    turn: u64,
}

impl Others {
    /// Lets the next group append an entry, and purge.
    pub fn go_on(&mut self, log: &Log) -> Result<(), Error> {
        let group = self.turn * 7 % OTHERS;
        self.turn += 1;
        let index = log.bounds(group).map_or(0, |bounds| bounds.end);
        let mut batch = log.batch();
        batch.append(group, &[RaftEntry(entry(1, index, &"x".repeat((self.turn * 13 % 200) as usize)))])?;
        if let Some(upto) = index.checked_sub(1 + group % 4) {
            batch.purge(group, upto)?;
            batch.set_state(group, &State { purged: Some(log_id(1, upto)), ..State::default() })?;
        }
        batch.write()
    }
}

/// Runs a future on a runtime of one thread, so that a call that blocks the thread stops the test.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
