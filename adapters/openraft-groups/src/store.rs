//! [`LogStore`]: one group of a log, opened for raft.

use std::sync::Arc;

use chunked_wal_groups::{Error, GroupBatch};
use openraft::RaftTypeConfig;
use parking_lot::RwLock;

use crate::reader::LogReader;
use crate::record::{RaftEntry, RaftGroups, State};

pub(crate) type Batch<'l, C> = GroupBatch<'l, RaftEntry<C>>;

/// The raft log of one group: openraft's `RaftLogStorage`, and its `RaftLogReader`.
///
/// A group has one store at a time, because the store has the group's state in memory. The log is closed by its last
/// clone, of which each store and each reader has one, or by [`GroupLog::close`](chunked_wal_groups::GroupLog::close).
#[derive(Debug)]
pub struct LogStore<C: RaftTypeConfig> {
    pub(crate) reader: LogReader<C>,
}

impl<C: RaftTypeConfig> LogStore<C> {
    /// Opens a group, which may be new: nothing is written yet. Blocks while the group's state is read.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub fn open(log: &RaftGroups<C>, group: u64) -> Result<Self, Error> {
        let state = Arc::new(RwLock::new(log.state(group)?.unwrap_or_default()));
        Ok(LogStore { reader: LogReader { log: log.clone(), group, state, batch_max_bytes: 1 << 20 } })
    }

    /// Sets how much is read for one message to a follower: entries of this many bytes on the disk, but at least one
    /// entry. Default: 1 MiB.
    pub fn batch_max_bytes(mut self, bytes: u64) -> Self {
        self.reader.batch_max_bytes = bytes;
        self
    }

    /// Returns the log of all groups.
    pub fn log(&self) -> &RaftGroups<C> {
        &self.reader.log
    }

    /// Returns the group.
    pub fn group(&self) -> u64 {
        self.reader.group
    }

    /// Commits what `change` does to the state, and what it puts into the batch, together: after a crash both are
    /// there, or none.
    pub(crate) async fn save<T>(
        &mut self,
        change: impl FnOnce(&mut State<C>, &mut Batch<'_, C>) -> Result<(), Error>,
        commit: impl FnOnce(Batch<'_, C>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.log().room().await;
        let mut state = self.reader.state();
        let mut batch = self.log().batch();
        change(&mut state, &mut batch)?;
        batch.set_state(self.group(), &state)?;
        let committed = commit(batch)?;
        *self.reader.state.write() = state;
        Ok(committed)
    }
}
