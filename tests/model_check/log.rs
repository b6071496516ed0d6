//! A log without bytes: appender and worker go by the same steps as those in `src/wal/mod.rs` and
//! `src/flush/worker.rs`.
//!
//! ```text
//! append, flush ──► Queue ──► write ─► publish ─► sync ─► publish ─► completions
//!                               └── either may fail: poison, close, complete the rest
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Error;
use crate::error::Result;
use crate::flush::BatchLimit;
use crate::flush::Flush;
use crate::flush::FlushSender;
use crate::flush::Positions;
use crate::flush::Queue;
use crate::record::Callback;

/// A flush in the queue.
pub(crate) struct Request {
    end: u64,
    mode: Flush,
    callback: Option<FlushSender>,
}

/// What appender, worker and waiters share.
pub(crate) struct Shared {
    pub(crate) queue: Queue<Request>,
    pub(crate) positions: Arc<Positions>,
}

impl Shared {
    pub(crate) fn new(queue_bytes_max: u64) -> Arc<Self> {
        Arc::new(Shared { queue: Queue::new(queue_bytes_max), positions: Arc::new(Positions::new(0)) })
    }
}

/// The owner of the log.
pub(crate) struct Appender {
    pub(crate) shared: Arc<Shared>,
    pub(crate) end: u64,
    handed_over: u64,
}

impl Appender {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Appender { shared, end: 0, handed_over: 0 }
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
        let Shared { queue, positions } = &*self.shared;
        let bytes = self.end - self.handed_over;
        positions.check()?;
        if !queue.has_room(bytes) {
            queue.wait_for_room(bytes);
            positions.check()?;
        }
        let request = Request { end: self.end, mode, callback: callback.take() };
        if let Err(refused) = queue.push(request, bytes) {
            *callback = refused.callback;
            positions.check()?;
            return Err(Error::Closed);
        }
        self.handed_over = self.end;
        Ok(())
    }
}

/// The failure of the operation with this number.
pub(crate) fn failure(operation: u64) -> Error {
    Error::io("sync", "chunk", std::io::Error::other(operation.to_string()))
}

/// The log's thread.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) limit: BatchLimit,
    /// Writes and syncs to come before one fails.
    pub(crate) fails_after: u64,
}

impl Worker {
    pub(crate) fn run(mut self) {
        let shared = self.shared.clone();
        let mut batch = VecDeque::new();
        while shared.queue.take_batch(&mut batch, self.limit) {
            let items = batch.len() as u64;
            if shared.positions.cause().is_none()
                && let Err(error) = self.work(&mut batch)
            {
                shared.positions.poison(error);
            }
            self.fail_rest(&mut batch);
            shared.queue.done(items);
        }
        shared.positions.close();
    }

    fn work(&mut self, batch: &mut VecDeque<(Request, u64)>) -> Result<()> {
        let Shared { queue, positions } = &*self.shared.clone();
        let Some((last, _)) = batch.back() else { return Ok(()) };
        let end = last.end;
        self.operation()?;
        positions.publish_written(end);
        if batch.iter().any(|(request, _)| request.mode == Flush::Sync) && end > positions.synced() {
            self.operation()?;
            positions.publish_synced(end);
        }
        queue.release(batch.iter().map(|(_, bytes)| bytes).sum());
        for (request, _) in batch.drain(..) {
            complete(request, Ok(()));
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

    fn fail_rest(&self, batch: &mut VecDeque<(Request, u64)>) {
        let Shared { queue, positions } = &*self.shared;
        let Some(cause) = positions.cause() else { return };
        queue.close();
        for (request, _) in batch.drain(..) {
            let outcome = positions.outcome(request.mode, request.end);
            complete(request, outcome.unwrap_or_else(|| Err(cause.clone())));
        }
    }
}

fn complete(request: Request, result: Result<()>) {
    if let Some(callback) = request.callback {
        callback.complete(result);
    }
}
