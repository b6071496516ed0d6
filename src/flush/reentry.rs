//! Knows the logs whose callbacks or codecs this thread is inside: waiting for one of them would never end.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::error::{Error, Result};

/// The most nested logs that are distinguished. Nested deeper, a wait for any log is refused.
const DEPTH: usize = 8;

/// The logs that a thread is inside, the outermost first.
struct Stack {
    depth: Cell<usize>,
    logs: [Cell<usize>; DEPTH],
}

thread_local! {
    static INSIDE: Stack = const { Stack { depth: Cell::new(0), logs: [const { Cell::new(0) }; DEPTH] } };
}

/// While it lives, this thread counts as inside the log with this identity. Dropped in reverse order, on
/// the same thread.
#[derive(Debug)]
pub(crate) struct Inside {
    _this_thread: PhantomData<*const ()>,
}

impl Inside {
    /// `log` is any number that is one log's own; the address of its positions serves.
    #[inline]
    pub(crate) fn enter(log: usize) -> Self {
        INSIDE.with(|stack| {
            let depth = stack.depth.get();
            if let Some(place) = stack.logs.get(depth) {
                place.set(log);
            }
            stack.depth.set(depth + 1);
        });
        Inside { _this_thread: PhantomData }
    }

    /// Whether waiting for this log would be waiting for this thread.
    pub(crate) fn is(log: usize) -> bool {
        INSIDE.with(|stack| stack.depth.get() > DEPTH) || Self::surely(log)
    }

    /// As [`is`](Self::is), without those that are nested too deep to tell.
    pub(crate) fn surely(log: usize) -> bool {
        INSIDE.with(|stack| stack.logs.iter().take(stack.depth.get()).any(|inside| inside.get() == log))
    }

    /// An error if `method` would make this thread wait for itself.
    pub(crate) fn refuse_wait(log: usize, method: &'static str) -> Result<()> {
        if Self::is(log) { Err(Error::WouldDeadlock { method }) } else { Ok(()) }
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        INSIDE.with(|stack| stack.depth.set(stack.depth.get() - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_all_the_logs_that_it_entered() {
        assert!(!Inside::is(1));
        let outer = Inside::enter(1);
        let inner = Inside::enter(2);
        assert!(Inside::is(1) && Inside::is(2) && !Inside::is(3));
        drop(inner);
        assert!(Inside::is(1) && !Inside::is(2));
        drop(outer);
        assert!(!Inside::is(1));
    }

    #[test]
    fn too_deep_to_tell_counts_as_inside() {
        let guards: Vec<_> = (0..=DEPTH).map(Inside::enter).collect();
        assert!(Inside::is(usize::MAX) && !Inside::surely(usize::MAX));
        drop(guards);
        assert!(!Inside::is(0));
    }
}
