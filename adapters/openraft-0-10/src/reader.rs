//! [`LogReader`]: openraft's `RaftLogReader`. Entries in memory are read at once, others on a thread for
//! blocking work.
//!
//! ```text
//! stream   indexes, fixed when it is made ──► a batch ──► a batch ──► …
//!                                             └── at most batch_max_bytes, or one entry
//! ```
//!
//! - A stream has no hole: if its next entry is purged or truncated before it is read, the stream ends
//!   with an error.
//! - A stream for a leader checks the vote before and after each batch. So every entry in it was read
//!   while the vote was this leader's.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};

use chunked_wal_raft::CacheStats;
use futures_util::{Stream, TryStreamExt, stream};
use openraft::entry::RaftEntry;
use openraft::errors::LeaderChanged;
use openraft::storage::{LeaderBoundedStreamError, LeaderBoundedStreamResult};
use openraft::type_config::alias::{LeaderIdOf, VoteOf};
use openraft::vote::RaftVote;
use openraft::{AsyncRuntime, OptionalSend, RaftLogReader, RaftTypeConfig};

use crate::record::Openraft;

/// Reads the entries and the vote of a [`LogStore`](crate::LogStore), including those appended later.
/// Cheap to clone.
///
/// Entries that are not in memory are read from the disk, by `spawn_blocking` of the type config's
/// `AsyncRuntime`. Once the store is dropped or closed, such a read is an error.
#[derive(Debug, Clone)]
pub struct LogReader<C: RaftTypeConfig>(pub(crate) chunked_wal_raft::LogReader<Openraft<C>>);

/// The entries in memory.
impl<C: RaftTypeConfig> LogReader<C> {
    /// Returns what is in memory, and how often it was used.
    pub fn cache(&self) -> CacheStats {
        self.0.cache()
    }

    /// Drops the entries up to the index `upto` from memory, as far as they are durable. See
    /// [`evict`](chunked_wal_raft::LogReader::evict).
    pub fn evict(&self, upto: u64) {
        self.0.evict(upto);
    }
}

impl<C: RaftTypeConfig<Entry: Clone>> LogReader<C> {
    async fn entries(
        &self,
        indexes: (Bound<u64>, Bound<u64>),
        bytes_max: u64,
    ) -> Result<Vec<C::Entry>, io::Error> {
        if let Some(entries) = self.0.recent(indexes, bytes_max) {
            return Ok(entries);
        }
        let reader = self.0.clone();
        let read = C::AsyncRuntime::spawn_blocking(move || reader.read(indexes, bytes_max)).await?;
        Ok(read?)
    }

    fn is_leader(&self, leader: &LeaderIdOf<C>) -> Result<(), LeaderBoundedStreamError<C>> {
        let vote = self.0.with_meta(|meta| meta.vote.clone());
        match vote {
            Some(vote) if vote.is_committed() && vote.leader_id() == leader => Ok(()),
            vote => Err(LeaderChanged::new(leader.clone(), vote).into()),
        }
    }
}

/// A part of the log that is read batch by batch.
struct Batches<C: RaftTypeConfig> {
    reader: LogReader<C>,
    /// What is left to read.
    indexes: Range<u64>,
}

impl<C: RaftTypeConfig<Entry: Clone>> Batches<C> {
    fn new(reader: &LogReader<C>, range: impl RangeBounds<u64>) -> Self {
        Batches { reader: reader.clone(), indexes: reader.0.indexes(range) }
    }

    /// Returns the next batch and the rest, or `None` at the end.
    async fn next(mut self) -> Result<Option<(Vec<C::Entry>, Self)>, io::Error> {
        let Range { start, end } = self.indexes;
        if start >= end {
            return Ok(None);
        }
        let indexes = (Bound::Included(start), Bound::Excluded(end));
        let entries = self.reader.entries(indexes, self.reader.0.batch_max_bytes()).await?;
        if entries.first().map(RaftEntry::index) != Some(start) {
            let why = format!("entry {start} was purged or truncated while a stream was to read it");
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        self.indexes.start = start + entries.len() as u64;
        Ok(Some((entries, self)))
    }
}

/// The entries of a batch, as a stream.
fn one_by_one<T, E>(batch: Vec<T>) -> impl Stream<Item = Result<T, E>> {
    stream::iter(batch.into_iter().map(Ok))
}

impl<C: RaftTypeConfig<Entry: Clone>> RaftLogReader<C> for LogReader<C> {
    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderIdOf<C>,
        range: RB,
    ) -> impl Stream<Item = LeaderBoundedStreamResult<C>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let reader = self.clone();
        let next = move |batches: Batches<C>| {
            let (reader, leader) = (reader.clone(), leader.clone());
            async move {
                reader.is_leader(&leader)?;
                let next = batches.next().await?;
                reader.is_leader(&leader)?;
                Ok::<_, LeaderBoundedStreamError<C>>(next)
            }
        };
        stream::try_unfold(Batches::new(self, range), next).map_ok(one_by_one).try_flatten()
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<C::Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        stream::try_unfold(Batches::new(self, range), Batches::next).map_ok(one_by_one).try_flatten()
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, io::Error> {
        let indexes = (range.start_bound().cloned(), range.end_bound().cloned());
        self.entries(indexes, u64::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<C>>, io::Error> {
        Ok(self.0.with_meta(|meta| meta.vote.clone()))
    }

    /// Returns as many entries as [`Limits::batch_max_bytes`](crate::Limits::batch_max_bytes) allows,
    /// but at least one.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<C::Entry>, io::Error> {
        let indexes = (Bound::Included(start), Bound::Excluded(end));
        self.entries(indexes, self.0.batch_max_bytes()).await
    }
}
