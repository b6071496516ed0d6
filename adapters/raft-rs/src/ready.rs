//! [`ReadyStore`]: what a member needs of its store, beyond raft-rs's `Storage`.

use std::error::Error as StdError;
use std::sync::mpsc::Sender;

use chunked_wal::{Callback, Error};
use raft::eraftpb::{Entry, HardState, Snapshot};
use raft::{Storage, StorageError};

/// A store of what a `Ready` has.
pub trait ReadyStore: Storage {
    /// Stores a snapshot, unless it is empty, then entries and the hard state. Raft can read them from now on;
    /// `persisted` is called when they are durable. The entries void those with their indexes and above.
    ///
    /// # Errors
    ///
    /// The log's errors. The member must stop then.
    fn append(
        &mut self,
        snapshot: &Snapshot,
        entries: Vec<Entry>,
        hard_state: Option<&HardState>,
        persisted: ReadyPersisted,
    ) -> raft::Result<()>;

    /// Returns the last snapshot, if there is one. The entries in it may be gone.
    ///
    /// # Errors
    ///
    /// The log's errors.
    fn last_snapshot(&self) -> raft::Result<Option<Snapshot>>;
}

/// The callback: sends the number of a ready, once it is persistent, to raft's thread.
#[derive(Debug)]
pub struct ReadyPersisted {
    /// `Ready::number`.
    pub number: u64,
    /// The receiver's channel. It has no bound, so that it never blocks the log's thread.
    pub to: Sender<Result<u64, Error>>,
}

impl Callback for ReadyPersisted {
    fn complete(self, result: Result<(), Error>) {
        let _raft_is_gone = self.to.send(result.map(|()| self.number));
    }
}

/// An error of a log, as raft's.
pub(crate) fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> raft::Error {
    raft::Error::Store(StorageError::Other(error.into()))
}
