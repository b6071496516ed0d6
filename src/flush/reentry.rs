//! Knows whether this thread is inside a callback or codec of a log, where waiting for that same log
//! would never end.

use std::cell::Cell;

use crate::error::Error;
use crate::error::Result;

thread_local! {
    static INSIDE: Cell<Option<(usize, Place)>> = const { Cell::new(None) };
}

/// Where the log has called its user's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the worker's thread: nothing may wait for the worker.
    Callback,
    /// With the open buffer in hand: nothing may read it either.
    Codec,
}

/// While it lives, this thread counts as inside the log with this identity.
#[derive(Debug)]
pub(crate) struct Inside {
    outer: Option<(usize, Place)>,
}

impl Inside {
    /// `log` is any number that is one log's own; the address of its positions serves.
    #[inline]
    pub(crate) fn enter(log: usize, place: Place) -> Self {
        Inside { outer: INSIDE.replace(Some((log, place))) }
    }

    /// Whether waiting for this log would be waiting for this thread.
    pub(crate) fn is(log: usize) -> bool {
        INSIDE.get().is_some_and(|(inside, _)| inside == log)
    }

    /// An error if `method` would make this thread wait for itself.
    pub(crate) fn refuse_wait(log: usize, method: &'static str) -> Result<()> {
        if Self::is(log) { Err(Error::WouldDeadlock { method }) } else { Ok(()) }
    }

    /// An error if `method` would read the buffer that this thread is writing.
    #[inline]
    pub(crate) fn refuse_read(log: usize, method: &'static str) -> Result<()> {
        if INSIDE.get() == Some((log, Place::Codec)) { Err(Error::WouldDeadlock { method }) } else { Ok(()) }
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        INSIDE.set(self.outer);
    }
}
