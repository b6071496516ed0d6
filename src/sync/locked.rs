//! The event of `event.rs` where there is no futex. The model checker runs this one, from the same
//! file.

use std::time::Instant;

use crate::sync::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(crate) struct Event {
    epoch: Mutex<u32>,
    happened: Condvar,
}

impl Event {
    /// How often the event has happened.
    pub(crate) fn epoch(&self) -> u32 {
        *self.epoch.lock()
    }

    /// Waits until the event has happened since `seen`, or until a time; may also return for no reason.
    pub(crate) fn wait(&self, seen: u32, until: Option<Instant>) {
        let mut epoch = self.epoch.lock();
        match until {
            _ if *epoch != seen => {}
            None => self.happened.wait(&mut epoch),
            Some(until) => {
                let _timed_out = self.happened.wait_until(&mut epoch, until);
            }
        }
    }

    /// Wakes all waiting threads.
    pub(crate) fn happen(&self) {
        let mut epoch = self.epoch.lock();
        *epoch = epoch.wrapping_add(1);
        drop(epoch);
        self.happened.notify_all();
    }
}
