//! [`FlushTicket`]: a flush's completion to be waited for, by a thread or a task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{Flush, Positions, TaskEntry};
use crate::error::{Error, Result};
use crate::record::Callback;
use crate::sync::{Condvar, Mutex};

/// Resolves when a flush is done: [`wait`](Self::wait) for it, or `.await` it.
///
/// From [`ChunkedWal::flush_ticket`](crate::ChunkedWal::flush_ticket), or, to be handed to a flush
/// as its callback, from [`FlushTicket::pair`]:
///
/// ```
/// use chunked_wal::{Callback, FlushTicket};
/// let (sender, ticket) = FlushTicket::pair();
/// sender.complete(Ok(()));
/// assert!(ticket.wait().is_ok());
/// ```
#[derive(Debug)]
#[must_use = "a flush that nobody waits for may fail unseen"]
pub struct FlushTicket {
    waits_for: WaitsFor,
}

#[derive(Debug)]
enum WaitsFor {
    /// An offset of a log: nothing of the ticket's own is needed.
    Offset { positions: Arc<Positions>, mode: Flush, offset: u64, entry: TaskEntry },
    /// What a [`FlushSender`] brings.
    Sender(Arc<Slot>),
}

/// Where a [`FlushSender`] puts its result.
#[derive(Debug, Default)]
struct Slot {
    state: Mutex<SlotState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SlotState {
    result: Option<Result<()>>,
    waker: Option<Waker>,
}

impl FlushTicket {
    /// A ticket and the [`Callback`] that resolves it.
    pub fn pair() -> (FlushSender, FlushTicket) {
        let slot = Arc::new(Slot::default());
        let ticket = FlushTicket { waits_for: WaitsFor::Sender(slot.clone()) };
        (FlushSender { slot: Some(slot) }, ticket)
    }

    pub(crate) fn for_offset(positions: Arc<Positions>, mode: Flush, offset: u64) -> Self {
        FlushTicket { waits_for: WaitsFor::Offset { positions, mode, offset, entry: TaskEntry::default() } }
    }

    /// Blocks until the flush is done.
    ///
    /// # Errors
    ///
    /// What made the flush fail; [`Error::Closed`] if its sender was dropped or the log ended first;
    /// [`Error::WouldDeadlock`] in a callback of the same log. A ticket of [`pair`](Self::pair) knows
    /// no log, so waiting for an unresolved one in a callback blocks the worker.
    pub fn wait(self) -> Result<()> {
        loop {
            if let Some(outcome) = self.wait_deadline(None) {
                return outcome;
            }
        }
    }

    /// Blocks until the flush is done, at most for `timeout`; `None` if it isn't by then.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<()>> {
        // An instant that can't be represented is no limit.
        self.wait_deadline(Instant::now().checked_add(timeout))
    }

    fn wait_deadline(&self, deadline: Option<Instant>) -> Option<Result<()>> {
        match &self.waits_for {
            WaitsFor::Offset { positions, mode, offset, .. } => {
                positions.wait_until(*mode, *offset, deadline, "FlushTicket::wait")
            }
            WaitsFor::Sender(slot) => slot.wait(deadline),
        }
    }
}

impl Slot {
    fn wait(&self, deadline: Option<Instant>) -> Option<Result<()>> {
        let mut state = self.state.lock();
        loop {
            if let Some(result) = &state.result {
                return Some(result.clone());
            }
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        return state.result.clone();
                    }
                }
            }
        }
    }

    fn resolve(&self, result: Result<()>) {
        let waker = {
            let mut state = self.state.lock();
            state.result = Some(result);
            state.waker.take()
        };
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for FlushTicket {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.waits_for {
            WaitsFor::Offset { positions, mode, offset, entry } => {
                positions.poll_outcome(*mode, *offset, entry, context.waker())
            }
            WaitsFor::Sender(slot) => {
                let mut state = slot.state.lock();
                match &state.result {
                    Some(result) => Poll::Ready(result.clone()),
                    None => {
                        state.waker = Some(context.waker().clone());
                        Poll::Pending
                    }
                }
            }
        }
    }
}

impl Drop for FlushTicket {
    fn drop(&mut self) {
        if let WaitsFor::Offset { positions, mode, offset, entry } = &mut self.waits_for {
            positions.forget_task(*mode, *offset, entry);
        }
    }
}

/// The [`Callback`] that resolves a [`FlushTicket`]. Dropped without a result, it resolves the
/// ticket with [`Error::Closed`].
#[derive(Debug)]
pub struct FlushSender {
    /// Taken by the completion, so that the later drop does nothing.
    slot: Option<Arc<Slot>>,
}

impl Callback for FlushSender {
    fn complete(mut self, result: Result<()>) {
        if let Some(slot) = self.slot.take() {
            slot.resolve(result);
        }
    }
}

impl Drop for FlushSender {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.resolve(Err(Error::Closed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flush::wakes::Wakes;

    #[test]
    fn a_dropped_sender_resolves_its_ticket() {
        let (sender, ticket) = FlushTicket::pair();
        assert!(ticket.wait_timeout(Duration::from_millis(1)).is_none());
        drop(sender);
        assert!(matches!(ticket.wait(), Err(Error::Closed)));
    }

    #[test]
    fn both_kinds_wake_a_task_once_they_resolve() {
        let positions = Arc::new(Positions::new(0));
        positions.publish_appended(8);
        let (sender, slot_ticket) = FlushTicket::pair();
        let offset_ticket = FlushTicket::for_offset(positions.clone(), Flush::Sync, 8);
        let mut resolve = Some(sender);
        for mut ticket in [offset_ticket, slot_ticket] {
            let count = Arc::new(Wakes::default());
            let waker = Waker::from(count.clone());
            let mut context = Context::from_waker(&waker);
            assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
            positions.publish_sync(positions.begin_sync(8));
            if count.so_far() == 0 {
                resolve.take().unwrap().complete(Ok(()));
            }
            assert_eq!(count.so_far(), 1);
            assert!(matches!(Pin::new(&mut ticket).poll(&mut context), Poll::Ready(Ok(()))));
        }
    }
}
