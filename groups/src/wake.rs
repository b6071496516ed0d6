//! [`Wake`]: the reclaiming thread sleeps until there is work.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Wakes the thread.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    asked: Mutex<Asked>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Asked {
    work: bool,
    stop: bool,
}

impl Wake {
    /// There may be something to reclaim.
    pub(crate) fn wake(&self) {
        self.asked.lock().work = true;
        self.changed.notify_all();
    }

    pub(crate) fn stop(&self) {
        self.asked.lock().stop = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.asked.lock().stop
    }

    /// Waits for work, or until the time is over if there is one; false once the thread is to end.
    pub(crate) fn wait(&self, time: Option<Duration>) -> bool {
        let mut asked = self.asked.lock();
        while !asked.work && !asked.stop {
            match time {
                Some(time) => {
                    if self.changed.wait_for(&mut asked, time).timed_out() {
                        break;
                    }
                }
                None => self.changed.wait(&mut asked),
            }
        }
        asked.work = false;
        !asked.stop
    }
}
