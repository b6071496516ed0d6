//! [`LogReader`]: entries, from memory or from the log.
//!
//! ```text
//! range ─► State, locked: find the entries ─► unlocked: clone recent ones, read the others ─► entries
//! ```
//!
//! - A read returns the log as it was at one moment: an entry that is truncated after that moment can
//!   still be read at its position, because the log below is only ever appended to.
//! - A chunk may be removed between finding its entries and reading them. Then its entries were purged,
//!   and the reader starts over.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use chunked_wal::{Error, WalReader, WalRecord};
use openraft::{
    AnyError, ErrorSubject, ErrorVerb, OptionalSend, RaftLogId, RaftLogReader, RaftTypeConfig, StorageError,
    StorageIOError,
};
use parking_lot::RwLock;

use crate::error::failed;
use crate::record::{Action, RaftWal};
use crate::state::{Found, State};

/// Reads the entries of a [`LogStore`](crate::LogStore), including those appended later. Cheap to
/// clone.
///
/// Entries that are not in memory are read from the disk, on tokio's thread pool for blocking work;
/// without a tokio runtime, on the caller's thread. Once the store is dropped or closed, such a read is
/// an error.
pub struct LogReader<C: RaftTypeConfig> {
    pub(crate) state: Arc<RwLock<State<C>>>,
    wal: WalReader<RaftWal<C>>,
    batch_max_bytes: u64,
}

impl<C: RaftTypeConfig<Entry: Clone>> LogReader<C> {
    pub(crate) fn new(
        state: Arc<RwLock<State<C>>>,
        wal: WalReader<RaftWal<C>>,
        batch_max_bytes: u64,
    ) -> Self {
        LogReader { state, wal, batch_max_bytes }
    }

    /// Returns the entries with indexes from `start` up to `end`: as many as have `bytes_max` bytes on
    /// the disk, but at least one.
    async fn entries(
        &self,
        start: u64,
        end: u64,
        bytes_max: u64,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        let found = self.look(start, end, bytes_max);
        if found.iter().all(|found| matches!(found, Found::Here(_))) {
            return self.read(found).map_err(failed(ErrorSubject::Logs, ErrorVerb::Read));
        }
        let reader = self.clone();
        let read = move || loop {
            let first = reader.first();
            match reader.read(reader.look(start, end, bytes_max)) {
                Err(Error::NotInLog { .. }) if reader.first() > first => {}
                read => return read,
            }
        };
        let read = match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let ended = runtime.spawn_blocking(read).await;
                ended.map_err(|e| StorageIOError::read_logs(AnyError::new(&e)))?
            }
            Err(_) => read(),
        };
        read.map_err(failed(ErrorSubject::Logs, ErrorVerb::Read))
    }

    fn first(&self) -> u64 {
        self.state.read().meta().indexes().start
    }

    fn look(&self, start: u64, end: u64, bytes_max: u64) -> Vec<Found<C::Entry>> {
        let state = self.state.read();
        let indexes = state.meta().indexes();
        let (start, end) = (start.max(indexes.start), end.min(indexes.end));
        let mut bytes = 0_u64;
        let mut all = Vec::new();
        for (found, size) in (start..end).map_while(|index| state.find(index)) {
            bytes = bytes.saturating_add(size);
            if bytes > bytes_max && !all.is_empty() {
                break;
            }
            all.push(found);
        }
        all
    }

    fn read(&self, all: Vec<Found<C::Entry>>) -> Result<Vec<C::Entry>, Error> {
        all.into_iter().map(|found| self.read_one(found).map(Arc::unwrap_or_clone)).collect()
    }

    pub(crate) fn read_one(&self, found: Found<C::Entry>) -> Result<Arc<C::Entry>, Error> {
        let (index, place) = match found {
            Found::Here(entry) => return Ok(entry),
            Found::At { index, place } => (index, place),
        };
        match self.wal.read_record(place)? {
            WalRecord::Action(Action::Entry(entry)) if entry.get_log_id().index == index => Ok(entry),
            // The position comes from the index, so this would be a bug of this crate.
            _ => Err(Error::NotInLog { offset: place.offset, size: place.size, start: 0, end: 0 }),
        }
    }
}

impl<C: RaftTypeConfig<Entry: Clone>> RaftLogReader<C> for LogReader<C> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(start, end, u64::MAX).await
    }

    /// Returns as many entries as [`Limits::batch_max_bytes`](crate::Limits::batch_max_bytes) allows,
    /// but at least one.
    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        self.entries(start, end, self.batch_max_bytes).await
    }
}

impl<C: RaftTypeConfig> Clone for LogReader<C> {
    fn clone(&self) -> Self {
        let LogReader { state, wal, batch_max_bytes } = self;
        LogReader { state: state.clone(), wal: wal.clone(), batch_max_bytes: *batch_max_bytes }
    }
}

impl<C: RaftTypeConfig> fmt::Debug for LogReader<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader").field("wal", &self.wal).finish_non_exhaustive()
    }
}
