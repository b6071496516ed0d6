//! openraft's `RaftLogStorage` for a [`LogStore`]: the records that each operation appends, and its
//! waits.
//!
//! | operation | appends | returns when |
//! | --- | --- | --- |
//! | `append` | entries | they can be read; the callback comes when they are durable |
//! | `save_vote` | the vote | it is durable, and all before it |
//! | `truncate` | the truncation | it is durable, and all before it |
//! | `purge` | the purge | it is in force; it is durable before a chunk is removed |
//! | `save_committed` | the commit | it is in force; the next sync makes it durable |
//!
//! A truncation of nothing, or a purge of purged entries, appends nothing and waits for nothing.

use std::fmt::Debug;
use std::ops::RangeBounds;
use std::sync::Arc;

use chunked_wal::{Callback, Error, Flush};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    DefensiveError, ErrorSubject, ErrorVerb, LogId, LogIdOptionExt, LogState, OptionalSend, RaftLogId,
    RaftLogReader, RaftTypeConfig, StorageError, Violation, Vote,
};

use crate::error::failed;
use crate::reader::LogReader;
use crate::record::{Action, Flushed};
use crate::store::LogStore;

impl<C: RaftTypeConfig<Entry: Clone>> RaftLogReader<C> for LogStore<C> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        self.reader.try_get_log_entries(range).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        self.reader.limited_get_log_entries(start, end).await
    }
}

impl<C: RaftTypeConfig<Entry: Clone>> RaftLogStorage<C> for LogStore<C> {
    type LogReader = LogReader<C>;

    async fn get_log_state(&mut self) -> Result<LogState<C>, StorageError<C::NodeId>> {
        let state = self.reader.state.read();
        let meta = state.meta();
        Ok(LogState { last_purged_log_id: meta.purged.clone(), last_log_id: meta.last.clone() })
    }

    async fn get_log_reader(&mut self) -> LogReader<C> {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        self.record_and_sync(Action::Vote(vote.clone()))
            .await
            .map_err(failed(ErrorSubject::Vote, ErrorVerb::Write))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<C::NodeId>>, StorageError<C::NodeId>> {
        Ok(self.reader.state.read().meta().vote.clone())
    }

    async fn save_committed(
        &mut self,
        committed: Option<LogId<C::NodeId>>,
    ) -> Result<(), StorageError<C::NodeId>> {
        self.record(Action::Committed(committed)).await.map_err(failed(ErrorSubject::Store, ErrorVerb::Write))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<C::NodeId>>, StorageError<C::NodeId>> {
        Ok(self.reader.state.read().meta().committed.clone())
    }

    /// An entry at or below the purge point is skipped, because it is in the snapshot that allowed the
    /// purge. An entry that would leave a hole, or overwrite another, is a [`StorageError::Defensive`];
    /// the entries before it in the same call stay in the log.
    async fn append<I>(&mut self, entries: I, callback: LogFlushed<C>) -> Result<(), StorageError<C::NodeId>>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let callback = Flushed(callback);
        let purged_next = self.reader.state.read().meta().purged.next_index();
        for entry in entries.into_iter().skip_while(|entry| entry.get_log_id().index < purged_next) {
            let log_id = entry.get_log_id().clone();
            if let Err(error) = self.record(Action::Entry(Arc::new(entry))).await {
                callback.complete(Err(error.clone()));
                return Err(self.not_appended(log_id, error));
            }
        }
        // If this fails, the callback has already been called.
        self.flush(Flush::Sync, Some(callback)).await.map_err(failed(ErrorSubject::Logs, ErrorVerb::Write))
    }

    async fn truncate(&mut self, log_id: LogId<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        self.truncate_since(log_id.index).await.map_err(failed(ErrorSubject::Log(log_id), ErrorVerb::Delete))
    }

    async fn purge(&mut self, log_id: LogId<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        self.purge_upto(&log_id).await.map_err(failed(ErrorSubject::Log(log_id), ErrorVerb::Delete))
    }
}

impl<C: RaftTypeConfig<Entry: Clone>> LogStore<C> {
    async fn record_and_sync(&mut self, action: Action<C>) -> Result<(), Error> {
        self.record(action).await?;
        self.sync().await
    }

    fn not_appended(&self, next: LogId<C::NodeId>, error: Error) -> StorageError<C::NodeId> {
        if matches!(error, Error::StateMachine { .. }) {
            let prev = self.reader.state.read().meta().last.clone();
            return DefensiveError::new(ErrorSubject::Logs, Violation::LogsNonConsecutive { prev, next })
                .into();
        }
        failed(ErrorSubject::Log(next), ErrorVerb::Write)(error)
    }

    async fn truncate_since(&mut self, since: u64) -> Result<(), Error> {
        let (purged, indexes, before) = {
            let state = self.reader.state.read();
            let indexes = state.meta().indexes();
            let before = since.checked_sub(1).filter(|before| indexes.contains(before));
            (state.meta().purged.clone(), indexes, before.and_then(|index| state.find(index)))
        };
        if since >= indexes.end {
            return Ok(());
        }
        let last = match before {
            // This is rare, and close to the end, so the entry is read here.
            Some((found, _)) => Some(self.reader.read_one(found)?.get_log_id().clone()),
            None => purged,
        };
        self.record_and_sync(Action::Truncate { since, last }).await
    }

    async fn purge_upto(&mut self, upto: &LogId<C::NodeId>) -> Result<(), Error> {
        if self.reader.state.read().meta().purged.as_ref().is_some_and(|purged| purged.index >= upto.index) {
            return Ok(());
        }
        self.record(Action::Purge(upto.clone())).await?;
        if self.dead_chunks() > 0 {
            // A rotation would flush by itself, but wait for room on this thread.
            self.flush(Flush::Sync, None).await?;
            self.wal().room().await;
            self.remove_dead_chunks()?;
        }
        Ok(())
    }
}
