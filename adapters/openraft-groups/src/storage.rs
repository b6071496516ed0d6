//! openraft's `RaftLogStorage` for a [`LogStore`].
//!
//! | operation | commits | returns when |
//! | --- | --- | --- |
//! | `append` | entries | they can be read; the callback comes when they are durable |
//! | `save_vote` | the state | it is durable |
//! | `save_committed` | the state | it is in force; the next sync of any group makes it durable |
//! | `truncate_after` | the truncation | it is durable |
//! | `purge` | the purge and the state | it is in force; the next sync of any group makes it durable |
//!
//! All groups commit to one log, so what one of them commits is durable in the order in which openraft asked for it.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;

use chunked_wal::{Callback, Error};
use futures_util::Stream;
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::alias::{LogIdOf, VoteOf};
use openraft::{LogIdOptionExt, LogState, OptionalSend, RaftLogReader, RaftTypeConfig};

use crate::reader::LogReader;
use crate::record::{RaftEntry, State};
use crate::store::{Batch, LogStore};

/// openraft's callback for durable entries. It gets an error if it is dropped, because the entries were refused.
struct Flushed<C: RaftTypeConfig>(Option<IOFlushed<C>>);

impl<C: RaftTypeConfig> Callback for Flushed<C> {
    fn complete(mut self, result: Result<(), Error>) {
        if let Some(callback) = self.0.take() {
            callback.io_completed(result.map_err(io::Error::from));
        }
    }
}

impl<C: RaftTypeConfig> Drop for Flushed<C> {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            let refused = io::Error::new(io::ErrorKind::InvalidInput, "the append was refused");
            callback.io_completed(Err(refused));
        }
    }
}

impl<C: RaftTypeConfig> RaftLogReader<C> for LogStore<C> {
    async fn entries_stream<RB>(
        &mut self,
        indexes: RB,
    ) -> impl Stream<Item = Result<C::Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.reader.entries_stream(indexes).await
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        indexes: RB,
    ) -> Result<Vec<C::Entry>, io::Error> {
        self.reader.try_get_log_entries(indexes).await
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<C>>, io::Error> {
        self.reader.read_vote().await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<C::Entry>, io::Error> {
        self.reader.limited_get_log_entries(start, end).await
    }
}

impl<C: RaftTypeConfig> RaftLogStorage<C> for LogStore<C> {
    type LogReader = LogReader<C>;

    /// Reads the last entry, for its log id.
    async fn get_log_state(&mut self) -> Result<LogState<C>, io::Error> {
        let last_purged_log_id = self.reader.state().purged;
        let next = self.reader.bounds().end;
        let last = self.reader.entries(next.saturating_sub(1)..next, u64::MAX).await?;
        let last_log_id = last.first().map(|entry| entry.log_id()).or(last_purged_log_id.clone());
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> LogReader<C> {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<C>) -> Result<(), io::Error> {
        let vote = Some(vote.clone());
        let change = |state: &mut State<C>, _: &mut Batch<'_, C>| {
            state.vote = vote;
            Ok(())
        };
        let ticket = self.save(change, |batch| batch.ticket()).await?;
        Ok(ticket.await?)
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        let change = |state: &mut State<C>, _: &mut Batch<'_, C>| {
            state.committed = committed;
            Ok(())
        };
        Ok(self.save(change, |batch| batch.write()).await?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<C>>, io::Error> {
        Ok(self.reader.state().committed)
    }

    /// An entry at or below the purge point is skipped, because it is in the snapshot that allowed the purge. If an
    /// entry would leave a hole, or overwrite another, none of the entries is appended: an error of the kind
    /// [`InvalidInput`](io::ErrorKind::InvalidInput).
    async fn append<I>(&mut self, entries: I, callback: IOFlushed<C>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let callback = Flushed(Some(callback));
        self.log().room().await;
        let purged = self.reader.state.read().purged.index();
        let is_purged = |entry: &C::Entry| Some(entry.index()) <= purged;
        let entries: Vec<_> = entries.into_iter().skip_while(is_purged).map(RaftEntry).collect();
        let mut batch = self.log().batch();
        batch.append(self.group(), &entries)?;
        Ok(batch.commit(callback)?)
    }

    /// Without entries after `last`, nothing changes. If `last` is purged, all entries are void.
    async fn truncate_after(&mut self, last: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        self.log().room().await;
        let bounds = self.reader.bounds();
        let since = last.next_index().max(bounds.start);
        if since >= bounds.end {
            return Ok(());
        }
        let ticket = {
            let mut batch = self.log().batch();
            batch.truncate_from(self.group(), since);
            batch.ticket()?
        };
        Ok(ticket.await?)
    }

    async fn purge(&mut self, upto: LogIdOf<C>) -> Result<(), io::Error> {
        let group = self.group();
        if self.reader.state.read().purged.index() >= Some(upto.index) {
            return Ok(());
        }
        let change = |state: &mut State<C>, batch: &mut Batch<'_, C>| {
            batch.purge(group, upto.index)?;
            state.purged = Some(upto);
            Ok(())
        };
        Ok(self.save(change, |batch| batch.write()).await?)
    }
}
