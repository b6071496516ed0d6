//! What a person sees: the progress of a restore, and times.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// A time in milliseconds since 1970, for people.
pub(crate) fn time(time_ms: u64) -> String {
    // Later times have no name of four digits for the year.
    let time = UNIX_EPOCH + Duration::from_millis(time_ms.min(253_402_300_799_000));
    humantime::format_rfc3339_millis(time).to_string()
}

/// Watches the bytes that a restore or a verification has read.
#[derive(Default)]
pub struct Progress {
    on_change: Option<Box<dyn Fn(u64, u64)>>,
    done: Cell<u64>,
    total: Cell<u64>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Progress({} of {})", self.done.get(), self.total.get())
    }
}

impl Progress {
    /// Calls `on_change` with the bytes done and their total.
    pub fn new(on_change: impl Fn(u64, u64) + 'static) -> Self {
        Progress { on_change: Some(Box::new(on_change)), ..Progress::default() }
    }

    pub(crate) fn add_total(&self, bytes: u64) {
        self.total.set(self.total.get() + bytes);
        self.add(0);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.done.set(self.done.get() + bytes);
        if let Some(on_change) = &self.on_change {
            on_change(self.done.get(), self.total.get());
        }
    }
}
