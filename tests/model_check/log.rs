//! A log without bytes: appender and worker go by the same steps as those in `src/wal/mod.rs` and
//! `src/flush/worker.rs`.
//!
//! ```text
//! append, flush ──► Queue ──► write ─► publish ─► sync ─► publish ─► completions, mark when quiet
//! sync, if nothing else is to do ─┘ └── either may fail: poison, close, complete the rest
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::flush::{BatchLimit, Entry, Flush, FlushSender, FlushTicket, Positions, Queue, Refused, Wake};
use crate::record::Callback;
use crate::sync::{Condvar, Mutex};

/// A flush in the queue.
pub(crate) struct Request {
    end: u64,
    mode: Flush,
    callback: Option<FlushSender>,
}

impl Request {
    /// What is to be queued, unless the last one can stand for it.
    fn behind(
        last: Option<&mut Entry<Request>>,
        end: u64,
        mode: Flush,
        callback: &mut Option<FlushSender>,
    ) -> Option<Self> {
        if let Some(Entry { item: last, .. }) = last
            && last.mode == mode
            && last.callback.is_none()
            && callback.is_none()
        {
            last.end = end;
            return None;
        }
        Some(Request { end, mode, callback: callback.take() })
    }
}

/// What appender, worker and waiters share.
pub(crate) struct Shared {
    pub(crate) queue: Queue<Request>,
    pub(crate) positions: Arc<Positions>,
    /// Where the last mark was written.
    marked: Mutex<u64>,
    marks: Condvar,
}

impl Shared {
    pub(crate) fn new(queue_bytes_max: u64) -> Arc<Self> {
        Arc::new(Shared {
            queue: Queue::new(queue_bytes_max),
            positions: Arc::new(Positions::new(0)),
            marked: Mutex::default(),
            marks: Condvar::new(),
        })
    }

    fn mark(&self, at: u64) {
        *self.marked.lock() = at;
        self.marks.notify_all();
    }

    /// Waits for the mark that a log writes when it has been quiet.
    pub(crate) fn wait_marked(&self, at: u64) {
        let mut marked = self.marked.lock();
        while *marked < at {
            self.marks.wait(&mut marked);
        }
    }
}

/// The owner of the log.
pub(crate) struct Appender {
    pub(crate) shared: Arc<Shared>,
    worker: Arc<Mutex<Worker>>,
    pub(crate) end: u64,
    handed_over: u64,
}

impl Appender {
    pub(crate) fn new(shared: Arc<Shared>, worker: Arc<Mutex<Worker>>) -> Self {
        Appender { shared, worker, end: 0, handed_over: 0 }
    }

    /// By the shortest way: here, if the worker has nothing to do.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.shared.positions.check()?;
        if self.shared.queue.is_empty() && self.worker.lock().sync_here(self.end) {
            self.handed_over = self.end;
        } else {
            self.hand_over(Flush::Sync, &mut None)?;
        }
        FlushTicket::for_offset(self.shared.positions.clone(), Flush::Sync, self.end).wait()
    }

    /// A record of so many bytes; `false` if the log takes no more.
    pub(crate) fn append(&mut self, bytes: u64) -> bool {
        if self.shared.positions.check().is_err() {
            return false;
        }
        self.end += bytes;
        self.shared.positions.publish_appended(self.end);
        true
    }

    /// The callback is completed here if the flush is refused.
    pub(crate) fn flush(&mut self, mode: Flush, callback: Option<FlushSender>) -> Result<()> {
        let mut callback = callback;
        let handed_over = self.hand_over(mode, &mut callback);
        if let (Err(error), Some(callback)) = (&handed_over, callback) {
            callback.complete(Err(error.clone()));
        }
        handed_over
    }

    fn hand_over(&mut self, mode: Flush, callback: &mut Option<FlushSender>) -> Result<()> {
        let Shared { queue, positions, .. } = &*self.shared;
        positions.check()?;
        let bytes = self.end - self.handed_over;
        while let Err(refused) = queue.add(bytes, |last, _| Request::behind(last, self.end, mode, callback)) {
            match refused {
                Refused::Full => queue.wait_for_room(bytes),
                Refused::Closed => {
                    positions.check()?;
                    return Err(Error::Closed);
                }
            }
        }
        self.handed_over = self.end;
        Ok(())
    }
}

/// The failure of the operation with this number.
pub(crate) fn failure(operation: u64) -> Error {
    Error::io("sync", "chunk", std::io::Error::other(operation.to_string()))
}

/// The worker's place.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) limit: BatchLimit,
    /// Writes and syncs to come before one fails.
    pub(crate) fails_after: u64,
    batch: VecDeque<Entry<Request>>,
    quiet_at: Option<u64>,
    marked: bool,
}

const QUIET: Duration = Duration::from_secs(1);

/// The log's thread.
pub(crate) fn run(worker: &Mutex<Worker>) {
    let (shared, limit) = {
        let worker = worker.lock();
        (worker.shared.clone(), worker.limit)
    };
    let mut quiet = None;
    loop {
        match shared.queue.wait_for_batch(limit, quiet) {
            Wake::Batch => quiet = worker.lock().work_batch(),
            Wake::Quiet => quiet = worker.try_lock().map_or(Some(QUIET), |mut worker| worker.look()),
            Wake::Closed => break,
        }
    }
    shared.positions.close();
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, limit: BatchLimit, fails_after: u64) -> Arc<Mutex<Self>> {
        let (batch, quiet_at, marked) = (VecDeque::new(), None, true);
        Arc::new(Mutex::new(Worker { shared, limit, fails_after, batch, quiet_at, marked }))
    }

    fn work_batch(&mut self) -> Option<Duration> {
        let shared = self.shared.clone();
        shared.queue.take_batch(&mut self.batch, self.limit);
        let items = self.batch.len() as u64;
        self.guarded_work();
        shared.queue.done(items);
        self.look()
    }

    fn sync_here(&mut self, end: u64) -> bool {
        if self.shared.positions.cause().is_some() {
            return false;
        }
        let request = Request { end, mode: Flush::Sync, callback: None };
        self.batch.push_back(Entry { item: request, bytes: 0, items: 1 });
        self.guarded_work();
        if self.quiet_at.is_none() {
            self.quiet_at = Some(end);
            self.shared.queue.nudge();
        }
        true
    }

    fn look(&mut self) -> Option<Duration> {
        let positions = &self.shared.positions;
        let synced = positions.synced();
        if self.quiet_at.take() == Some(synced)
            && positions.written() == synced
            && positions.cause().is_none()
        {
            self.marked = true;
            self.shared.mark(synced);
        }
        let waits = !self.marked && positions.written() == synced && positions.cause().is_none();
        self.quiet_at = waits.then_some(synced);
        waits.then_some(QUIET)
    }

    fn guarded_work(&mut self) {
        if self.shared.positions.cause().is_none()
            && let Err(error) = self.work()
        {
            self.shared.positions.poison(error);
        }
        self.fail_rest();
    }

    fn work(&mut self) -> Result<()> {
        let Shared { queue, positions, .. } = &*self.shared.clone();
        let Some(last) = self.batch.back() else { return Ok(()) };
        let end = last.item.end;
        self.operation()?;
        self.marked = false;
        positions.publish_written(end);
        if self.batch.iter().any(|entry| entry.item.mode == Flush::Sync) && end > positions.synced() {
            let sync = positions.begin_sync(end);
            self.operation()?;
            positions.publish_sync(sync);
        }
        queue.release(self.batch.iter().map(|entry| entry.bytes).sum());
        for Entry { item, .. } in self.batch.drain(..) {
            complete(item, Ok(()));
        }
        Ok(())
    }

    fn operation(&mut self) -> Result<()> {
        match self.fails_after.checked_sub(1) {
            None => Err(failure(0)),
            Some(left) => {
                self.fails_after = left;
                Ok(())
            }
        }
    }

    fn fail_rest(&mut self) {
        let Shared { queue, positions, .. } = &*self.shared;
        let Some(cause) = positions.cause() else { return };
        queue.close();
        for Entry { item, .. } in self.batch.drain(..) {
            let outcome = positions.outcome(item.mode, item.end);
            complete(item, outcome.unwrap_or_else(|| Err(cause.clone())));
        }
    }
}

fn complete(request: Request, result: Result<()>) {
    if let Some(callback) = request.callback {
        callback.complete(result);
    }
}
