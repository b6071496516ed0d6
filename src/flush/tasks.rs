//! The tasks that wait for a position of the log, each under the offset that it waits for.
//!
//! ```text
//! poll: not reached ─► register ─► look again          publish: store the offset ─► least ≤ offset? ─► wake those
//! ```
//!
//! - One entry for each waiting task. A task that is polled again replaces its waker; one that is dropped or has its
//!   result removes its entry. All of it costs O(log n).
//! - Publishing costs one load if no task waits for that offset or a lower one.
//! - No code of the user's runs under the lock: wakers are cloned before it, and dropped and woken after it.

use std::collections::BTreeMap;
use std::task::{Poll, Waker};

use crate::sync::{AtomicU64, Mutex, Ordering};

/// `least` while no task waits; no record ends at this offset.
const NONE: u64 = u64::MAX;

/// The tasks that wait for one position.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// The lowest offset in `waiting`, or [`NONE`]. Changes under its lock alone.
    least: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By offset, then by the number of the entry.
    wakers: BTreeMap<(u64, u64), Waker>,
    /// Of the entry made last.
    number: u64,
}

/// A task's entry in [`Tasks`], if it has one.
#[derive(Debug, Default)]
pub(crate) struct TaskEntry {
    number: Option<u64>,
}

impl TaskEntry {
    /// Whether the task has an entry, or had one that was woken and whose offset it has not seen reached yet.
    pub(crate) fn is_registered(&self) -> bool {
        self.number.is_some()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Tasks { least: AtomicU64::new(NONE), waiting: Mutex::default() }
    }
}

impl Tasks {
    /// Registers a task to be woken once `offset` is reached; the caller looks for the offset once more afterwards.
    ///
    /// No wake-up is lost. The task lowers `least`, then looks for the offset; the worker stores the offset, then
    /// loads `least`; all four are sequentially consistent. So either the look sees the offset, or the worker sees a
    /// `least` that is no higher than the task's offset, takes the lock and finds the entry. `least` is raised only
    /// under the lock, to the lowest entry left, so it is never above the offset of an entry. A log that fails or is
    /// closed stores that first and then wakes all in the same way.
    fn register(&self, offset: u64, entry: &mut TaskEntry, waker: &Waker) {
        let waker = waker.clone();
        let _replaced = {
            let mut waiting = self.waiting.lock();
            let number = *entry.number.get_or_insert_with(|| {
                waiting.number += 1;
                waiting.number
            });
            let replaced = waiting.wakers.insert((offset, number), waker);
            self.note_least(&waiting);
            replaced
        };
    }

    /// What `look` finds; if that is nothing, registers the task and looks once more.
    pub(crate) fn poll<T>(
        &self,
        offset: u64,
        entry: &mut TaskEntry,
        waker: &Waker,
        mut look: impl FnMut() -> Option<T>,
    ) -> Poll<T> {
        let found = look().or_else(|| {
            self.register(offset, entry, waker);
            // It may have come between the look and the registration.
            look()
        });
        found.map_or(Poll::Pending, Poll::Ready)
    }

    /// Removes the task's entry, if it is still there.
    pub(crate) fn forget(&self, offset: u64, entry: &mut TaskEntry) {
        let Some(number) = entry.number.take() else { return };
        if self.least.load(Ordering::SeqCst) > offset {
            return; // It was woken.
        }
        let _removed = {
            let mut waiting = self.waiting.lock();
            let removed = waiting.wakers.remove(&(offset, number));
            self.note_least(&waiting);
            removed
        };
    }

    /// Removes the tasks that wait for `reached` or less, to be woken: `most` of them, those first that wait for the
    /// lowest offset, and among these those that came first.
    pub(crate) fn take(&self, reached: u64, most: usize) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.least.load(Ordering::SeqCst) > reached {
            return wakers;
        }
        let mut waiting = self.waiting.lock();
        while wakers.len() < most
            && let Some(first) = waiting.wakers.first_entry()
            && first.key().0 <= reached
        {
            wakers.push(first.remove());
        }
        self.note_least(&waiting);
        wakers
    }

    /// Whether any task waits.
    pub(crate) fn any(&self) -> bool {
        self.least.load(Ordering::SeqCst) != NONE
    }

    fn note_least(&self, waiting: &Waiting) {
        let least = waiting.wakers.first_key_value().map_or(NONE, |((offset, _), _)| *offset);
        if self.least.load(Ordering::SeqCst) != least {
            self.least.store(least, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::flush::wakes::Wakes;

    const ALL: usize = usize::MAX;

    fn entries(tasks: &Tasks) -> usize {
        tasks.waiting.lock().wakers.len()
    }

    #[test]
    fn only_waiters_whose_offset_is_reached_are_taken() {
        let tasks = Tasks::default();
        let counts: Vec<_> = (1..=100).map(|_| Arc::new(Wakes::default())).collect();
        let mut places: Vec<_> = counts.iter().map(|_| TaskEntry::default()).collect();
        // From the highest, so that each one lowers the least.
        for (offset, (count, entry)) in (1..=100).rev().zip(counts.iter().zip(&mut places).rev()) {
            tasks.register(offset, entry, &Waker::from(count.clone()));
        }
        assert!(tasks.take(0, ALL).is_empty());
        for reached in [1, 30, 30, 99] {
            tasks.take(reached, ALL).into_iter().for_each(Waker::wake);
            let woken: Vec<_> = counts.iter().map(|count| count.so_far()).collect();
            let expected: Vec<_> = (1..=100).map(|offset| usize::from(offset <= reached)).collect();
            assert_eq!(woken, expected);
        }
        assert_eq!(entries(&tasks), 1);
        assert_eq!(tasks.take(u64::MAX - 1, ALL).len(), 1);
        assert!(!tasks.any());
    }

    #[test]
    fn a_task_has_one_entry_with_its_last_waker() {
        let tasks = Tasks::default();
        let (first, last) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
        let mut entry = TaskEntry::default();
        for count in [&first, &first, &last] {
            tasks.register(5, &mut entry, &Waker::from(count.clone()));
        }
        let mut other = TaskEntry::default();
        tasks.register(5, &mut other, &Waker::from(last.clone()));
        assert_eq!((entries(&tasks), Arc::strong_count(&first)), (2, 1), "the old waker is dropped");
        tasks.take(5, ALL).into_iter().for_each(Waker::wake);
        assert_eq!((first.so_far(), last.so_far()), (0, 2));
    }

    #[test]
    fn a_task_that_gives_up_leaves_nothing() {
        let tasks = Tasks::default();
        let count = Arc::new(Wakes::default());
        let mut places: Vec<_> = (0..10).map(|_| TaskEntry::default()).collect();
        for (offset, entry) in (0..).zip(&mut places) {
            tasks.register(offset, entry, &Waker::from(count.clone()));
        }
        assert_eq!(tasks.take(5, 2).len(), 2);
        for (offset, entry) in (0..).zip(&mut places) {
            tasks.forget(offset, entry);
            tasks.forget(offset, entry);
        }
        assert!(!tasks.any() && entries(&tasks) == 0);
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    fn many_tasks_cost_little_each() {
        let tasks = Tasks::default();
        let wakers: Vec<_> = (0..64_000).map(|_| Waker::from(Arc::new(Wakes::default()))).collect();
        let mut places: Vec<_> = wakers.iter().map(|_| TaskEntry::default()).collect();
        let started = Instant::now();
        for (waker, entry) in wakers.iter().zip(&mut places) {
            tasks.register(7, entry, waker);
        }
        assert_eq!(tasks.take(7, ALL).len(), 64_000);
        // A search of all of them for each took over a second, optimized.
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
}
