//! Shared by this example and two benches (`benches/wal/`, `benches/lz4.rs`): a log of opaque payloads, in its own
//! directory, kept short or in its steady state.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use chunked_wal::{
    Callback, ChunkId, ChunkedWal, Config, Error, Replay, Segment, StateMachine, WalRecord, WalTypes,
};
use tempfile::TempDir;

/// Actions are bytes; a checkpoint is their number.
#[derive(Debug)]
pub(crate) struct Payloads;

impl WalTypes for Payloads {
    type Action = Vec<u8>;
    type Checkpoint = u64;
    type Callback = OneMore;
}

/// A state machine that costs nothing, so that only the log is measured.
#[derive(Debug, Default)]
pub(crate) struct Count(pub(crate) u64);

impl StateMachine<Payloads> for Count {
    type Error = Infallible;

    fn apply(&mut self, record: &WalRecord<Payloads>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        match record {
            WalRecord::Action(_) => self.0 += 1,
            WalRecord::Checkpoint(count) => self.0 = *count,
        }
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.0
    }
}

/// Counts completions.
#[derive(Debug, Default)]
pub(crate) struct Completions {
    done: Mutex<u64>,
    changed: Condvar,
}

impl Completions {
    /// Blocks until `count` flushes are done.
    pub(crate) fn wait_for(&self, count: u64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        while *done < count {
            done = self.changed.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A callback that counts itself; a failed flush is never counted.
#[derive(Debug)]
pub(crate) struct OneMore(pub(crate) Arc<Completions>);

impl Callback for OneMore {
    fn complete(self, result: Result<(), Error>) {
        if result.is_ok() {
            *self.0.done.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            self.0.changed.notify_one();
        }
    }
}

/// A directory for a log, removed when dropped.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) config: Config,
    _dir: TempDir,
}

impl Home {
    pub(crate) fn new_in(parent: &Path, chunk_max_size: u64) -> Self {
        let dir = TempDir::new_in(parent).expect("a directory for the log");
        let mut config = Config::new(dir.path());
        config.chunk_max_size = chunk_max_size;
        Home { config, _dir: dir }
    }

    pub(crate) fn open(&self, replay: Replay) -> Result<Log, Error> {
        let mut count = Count::default();
        let wal = ChunkedWal::options(self.config.clone()).replay(replay).open(&mut count)?;
        Ok(Log { wal, count: count.0 })
    }
}

/// An open log that knows its own checkpoint.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) wal: ChunkedWal<Payloads>,
    pub(crate) count: u64,
}

impl Log {
    pub(crate) fn append(&mut self, record: &WalRecord<Payloads>) -> Result<Segment, Error> {
        if self.wal.is_open_chunk_full() {
            self.wal.close_open_chunk_with(self.count)?;
        }
        self.count += 1;
        self.wal.append(record)
    }

    /// Appends, and keeps only the open chunk: a long measurement must not fill the disk.
    pub(crate) fn append_to_short_log(&mut self, record: &WalRecord<Payloads>) -> Result<Segment, Error> {
        if self.wal.is_open_chunk_full() {
            self.rotate_and_remove()?;
        }
        self.append(record)
    }

    pub(crate) fn rotate_and_remove(&mut self) -> Result<(), Error> {
        self.wal.close_open_chunk_with(self.count)?;
        let ids = self.wal.drain_closed_chunks_while(|_| true);
        self.wal.remove_chunks(ids)
    }

    /// Fills chunks and removes them until the log writes to reused files, like a log that has run for
    /// a while.
    pub(crate) fn warm(&mut self) -> Result<(), Error> {
        let record = payload(64 * 1024);
        for _ in 0..3 {
            while !self.wal.is_open_chunk_full() {
                self.append(&record)?;
            }
            self.rotate_and_remove()?;
            self.wal.sync()?;
            self.wal.wait_idle()?;
        }
        Ok(())
    }
}

pub(crate) fn payload(len: usize) -> WalRecord<Payloads> {
    // No long runs of one byte, in case some layer below compresses.
    WalRecord::Action((0..len).map(|i| (i * 31 % 251) as u8).collect())
}
