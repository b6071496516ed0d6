//! [`RoomWait`]: waiting for room in the queue without blocking a thread that has other tasks.

use std::sync::Arc;
use std::task::{Poll, Waker};

use super::{Positions, TaskEntry};

/// A task's wait for room in the queue, or for the next chunk's file. Dropped, it leaves its turn to the next.
#[derive(Debug)]
pub(crate) struct RoomWait {
    positions: Arc<Positions>,
    entry: TaskEntry,
}

impl RoomWait {
    pub(crate) fn new(positions: Arc<Positions>) -> Self {
        RoomWait { positions, entry: TaskEntry::default() }
    }

    /// What `look` returns once it need not wait. Until then the task is woken when there may be room. `look` may be
    /// called twice; after it has returned something it is not called again.
    pub(crate) fn poll<T>(&mut self, waker: &Waker, look: impl FnMut() -> Option<T>) -> Poll<T> {
        self.positions.poll_room(&mut self.entry, waker, look)
    }
}

impl Drop for RoomWait {
    fn drop(&mut self) {
        self.positions.forget_room_task(&mut self.entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flush::wakes::Wakes;

    /// Room wakes some; each of them that continues or gives up wakes another, until none is left.
    #[test]
    fn the_turn_is_passed_on() {
        let positions = Arc::new(Positions::new(0));
        let count = Arc::new(Wakes::default());
        let waker = Waker::from(count.clone());
        let woken = || count.so_far();
        let mut waits: Vec<_> = (0..50).map(|_| RoomWait::new(positions.clone())).collect();
        for wait in &mut waits {
            assert!(wait.poll(&waker, || None::<()>).is_pending());
        }
        positions.wake_room_tasks();
        let at_once = woken();
        assert!((1..50).contains(&at_once));
        // It finds none, and waits again.
        assert!(waits[0].poll(&waker, || None::<()>).is_pending());
        assert_eq!(woken(), at_once);
        for (i, mut wait) in waits.into_iter().enumerate() {
            if i % 2 == 0 {
                assert!(wait.poll(&waker, || Some(())).is_ready());
            }
        }
        assert!(!positions.has_tasks());
        // The first was woken twice, or gave its turn away before the second time.
        assert!((49..=51).contains(&woken()), "{}", woken());
    }
}
