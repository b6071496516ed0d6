//! The flush worker: takes a batch, writes it, syncs once, publishes, completes.
//!
//! ```text
//! take ─► write, publish ─► sync? ─► on_chunk_persisted, publish ─► callbacks ─► sync mark
//! ```
//!
//! - The worker keeps the queue's order, on whichever thread holds its lock: its own, or the appender's in a `sync`
//!   with nothing queued, which spares two changes of thread.
//! - The first failure poisons: nothing is written, retried or promised after it, but every
//!   completion still comes, once.
//! - Callbacks, and wakers of tasks, run on the worker's thread; one that panics doesn't affect others. No
//!   lock is held but the worker's own, for which only `sync` and `wait_idle` wait.
//! - The sync mark is written after the end hasn't moved for a moment, not after each sync: the mark is for idle logs,
//!   and would only slow a busy one down.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::queue::{BatchLimit, Wake};
use super::{
    Entry, Flush, FlushRequest, Housekeeper, Inside, Metrics, Positions, Queue, Request, SyncTurn, Unnamed,
};
use crate::chunk::{ChunkWriter, Tail};
use crate::config::IdleMark;
use crate::error::{Error, Result};
use crate::format::UNSYNCED_MAX;
use crate::panics::{catch, report};
use crate::record::{Callback, ChunkPersisted, OnChunkPersisted, WalTypes};
use crate::storage::Storage;
use crate::sync::Mutex;

/// What the worker shares with the rest of the log.
pub(crate) struct Pipeline<W: WalTypes> {
    pub(crate) queue: Queue<Request<W>>,
    pub(crate) positions: Arc<Positions>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) housekeeper: Arc<Housekeeper>,
}

impl<W: WalTypes> Pipeline<W> {
    fn call_user(&self, what: &str, call: impl FnOnce()) {
        let _inside = Inside::enter(self.positions.identity());
        if catch(call).is_none() {
            report(|| log::error!("{what} panicked; the log goes on"));
            report(|| self.metrics.callback_panic_count.fetch_add(1, Relaxed));
        }
    }
}

/// How long the end stays where it is before a sync mark is written there.
const QUIET: Duration = Duration::from_millis(5);

/// Whether the worker's thread waits for a quiet moment, in which it writes the sync mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// No: the thread sleeps until it has something to do.
    Unwatched,
    /// A sync on another thread has moved the end, and woke the thread. Its first look only notes the end.
    Nudged,
    /// The end was here at the last look. If it is still here at the next, the log is quiet.
    Since(u64),
}

/// The worker's state. Whoever has it locked is the worker.
pub(crate) struct Worker<W: WalTypes> {
    pub(crate) shared: Arc<Pipeline<W>>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) dir: PathBuf,
    pub(crate) limit: BatchLimit,
    pub(crate) zero_ahead_bytes: u64,
    pub(crate) idle_mark: IdleMark,
    pub(crate) on_chunk_persisted: Option<OnChunkPersisted<W>>,
    /// The chunk that takes records. None until the log's first rotation, if the log was opened without a chunk
    /// to continue: bytes to write or to sync before that are an error.
    pub(crate) chunk: Option<ChunkWriter>,
    /// Set while the file of that chunk has a spare's name.
    pub(crate) unnamed: Option<Unnamed>,
    /// The checkpoint of the chunk's predecessor, for `on_chunk_persisted`.
    pub(crate) predecessor: Option<W::Checkpoint>,
    /// Taken from the queue and not done. A field, so that a panic in a batch loses none of it.
    pub(crate) batch: VecDeque<Entry<Request<W>>>,
    pub(crate) quiet: Quiet,
}

/// Starts the worker's thread. `keep` is held until it ends.
pub(crate) fn spawn_worker<W: WalTypes>(
    worker: Arc<Mutex<Worker<W>>>,
    keep: impl Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("wal-flush".to_string()).spawn(move || {
        run(&worker);
        drop(worker);
        drop(keep);
    })
}

/// What the worker's thread does, until the queue is closed and everything in it is completed.
pub(crate) fn run<W: WalTypes>(worker: &Mutex<Worker<W>>) {
    let shared = worker.lock().shared.clone();
    // A panic that no step catches, in a logger or in a `Drop` of the user's, ends the log and not the thread: every
    // queued entry is still completed.
    while catch(|| serve(worker, &shared)).is_none() {
        shared.positions.poison(worker.lock().panicked());
        shared.queue.close();
    }
    let mut worker = worker.lock();
    worker.guarded(Worker::finish);
    worker.fail_rest();
    shared.positions.close();
    // If no other thread is left to join the threads, this one ends the other.
    shared.housekeeper.close();
}

/// Works off batches until the queue is closed.
fn serve<W: WalTypes>(worker: &Mutex<Worker<W>>, shared: &Pipeline<W>) {
    let limit = worker.lock().limit;
    let mut quiet = None;
    loop {
        match shared.queue.wait_for_batch(limit, quiet) {
            Wake::Batch => quiet = worker.lock().work_batch(),
            // Who has the lock is at work, so it is not quiet.
            Wake::Quiet => quiet = worker.try_lock().map_or(Some(QUIET), |mut worker| worker.look()),
            Wake::Closed => return,
        }
    }
}

/// Counts entries as done when it is dropped: by a panic too, since others wait for that.
struct DoneAtEnd<'a, T> {
    queue: &'a Queue<T>,
    entries: u64,
}

impl<T> Drop for DoneAtEnd<'_, T> {
    fn drop(&mut self) {
        self.queue.done(self.entries);
    }
}

impl<W: WalTypes> Worker<W> {
    /// Works off a batch; returns for how long to look out for quiet then.
    fn work_batch(&mut self) -> Option<Duration> {
        let shared = self.shared.clone();
        shared.queue.take_batch(&mut self.batch, self.limit);
        let done = DoneAtEnd { queue: &shared.queue, entries: self.batch.len() as u64 };
        self.guarded(Self::work);
        self.fail_rest();
        drop(done);
        self.release(0);
        self.look()
    }

    /// If the end has stayed where it was at the last look, completes a rotation that no flush has followed, or else
    /// writes the sync mark. Returns when to look again, if there is anything to wait for.
    fn look(&mut self) -> Option<Duration> {
        let written = self.shared.positions.written();
        if self.quiet == Quiet::Since(written) {
            self.guarded(if self.unnamed.is_some() { Self::name_open_chunk } else { Self::mark_end });
        }
        let unmarked = self.chunk.as_ref().is_some_and(|chunk| !chunk.is_marked());
        let unfinished = self.unnamed.is_some() || unmarked && self.shared.positions.synced() == written;
        let waits = unfinished && !self.has_failed();
        self.quiet = if waits { Quiet::Since(written) } else { Quiet::Unwatched };
        waits.then_some(QUIET)
    }

    /// Completes a rotation that no flush has followed.
    pub(crate) fn complete_rotation(&mut self) {
        self.guarded(Self::name_open_chunk);
    }

    /// Does the work for a quiet moment now.
    pub(crate) fn settle(&mut self) {
        self.guarded(Self::mark_end);
    }

    /// Does the appender's flush at once, on its thread; `false` if a callback has to run on the worker's thread.
    /// Nothing may be queued, because this flush would pass it. The result is in the positions.
    pub(crate) fn sync_inline(&mut self, end: u64) -> bool {
        let others = self.on_chunk_persisted.is_some() || self.shared.positions.has_tasks();
        if others || self.has_failed() {
            return false;
        }
        let asked_at = Instant::now();
        let flush = FlushRequest { end, mode: Flush::Sync, callback: None, count: 1, asked_at };
        self.batch.push_back(Entry { item: Request::Flush(flush), bytes: 0, items: 1 });
        self.guarded(Self::work);
        self.fail_rest();
        if self.quiet == Quiet::Unwatched {
            // The thread sleeps for good, and nothing else would make it look.
            self.quiet = Quiet::Nudged;
            self.shared.queue.nudge();
        }
        true
    }

    fn has_failed(&self) -> bool {
        self.shared.positions.cause().is_some()
    }

    /// Runs a step unless the log has failed; its failure, a panic included, is the log's.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) {
        if self.has_failed() {
            return;
        }
        let outcome = catch(|| step(self));
        if let Err(error) = outcome.unwrap_or_else(|| Err(self.panicked())) {
            self.shared.positions.poison(error);
        }
    }

    fn panicked(&self) -> Error {
        self.defect("the flush worker panicked")
    }

    /// A state that must not be: it ends the log, and nothing is acknowledged in it.
    fn defect(&self, what: &'static str) -> Error {
        Error::io("flush", &self.dir, std::io::Error::other(what))
    }

    /// Gives room in the queue back, and wakes the tasks that may wait for it.
    fn release(&self, bytes: u64) {
        self.shared.queue.release(bytes);
        self.shared.positions.wake_room_tasks();
    }

    /// Works off the batch.
    fn work(&mut self) -> Result<()> {
        loop {
            if let Some(Entry { item: Request::Flush(_), .. }) = self.batch.front() {
                self.flush()?;
                continue;
            }
            let Some(Entry { item, bytes, .. }) = self.batch.pop_front() else { return Ok(()) };
            match item {
                Request::Rotate(rotation) => {
                    self.rotate(*rotation)?;
                    self.release(bytes);
                }
                Request::Remove(chunks) => match &mut self.unnamed {
                    Some(unnamed) => unnamed.removals.extend(chunks),
                    None => self.shared.housekeeper.remove(chunks),
                },
                Request::Flush(_) => {}
            }
        }
    }

    /// Writes, syncs and publishes for the flushes at the front of the batch, and completes them.
    fn flush(&mut self) -> Result<()> {
        let started = Instant::now();
        let metrics = self.shared.metrics.clone();
        let (mut end, mut sync_asked, mut entries, mut bytes, mut count) = (0, false, 0, 0, 0);
        for entry in &self.batch {
            let Request::Flush(flush) = &entry.item else { break };
            end = flush.end;
            sync_asked |= flush.mode == Flush::Sync;
            entries += 1;
            bytes += entry.bytes;
            count += flush.count;
            metrics.queue_wait.record_many(started.saturating_duration_since(flush.asked_at), flush.count);
        }
        self.write_until(end)?;
        metrics.write.record(started.elapsed());
        let mut sync = None;
        let synced = self.shared.positions.synced();
        // The first flush in a chunk completes the rotation, so that the chunk has its name.
        if end > synced && (sync_asked || self.unnamed.is_some() || end - synced >= UNSYNCED_MAX) {
            // All that is written, which may be more than was asked for.
            let turn = self.shared.positions.begin_sync(self.shared.positions.written());
            let chunk = self.chunk.as_mut().ok_or_else(|| no_chunk(&self.dir))?;
            chunk.zero_ahead(turn.end(), turn.end() - synced)?;
            let sync_started = Instant::now();
            metrics.sync_under_way.since(sync_started, || self.sync_chunk())?;
            metrics.sync.record(sync_started.elapsed());
            metrics.sync_batch_count.fetch_add(1, Relaxed);
            sync = Some(turn);
        }
        metrics.flush_count.fetch_add(count, Relaxed);
        metrics.batch_count.fetch_add(1, Relaxed);
        metrics.batch_items_max.fetch_max(count, Relaxed);
        metrics.batch.record(started.elapsed());
        if let Some(sync) = sync {
            self.publish_sync(sync)?;
        }
        self.release(bytes);
        self.complete(entries);
        if self.chunk.as_mut().is_some_and(ChunkWriter::take_spare_piece) {
            self.shared.housekeeper.zero_spare();
        }
        Ok(())
    }

    /// Writes the bytes in memory below `end`, which are all of the open chunk.
    pub(super) fn write_until(&mut self, end: u64) -> Result<()> {
        if self.shared.positions.written() >= end {
            return Ok(());
        }
        let chunk = self.chunk.as_mut().ok_or_else(|| no_chunk(&self.dir))?;
        while let Some(piece) = self.shared.tail.next(end) {
            chunk.write(piece.bytes(), piece.start)?;
            let (start, end) = (piece.start, piece.end());
            self.shared.metrics.write_bytes.fetch_add(end - start, Relaxed);
            // Before the sync, because even if that fails these bytes are written.
            self.shared.tail.written(piece);
            self.shared.positions.publish_written(end);
        }
        if self.shared.positions.written() < end {
            return Err(self.defect("bytes to be written are not in memory"));
        }
        Ok(())
    }

    /// Publishes a finished sync. `on_chunk_persisted` runs first, so that a waiter that wakes up can rely on it
    /// having run.
    pub(super) fn publish_sync(&mut self, sync: SyncTurn) -> Result<()> {
        self.notify_persisted(sync.end())?;
        self.shared.positions.publish_sync(sync);
        Ok(())
    }

    /// Completes the first `entries` flushes of the batch.
    fn complete(&mut self, entries: usize) {
        let mut left = entries;
        while left > 0 {
            // Once for all of them, unless one panics.
            let batch = &mut self.batch;
            self.shared.call_user("a flush callback", || {
                while left > 0 {
                    left -= 1;
                    if let Some(Entry { item: Request::Flush(flush), .. }) = batch.pop_front()
                        && let Some(callback) = flush.callback
                    {
                        callback.complete(Ok(()));
                    }
                }
            });
        }
    }

    fn notify_persisted(&self, synced: u64) -> Result<()> {
        // Whatever was synced, was synced in a chunk.
        let chunk = self.chunk.as_ref().ok_or_else(|| no_chunk(&self.dir))?;
        let Some(notify) = &self.on_chunk_persisted else { return Ok(()) };
        let persisted = ChunkPersisted { chunk_id: chunk.id(), start: chunk.id().0, synced };
        self.shared.call_user("on_chunk_persisted", || notify(persisted, self.predecessor.as_ref()));
        Ok(())
    }

    /// Writes a sync mark if everything is synced and none is there yet.
    fn mark_end(&mut self) -> Result<()> {
        let positions = &self.shared.positions;
        let (written, synced) = (positions.written(), positions.synced());
        let Some(chunk) = &mut self.chunk else { return Ok(()) };
        if !chunk.is_marked() && written == synced {
            // The mark proves the chunk's name too.
            self.shared.metrics.sync_under_way.during(|| self.shared.housekeeper.naming().sync())?;
            chunk.mark(synced)?;
            if self.idle_mark == IdleMark::Synced {
                self.shared.metrics.sync_under_way.during(|| chunk.sync())?;
            }
        }
        Ok(())
    }

    /// The last thing before the thread ends: no record follows, and the next to open need not look
    /// for one.
    fn finish(&mut self) -> Result<()> {
        self.name_open_chunk()?;
        self.shared.metrics.sync_under_way.during(|| self.shared.housekeeper.naming().sync())?;
        let positions = &self.shared.positions;
        let (written, synced) = (positions.written(), positions.synced());
        match &mut self.chunk {
            Some(chunk) if written == synced => {
                self.shared.metrics.sync_under_way.during(|| chunk.close(synced))
            }
            _ => Ok(()),
        }
    }

    /// After a failure: completes every entry that was taken or is queued, each with its own result.
    fn fail_rest(&mut self) {
        let Some(cause) = self.shared.positions.cause() else { return };
        // No entry is taken any more; waiters for room wake and see the failure.
        self.shared.queue.close();
        while let Some(Entry { item, .. }) = self.batch.pop_front() {
            // What is only dropped is the user's too, and may panic.
            self.shared.call_user("a flush callback", || match item {
                Request::Flush(FlushRequest { mode, end, callback: Some(callback), .. }) => {
                    // What was reached before the failure was reached.
                    let outcome = self.shared.positions.outcome(mode, end);
                    callback.complete(outcome.unwrap_or_else(|| Err(cause.clone())));
                }
                Request::Flush(_) | Request::Rotate(_) => {}
                Request::Remove(chunks) => {
                    report(|| log::warn!("{} chunks are not removed: the log has failed", chunks.len()));
                }
            });
        }
    }
}

pub(super) fn no_chunk(dir: &Path) -> Error {
    Error::io("flush", dir, std::io::Error::other("the flush worker has bytes to write and no chunk"))
}
