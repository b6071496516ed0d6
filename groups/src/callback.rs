//! The callers' callbacks, which run on the log's thread.

use std::cell::Cell;

use chunked_wal::{Callback, CallbackFn};

use crate::record::GroupCallback;

thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs a callback of a log of groups.
pub(crate) fn is_running() -> bool {
    RUNNING.get()
}

/// The callback as the log below takes it.
pub(crate) fn of(callback: impl Callback) -> GroupCallback {
    CallbackFn(Box::new(move |result| {
        let _running = Running::begin();
        callback.complete(result);
    }))
}

/// Until it is dropped, also by a panic.
struct Running;

impl Running {
    fn begin() -> Self {
        RUNNING.set(true);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(false);
    }
}
