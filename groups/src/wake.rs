//! [`Wake`]: the reclaiming thread sleeps until there is work.

use std::time::{Duration, Instant};

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

    /// Waits for work, or first for a pause in which no work is begun; false once the thread is to end.
    pub(crate) fn wait(&self, pause: Option<Duration>) -> bool {
        let mut asked = self.asked.lock();
        match pause {
            Some(pause) => {
                let until = Instant::now() + pause;
                while !asked.stop && !self.changed.wait_until(&mut asked, until).timed_out() {}
            }
            None => {
                while !asked.work && !asked.stop {
                    self.changed.wait(&mut asked);
                }
            }
        }
        asked.work = false;
        !asked.stop
    }
}
