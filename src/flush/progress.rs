//! How far the log has got, and the threads and tasks that wait for it.
//!
//! ```text
//!      synced        written        appended
//!        │              │               │
//! ───────┴──────────────┴───────────────┴──► global offset
//!  durable   with the OS   in memory
//! ```
//!
//! - Published with release, read with acquire: a thread that sees an offset sees the writes that led to it.
//! - Poison is set once, with its cause, and never cleared; an offset that was reached stays reached.
//! - Publishing costs a few loads if no thread and no task waits. It wakes the tasks whose offset it reaches.
//! - A sync wakes the waiters that it serves. Waiters for the next sync gather at the other of two events meanwhile.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use super::{Flush, Inside, TaskEntry, Tasks};
use crate::error::{Error, Result};
use crate::panics::{catch, report};
use crate::sync::{AtomicBool, AtomicU64, Event, Mutex, Ordering};

/// The number of tasks that new room wakes at once.
const ROOM_WAKES: usize = 16;

/// Every task that waits.
const ALL: usize = usize::MAX;

/// Three global offsets, `appended ≥ written ≥ synced`, that never go back while a log is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Everything below was accepted by `append`.
    pub appended: u64,
    /// Everything below was handed to the operating system.
    pub written: u64,
    /// Everything below is on stable storage.
    pub synced: u64,
}

/// The shared state of [`Progress`].
#[derive(Debug)]
pub(crate) struct Positions {
    appended: AtomicU64,
    written: AtomicU64,
    synced: AtomicU64,
    /// Set with `cause`; spares the lock where nothing has failed.
    poisoned: AtomicBool,
    closed: AtomicBool,
    write_done: Event,
    /// Two, so that waiters for the next sync sleep on when this one is done. Syncs take turns: the next is the one
    /// with the lower end.
    syncs: [SyncGroup; 2],
    write_tasks: Tasks,
    sync_tasks: Tasks,
    /// They wait for room in the queue or for the next chunk's file, all at offset 0.
    room_tasks: Tasks,
    cause: Mutex<Option<Error>>,
    #[cfg(feature = "metrics")]
    gauges: Option<super::Gauges>,
}

/// Every other sync, and its waiters.
#[derive(Debug, Default)]
struct SyncGroup {
    /// The offset that its last sync has reached or will reach.
    end: AtomicU64,
    done: Event,
}

impl Positions {
    pub(crate) fn new(at: u64) -> Self {
        Positions {
            appended: AtomicU64::new(at),
            written: AtomicU64::new(at),
            synced: AtomicU64::new(at),
            poisoned: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            write_done: Event::default(),
            syncs: [SyncGroup::default(), SyncGroup::default()],
            write_tasks: Tasks::default(),
            sync_tasks: Tasks::default(),
            room_tasks: Tasks::default(),
            cause: Mutex::default(),
            #[cfg(feature = "metrics")]
            gauges: None,
        }
    }

    /// Shows the positions in `gauges` from now on.
    #[cfg(feature = "metrics")]
    pub(crate) fn shown_in(self, gauges: super::Gauges) -> Self {
        Positions { gauges: Some(gauges), ..self }
    }

    fn show(&self) {
        #[cfg(feature = "metrics")]
        if let Some(gauges) = &self.gauges {
            let Progress { appended, written, synced } = self.progress();
            gauges.set(appended, written, synced);
        }
    }

    /// Distinguishes this log from others in the same process.
    pub(crate) fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    #[inline]
    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Acquire)
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    pub(crate) fn progress(&self) -> Progress {
        // From the smallest up, so that none is seen to overtake the next while they move.
        let synced = self.synced();
        let written = self.written();
        // A rotation is in the worker's hands before the appender gets to say that it is accepted.
        Progress { appended: self.appended().max(written), written, synced }
    }

    #[inline]
    pub(crate) fn publish_appended(&self, offset: u64) {
        self.appended.store(offset, Ordering::Release);
    }

    pub(crate) fn publish_written(&self, offset: u64) {
        self.written.store(offset, Ordering::SeqCst);
        self.show();
        self.write_done.happen();
        self.wake(&self.write_tasks, offset, ALL);
    }

    /// Starts a sync, which will reach `end`; only the worker calls it. It takes the group with the lower end, whose
    /// last sync is done: syncs run one at a time.
    pub(crate) fn begin_sync(&self, end: u64) -> SyncTurn {
        let [first, second] = self.sync_ends();
        let turn = usize::from(second < first);
        self.syncs[turn].end.store(end, Ordering::SeqCst);
        SyncTurn { turn, end }
    }

    /// Publishes a finished sync, and wakes its waiters.
    pub(crate) fn publish_sync(&self, sync: SyncTurn) {
        self.synced.store(sync.end, Ordering::SeqCst);
        self.show();
        self.syncs[sync.turn].done.happen();
        self.wake(&self.sync_tasks, sync.end, ALL);
    }

    fn sync_ends(&self) -> [u64; 2] {
        [&self.syncs[0], &self.syncs[1]].map(|group| group.end.load(Ordering::SeqCst))
    }

    /// The event that happens when `offset` may have been reached; see [`wait_until`](Self::wait_until).
    fn event(&self, mode: Flush, offset: u64) -> &Event {
        if mode == Flush::Write {
            return &self.write_done;
        }
        let [first, second] = self.sync_ends();
        // The first sync to reach it, or else the next one.
        let turn = match (offset <= first, offset <= second) {
            (true, true) => usize::from(second < first),
            (true, false) => 0,
            (false, true) => 1,
            (false, false) => usize::from(second < first),
        };
        &self.syncs[turn].done
    }

    /// Stops the log for good. Only the first cause counts.
    pub(crate) fn poison(&self, cause: Error) {
        {
            let mut first = self.cause.lock();
            if first.is_some() {
                return;
            }
            *first = Some(cause.clone());
            self.poisoned.store(true, Ordering::SeqCst);
        }
        // Before the logger and the metrics, which are the user's code: they may panic, or take long.
        self.wake_all();
        report(|| log::error!("the log stops: {cause}"));
        #[cfg(feature = "metrics")]
        if let Some(gauges) = &self.gauges {
            report(|| gauges.fail());
        }
    }

    /// No offset will be reached any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The first failure, if there was one.
    #[inline]
    pub(crate) fn cause(&self) -> Option<Error> {
        if !self.poisoned.load(Ordering::SeqCst) {
            return None;
        }
        self.cause.lock().clone()
    }

    /// An error if the log takes no more work.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        // In this order: a log that fails is poisoned before it is closed.
        let closed = self.is_closed();
        if closed || self.poisoned.load(Ordering::SeqCst) { Err(self.why_stopped()) } else { Ok(()) }
    }

    #[cold]
    fn why_stopped(&self) -> Error {
        self.cause().map_or(Error::Closed, Error::poisoned)
    }

    fn reached(&self, mode: Flush) -> u64 {
        match mode {
            Flush::Write => self.written.load(Ordering::SeqCst),
            Flush::Sync => self.synced.load(Ordering::SeqCst),
        }
    }

    /// `Some` once `offset` is reached or never will be.
    pub(crate) fn outcome(&self, mode: Flush, offset: u64) -> Option<Result<()>> {
        if self.reached(mode) >= offset {
            return Some(Ok(()));
        }
        // Look at the end before the offset: an offset published before the end counts. Look at the close before
        // the cause: a log that fails is poisoned before it is closed.
        let closed = self.is_closed();
        let end = match self.cause() {
            Some(cause) => Err(cause),
            None if closed => Err(Error::Closed),
            None => return None,
        };
        Some(if self.reached(mode) >= offset { Ok(()) } else { end })
    }

    /// Waits for [`outcome`](Self::outcome), however long it takes.
    pub(crate) fn wait(&self, mode: Flush, offset: u64, method: &'static str) -> Result<()> {
        loop {
            if let Some(outcome) = self.wait_until(mode, offset, None, method) {
                return outcome;
            }
        }
    }

    /// Waits for [`outcome`](Self::outcome), until `deadline` if one is given (then `None`).
    ///
    /// No wake-up is lost. The thread takes the event's epoch, then looks at the outcome, then waits for a later epoch;
    /// the worker stores the offset, then raises the epoch. So either the look sees the offset, or the epoch is a later
    /// one and the wait returns. That needs the event of the sync that will reach `offset`. `begin_sync` may have moved
    /// the group's end between the choice of the event and the epoch, so the choice is made again after the epoch is
    /// taken: if both agree, the chosen sync's `publish_sync` comes after the epoch, or the look sees its offset. An
    /// offset that no sync has reached yet belongs to the next one, which takes the group with the lower end; when it
    /// reaches less than `offset`, its waiters wake and choose again.
    pub(crate) fn wait_until(
        &self,
        mode: Flush,
        offset: u64,
        deadline: Option<Instant>,
        method: &'static str,
    ) -> Option<Result<()>> {
        if let Some(outcome) = self.outcome(mode, offset) {
            return Some(outcome);
        }
        if let Err(error) = Inside::refuse_wait(self.identity(), method) {
            return Some(Err(error));
        }
        loop {
            let event = self.event(mode, offset);
            // Before looking: a change from here on ends the wait.
            let seen = event.epoch();
            // A sync that began and ended before that won't: is it still the one to wait for?
            if !std::ptr::eq(event, self.event(mode, offset)) {
                continue;
            }
            if let Some(outcome) = self.outcome(mode, offset) {
                return Some(outcome);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return None;
            }
            event.wait(seen, deadline);
        }
    }

    /// [`outcome`](Self::outcome) for a task, which is woken once there is one; `entry` is its own. It waits on until
    /// [`forget_task`](Self::forget_task), or until it gets the outcome.
    pub(crate) fn poll_outcome(
        &self,
        mode: Flush,
        offset: u64,
        entry: &mut TaskEntry,
        waker: &Waker,
    ) -> Poll<Result<()>> {
        let tasks = self.tasks(mode);
        let found = tasks.poll(offset, entry, waker, || self.outcome(mode, offset));
        if found.is_ready() {
            tasks.forget(offset, entry);
        }
        found
    }

    /// The task no longer waits for `offset`.
    pub(crate) fn forget_task(&self, mode: Flush, offset: u64, entry: &mut TaskEntry) {
        self.tasks(mode).forget(offset, entry);
    }

    /// For a task that waits for room in the queue or for the next chunk's file: `look` returns `Some` if the task
    /// need not wait.
    pub(crate) fn poll_room<T>(
        &self,
        entry: &mut TaskEntry,
        waker: &Waker,
        look: impl FnMut() -> Option<T>,
    ) -> Poll<T> {
        let found = self.room_tasks.poll(0, entry, waker, look);
        if found.is_ready() {
            self.forget_room_task(entry);
        }
        found
    }

    /// The task no longer waits for room: the next one may have it.
    pub(crate) fn forget_room_task(&self, entry: &mut TaskEntry) {
        if entry.is_registered() {
            self.room_tasks.forget(0, entry);
            self.wake(&self.room_tasks, 0, 1);
        }
    }

    fn tasks(&self, mode: Flush) -> &Tasks {
        match mode {
            Flush::Write => &self.write_tasks,
            Flush::Sync => &self.sync_tasks,
        }
    }

    /// Whether a task waits, whose waker is the user's code.
    pub(crate) fn has_tasks(&self) -> bool {
        [&self.write_tasks, &self.sync_tasks, &self.room_tasks].into_iter().any(Tasks::any)
    }

    fn wake_all(&self) {
        self.write_done.happen();
        for group in &self.syncs {
            group.done.happen();
        }
        for tasks in [&self.write_tasks, &self.sync_tasks, &self.room_tasks] {
            self.wake(tasks, u64::MAX - 1, ALL);
        }
    }

    /// Wakes the first of the tasks that wait for room; each looks again. A task that has found room, or gives up,
    /// wakes the next one; a task that has found none registers again, and what fills the queue makes room later. So
    /// each task is woken about once, however many wait, and none is forgotten.
    pub(crate) fn wake_room_tasks(&self) {
        self.wake(&self.room_tasks, 0, ROOM_WAKES);
    }

    /// Wakes tasks that wait for `reached` or less, at most `most` of them.
    fn wake(&self, tasks: &Tasks, reached: u64, most: usize) {
        let wakers = tasks.take(reached, most);
        if wakers.is_empty() {
            return;
        }
        // What they wake is the user's code: it may try to wait here, and it may panic.
        let _inside = Inside::enter(self.identity());
        for waker in wakers {
            if catch(|| waker.wake()).is_none() {
                report(|| log::error!("a task's waker panicked; the log goes on"));
            }
        }
    }
}

/// A sync under way; see [`Positions::begin_sync`].
#[derive(Debug)]
#[must_use]
pub(crate) struct SyncTurn {
    turn: usize,
    end: u64,
}

impl SyncTurn {
    /// What it reaches.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }
}

/// Looks at a log's [`Progress`] and waits for it, from any thread, while another appends.
///
/// It outlives the log: afterwards its last offsets stay, and waiting for more is an error.
#[derive(Debug, Clone)]
pub struct ProgressHandle {
    positions: Arc<Positions>,
}

impl ProgressHandle {
    pub(crate) fn new(positions: Arc<Positions>) -> Self {
        ProgressHandle { positions }
    }

    /// How far the log has got.
    pub fn progress(&self) -> Progress {
        self.positions.progress()
    }

    /// Waits until everything below `offset` is durable. It asks for no sync: another call must have flushed, or
    /// will.
    ///
    /// # Errors
    ///
    /// [`Error::NotInLog`] for an offset that was never appended, [`Error::Poisoned`] and
    /// [`Error::Closed`] if the offset will not be reached any more, [`Error::WouldDeadlock`] in a
    /// callback of this log.
    pub fn wait_synced(&self, offset: u64) -> Result<()> {
        let appended = self.positions.progress().appended;
        if offset > appended {
            self.positions.check()?;
            return Err(Error::NotInLog { offset, size: 0, start: 0, end: appended });
        }
        let outcome = self.positions.wait(Flush::Sync, offset, "wait_synced");
        outcome.map_err(|error| match error {
            Error::Closed | Error::WouldDeadlock { .. } => error,
            cause => cause.poisoned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn io() -> Error {
        Error::io("sync", "x", std::io::Error::other("EIO"))
    }

    #[test]
    fn offsets_reached_before_the_poison_stay_reached() {
        let positions = Positions::new(0);
        positions.publish_appended(30);
        positions.publish_written(20);
        positions.publish_sync(positions.begin_sync(10));
        positions.poison(io());
        positions.poison(Error::Closed);
        assert!(matches!(positions.outcome(Flush::Sync, 10), Some(Ok(()))));
        assert!(matches!(positions.outcome(Flush::Write, 20), Some(Ok(()))));
        assert!(matches!(positions.outcome(Flush::Sync, 11), Some(Err(Error::Io { .. }))));
        assert!(matches!(positions.check(), Err(Error::Poisoned { .. })));
    }

    #[test]
    fn written_offsets_count_as_appended() {
        let positions = Arc::new(Positions::new(0));
        positions.publish_appended(8);
        positions.publish_written(104);
        assert_eq!(positions.progress(), Progress { appended: 104, written: 104, synced: 0 });
        positions.publish_sync(positions.begin_sync(104));
        assert!(ProgressHandle::new(positions).wait_synced(104).is_ok());
    }

    #[test]
    fn waiters_wake_for_offset_poison_and_close() {
        for end in 0..3 {
            let positions = Arc::new(Positions::new(0));
            positions.publish_appended(8);
            let handle = ProgressHandle::new(positions.clone());
            let waiter = std::thread::spawn(move || handle.wait_synced(8));
            std::thread::sleep(Duration::from_millis(10));
            match end {
                0 => positions.publish_sync(positions.begin_sync(8)),
                1 => positions.poison(io()),
                _ => positions.close(),
            }
            let outcome = waiter.join().unwrap();
            match end {
                0 => assert!(outcome.is_ok()),
                1 => assert!(matches!(outcome, Err(Error::Poisoned { .. }))),
                _ => assert!(matches!(outcome, Err(Error::Closed))),
            }
        }
    }

    #[test]
    fn waiting_ends_for_an_unreachable_offset_a_deadline_and_a_callback() {
        let positions = Arc::new(Positions::new(0));
        positions.publish_appended(8);
        let handle = ProgressHandle::new(positions.clone());
        assert!(matches!(handle.wait_synced(9), Err(Error::NotInLog { offset: 9, end: 8, .. })));
        let soon = Instant::now() + Duration::from_millis(5);
        assert!(positions.wait_until(Flush::Sync, 8, Some(soon), "wait").is_none());
        let _inside = Inside::enter(positions.identity());
        assert!(matches!(handle.wait_synced(8), Err(Error::WouldDeadlock { .. })));
        assert!(handle.wait_synced(0).is_ok());
    }
}
