//! [`LogReader`]: openraft's `RaftLogReader`. Entries in memory are read at once, others on a thread for
//! blocking work.

use std::fmt::Debug;
use std::ops::RangeBounds;

use chunked_wal_raft::CacheStats;
use openraft::{
    AnyError, ErrorSubject, ErrorVerb, OptionalSend, RaftLogReader, RaftTypeConfig, StorageError,
    StorageIOError,
};
use tokio::runtime::Handle;

use crate::error::failed;
use crate::record::Openraft;

/// Reads the entries of a [`LogStore`](crate::LogStore), including those appended later. Cheap to
/// clone.
///
/// Entries that are not in memory are read from the disk, on tokio's thread pool for blocking work;
/// without a tokio runtime, on the caller's thread. Once the store is dropped or closed, such a read is
/// an error.
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
        indexes: impl RangeBounds<u64> + Clone + Send,
        bytes_max: u64,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        if let Some(entries) = self.0.recent(indexes.clone(), bytes_max) {
            return Ok(entries);
        }
        let indexes = (indexes.start_bound().cloned(), indexes.end_bound().cloned());
        let reader = self.0.clone();
        let read = move || reader.read(indexes, bytes_max);
        let read = match Handle::try_current() {
            Ok(runtime) => {
                let ended = runtime.spawn_blocking(read).await;
                ended.map_err(|e| StorageIOError::read_logs(AnyError::new(&e)))?
            }
            Err(_) => read(),
        };
        read.map_err(failed(ErrorSubject::Logs, ErrorVerb::Read))
    }
}

impl<C: RaftTypeConfig<Entry: Clone>> RaftLogReader<C> for LogReader<C> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        self.entries(range, u64::MAX).await
    }

    /// Returns as many entries as [`Limits::batch_max_bytes`](crate::Limits::batch_max_bytes) allows,
    /// but at least one.
    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        self.entries(start..end, self.0.batch_max_bytes()).await
    }
}
