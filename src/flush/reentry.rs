//! Knows whether this thread is inside a callback or codec of a log, where waiting for that same log
//! would never end.

use std::cell::Cell;

use crate::error::Error;
use crate::error::Result;

thread_local! {
    static INSIDE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// While it lives, this thread counts as inside the log with this identity.
#[derive(Debug)]
pub(crate) struct Inside {
    outer: Option<usize>,
}

impl Inside {
    /// `log` is any number that is one log's own; the address of its positions serves.
    #[inline]
    pub(crate) fn enter(log: usize) -> Self {
        Inside { outer: INSIDE.replace(Some(log)) }
    }

    /// Whether waiting for this log would be waiting for this thread.
    pub(crate) fn is(log: usize) -> bool {
        INSIDE.get() == Some(log)
    }

    /// An error if `method` would make this thread wait for itself.
    pub(crate) fn refuse_wait(log: usize, method: &'static str) -> Result<()> {
        if Self::is(log) { Err(Error::WouldDeadlock { method }) } else { Ok(()) }
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        INSIDE.set(self.outer);
    }
}
