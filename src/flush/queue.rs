//! The queue between appender and worker: bounded by items and by bytes, emptied a batch at a time.
//!
//! ```text
//! wait_for_room, push, add ──► items ──► wait_for_batch, take_batch ──► the worker's hands ──► done
//!                              └──────────────────── counted until done ────────────────────┘
//! ```
//!
//! - One producer (the appender, which holds the log mutably), one consumer (the worker).
//! - A refusal leaves everything in its place; a push itself doesn't block.
//! - Bytes count until they are written, not until they are taken, because the limit is on memory.
//! - An item larger than the whole bound is admitted when nothing else is queued.
//! - A batch waits for company only while more can come: not once a push was refused for want of room,
//!   and not with an item that was pushed for itself.
//! - After `close` nothing is pushed; the consumer still gets all that was.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, MutexGuard};

/// The most entries in the queue, of any size.
const ENTRIES_MAX: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Queue<T> {
    bytes_max: u64,
    state: Mutex<QueueState<T>>,
    /// The consumer waits here for items.
    filled: Condvar,
    /// The producer waits here for room, other threads until their entries are done.
    emptied: Condvar,
}

/// What waits to be taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<T> {
    pub(crate) item: T,
    pub(crate) bytes: u64,
    /// The number of its items: itself, and those merged into it.
    pub(crate) items: u64,
}

#[derive(Debug)]
struct QueueState<T> {
    entries: VecDeque<Entry<T>>,
    /// Items and bytes of `entries`.
    waiting_items: u64,
    waiting_bytes: u64,
    /// Bytes pushed and not yet written.
    bytes: u64,
    /// Entries pushed, and entries done, since the beginning.
    pushed: u64,
    done: u64,
    closed: bool,
    /// Whether the consumer sleeps, so that a push knows to wake it.
    consumer_waits: bool,
    /// The consumer is to look around, whether or not there are items.
    nudged: bool,
    /// Don't wait for more entries: the producer can't bring any, or waits for its own.
    hurried: bool,
}

/// Why [`Queue::add`] added nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// What [`Queue::wait_for_batch`] came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// There is a batch to take.
    Batch,
    /// Nothing was pushed for as long as was asked, or the consumer was nudged.
    Quiet,
    /// The queue is closed and empty.
    Closed,
}

/// How much to take at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimit {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    /// How long to wait for more once there is something.
    pub(crate) wait: Duration,
}

impl<T> Queue<T> {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Queue {
            bytes_max,
            state: Mutex::new(QueueState {
                entries: VecDeque::new(),
                waiting_items: 0,
                waiting_bytes: 0,
                bytes: 0,
                pushed: 0,
                done: 0,
                closed: false,
                consumer_waits: false,
                nudged: false,
                hurried: false,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    /// Whether an item of `bytes` would be admitted now. If not, the consumer need not wait for more.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let mut state = self.state.lock();
        let has_room = state.has_room(bytes, self.bytes_max);
        if !has_room {
            self.hurry(&mut state);
        }
        has_room
    }

    /// Blocks until an item of `bytes` would be admitted.
    pub(crate) fn wait_for_room(&self, bytes: u64) {
        let mut state = self.state.lock();
        while !state.has_room(bytes, self.bytes_max) {
            // Each time, because the flush may have been pushed after the last batch was taken.
            self.hurry(&mut state);
            self.emptied.wait(&mut state);
        }
    }

    /// Adds an item that waits for no others to share its batch; the caller has asked for room. Gives it
    /// back once the queue is closed.
    pub(crate) fn push(&self, item: T, bytes: u64) -> Result<(), T> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(item);
        }
        state.push(item);
        state.hurried = true;
        self.count_to_last(&mut state, bytes);
        Ok(())
    }

    /// If there is room for `bytes` more, adds the entry that `make` returns, or none if it was merged into the
    /// last one.
    /// `make` gets the last entry and the number of entries; it is called at most once.
    pub(crate) fn add(
        &self,
        bytes: u64,
        make: impl FnOnce(Option<&mut Entry<T>>, usize) -> Option<T>,
    ) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if !state.has_room(bytes, self.bytes_max) {
            self.hurry(&mut state);
            return Err(Refused::Full);
        }
        let waiting = state.entries.len();
        if let Some(item) = make(state.entries.back_mut(), waiting) {
            state.push(item);
        }
        self.count_to_last(&mut state, bytes);
        Ok(())
    }

    /// Adds one more item of `bytes` to the last entry, and wakes the consumer, which may wait for any entry or for a
    /// full batch.
    fn count_to_last(&self, state: &mut QueueState<T>, bytes: u64) {
        state.count_to_last(bytes);
        self.wake_consumer(state);
    }

    /// Ends the consumer's wait for more to share the batch.
    fn hurry(&self, state: &mut QueueState<T>) {
        if !state.entries.is_empty() {
            state.hurried = true;
            self.wake_consumer(state);
        }
    }

    fn wake_consumer(&self, state: &mut QueueState<T>) {
        if state.consumer_waits {
            state.consumer_waits = false;
            self.filled.notify_one();
        }
    }

    /// Wakes the consumer without giving it anything.
    pub(crate) fn nudge(&self) {
        self.state.lock().nudged = true;
        self.filled.notify_one();
    }

    /// No more entries come, so waiters for room give up.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
        self.emptied.notify_all();
    }

    /// Waits until there is a batch to take, at most for `quiet` while there is nothing.
    pub(crate) fn wait_for_batch(&self, limit: BatchLimit, quiet: Option<Duration>) -> Wake {
        let mut state = self.state.lock();
        let until = quiet.map(|quiet| Instant::now() + quiet);
        while state.entries.is_empty() {
            if state.closed {
                return Wake::Closed;
            }
            if std::mem::take(&mut state.nudged) || !self.wait_filled(&mut state, until) {
                return Wake::Quiet;
            }
        }
        if limit.wait > Duration::ZERO {
            let until = Some(Instant::now() + limit.wait);
            while !state.closed
                && !state.hurried
                && !state.fills(limit)
                && state.has_room(1, self.bytes_max)
                && self.wait_filled(&mut state, until)
            {}
        }
        Wake::Batch
    }

    /// Waits for a push; `false` if the time is over first.
    fn wait_filled(&self, state: &mut MutexGuard<'_, QueueState<T>>, until: Option<Instant>) -> bool {
        state.consumer_waits = true;
        let in_time = match until {
            None => {
                self.filled.wait(state);
                true
            }
            Some(until) => !self.filled.wait_until(state, until).timed_out(),
        };
        state.consumer_waits = false;
        in_time
    }

    /// Moves the entries of a batch to the end of `batch`.
    pub(crate) fn take_batch(&self, batch: &mut VecDeque<Entry<T>>, limit: BatchLimit) {
        self.state.lock().move_batch(batch, limit);
    }

    /// Whether nothing waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().entries.is_empty()
    }

    /// `bytes` that were taken are written: they make room.
    pub(crate) fn release(&self, bytes: u64) {
        if bytes > 0 {
            self.state.lock().bytes -= bytes;
            self.emptied.notify_all();
        }
    }

    /// So many entries that were taken are done, completions and all.
    pub(crate) fn done(&self, entries: u64) {
        self.state.lock().done += entries;
        self.emptied.notify_all();
    }

    /// Blocks until all that has been pushed so far is done.
    pub(crate) fn wait_done(&self) {
        let mut state = self.state.lock();
        let pushed = state.pushed;
        while state.done < pushed {
            self.emptied.wait(&mut state);
        }
    }
}

impl<T> QueueState<T> {
    fn push(&mut self, item: T) {
        self.entries.push_back(Entry { item, bytes: 0, items: 0 });
        self.pushed += 1;
    }

    fn count_to_last(&mut self, bytes: u64) {
        if let Some(last) = self.entries.back_mut() {
            last.items += 1;
            last.bytes += bytes;
        }
        self.waiting_items += 1;
        self.waiting_bytes += bytes;
        self.bytes += bytes;
    }

    fn has_room(&self, bytes: u64, bytes_max: u64) -> bool {
        let fits = self.bytes.saturating_add(bytes) <= bytes_max || self.bytes == 0;
        self.closed || (self.entries.len() < ENTRIES_MAX && fits)
    }

    /// Whether the queued entries make a full batch.
    fn fills(&self, limit: BatchLimit) -> bool {
        self.waiting_items >= limit.items || self.waiting_bytes >= limit.bytes
    }

    fn move_batch(&mut self, batch: &mut VecDeque<Entry<T>>, limit: BatchLimit) {
        if batch.is_empty() && self.waiting_items <= limit.items && self.waiting_bytes <= limit.bytes {
            // All of it: the lock is not held for each.
            std::mem::swap(&mut self.entries, batch);
            self.waiting_items = 0;
            self.waiting_bytes = 0;
            self.hurried = false;
            return;
        }
        let (mut items, mut bytes) = (0, 0);
        // One at least, however many have joined it.
        while bytes < limit.bytes
            && let Some(next) = self.entries.front()
            && (items == 0 || items + next.items <= limit.items)
            && let Some(entry) = self.entries.pop_front()
        {
            items += entry.items;
            bytes += entry.bytes;
            batch.push_back(entry);
        }
        self.waiting_items -= items;
        self.waiting_bytes -= bytes;
        self.hurried &= !self.entries.is_empty();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// As the worker does.
    fn take<T>(queue: &Queue<T>, batch: &mut VecDeque<Entry<T>>, limit: BatchLimit) -> bool {
        let there_is = queue.wait_for_batch(limit, None) == Wake::Batch;
        queue.take_batch(batch, limit);
        there_is
    }

    const ALL: BatchLimit = BatchLimit { items: u64::MAX, bytes: u64::MAX, wait: Duration::ZERO };

    #[test]
    fn a_single_larger_item_is_admitted_when_nothing_else_is_queued() {
        let queue = Queue::new(10);
        assert!(queue.has_room(1000));
        queue.push('a', 1000).unwrap();
        assert!(!queue.has_room(1));
        let mut batch = VecDeque::new();
        assert!(take(&queue, &mut batch, ALL));
        assert!(!queue.has_room(1), "taken bytes are still held");
        queue.release(1000);
        assert!(queue.has_room(1));
    }

    #[test]
    fn a_merged_flush_counts_with_the_last_item_and_only_while_that_waits() {
        let queue = Queue::new(10);
        let join = |last: Option<&mut Entry<u32>>, _: usize| match last {
            Some(last) => {
                last.item += 1;
                None
            }
            None => Some(1),
        };
        for _ in 0..2 {
            queue.add(3, join).unwrap();
        }
        let mut batch = VecDeque::new();
        assert!(take(&queue, &mut batch, ALL));
        assert_eq!(batch, [Entry { item: 2, bytes: 6, items: 2 }]);
        queue.add(4, join).unwrap();
        assert_eq!(queue.add(1, join), Err(Refused::Full), "taken bytes are still held");
        assert!(take(&queue, &mut batch, ALL));
        assert_eq!(batch[1], Entry { item: 1, bytes: 4, items: 1 });
        queue.release(10);
        queue.done(2);
        queue.wait_done();
        queue.close();
        assert_eq!(queue.add(1, |_, _| unreachable!()), Err(Refused::Closed));
    }

    #[test]
    fn batches_keep_order_and_limits() {
        let queue = Queue::new(u64::MAX);
        for i in 0..5 {
            queue.push(i, 10).unwrap();
        }
        let mut batch = VecDeque::new();
        take(&queue, &mut batch, BatchLimit { items: 2, ..ALL });
        assert_eq!(batch.drain(..).map(|entry| entry.item).collect::<Vec<_>>(), [0, 1]);
        take(&queue, &mut batch, BatchLimit { bytes: 11, ..ALL });
        assert_eq!(batch.drain(..).map(|entry| entry.item).collect::<Vec<_>>(), [2, 3]);
        queue.close();
        assert_eq!(queue.push(9, 0), Err(9));
        assert!(take(&queue, &mut batch, ALL));
        assert_eq!(batch.len(), 1);
        assert!(!take(&queue, &mut batch, ALL));
    }

    #[test]
    fn joined_items_count_for_a_batch() {
        let queue = Queue::new(u64::MAX);
        let join = |last: Option<&mut Entry<()>>, _: usize| match last {
            Some(last) if last.items < 3 => None,
            _ => Some(()),
        };
        for _ in 0..7 {
            queue.add(1, join).unwrap();
        }
        let mut batch = VecDeque::new();
        let mut taken = |items| {
            take(&queue, &mut batch, BatchLimit { items, ..ALL });
            batch.drain(..).map(|entry| entry.items).collect::<Vec<_>>()
        };
        assert_eq!(taken(2), [3], "at least one entry");
        assert_eq!(taken(3), [3]);
        assert_eq!(taken(3), [1]);
    }

    #[test]
    fn entries_are_bounded_too() {
        let queue = Queue::new(u64::MAX);
        for i in 0..ENTRIES_MAX {
            assert!(queue.has_room(0));
            queue.push(i, 0).unwrap();
        }
        assert!(!queue.has_room(0));
    }

    #[test]
    fn waiting_ends_when_the_worker_is_done() {
        let queue = Arc::new(Queue::new(10));
        queue.push((), 10).unwrap();
        let worker = std::thread::spawn({
            let queue = queue.clone();
            move || {
                let mut batch = VecDeque::new();
                while take(&queue, &mut batch, ALL) {
                    for entry in batch.drain(..) {
                        queue.release(entry.bytes);
                        queue.done(1);
                    }
                }
            }
        });
        queue.wait_for_room(10);
        queue.push((), 10).unwrap();
        queue.wait_done();
        queue.close();
        worker.join().unwrap();
    }

    #[test]
    fn a_wait_for_more_flushes_ends_at_its_time_or_when_the_batch_is_full() {
        let queue = Queue::new(u64::MAX);
        let wait = Duration::from_secs(3600);
        for i in 0..2 {
            queue.push(i, 1).unwrap();
        }
        let mut batch = VecDeque::new();
        take(&queue, &mut batch, BatchLimit { items: 2, wait, ..ALL });
        assert_eq!(batch.len(), 2);
        queue.push(2, 1).unwrap();
        take(&queue, &mut batch, BatchLimit { wait: Duration::from_millis(1), ..ALL });
        assert_eq!(batch.len(), 3);
    }
}
