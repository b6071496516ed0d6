//! Raft's operations on a [`LogStore`]: the records that each of them appends, and its waits.
//!
//! | operation | appends | returns when |
//! | --- | --- | --- |
//! | `append` | entries | they can be read; the callback comes when they are durable |
//! | `save_vote` | the vote | it is durable, and all before it |
//! | `truncate` | the truncation | it is durable, and all before it |
//! | `purge` | the purge | it is in force; it is durable before a chunk is removed |
//! | `save_user_data` | the data | it is durable, and all before it |
//! | `save_committed` | the commit | it is in force; the next sync makes it durable |
//!
//! A truncation of nothing, or a purge of purged entries, appends nothing and waits for nothing.

use std::sync::Arc;

use chunked_wal::{Callback, Error, Flush};

use crate::error::AppendError;
use crate::record::Action;
use crate::store::LogStore;
use crate::types::RaftTypes;

impl<R: RaftTypes> LogStore<R> {
    /// Appends entries. When this returns, they can be read; `callback` gets the result when they are
    /// durable, and also if this method fails.
    ///
    /// An entry at or below the purge point is skipped, because it is in the snapshot that allowed the
    /// purge. The first entry of an empty log that has never been purged may have any index.
    ///
    /// # Errors
    ///
    /// [`AppendError`]. The entries before the one that failed stay in the log.
    pub async fn append(
        &mut self,
        entries: impl IntoIterator<Item = R::Entry>,
        callback: R::Callback,
    ) -> Result<(), AppendError<R::LogId>> {
        let purged = self.reader().with_meta(|meta| meta.purged_index());
        let is_purged = |entry: &R::Entry| purged >= Some(R::index(&R::log_id(entry)));
        for entry in entries.into_iter().skip_while(is_purged) {
            let entry = Arc::new(entry);
            if let Err(error) = self.record(Action::Entry(entry.clone())).await {
                callback.complete(Err(error.clone()));
                return Err(self.not_appended(R::log_id(&entry), error));
            }
        }
        // If this fails, the callback has already been called.
        self.flush(Flush::Sync, Some(callback)).await.map_err(AppendError::Flush)
    }

    /// Saves a vote. When this returns, the vote is durable, and all records before it.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub async fn save_vote(&mut self, vote: R::Vote) -> Result<(), Error> {
        self.record_and_sync(Action::Vote(vote)).await
    }

    /// Saves bytes of the program's own, in place of earlier ones; `None` removes them. When this returns,
    /// they are durable, and all records before them. They are in [`Meta::user_data`](crate::Meta::user_data).
    ///
    /// They are also in each chunk's checkpoint, so they should be small: an id of the node or the
    /// cluster, not the state of the state machine.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub async fn save_user_data(&mut self, data: Option<Vec<u8>>) -> Result<(), Error> {
        self.record_and_sync(Action::UserData(data)).await
    }

    /// Saves how far entries are committed, without waiting until that is durable: after a crash, an
    /// earlier commit may be found.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub async fn save_committed(&mut self, committed: Option<R::LogId>) -> Result<(), Error> {
        self.record(Action::Committed(committed)).await
    }

    /// Voids the entries from the index `since` on. When this returns, the truncation is durable.
    ///
    /// A truncation beyond the last entry does nothing. One that starts in the purged range removes all
    /// entries. Blocks for one read if the last entry that is left is not in memory.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub async fn truncate(&mut self, since: u64) -> Result<(), Error> {
        let (purged, indexes, before) = {
            let state = self.reader().state.read();
            let indexes = state.meta().indexes();
            let before = since.checked_sub(1).filter(|before| indexes.contains(before));
            (state.meta().purged.clone(), indexes, before.and_then(|index| state.find(index)))
        };
        if since >= indexes.end {
            return Ok(());
        }
        let last = match before {
            // This is rare, and close to the end, so the entry is read here.
            Some((found, _)) => Some(R::log_id(&*self.reader().read_one(found)?)),
            None => purged,
        };
        self.record_and_sync(Action::Truncate { since, last }).await
    }

    /// Purges the entries up to `upto`, which are in a snapshot, and removes the chunks without any
    /// other entry, in the background. A purge beyond the last entry empties the log.
    ///
    /// The purge is in effect when this returns. It is durable before a file is removed.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub async fn purge(&mut self, upto: R::LogId) -> Result<(), Error> {
        if self.reader().with_meta(|meta| meta.purged_index()) >= Some(R::index(&upto)) {
            return Ok(());
        }
        self.record(Action::Purge(upto)).await?;
        if self.dead_chunks() > 0 {
            // A rotation would flush by itself, but wait for room on this thread.
            self.flush(Flush::Sync, None).await?;
            self.wal().room().await;
            self.remove_dead_chunks()?;
        }
        Ok(())
    }

    async fn record_and_sync(&mut self, action: Action<R>) -> Result<(), Error> {
        self.record(action).await?;
        self.sync().await
    }

    fn not_appended(&self, next: R::LogId, error: Error) -> AppendError<R::LogId> {
        match error {
            Error::StateMachine { .. } => {
                let last = self.reader().with_meta(|meta| meta.last.clone());
                AppendError::NotConsecutive { last, next }
            }
            source => AppendError::Entry { next, source },
        }
    }
}
