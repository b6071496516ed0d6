//! The state that the watcher's thread and the consumer share: a single slot, and its waiters.
//!
//! ```text
//! operating system ─► changed ─► thread ─► Tail::look ─► latest ─┐
//!                                                                ├─► event: the difference
//!                                 consumer: what it has taken ───┘
//! ```
//!
//! - The slot holds totals, so an event is the difference of two totals, and events that were not taken
//!   merge without any work.
//! - The slot is locked for moments only. A look holds the lock of the tail, for which a consumer waits
//!   only when it looks itself.

use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::WalEvent;
use crate::error::{Error, Result};
use crate::panics::{catch, report};

/// The shortest poll interval.
const INTERVAL_MIN: Duration = Duration::from_millis(2);
/// A look each day is as good as none.
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A source that is followed: a log, or an SQLite WAL.
pub(super) trait Tail<S>: Send {
    /// Looks for changes. After an error, the last state stays.
    fn look(&mut self) -> Result<()>;

    /// Returns the result of the last look; changes are counted since the first look.
    fn seen(&self) -> &WalEvent<S>;
}

pub(super) struct Shared<S> {
    tail: Mutex<Box<dyn Tail<S>>>,
    slot: Mutex<Slot<S>>,
    /// The consumer waits here for an event.
    filled: Condvar,
    /// The thread waits here for a reason to look.
    changed: Condvar,
}

struct Slot<S> {
    latest: WalEvent<S>,
    /// The value of `latest` when the consumer took it.
    taken: WalEvent<S>,
    /// The error of the last look, until it is taken.
    error: Option<Error>,
    /// Whether the last look failed: then the next failure is not reported again.
    failing: bool,
    /// Whether something changed since the last look.
    dirty: bool,
    stopped: bool,
    waker: Option<Waker>,
    watch_error: Option<String>,
}

/// Why the thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// The operating system reported a change.
    Changed,
    /// Nothing was reported for the poll interval.
    Interval,
    Stopped,
}

/// An event or error to take, if there is one.
type Taken<S> = Option<Result<WalEvent<S>>>;

impl<S: Clone + PartialEq> Slot<S> {
    fn take(&mut self) -> Taken<S> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        if self.latest == self.taken {
            return None;
        }
        let changes = self.latest.changes.since(self.taken.changes);
        self.taken = self.latest.clone();
        Some(Ok(WalEvent { changes, state: self.latest.state.clone() }))
    }
}

impl<S: Clone + PartialEq> Shared<S> {
    /// Takes the first look; events report changes after it.
    pub(super) fn new(mut tail: Box<dyn Tail<S>>) -> Result<Self> {
        tail.look()?;
        let slot = Slot {
            latest: tail.seen().clone(),
            taken: tail.seen().clone(),
            error: None,
            failing: false,
            dirty: false,
            stopped: false,
            waker: None,
            watch_error: None,
        };
        let (filled, changed) = (Condvar::new(), Condvar::new());
        Ok(Shared { tail: Mutex::new(tail), slot: Mutex::new(slot), filled, changed })
    }

    /// Looks, and passes the changes to the consumer. Returns whether this look brought changes.
    pub(super) fn look(&self) -> bool {
        // Locked until the result is in the slot, so that an earlier look never replaces a later one.
        let mut tail = self.tail.lock();
        let outcome = tail.look();
        let mut slot = self.slot.lock();
        let is_new = outcome.is_ok() && slot.latest != *tail.seen();
        match outcome {
            Ok(()) => {
                slot.failing = false;
                slot.latest = tail.seen().clone();
            }
            Err(error) if !slot.failing => {
                slot.failing = true;
                slot.error = Some(error);
            }
            Err(_) => {}
        }
        drop(tail);
        if slot.error.is_none() && slot.latest == slot.taken {
            return is_new;
        }
        let waker = slot.waker.take();
        drop(slot);
        self.filled.notify_all();
        wake(waker);
        is_new
    }

    pub(super) fn take(&self) -> Taken<S> {
        self.slot.lock().take()
    }

    /// Waits for an event; `None` once stopped, or at the deadline.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Taken<S> {
        let mut slot = self.slot.lock();
        loop {
            let taken = slot.take();
            if taken.is_some() || slot.stopped {
                return taken;
            }
            match deadline {
                None => self.filled.wait(&mut slot),
                Some(deadline) if self.filled.wait_until(&mut slot, deadline).timed_out() => {
                    return slot.take();
                }
                Some(_) => {}
            }
        }
    }

    /// Takes an event, or has `waker` woken once there is one. `Ready(None)` is the end.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Taken<S>> {
        let mut slot = self.slot.lock();
        let taken = slot.take();
        if taken.is_some() || slot.stopped {
            return Poll::Ready(taken);
        }
        let before = slot.waker.replace(waker.clone());
        drop(slot);
        // This waker may be the last owner of a task, and of this monitor with it.
        drop(before);
        Poll::Pending
    }

    /// Returns the state at the last look.
    pub(super) fn state(&self) -> S {
        self.slot.lock().latest.state.clone()
    }
}

impl<S> Shared<S> {
    pub(super) fn watch_error(&self) -> Option<String> {
        self.slot.lock().watch_error.clone()
    }

    pub(super) fn set_watch_error(&self, error: Option<String>) {
        self.slot.lock().watch_error = error;
    }

    /// Makes the thread look soon. Blocks only as long as the slot is locked.
    pub(super) fn touch(&self) {
        // The thread is woken once for all changes until it looks.
        if !std::mem::replace(&mut self.slot.lock().dirty, true) {
            self.changed.notify_all();
        }
    }

    /// Waits until something changed since the last call, up to `interval`.
    pub(super) fn wait_for_change(&self, interval: Duration) -> Wake {
        let end = Instant::now() + interval.clamp(INTERVAL_MIN, INTERVAL_MAX);
        let mut slot = self.slot.lock();
        while !slot.stopped && !slot.dirty && !self.changed.wait_until(&mut slot, end).timed_out() {}
        match std::mem::take(&mut slot.dirty) {
            _ if slot.stopped => Wake::Stopped,
            true => Wake::Changed,
            false => Wake::Interval,
        }
    }

    /// Waits for `pause`, whatever changes; the look after it covers the changes. `false` once stopped.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause.max(INTERVAL_MIN);
        let mut slot = self.slot.lock();
        while !slot.stopped && !self.changed.wait_until(&mut slot, end).timed_out() {}
        slot.dirty = false;
        !slot.stopped
    }

    pub(super) fn stop(&self) {
        let mut slot = self.slot.lock();
        slot.stopped = true;
        let waker = slot.waker.take();
        drop(slot);
        self.changed.notify_all();
        self.filled.notify_all();
        wake(waker);
    }
}

/// Wakes a task. The waker is the user's code, which may panic: the monitor's thread must survive that.
fn wake(waker: Option<Waker>) {
    let Some(waker) = waker else { return };
    if catch(|| waker.wake()).is_none() {
        report(|| log::error!("a task's waker panicked; the monitor goes on"));
    }
}
