//! What the appender has handed to the worker, and how it hands over the rest.
//!
//! ```text
//!             sync_asked     handed_over           end
//! ────────────────┴───────────────┴─────────────────┴──► global offset
//!  to be synced     to be written   only in memory
//! ```
//!
//! - `sync_asked ≤ handed_over ≤ end`, where `end` is the end of the log: both follow it and never go back.
//! - The worker writes nothing at `handed_over` or after it. A sync may reach further than `sync_asked`.
//! - A request that is refused changes nothing.
//! - Only the appender queues. What it finds in the queue can only become less while it looks.

use std::sync::Arc;
use std::time::Instant;

use super::{
    BatchLimit, Flush, FlushRequest, FlushTicket, Inside, NewFlush, Pipeline, Refused, Request, Rotation,
    Worker,
};
use crate::chunk::ChunkFile;
use crate::error::{Error, Result};
use crate::record::WalTypes;
use crate::sync::Mutex;

/// The appender's end of the [`Pipeline`].
pub(crate) struct HandOver<W: WalTypes> {
    shared: Arc<Pipeline<W>>,
    /// Its thread works off the queue. The appender takes its place in a sync that finds the queue empty.
    worker: Arc<Mutex<Worker<W>>>,
    limit: BatchLimit,
    /// The worker was asked to write everything below.
    handed_over: u64,
    /// The worker was asked to sync everything below.
    sync_asked: u64,
    /// Removals were queued after the last wait for them: they may give space back.
    is_removing: bool,
}

impl<W: WalTypes> HandOver<W> {
    /// For a log that is written and synced up to `end`.
    pub(crate) fn new(worker: Arc<Mutex<Worker<W>>>, end: u64) -> Self {
        let (shared, limit) = {
            let worker = worker.lock();
            (worker.shared.clone(), worker.limit)
        };
        HandOver { shared, worker, limit, handed_over: end, sync_asked: end, is_removing: false }
    }

    /// Bytes below `end` that are only in memory.
    #[inline]
    pub(crate) fn waiting(&self, end: u64) -> u64 {
        end - self.handed_over
    }

    fn advance(&mut self, end: u64, mode: Flush) {
        debug_assert!(self.sync_asked <= self.handed_over && self.handed_over <= end);
        self.handed_over = end;
        if mode == Flush::Sync {
            self.sync_asked = end;
        }
    }

    /// Hands over everything below `end`. The callback is taken only if that works. `count` is one for a
    /// flush of the user's, none for one of the log's own.
    pub(crate) fn flush(
        &mut self,
        end: u64,
        mode: Flush,
        callback: &mut Option<W::Callback>,
        count: u64,
        method: &'static str,
    ) -> Result<()> {
        let Pipeline { queue, positions, .. } = &*self.shared;
        positions.check()?;
        let (bytes, limit) = (self.waiting(end), self.limit);
        while let Err(refused) = queue
            .add(bytes, |last, waiting| NewFlush { end, mode, callback, count, limit }.behind(last, waiting))
        {
            match refused {
                Refused::Full => self.wait_for_room(bytes, method)?,
                Refused::Closed => return Err(self.closed()),
            }
        }
        self.advance(end, mode);
        Ok(())
    }

    /// [Hands over](Self::flush) everything below `end`, unless it was asked for already.
    pub(crate) fn ask(&mut self, end: u64, mode: Flush, count: u64, method: &'static str) -> Result<()> {
        let asked = match mode {
            Flush::Write => self.handed_over,
            Flush::Sync => self.sync_asked,
        };
        if asked < end { self.flush(end, mode, &mut None, count, method) } else { Ok(()) }
    }

    /// As [`ask`](Self::ask), with a ticket. A ticket waits for an offset, so it needs no request of its own for
    /// bytes that were asked for before.
    pub(crate) fn ticket(&mut self, end: u64, mode: Flush) -> Result<FlushTicket> {
        self.shared.positions.check()?;
        self.ask(end, mode, 1, "flush_ticket")?;
        Ok(FlushTicket::for_offset(self.shared.positions.clone(), mode, end))
    }

    /// As [`ticket`](Self::ticket), without waiting for room: the request is queued even if there is none. The caller
    /// has asked for room before the last record was appended, so the queue exceeds its bound by that record at most.
    /// In a log that has failed, the ticket returns the cause.
    pub(crate) fn ticket_now(&mut self, end: u64, mode: Flush) -> FlushTicket {
        let (bytes, limit) = (self.waiting(end), self.limit);
        let Pipeline { queue, positions, .. } = &*self.shared;
        let ticket = FlushTicket::for_offset(positions.clone(), mode, end);
        let callback = &mut None;
        let joined = queue.add(bytes, |last, waiting| {
            NewFlush { end, mode, callback, count: 1, limit }.behind(last, waiting)
        });
        let is_queued = match joined {
            Ok(()) => true,
            Err(Refused::Closed) => false,
            Err(Refused::Full) => {
                let asked_at = Instant::now();
                let flush = FlushRequest { end, mode, callback: None, count: 1, asked_at };
                queue.push(Request::Flush(flush), bytes).is_ok()
            }
        };
        if is_queued {
            self.advance(end, mode);
        }
        ticket
    }

    /// Makes everything below `end` durable: on this thread if the worker has nothing else to do, or else by
    /// the worker. Waits until it is durable.
    pub(crate) fn sync(&mut self, end: u64) -> Result<()> {
        Inside::refuse_wait(self.shared.positions.identity(), "sync")?;
        self.shared.positions.check()?;
        if !self.sync_inline(end) {
            self.ask(end, Flush::Sync, 1, "sync")?;
        }
        self.shared.positions.wait(Flush::Sync, end, "sync")
    }

    /// Does the worker's part on this thread; `false` if it is for the worker to do, or done.
    fn sync_inline(&mut self, end: u64) -> bool {
        // The queue is empty, so no request comes before this sync, and the holder of the worker's lock is about to
        // release it.
        let done =
            self.sync_asked < end && self.shared.queue.is_empty() && self.worker.lock().sync_inline(end);
        if done {
            self.advance(end, Flush::Sync);
        }
        done
    }

    /// Queues a rotation that counts for `bytes`, and writes everything below `end`, which is in the new chunk. Only a log that has failed refuses it.
    pub(crate) fn rotate(&mut self, rotation: Rotation<W>, bytes: u64, end: u64) -> Result<()> {
        if self.shared.queue.push(Request::Rotate(Box::new(rotation)), bytes).is_err() {
            return Err(self.closed());
        }
        self.advance(end, Flush::Write);
        Ok(())
    }

    /// Queues the removal of chunks, oldest first. What justifies it was [asked](Self::ask) to be synced
    /// before. A log that has failed returns the chunks.
    pub(crate) fn remove(&mut self, chunks: Vec<Arc<ChunkFile>>) -> Result<(), (Vec<Arc<ChunkFile>>, Error)> {
        if let Err(Request::Remove(chunks)) = self.shared.queue.push(Request::Remove(chunks), 0) {
            return Err((chunks, self.closed()));
        }
        self.is_removing = true;
        Ok(())
    }

    /// Waits until the queue has room for `bytes`, or the log has failed.
    pub(crate) fn wait_for_room(&self, bytes: u64, method: &'static str) -> Result<()> {
        let Pipeline { queue, positions, .. } = &*self.shared;
        positions.check()?;
        if !queue.has_room(bytes) {
            Inside::refuse_wait(positions.identity(), method)?;
            queue.wait_for_room(bytes);
            positions.check()?;
        }
        Ok(())
    }

    /// Waits for removals under way, which may give space back; `false` if there are none.
    pub(crate) fn wait_for_removals(&mut self) -> bool {
        if Inside::is(self.shared.positions.identity()) || !std::mem::take(&mut self.is_removing) {
            return false;
        }
        self.shared.queue.wait_done();
        // They may wait for its end.
        self.worker.lock().complete_rotation();
        self.shared.housekeeper.wait_removals();
        true
    }

    /// Waits until everything queued is done, and the work for a quiet moment too.
    pub(crate) fn settle(&self) {
        self.shared.queue.wait_done();
        self.worker.lock().complete_rotation();
        self.shared.housekeeper.wait_rotation();
        self.worker.lock().settle();
    }

    /// Hands over the last flush and closes the queue.
    pub(crate) fn close(&mut self, end: u64) {
        if self.sync_asked < end {
            // Doesn't wait for room: this request is the last, and closing must not depend on the disk's speed
            // inside a callback. If the queue refuses it, the log has failed, and closing returns the cause.
            let asked_at = Instant::now();
            let flush = FlushRequest { end, mode: Flush::Sync, callback: None, count: 0, asked_at };
            let _refused = self.shared.queue.push(Request::Flush(flush), self.waiting(end));
        }
        self.shared.queue.close();
    }

    /// Why the queue is closed.
    fn closed(&self) -> Error {
        self.shared.positions.check().err().unwrap_or(Error::Closed)
    }
}
