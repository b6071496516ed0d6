//! [`ChunkedWal`]: the facade, for the owner who appends.
//!
//! ```text
//! append ─► OpenChunk ─► Tail        flush, sync, rotate, remove ─► Queue ─► worker, housekeeper
//!                         └──────────────── written from there ─────────────┘
//! ```
//!
//! - A call checks everything that it may refuse before it changes anything, so an error leaves the log unchanged.
//! - A call blocks in three places only: on a full queue, in a rotation without a ready spare, and in the methods
//!   that wait. `docs/design/architecture.md` has a table of all calls, with their awaited forms.

mod budget;
mod chunks;
mod commit;
mod head;
mod open;
mod pins;

use std::collections::VecDeque;
use std::fmt;
use std::ops::DerefMut;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use self::budget::Budget;
use self::head::Head;
use crate::chunk::{ChunkFile, OpenChunk, TailWriter};
use crate::config::Config;
use crate::directory::WalLock;
use crate::error::{Error, Result};
use crate::flush::{
    Flush, FlushMetrics, FlushTicket, HandOver, Inside, Pipeline, Progress, ProgressHandle, RoomWait,
    SlowSyncWatch, SpareAsked,
};
use crate::format::Kind;
use crate::panics::{catch, report};
use crate::pin::Pins;
use crate::position::Segment;
use crate::reader::{LogView, PinnedReader, Records, WalReader};
use crate::record::{Batch, Callback, Encoded, StateMachine, ToPayload, WalRecord, WalTypes, apply};
use crate::recovery::RecoveryReport;

use commit::Needs;
pub(crate) use commit::Wants;
pub(crate) use open::Located;
pub use open::OpenOptions;

/// A chunked write-ahead log.
///
/// One owner appends ([`append`](Self::append) takes `&mut self`). Any other thread reads through
/// [`reader`](Self::reader), and waits for durability through [`progress_handle`](Self::progress_handle). The log
/// writes and syncs on its own thread; appending does no I/O.
///
/// ```
/// use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord, WalTypes};
///
/// struct Log;
/// impl WalTypes for Log {
///     type Action = String;
///     type Checkpoint = u64;
///     type Callback = ();
/// }
///
/// #[derive(Default)]
/// struct Counter(u64);
/// impl StateMachine<Log> for Counter {
///     type Error = std::convert::Infallible;
///     fn apply(&mut self, record: &WalRecord<Log>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
///         match record {
///             WalRecord::Action(_) => self.0 += 1,
///             WalRecord::Checkpoint(count) => self.0 = *count,
///         }
///         Ok(())
///     }
///     fn checkpoint(&self) -> u64 {
///         self.0
///     }
/// }
///
/// # let dir = tempfile::tempdir()?;
/// let config = Config::new(dir.path().join("log"));
/// let mut counter = Counter::default();
/// let mut wal = ChunkedWal::<Log>::open(config.clone(), &mut counter)?;
/// wal.append_and_apply("hello".to_string(), &mut counter)?;
/// wal.sync()?; // durable from here on
/// wal.close()?;
///
/// let mut recovered = Counter::default();
/// ChunkedWal::<Log>::open(config, &mut recovered)?;
/// assert_eq!(recovered.0, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping the log closes it like [`close`](Self::close), and logs an error instead of returning it.
pub struct ChunkedWal<W: WalTypes> {
    config: Config,
    shared: Arc<Pipeline<W>>,
    hand_over: HandOver<W>,
    tail: TailWriter,
    view: Arc<LogView<W::Checkpoint>>,
    head: Head<W::Checkpoint>,
    /// The data CRC of the chunk that was newest when the log was opened, for the header of its successor.
    previous_crc: u32,
    last_segment: Segment,
    /// Drained and not yet removed, oldest first.
    drained: VecDeque<Arc<ChunkFile>>,
    pins: Arc<Pins>,
    budget: Budget,
    log_id: [u8; 16],
    report: RecoveryReport,
    threads: Option<[JoinHandle<()>; 2]>,
    watch: Option<SlowSyncWatch>,
    lock: Arc<WalLock>,
}

impl<W: WalTypes> ChunkedWal<W> {
    /// Returns the report of what opening this log found and did.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.report
    }

    /// Appends a record and returns its segment.
    ///
    /// On return the record is in memory, and readable; [`flush`](Self::flush) or [`sync`](Self::sync) takes it to
    /// the disk. `append` itself neither writes nor syncs. Once [`Config::open_buffer_max_bytes`] wait in memory,
    /// `append` hands them over as a [`Flush::Write`]. If the queue is full, the next append hands them over, and
    /// blocks until there is [room](Self::room). `append` allocates disk space in two cases: with the first record
    /// after an open that continues the last chunk, and with a record that exceeds the space of its chunk. On a full
    /// disk it then waits for running removals.
    ///
    /// In builds with debug assertions, `append` also decodes the record. If the codec can't decode it, `append`
    /// returns [`Error::Encode`]; otherwise the log could not be opened again ([`Error::Decode`]).
    ///
    /// `append` does not rotate: see [`try_close_full_chunk`](Self::try_close_full_chunk).
    ///
    /// # Errors
    ///
    /// On an error nothing is appended. [`Error::Encode`], [`Error::RecordTooLarge`], [`Error::StorageFull`]
    /// (try again once there is space), [`Error::OverBudget`] for an action, [`Error::OffsetsUsedUp`], [`Error::Poisoned`], [`Error::Io`]. A
    /// panic of the codec reaches the caller.
    pub fn append(&mut self, record: &WalRecord<W>) -> Result<Segment> {
        self.stage(record)?;
        self.accept()
    }

    /// As [`append`](Self::append), for a record that any thread has encoded already: copies the payload.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append), except [`Error::Encode`], which [`Encoded::new`] returns.
    pub fn append_encoded(&mut self, record: &Encoded<W>) -> Result<Segment> {
        self.stage(record)?;
        self.accept()
    }

    /// Rotates if the open chunk is full, then appends an action and applies it. After an error or a panic
    /// of the state machine, the action is neither appended nor applied.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append) and [`close_open_chunk`](Self::close_open_chunk);
    /// [`Error::StateMachine`] if `apply` returns an error, which must leave the state unchanged.
    pub fn append_and_apply<SM: StateMachine<W>>(
        &mut self,
        action: W::Action,
        state_machine: &mut SM,
    ) -> Result<Segment> {
        self.check_budget()?;
        self.try_close_full_chunk(state_machine)?;
        self.append_applied(action, || state_machine)
    }

    /// Appends an action and applies it to the state machine that `write` returns, both or neither. The state machine
    /// is borrowed for the application only, not while the action is encoded.
    fn append_applied<SM: StateMachine<W>, G: DerefMut<Target = SM>>(
        &mut self,
        action: W::Action,
        write: impl FnOnce() -> G,
    ) -> Result<Segment> {
        let record = WalRecord::Action(action);
        self.stage(&record)?;
        let segment = self.head.opened()?.staged();
        let mut state = write();
        apply(&mut *state, &record, self.open_chunk_id(), segment)?;
        self.accept()
    }

    /// Appends the records of a batch and returns their segments. Recovery replays all of the records or none.
    ///
    /// The records are in the log one after the other, in one chunk, and can be read one by one. A reader sees all of
    /// them at once. An empty batch appends nothing. Otherwise as [`append`](Self::append), which costs about the same
    /// for the same number of records.
    ///
    /// ```
    /// use chunked_wal::{Batch, ChunkedWal, WalTypes};
    /// # struct Log;
    /// # impl WalTypes for Log { type Action = String; type Checkpoint = u64; type Callback = (); }
    ///
    /// fn transfer(wal: &mut ChunkedWal<Log>) -> Result<(), chunked_wal::Error> {
    ///     let mut batch = Batch::new();
    ///     batch.action("take 10 from a".to_string());
    ///     batch.action("give 10 to b".to_string());
    ///     wal.append_batch(&batch)?;
    ///     wal.sync()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// On an error nothing is appended. As [`append`](Self::append), with [`Error::InBatch`] around an error of one
    /// record; [`Error::BatchTooLarge`].
    pub fn append_batch(&mut self, batch: &Batch<W>) -> Result<Vec<Segment>> {
        if batch.is_empty() {
            return self.shared.positions.check().map(|()| Vec::new());
        }
        let segments = self.stage_batch(batch)?;
        self.accept_batch().map(|()| segments)
    }

    /// Rotates if the open chunk is full, then appends a batch and applies its records. After an error or a panic of
    /// the state machine, no record is appended or applied.
    ///
    /// A state machine may refuse a record after it has applied others of the batch. So the records are applied to a
    /// clone, which then replaces `state_machine`. If a clone costs too much, check the batch first, then call
    /// [`append_batch`](Self::append_batch) and apply the records.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch) and [`close_open_chunk`](Self::close_open_chunk);
    /// [`Error::StateMachine`] with the offset that the refused record would have had.
    pub fn append_and_apply_batch<SM: StateMachine<W> + Clone>(
        &mut self,
        batch: &Batch<W>,
        state_machine: &mut SM,
    ) -> Result<Vec<Segment>> {
        self.check_budget()?;
        self.try_close_full_chunk(state_machine)?;
        if batch.is_empty() {
            return self.shared.positions.check().map(|()| Vec::new());
        }
        let segments = self.stage_batch(batch)?;
        self.apply_and_accept_batch(batch, &segments, state_machine)?;
        Ok(segments)
    }

    /// Applies the staged batch to the state and accepts it, both or neither.
    fn apply_and_accept_batch<SM: StateMachine<W> + Clone>(
        &mut self,
        batch: &Batch<W>,
        segments: &[Segment],
        state_machine: &mut SM,
    ) -> Result<()> {
        let chunk_id = self.open_chunk_id();
        let mut applied = state_machine.clone();
        for (record, segment) in batch.records().iter().zip(segments) {
            apply(&mut applied, record, chunk_id, *segment)?;
        }
        self.accept_batch()?;
        *state_machine = applied;
        Ok(())
    }

    /// Encodes the records of a batch, of at least one, after the last record, to be accepted or not; returns their
    /// segments.
    fn stage_batch(&mut self, batch: &Batch<W>) -> Result<Vec<Segment>> {
        if batch.has_action() {
            self.check_budget()?;
        }
        let Config { max_record_size, max_batch_size, .. } = self.config;
        self.stage_by(|open, tail, synced| {
            open.stage_batch(batch.records(), tail, synced, max_record_size, max_batch_size)
        })?;
        Ok(self.head.opened()?.staged_batch())
    }

    /// Accepts the staged batch.
    fn accept_batch(&mut self) -> Result<()> {
        let last = self.head.opened()?.commit_batch(&mut self.tail);
        self.accepted(last).map(drop)
    }

    /// Encodes a record after the last one, to be accepted or not.
    #[inline]
    fn stage(&mut self, record: &impl ToPayload) -> Result<()> {
        if record.kind() == Kind::Action {
            self.check_budget()?;
        }
        let max_record_size = self.config.max_record_size;
        self.stage_by(|open, tail, synced| open.stage(record, tail, synced, max_record_size))
    }

    /// Lets `stage` encode after the last record; `stage` also gets the offset known to be durable.
    #[inline]
    fn stage_by(&mut self, stage: impl Fn(&mut OpenChunk, &mut TailWriter, u64) -> Result<()>) -> Result<()> {
        self.shared.positions.check()?;
        self.ensure_open_chunk()?;
        let end = self.end();
        if self.hand_over.waiting(end) >= self.config.open_buffer_max_bytes {
            // A callback's append, which may not wait for room, got this far: no further.
            self.hand_over.flush(end, Flush::Write, &mut None, 0, "append")?;
        }
        loop {
            let open = self.head.opened()?;
            let positions = &self.shared.positions;
            let inside = Inside::enter(positions.identity());
            let staged = stage(open, &mut self.tail, positions.synced());
            drop(inside);
            match staged {
                Err(Error::StorageFull { .. }) if self.make_room() => {}
                staged => return staged,
            }
        }
    }

    /// Accepts the staged record.
    #[inline]
    fn accept(&mut self) -> Result<Segment> {
        let segment = self.head.opened()?.commit(&mut self.tail);
        self.accepted(segment)
    }

    /// Publishes the accepted records, up to the one at `last`, whose segment it returns.
    #[inline]
    fn accepted(&mut self, last: Segment) -> Result<Segment> {
        let open = self.head.opened()?;
        self.last_segment = last;
        let appended = open.end();
        self.shared.positions.publish_appended(appended);
        if open.becomes_half_full(&self.config) {
            self.shared.housekeeper.want_spare();
        }
        // Without room the next append waits for it, before it takes a record.
        let waiting = self.hand_over.waiting(appended);
        if waiting >= self.config.open_buffer_max_bytes && self.shared.queue.has_room(waiting) {
            // The record is accepted even if this fails; the next call reports the failure.
            let _poisoned_or_inside = self.hand_over.flush(appended, Flush::Write, &mut None, 0, "append");
        }
        Ok(last)
    }

    /// Returns the segment of the last record. In a new log this is the first checkpoint.
    pub fn last_segment(&self) -> Segment {
        self.last_segment
    }

    /// Hands over the appended records, to be written or synced, and returns. The worker completes `callback`
    /// afterwards.
    ///
    /// [`Flush::Sync`] makes every record appended so far durable, including records that earlier flushes only wrote
    /// and records in earlier chunks. Blocks while the queue is full, until earlier callbacks have run. So this call
    /// deadlocks if the appender holds a mutex that a callback takes. Use [`try_flush`](Self::try_flush) in this case,
    /// or release the mutex first.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`], [`Error::Closed`], and [`Error::WouldDeadlock`] for a full queue inside a
    /// callback. The callback has been completed with the same error, on this thread.
    pub fn flush(&mut self, mode: Flush, callback: Option<W::Callback>) -> Result<()> {
        let mut callback = callback;
        let handed_over = self.hand_over.flush(self.end(), mode, &mut callback, 1, "flush");
        if let Err(error) = &handed_over {
            self.complete_here(callback, error);
        }
        handed_over
    }

    /// As [`flush`](Self::flush), but returns the callback instead of waiting for room.
    ///
    /// # Errors
    ///
    /// [`TryFlushError::Full`] if the queue is full: nothing has changed. [`TryFlushError::Failed`] with an error of
    /// [`flush`](Self::flush); the callback has been completed with the same error.
    pub fn try_flush(
        &mut self,
        mode: Flush,
        callback: Option<W::Callback>,
    ) -> Result<(), TryFlushError<W::Callback>> {
        if !self.shared.queue.has_room(self.hand_over.waiting(self.end())) {
            return Err(TryFlushError::Full(callback));
        }
        self.flush(mode, callback).map_err(TryFlushError::Failed)
    }

    /// Waits, without blocking the thread, until the queue has room for the appended records and, if the open chunk is
    /// full, until there is a file for the next chunk. After that, a [`flush`](Self::flush),
    /// [`try_flush`](Self::try_flush) or one [`append`](Self::append) does not wait for room, and the rotation of a
    /// full chunk waits only for the room of its checkpoint. Ready at once if the log has failed: the next call returns
    /// the cause.
    ///
    /// ```
    /// # use chunked_wal::{ChunkId, ChunkedWal, Config, Flush, Segment, StateMachine, WalRecord, WalTypes};
    /// # struct Log;
    /// # impl WalTypes for Log { type Action = String; type Checkpoint = (); type Callback = (); }
    /// use chunked_wal::TryFlushError;
    ///
    /// async fn hand_over(wal: &mut ChunkedWal<Log>) -> Result<(), chunked_wal::Error> {
    ///     loop {
    ///         match wal.try_flush(Flush::Sync, None) {
    ///             Ok(()) => return Ok(()),
    ///             Err(TryFlushError::Full(_)) => wal.room().await,
    ///             Err(TryFlushError::Failed(error)) => return Err(error),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn room(&self) -> impl Future<Output = ()> + Send + use<W> {
        let bytes = self.rotation_weight(self.hand_over.waiting(self.end()));
        let needs = Needs { bytes, ..self.needs(Wants::Append) };
        let (shared, mut asked) = (self.shared.clone(), SpareAsked::default());
        let mut wait = RoomWait::new(shared.positions.clone());
        std::future::poll_fn(move |context| {
            wait.poll(context.waker(), || needs.are_met(&shared, &mut asked).then_some(()))
        })
    }

    /// As [`flush`](Self::flush), with a ticket to wait for or `.await` instead of a callback.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub fn flush_ticket(&mut self, mode: Flush) -> Result<FlushTicket> {
        self.hand_over.ticket(self.end(), mode)
    }

    /// Makes everything appended so far durable, and waits for that.
    ///
    /// # Errors
    ///
    /// The error of the write or sync, after which the log is poisoned. [`Error::WouldDeadlock`] inside a callback.
    pub fn sync(&mut self) -> Result<()> {
        self.hand_over.sync(self.end())
    }

    /// Returns the log's directory, as [`Config::dir`] named it.
    pub fn dir(&self) -> &Path {
        &self.config.dir
    }

    /// Returns the offsets up to which records are appended, written and synced.
    pub fn progress(&self) -> Progress {
        self.shared.positions.progress()
    }

    /// Returns a handle that shows the progress, or waits for an offset, on any thread.
    pub fn progress_handle(&self) -> ProgressHandle {
        ProgressHandle::new(self.shared.positions.clone())
    }

    /// Waits until everything below `offset` is durable; see [`ProgressHandle::wait_synced`]. This method does not
    /// flush: flush the bytes below `offset` first.
    ///
    /// # Errors
    ///
    /// As [`ProgressHandle::wait_synced`].
    pub fn wait_synced(&self, offset: u64) -> Result<()> {
        self.progress_handle().wait_synced(offset)
    }

    /// Waits until all work handed over so far is done, including removals, except removals that a
    /// [pinned reader](Self::pinned_reader) puts off.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] if the log has failed. Otherwise the error of the first removal that failed since the last
    /// call (the log tries the removal again), or of a failed preparation of the next chunk's file (the log tries it
    /// again when it needs the file). [`Error::WouldDeadlock`] inside a callback.
    pub fn wait_idle(&self) -> Result<()> {
        Inside::refuse_wait(self.shared.positions.identity(), "wait_idle")?;
        self.hand_over.settle();
        self.shared.positions.check()?;
        self.shared.housekeeper.wait_idle()
    }

    /// Reads the record at `segment`, from the oldest kept record to the newest.
    ///
    /// # Errors
    ///
    /// As [`WalReader::read_record`].
    pub fn read_record(&self, segment: Segment) -> Result<WalRecord<W>> {
        self.view.read_record(segment)
    }

    /// Returns a handle that reads from any thread.
    pub fn reader(&self) -> WalReader<W> {
        WalReader::new(self.view.clone())
    }

    /// Returns a reader of the log as it is now, for any thread. Chunks that it may read are not removed.
    pub fn pinned_reader(&self) -> PinnedReader<W> {
        PinnedReader::of(&self.view)
    }

    /// Returns an iterator over all records, from the oldest kept record to the newest; see [`WalReader::records`].
    pub fn records(&self) -> Records<W> {
        self.reader().records()
    }

    /// Returns counts and latencies of all flushes so far.
    pub fn flush_metrics(&self) -> FlushMetrics {
        self.shared.metrics.snapshot()
    }

    /// Flushes and syncs the appended records, waits until everything handed over is done, marks the end of the log,
    /// and releases the directory.
    ///
    /// # Errors
    ///
    /// A new or earlier failure: [`Error::Poisoned`], or the error of a removal that no call has returned. Inside a
    /// callback `close` returns [`Error::WouldDeadlock`], and the log's threads finish on their own.
    pub fn close(mut self) -> Result<()> {
        self.shut_down()
    }

    /// Completes a callback on this thread.
    fn complete_here(&self, callback: Option<W::Callback>, error: &Error) {
        let Some(callback) = callback else { return };
        if catch(|| callback.complete(Err(error.clone()))).is_none() {
            report(|| log::error!("a flush callback panicked; the log goes on"));
            report(|| self.shared.metrics.callback_panic_count.fetch_add(1, Relaxed));
        }
    }

    /// On a full disk: waits for the space of removals under way, then gives up spares; `false` once neither frees
    /// any more.
    fn make_room(&mut self) -> bool {
        self.hand_over.wait_for_removals() || self.shared.housekeeper.give_up_spare()
    }

    fn shut_down(&mut self) -> Result<()> {
        let Some(threads) = self.threads.take() else { return Ok(()) };
        self.hand_over.close(self.end());
        self.view.close();
        let Pipeline { positions, housekeeper, .. } = &*self.shared;
        Inside::refuse_wait(positions.identity(), "close")?;
        for thread in threads {
            // The thread can panic only at its very end, where it drops values of the user's types.
            let _dropped = thread.join().map_err(std::mem::forget);
        }
        // Last, because the last sync may hang too.
        self.watch = None;
        match positions.cause() {
            Some(cause) => Err(cause.poisoned()),
            None => housekeeper.untold_error().map_or(Ok(()), Err),
        }
    }
}

impl<W: WalTypes> Drop for ChunkedWal<W> {
    fn drop(&mut self) {
        match self.shut_down() {
            Ok(()) => {}
            Err(Error::WouldDeadlock { .. }) => log::debug!("dropped in a callback, closing by itself"),
            Err(error) => log::error!("closing the log failed: {error}"),
        }
    }
}

impl<W: WalTypes> fmt::Debug for ChunkedWal<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkedWal")
            .field("dir", &self.config.dir)
            .field("open_chunk_id", &self.open_chunk_id())
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}

/// Why [`ChunkedWal::try_flush`] did not flush.
#[derive(thiserror::Error)]
pub enum TryFlushError<C> {
    /// The queue is full, and nothing has changed. Has the callback.
    #[error("the flush queue is full: try again later")]
    Full(Option<C>),
    /// The log has failed or is closed; the callback has been completed with this error.
    #[error(transparent)]
    Failed(Error),
}

impl<C> fmt::Debug for TryFlushError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryFlushError::Full(_) => f.write_str("Full(..)"),
            TryFlushError::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}
