//! [`LogReader`]: openraft's `RaftLogReader` for one group. Entries are read on a thread for blocking work.
//!
//! - Indexes before the first entry have none: a read starts at the first one.
//! - A stream has no hole: if its next entry is purged or truncated before it is read, the stream ends with an error.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use chunked_wal_groups::Error;
use futures_util::{Stream, TryStreamExt, stream};
use openraft::entry::RaftEntry as _;
use openraft::type_config::alias::VoteOf;
use openraft::{AsyncRuntime, OptionalSend, RaftLogReader, RaftTypeConfig};
use parking_lot::RwLock;

use crate::record::{RaftGroups, State};

/// Reads the entries and the vote of a [`LogStore`](crate::LogStore), including those appended later. Cheap to clone.
///
/// Entries are read by `spawn_blocking` of the type config's `AsyncRuntime`: from memory, or from the disk. Once the
/// log is closed, such a read is an error.
#[derive(Debug, Clone)]
pub struct LogReader<C: RaftTypeConfig> {
    pub(crate) log: RaftGroups<C>,
    pub(crate) group: u64,
    /// Written by the store alone.
    pub(crate) state: Arc<RwLock<State<C>>>,
    pub(crate) batch_max_bytes: u64,
}

impl<C: RaftTypeConfig> LogReader<C> {
    /// Returns the group that it reads.
    pub fn group(&self) -> u64 {
        self.group
    }

    /// Returns raft's state without the entries.
    pub fn state(&self) -> State<C> {
        self.state.read().clone()
    }

    /// The indexes of the entries.
    pub(crate) fn bounds(&self) -> Range<u64> {
        self.log.bounds(self.group).unwrap_or(0..0)
    }

    pub(crate) async fn entries(
        &self,
        indexes: Range<u64>,
        max_bytes: u64,
    ) -> Result<Vec<C::Entry>, io::Error> {
        let reader = self.clone();
        Ok(C::AsyncRuntime::spawn_blocking(move || reader.read(indexes, max_bytes)).await??)
    }

    /// Blocks while the disk is read.
    fn read(&self, indexes: Range<u64>, max_bytes: u64) -> Result<Vec<C::Entry>, Error> {
        loop {
            let start = indexes.start.max(self.bounds().start);
            match self.log.entries(self.group, start..indexes.end, max_bytes) {
                // It was purged after the bounds were looked at.
                Err(Error::Purged { .. }) => {}
                read => return Ok(read?.into_iter().map(|entry| entry.0).collect()),
            }
        }
    }

    /// Returns the next entries of a stream and the indexes after them; `None` at the end.
    async fn next_batch(
        &self,
        indexes: Range<u64>,
    ) -> Result<Option<(Vec<C::Entry>, Range<u64>)>, io::Error> {
        if indexes.is_empty() {
            return Ok(None);
        }
        let entries = self.entries(indexes.clone(), self.batch_max_bytes).await?;
        if entries.first().map(|entry| entry.index()) != Some(indexes.start) {
            let (group, index) = (self.group, indexes.start);
            let why =
                format!("entry {index} of group {group} was purged or truncated before a stream read it");
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        let next = indexes.start + entries.len() as u64;
        Ok(Some((entries, next..indexes.end)))
    }
}

/// The same indexes, from an included to an excluded one.
fn range(indexes: impl RangeBounds<u64>) -> Range<u64> {
    let start = match indexes.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match indexes.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl<C: RaftTypeConfig> RaftLogReader<C> for LogReader<C> {
    /// Reads batch by batch, of as many bytes as [`limited_get_log_entries`](Self::limited_get_log_entries).
    async fn entries_stream<RB>(
        &mut self,
        indexes: RB,
    ) -> impl Stream<Item = Result<C::Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (reader, bounds, indexes) = (self.clone(), self.bounds(), range(indexes));
        let indexes = indexes.start.max(bounds.start)..indexes.end.min(bounds.end);
        let next = move |indexes| {
            let reader = reader.clone();
            async move { reader.next_batch(indexes).await }
        };
        let batches = stream::try_unfold(indexes, next);
        batches.map_ok(|batch| stream::iter(batch.into_iter().map(Ok))).try_flatten()
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        indexes: RB,
    ) -> Result<Vec<C::Entry>, io::Error> {
        self.entries(range(indexes), u64::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<C>>, io::Error> {
        Ok(self.state.read().vote.clone())
    }

    /// Returns as many entries as have
    /// [`batch_max_bytes`](crate::LogStore::batch_max_bytes) on the disk, but at least one.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<C::Entry>, io::Error> {
        self.entries(start..end, self.batch_max_bytes).await
    }
}
