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
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use chunked_wal::{ChunkedWal, Error, ProgressHandle, WalReader, WalRecord};
use parking_lot::RwLock;

use crate::recent::Counters;
use crate::record::{Action, Meta, RaftWal};
use crate::state::{Found, State};
use crate::types::RaftTypes;

/// Reads the state and the entries of a [`LogStore`](crate::LogStore), including those appended later.
/// Cheap to clone.
///
/// Entries that are not in memory are read from the disk. So an asynchronous program first asks for
/// [`recent`](Self::recent) entries, which never blocks, and calls [`read`](Self::read) on a thread for
/// blocking work if it gets `None`. Once the store is dropped or closed, a read of the disk is an error.
///
/// Both methods take a number of bytes: they return as many entries as have this many bytes on the disk,
/// but at least one if the log has one of the indexes.
pub struct LogReader<R: RaftTypes> {
    pub(crate) state: Arc<RwLock<State<R>>>,
    wal: WalReader<RaftWal<R>>,
    batch_max_bytes: u64,
    pub(crate) progress: ProgressHandle,
    pub(crate) counters: Arc<Counters>,
}

impl<R: RaftTypes> LogReader<R> {
    pub(crate) fn new(
        state: Arc<RwLock<State<R>>>,
        wal: &ChunkedWal<RaftWal<R>>,
        batch_max_bytes: u64,
    ) -> Self {
        let (wal, progress) = (wal.reader(), wal.progress_handle());
        LogReader { state, wal, batch_max_bytes, progress, counters: Arc::default() }
    }

    /// Returns [`Limits::batch_max_bytes`](crate::Limits::batch_max_bytes).
    pub fn batch_max_bytes(&self) -> u64 {
        self.batch_max_bytes
    }

    /// Returns raft's state.
    pub fn meta(&self) -> Meta<R> {
        self.with_meta(Meta::clone)
    }

    /// Looks at raft's state, without a copy of all of it.
    pub fn with_meta<T>(&self, look: impl FnOnce(&Meta<R>) -> T) -> T {
        look(self.state.read().meta())
    }

    /// Returns those of the indexes that have an entry now.
    pub fn indexes(&self, indexes: impl RangeBounds<u64>) -> Range<u64> {
        self.with_meta(|meta| within(range(indexes), meta.indexes()))
    }

    fn look(&self, indexes: Range<u64>, bytes_max: u64) -> Vec<Found<R::Entry>> {
        let state = self.state.read();
        let indexes = within(indexes, state.meta().indexes());
        let mut bytes = 0_u64;
        let mut found = Vec::new();
        for (entry, size) in indexes.map_while(|index| state.find(index)) {
            bytes = bytes.saturating_add(size);
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry);
        }
        found
    }

    fn read_all(&self, all: Vec<Found<R::Entry>>) -> Result<Vec<Arc<R::Entry>>, Error> {
        all.into_iter().map(|found| self.read_one(found)).collect()
    }

    pub(crate) fn read_one(&self, found: Found<R::Entry>) -> Result<Arc<R::Entry>, Error> {
        let (index, place) = match found {
            Found::Here(entry) => {
                self.counters.hits.fetch_add(1, Relaxed);
                return Ok(entry);
            }
            Found::At { index, place } => (index, place),
        };
        self.counters.misses.fetch_add(1, Relaxed);
        match self.wal.read_record(place)? {
            WalRecord::Action(Action::Entry(entry)) if R::index(&R::log_id(&entry)) == index => Ok(entry),
            // The position comes from the index, so this would be a bug of this crate.
            _ => Err(Error::NotInLog { offset: place.offset, size: place.size, start: 0, end: 0 }),
        }
    }
}

/// Reading. The entries are copies; those in memory stay there.
impl<R: RaftTypes<Entry: Clone>> LogReader<R> {
    /// Returns the entries with these indexes if all of them are in memory. Never blocks.
    pub fn recent(&self, indexes: impl RangeBounds<u64>, bytes_max: u64) -> Option<Vec<R::Entry>> {
        let here = |found| match found {
            Found::Here(entry) => Some(Arc::unwrap_or_clone(entry)),
            Found::At { .. } => None,
        };
        let entries: Vec<_> =
            self.look(range(indexes), bytes_max).into_iter().map(here).collect::<Option<_>>()?;
        self.counters.hits.fetch_add(entries.len() as u64, Relaxed);
        Some(entries)
    }

    /// Returns the entries with these indexes, without a hole, as they were at one moment. Blocks while
    /// the disk is read.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log, if an entry can't be read.
    pub fn read(&self, indexes: impl RangeBounds<u64>, bytes_max: u64) -> Result<Vec<R::Entry>, Error> {
        let indexes = range(indexes);
        let first = || self.with_meta(|meta| meta.indexes().start);
        loop {
            let before = first();
            match self.read_all(self.look(indexes.clone(), bytes_max)) {
                Err(Error::NotInLog { .. }) if first() > before => {}
                read => return Ok(read?.into_iter().map(Arc::unwrap_or_clone).collect()),
            }
        }
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

/// The indexes that are in both ranges.
fn within(indexes: Range<u64>, all: Range<u64>) -> Range<u64> {
    indexes.start.max(all.start)..indexes.end.min(all.end)
}

impl<R: RaftTypes> Clone for LogReader<R> {
    fn clone(&self) -> Self {
        LogReader {
            state: self.state.clone(),
            wal: self.wal.clone(),
            batch_max_bytes: self.batch_max_bytes,
            progress: self.progress.clone(),
            counters: self.counters.clone(),
        }
    }
}

impl<R: RaftTypes> fmt::Debug for LogReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader").field("wal", &self.wal).finish_non_exhaustive()
    }
}
