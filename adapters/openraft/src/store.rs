//! [`LogStore`]: a raft log on a [`ChunkedWal`], and the path of each record.
//!
//! ```text
//! LogStore ── append ─► ChunkedWal ─► disk ─► openraft's callback
//!    │                      └── the record's position ────┐
//!    └── then ─► State ◄──────────────────────────────────┘
//!                  ▲
//! LogReader ───────┘ shared
//! ```
//!
//! - A record is in the log before the index has it, so that every indexed entry can be read.
//! - Raft waits for a full queue and for durability without blocking. A rotation may block for a
//!   moment, while the next chunk's file is not ready.

use std::fmt;
use std::sync::Arc;

use chunked_wal::{
    ChunkedWal, Config, Error, Flush, OpenOptions, Replay, StateMachine, TryFlushError, WalRecord,
};
use openraft::RaftTypeConfig;
use parking_lot::RwLock;

use crate::error::OpenError;
use crate::reader::LogReader;
use crate::record::{Action, Flushed, RaftWal};
use crate::state::State;

/// How many appended bytes are handed over for writing before more are appended.
const UNFLUSHED_MAX_BYTES: u64 = 512 * 1024;

/// A raft log: openraft's `RaftLogStorage`.
///
/// Dropping the store makes all appended records durable and waits for that, as [`close`](Self::close)
/// does.
pub struct LogStore<C: RaftTypeConfig> {
    wal: ChunkedWal<RaftWal<C>>,
    pub(crate) reader: LogReader<C>,
    /// Bytes appended since the last flush.
    unflushed_bytes: u64,
}

/// Limits of a [`LogStore`]'s memory. Sizes are in bytes.
///
/// ```
/// let mut limits = chunked_wal_openraft::Limits::default();
/// limits.recent_max_bytes = 64 << 20;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The newest entries are kept in memory: as many as have this many bytes on the disk. They are
    /// kept decoded, and may take several times as much memory. 0 keeps none. Default: 16 MiB.
    pub recent_max_bytes: u64,

    /// The most that is read for one message to a follower: entries of this many bytes on the disk, but
    /// at least one entry. Default: 1 MiB.
    pub batch_max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { recent_max_bytes: 16 << 20, batch_max_bytes: 1 << 20 }
    }
}

impl<C: RaftTypeConfig<Entry: Clone>> LogStore<C> {
    /// Opens the log of `config`, or makes it.
    ///
    /// Reads the whole log, and blocks meanwhile: on a runtime, call it before serving, or in
    /// `spawn_blocking`.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(config: Config) -> Result<Self, OpenError> {
        Self::open_with(ChunkedWal::options(config), Limits::default())
    }

    /// As [`open`](Self::open), with the log's own options and with limits.
    ///
    /// ```
    /// use chunked_wal::{ChunkedWal, Config};
    /// use chunked_wal_openraft::{Limits, LogStore, RaftWal};
    ///
    /// use std::io::Cursor;
    /// openraft::declare_raft_types!(pub Types: D = String, R = ());
    ///
    /// let dir = tempfile::tempdir()?;
    /// let missing = Config::new(dir.path().join("not mounted"));
    /// // For a node that has been a member: a missing mount must not look like an empty log.
    /// let options = ChunkedWal::<RaftWal<Types>>::options(missing).must_exist();
    /// assert!(LogStore::<Types>::open_with(options, Limits::default()).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open_with(options: OpenOptions<RaftWal<C>>, limits: Limits) -> Result<Self, OpenError> {
        let mut state = State::new(limits.recent_max_bytes);
        // The index needs every entry, whatever the options say.
        let wal = options.replay(Replay::All).open(&mut state)?;
        state.opened();
        if let missing @ 1.. = state.missing() {
            let indexes = state.meta().indexes();
            return Err(OpenError::EntriesMissing { first: indexes.start, last: indexes.end - 1, missing });
        }
        let state = Arc::new(RwLock::new(state));
        let reader = LogReader::new(state, wal.reader(), limits.batch_max_bytes);
        let mut store = LogStore { wal, reader, unflushed_bytes: 0 };
        // Removes chunks that a crash left.
        store.remove_dead_chunks()?;
        Ok(store)
    }

    /// Returns the log below, for its metrics, progress, chunks and records.
    pub fn wal(&self) -> &ChunkedWal<RaftWal<C>> {
        &self.wal
    }

    /// Makes all appended records durable, waits for that, and releases the directory.
    ///
    /// # Errors
    ///
    /// The first failure, of the close or earlier.
    pub fn close(self) -> Result<(), Error> {
        self.wal.close()
    }

    /// Appends an action and applies it; after an error, neither has happened.
    pub(crate) async fn record(&mut self, action: Action<C>) -> Result<(), Error> {
        if self.unflushed_bytes >= UNFLUSHED_MAX_BYTES || self.wal.is_open_chunk_full() {
            // With the appended bytes written, a rotation has little to wait for.
            self.flush(Flush::Write, None).await?;
        }
        // With room in the queue, neither the append nor a rotation blocks on it.
        self.wal.room().await;
        let state = &self.reader.state;
        if self.wal.is_open_chunk_full() {
            let checkpoint = state.read().checkpoint();
            self.wal.close_open_chunk_with(checkpoint)?;
        }
        let chunk_id = self.wal.open_chunk_id();
        let refused = |offset, source| Error::StateMachine { chunk_id, offset, source: Arc::new(source) };
        let end = self.wal.progress().appended;
        state.read().admit(&action).map_err(|source| refused(end, source))?;
        let record = WalRecord::Action(action);
        let place = self.wal.append(&record)?;
        self.unflushed_bytes += place.size;
        state.write().apply(&record, chunk_id, place).map_err(|source| refused(place.offset, source))
    }

    /// Hands over all appended records; waits while the queue is full, without blocking the thread.
    pub(crate) async fn flush(&mut self, mode: Flush, callback: Option<Flushed<C>>) -> Result<(), Error> {
        let mut callback = callback;
        loop {
            match self.wal.try_flush(mode, callback) {
                Ok(()) => break,
                Err(TryFlushError::Failed(error)) => return Err(error),
                Err(TryFlushError::Full(given_back)) => callback = given_back,
            }
            self.wal.room().await;
        }
        self.unflushed_bytes = 0;
        Ok(())
    }

    /// Makes all appended records durable, and waits for that.
    pub(crate) async fn sync(&mut self) -> Result<(), Error> {
        self.flush(Flush::Sync, None).await?;
        // Everything is handed over, so this waits for no room.
        self.wal.flush_ticket(Flush::Sync)?.await
    }

    /// Removes the chunks before the one with the oldest entry. The records that voided their entries
    /// are in a later chunk, and the log makes those durable before it removes a chunk.
    pub(crate) fn remove_dead_chunks(&mut self) -> Result<(), Error> {
        let mut dead = self.dead_chunks();
        let drained = self.wal.drain_closed_chunks_while(|_| {
            let goes = dead > 0;
            dead = dead.saturating_sub(1);
            goes
        });
        self.wal.remove_chunks(drained)
    }

    /// Returns the number of oldest chunks without any entry.
    pub(crate) fn dead_chunks(&self) -> usize {
        let oldest = self.reader.state.read().oldest_offset().unwrap_or(u64::MAX);
        self.wal.closed_chunk_stats().iter().take_while(|stat| stat.global_end <= oldest).count()
    }
}

impl<C: RaftTypeConfig> fmt::Debug for LogStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore").field("wal", &self.wal).finish_non_exhaustive()
    }
}
