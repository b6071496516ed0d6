//! Knows whether this thread is inside a callback or codec of a log, where waiting for that same log
//! would never end.
//!
//! A callback of one log may append to another, whose codec may call the first one again: all logs count
//! that this thread is inside of, not the innermost alone.

use std::cell::Cell;

use crate::error::Error;
use crate::error::Result;

/// Logs inside one another that are told apart. Deeper, every wait is refused.
const DEPTH_MAX: usize = 8;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static LOGS: [Cell<usize>; DEPTH_MAX] = const { [const { Cell::new(0) }; DEPTH_MAX] };
}

/// While it lives, this thread counts as inside the log that it was made for. Guards are dropped in the
/// reverse order of their making.
#[derive(Debug)]
pub(crate) struct Inside(());

impl Inside {
    /// `log` is any number that is one log's own; the address of its positions serves.
    #[inline]
    pub(crate) fn enter(log: usize) -> Self {
        let depth = DEPTH.get();
        LOGS.with(|logs| {
            if let Some(inside) = logs.get(depth) {
                inside.set(log);
            }
        });
        DEPTH.set(depth + 1);
        Inside(())
    }

    /// Whether waiting for this log would be waiting for this thread.
    pub(crate) fn is(log: usize) -> bool {
        let depth = DEPTH.get();
        depth > DEPTH_MAX || LOGS.with(|logs| logs[..depth].iter().any(|inside| inside.get() == log))
    }

    /// An error if `method` would make this thread wait for itself.
    pub(crate) fn refuse_wait(log: usize, method: &'static str) -> Result<()> {
        if Self::is(log) { Err(Error::WouldDeadlock { method }) } else { Ok(()) }
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_logs_count_that_a_thread_is_inside_of() {
        let outer = Inside::enter(1);
        let inner = Inside::enter(2);
        assert!(Inside::is(1) && Inside::is(2) && !Inside::is(3));
        assert!(std::thread::spawn(|| !Inside::is(1)).join().unwrap());
        drop(inner);
        assert!(Inside::is(1) && !Inside::is(2));
        drop(outer);
        assert!(!Inside::is(1));
        let deep: Vec<_> = (10..20).map(Inside::enter).collect();
        assert!(Inside::is(10) && Inside::is(19) && Inside::is(1), "too deep to tell");
        deep.into_iter().rev().for_each(drop);
        assert!(!Inside::is(10));
    }
}
