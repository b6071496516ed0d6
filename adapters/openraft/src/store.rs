//! [`LogStore`]: a raft log on a [`ChunkedWal`], and the way of each of its records.
//!
//! ```text
//! LogStore ── append ─► ChunkedWal ─► disk ─► openraft's callback
//!    │                      └── the place of the record ──┐
//!    └── then ─► State ◄──────────────────────────────────┘
//!                  ▲
//! LogReader ───────┘ shared
//! ```
//!
//! - A record is in the log before the index knows of it, so that whoever finds it there can read it.
//! - What raft waits for without blocking: a full queue, and durability. What may block for a moment: a
//!   rotation, while the file for the next chunk is not ready.

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

/// Appended bytes that are handed over to be written before more is appended.
const UNFLUSHED_MAX_BYTES: u64 = 512 * 1024;

/// A raft log: openraft's `RaftLogStorage`.
///
/// Dropping it makes durable what was appended and waits for that, as [`close`](Self::close) does.
pub struct LogStore<C: RaftTypeConfig> {
    wal: ChunkedWal<RaftWal<C>>,
    pub(crate) reader: LogReader<C>,
    /// Bytes appended since the last flush.
    unflushed_bytes: u64,
}

/// What a [`LogStore`] may hold in memory. Sizes are in bytes.
///
/// ```
/// let mut limits = chunked_wal_openraft::Limits::default();
/// limits.recent_max_bytes = 64 << 20;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The newest entries are kept in memory, as many as have this many bytes on the disk. They are held
    /// decoded: the memory they take may be some times as much. 16 MiB unless set; 0 keeps none.
    pub recent_max_bytes: u64,

    /// What is read for one message to a follower: no more entries than have this many bytes on the
    /// disk, but one at least. 1 MiB unless set.
    pub batch_max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { recent_max_bytes: 16 << 20, batch_max_bytes: 1 << 20 }
    }
}

impl<C: RaftTypeConfig<Entry: Clone>> LogStore<C> {
    /// Opens the log that `config` tells of, or makes it.
    ///
    /// Reads all of it, and blocks meanwhile: on a runtime, call it before serving, or in
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
        // Those that a crash left behind.
        store.remove_dead_chunks()?;
        Ok(store)
    }

    /// The log below: its metrics, progress, chunks and records.
    pub fn wal(&self) -> &ChunkedWal<RaftWal<C>> {
        &self.wal
    }

    /// Makes durable what was appended, waits for it, and lets go of the directory.
    ///
    /// # Errors
    ///
    /// What failed, now or before.
    pub fn close(self) -> Result<(), Error> {
        self.wal.close()
    }

    /// Appends an action and applies it, or, with an error, does neither.
    pub(crate) async fn record(&mut self, action: Action<C>) -> Result<(), Error> {
        if self.unflushed_bytes >= UNFLUSHED_MAX_BYTES || self.wal.is_open_chunk_full() {
            // With what is appended out of the way, a rotation has little to wait for.
            self.flush(Flush::Write, None).await?;
        }
        // Neither the append nor a rotation blocks on a full queue then.
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

    /// Hands over what was appended; waits while the queue is full, without blocking the thread.
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

    /// Makes durable what was appended, and waits for it.
    pub(crate) async fn sync(&mut self) -> Result<(), Error> {
        self.flush(Flush::Sync, None).await?;
        // All is handed over: it waits for no room.
        self.wal.flush_ticket(Flush::Sync)?.await
    }

    /// Removes the chunks before the one that has the oldest entry. What made the entries in them void is
    /// in a later one, and the log makes it durable before it removes anything.
    pub(crate) fn remove_dead_chunks(&mut self) -> Result<(), Error> {
        let mut dead = self.dead_chunks();
        let drained = self.wal.drain_closed_chunks_while(|_| {
            let goes = dead > 0;
            dead = dead.saturating_sub(1);
            goes
        });
        self.wal.remove_chunks(drained)
    }

    /// How many chunks have no entry any more, and none before them has.
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
