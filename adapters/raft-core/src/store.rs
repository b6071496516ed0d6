//! [`LogStore`]: a raft log on a [`ChunkedWal`], and the path of each record.
//!
//! ```text
//! LogStore ── append ─► ChunkedWal ─► disk ─► raft's callback
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
    ChunkId, ChunkStat, ChunkedWal, Config, Error, Flush, OpenOptions, Replay, StateMachine, TryFlushError,
    WalRecord,
};
use parking_lot::RwLock;

use crate::error::OpenError;
use crate::indexer::{Change, Indexer};
use crate::places::ChunkIndex;
use crate::reader::LogReader;
use crate::record::{Action, Checkpoint, RaftWal};
use crate::state::State;
use crate::types::RaftTypes;

/// How many appended bytes are handed over for writing before more are appended.
const UNFLUSHED_MAX_BYTES: u64 = 512 * 1024;

/// A raft node's log: entries, vote, commit and purge point.
///
/// Its asynchronous methods need no particular runtime.
///
/// Dropping the store makes all appended records durable and waits for that, as [`close`](Self::close)
/// does.
pub struct LogStore<R: RaftTypes> {
    wal: ChunkedWal<RaftWal<R>>,
    reader: LogReader<R>,
    /// Bytes appended since the last flush.
    unflushed_bytes: u64,
}

/// Limits of a [`LogStore`]'s memory. Sizes are in bytes.
///
/// ```
/// let mut limits = chunked_wal_raft::Limits::default();
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

impl<R: RaftTypes> LogStore<R> {
    /// Opens the log of `config`, or makes it.
    ///
    /// Reads the newest chunk, and of each older chunk the first record, and blocks meanwhile: on a runtime, call it
    /// before serving, or on a thread for blocking work. Damage in the other bytes of older chunks goes unnoticed until
    /// they are read.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(config: Config) -> Result<Self, OpenError> {
        Self::open_with(ChunkedWal::options(config), Limits::default())
    }

    /// As [`open`](Self::open), with the log's own options, except [`replay`](OpenOptions::replay), and with limits.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open_with(options: OpenOptions<RaftWal<R>>, limits: Limits) -> Result<Self, OpenError> {
        Self::open_replaying(Replay::FromLastCheckpoint, options, limits)
    }

    /// As [`open_with`](Self::open_with), but reads and checks every byte of the log.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open_verified(options: OpenOptions<RaftWal<R>>, limits: Limits) -> Result<Self, OpenError> {
        Self::open_replaying(Replay::All, options, limits)
    }

    fn open_replaying(
        replay: Replay,
        options: OpenOptions<RaftWal<R>>,
        limits: Limits,
    ) -> Result<Self, OpenError> {
        let mut state = State::new(limits.recent_max_bytes, options.config().max_record_size);
        let wal = options.replay(replay).open(&mut state)?;
        state.opened(older_indexes(&wal, state.replayed_from())?, wal.reader().start());
        if let missing @ 1.. = state.missing() {
            let indexes = state.meta().indexes();
            return Err(OpenError::EntriesMissing { first: indexes.start, last: indexes.end - 1, missing });
        }
        let state = Arc::new(RwLock::new(state));
        let reader = LogReader::new(state, &wal, limits.batch_max_bytes);
        let mut store = LogStore { wal, reader, unflushed_bytes: 0 };
        // Removes chunks that a crash left.
        store.remove_dead_chunks()?;
        Ok(store)
    }

    /// Returns the log below, for its metrics, progress, chunks and records.
    pub fn wal(&self) -> &ChunkedWal<RaftWal<R>> {
        &self.wal
    }

    /// Returns the store's own reader; clones of it work in other threads and tasks.
    pub fn reader(&self) -> &LogReader<R> {
        &self.reader
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
    pub(crate) async fn record(&mut self, action: Action<R>) -> Result<(), Error> {
        if self.unflushed_bytes >= UNFLUSHED_MAX_BYTES || self.is_chunk_full() {
            // With the appended bytes written, a rotation has little to wait for.
            self.flush(Flush::Write, None).await?;
        }
        // With room in the queue, neither the append nor a rotation blocks on it.
        self.wal.room().await;
        let state = &self.reader.state;
        if self.is_chunk_full() {
            let checkpoint = state.read().checkpoint();
            self.wal.close_open_chunk_with(checkpoint)?;
        }
        let chunk_id = self.wal.open_chunk_id();
        let refused = |offset, source| Error::StateMachine { chunk_id, offset, source: Arc::new(source) };
        let end = self.wal.progress().appended;
        state.read().admit(&action).map_err(|source| refused(end, source))?;
        // Only entries are refused: raft can't go on without the other records, and a purge gives space back.
        self.wal.ignore_budget(!matches!(action, Action::Entry(_)));
        let record = WalRecord::Action(action);
        let place = self.wal.append(&record)?;
        self.unflushed_bytes += place.size;
        state.write().apply(&record, chunk_id, place).map_err(|source| refused(place.offset, source))
    }

    fn is_chunk_full(&self) -> bool {
        self.wal.is_open_chunk_full() || self.reader.state.read().is_index_full(self.wal.open_chunk_id())
    }

    /// Hands over all appended records; waits while the queue is full, without blocking the thread.
    pub(crate) async fn flush(&mut self, mode: Flush, callback: Option<R::Callback>) -> Result<(), Error> {
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

/// Returns where the entries of the chunks before `replayed_from` are, oldest chunk first.
fn older_indexes<R: RaftTypes>(
    wal: &ChunkedWal<RaftWal<R>>,
    replayed_from: Option<ChunkId>,
) -> Result<Vec<Arc<ChunkIndex>>, Error> {
    let older = wal.closed_chunk_stats().into_iter().filter(|stat| Some(stat.chunk_id) < replayed_from);
    let index = |stat: ChunkStat<Checkpoint<R>>| match stat.checkpoint.index {
        Some(index) => Ok(index),
        None => read_index(wal, stat.chunk_id),
    };
    older.map(index).collect()
}

/// Reads a chunk whose successor's checkpoint has no index.
fn read_index<R: RaftTypes>(
    wal: &ChunkedWal<RaftWal<R>>,
    chunk_id: ChunkId,
) -> Result<Arc<ChunkIndex>, Error> {
    let mut indexer = Indexer::default();
    for read in wal.reader().records_from(chunk_id.offset())? {
        match read? {
            (id, _, _) if id != chunk_id => break,
            (_, place, WalRecord::Action(action)) => indexer.apply(Change::of(&action), chunk_id, place),
            (_, _, WalRecord::Checkpoint(_)) => {}
        }
    }
    Ok(indexer.index())
}

impl<R: RaftTypes> fmt::Debug for LogStore<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore").field("wal", &self.wal).finish_non_exhaustive()
    }
}
