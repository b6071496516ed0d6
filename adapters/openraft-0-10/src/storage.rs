//! openraft's `RaftLogStorage` for a [`LogStore`].
//!
//! openraft does not wait until an append is durable before it goes on. Every operation is a record in
//! one log, so they become durable in the order in which openraft asked for them.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;

use futures_util::Stream;
use openraft::storage::{IOFlushed, LeaderBoundedStreamResult, RaftLogStorage};
use openraft::type_config::alias::{LeaderIdOf, LogIdOf, VoteOf};
use openraft::{LogIdOptionExt, LogState, OptionalSend, RaftLogReader, RaftTypeConfig};

use crate::reader::LogReader;
use crate::record::Flushed;
use crate::store::LogStore;

impl<C: RaftTypeConfig<Entry: Clone>> RaftLogReader<C> for LogStore<C> {
    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderIdOf<C>,
        range: RB,
    ) -> impl Stream<Item = LeaderBoundedStreamResult<C>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.reader.leader_bounded_stream(leader, range).await
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<C::Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.reader.entries_stream(range).await
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, io::Error> {
        self.reader.try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<C>>, io::Error> {
        self.reader.read_vote().await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<C::Entry>, io::Error> {
        self.reader.limited_get_log_entries(start, end).await
    }
}

impl<C: RaftTypeConfig<Entry: Clone>> RaftLogStorage<C> for LogStore<C> {
    type LogReader = LogReader<C>;

    async fn get_log_state(&mut self) -> Result<LogState<C>, io::Error> {
        Ok(self.log.reader().with_meta(|meta| LogState {
            last_purged_log_id: meta.purged.clone(),
            last_log_id: meta.last.clone(),
        }))
    }

    async fn get_log_reader(&mut self) -> LogReader<C> {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<C>) -> Result<(), io::Error> {
        Ok(self.log.save_vote(vote.clone()).await?)
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        Ok(self.log.save_committed(committed).await?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<C>>, io::Error> {
        Ok(self.log.reader().with_meta(|meta| meta.committed.clone()))
    }

    /// An entry at or below the purge point is skipped, because it is in the snapshot that allowed the
    /// purge. An entry that would leave a hole, or overwrite another, is an error of the kind
    /// [`InvalidInput`](io::ErrorKind::InvalidInput); the entries before it in the same call stay in the
    /// log.
    async fn append<I>(&mut self, entries: I, callback: IOFlushed<C>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        Ok(self.log.append(entries, Flushed(callback)).await?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        Ok(self.log.truncate(last_log_id.next_index()).await?)
    }

    async fn purge(&mut self, log_id: LogIdOf<C>) -> Result<(), io::Error> {
        Ok(self.log.purge(log_id).await?)
    }
}
