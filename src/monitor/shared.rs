//! What the watcher's thread and the consumer share: a single slot, and those who wait for it.
//!
//! ```text
//! operating system ─► changed ─► thread ─► Tail::look ─► latest ─┐
//!                                                                ├─► event: the difference
//!                                 consumer: what it has taken ───┘
//! ```
//!
//! - The slot holds totals, so an event is a difference of two, and events that nobody took are merged
//!   by doing nothing.
//! - The slot is locked for moments only. Whoever looks holds the tail, which consumers never wait for
//!   unless they look themselves.

use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::WalEvent;
use crate::error::{Error, Result};
use crate::panics::{catch, report};

/// Between two looks at least. A log that syncs ten thousand times a second changes as often, and must
/// not be slowed down by who looks each time.
const PAUSE: Duration = Duration::from_millis(2);
/// A look each day is as good as none.
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Something that is followed: a log, or an SQLite WAL.
pub(super) trait Tail<S>: Send {
    /// Looks what has become of it. After an error, what was seen before stays.
    fn look(&mut self) -> Result<()>;

    /// What the last look saw; the changes are counted since the first.
    fn seen(&self) -> &WalEvent<S>;
}

pub(super) struct Shared<S> {
    tail: Mutex<Box<dyn Tail<S>>>,
    slot: Mutex<Slot<S>>,
    /// The consumer waits here for something to take.
    filled: Condvar,
    /// The thread waits here for something to look at.
    changed: Condvar,
}

struct Slot<S> {
    latest: WalEvent<S>,
    /// What `latest` was when the consumer took it.
    taken: WalEvent<S>,
    /// Why the last look failed, until that is taken.
    error: Option<Error>,
    /// The last look failed: the next failure is no news.
    failing: bool,
    /// Something changed since the last look.
    dirty: bool,
    stopped: bool,
    waker: Option<Waker>,
    watch_error: Option<String>,
}

/// What there is to take.
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
    /// Looks for the first time: events tell what changes from then on.
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

    /// Looks, and tells the consumer of what is new.
    pub(super) fn look(&self) {
        // Held until it is told, so that a later look is never told before an earlier one.
        let mut tail = self.tail.lock();
        let outcome = tail.look();
        let mut slot = self.slot.lock();
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
            return;
        }
        let waker = slot.waker.take();
        drop(slot);
        self.filled.notify_all();
        wake(waker);
    }

    pub(super) fn take(&self) -> Taken<S> {
        self.slot.lock().take()
    }

    /// Waits for something to take; `None` once stopped, or at the deadline.
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

    /// Takes, or has `waker` woken once there is something to take. `Ready(None)` is the end.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Taken<S>> {
        let mut slot = self.slot.lock();
        let taken = slot.take();
        if taken.is_some() || slot.stopped {
            return Poll::Ready(taken);
        }
        let before = slot.waker.replace(waker.clone());
        drop(slot);
        // It may be the last that keeps a task alive, this monitor perhaps with it.
        drop(before);
        Poll::Pending
    }

    /// How things stood at the last look.
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

    /// Has the thread look soon. Never blocks for longer than a slot is locked.
    pub(super) fn touch(&self) {
        // The thread is woken once for all that changes until it looks.
        if !std::mem::replace(&mut self.slot.lock().dirty, true) {
            self.changed.notify_all();
        }
    }

    /// Pauses, then waits until something changed, up to `interval`; `false` once stopped.
    pub(super) fn wait_for_change(&self, interval: Duration) -> bool {
        let now = Instant::now();
        let interval = interval.min(INTERVAL_MAX);
        let mut slot = self.slot.lock();
        while !slot.stopped && !self.changed.wait_until(&mut slot, now + PAUSE).timed_out() {}
        let end = now + interval;
        while !slot.stopped && !slot.dirty && !self.changed.wait_until(&mut slot, end).timed_out() {}
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

/// What it wakes is the user's code, which may panic: not on this thread.
fn wake(waker: Option<Waker>) {
    let Some(waker) = waker else { return };
    if catch(|| waker.wake()).is_none() {
        report(|| log::error!("a task's waker panicked; the monitor goes on"));
    }
}
