//! The room `flush`, as far as it is modelled: these are the crate's own files.

#[cfg(feature = "metrics")]
#[path = "../../src/flush/export.rs"]
mod export;
#[path = "../../src/flush/progress.rs"]
mod progress;
#[path = "../../src/flush/queue.rs"]
mod queue;
#[path = "../../src/flush/ticket.rs"]
mod ticket;

use crate::error::Result;

#[cfg(feature = "metrics")]
pub(crate) use export::Gauges;
pub(crate) use progress::{Positions, Progress, ProgressHandle};
pub(crate) use queue::{BatchLimit, Entry, Queue, Refused, Wake};
pub(crate) use ticket::{FlushSender, FlushTicket};

/// As in `src/flush/mod.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    Write,
    Sync,
}

/// No model waits inside a callback.
pub(crate) struct Inside;

impl Inside {
    pub(crate) fn enter(_: usize) -> Self {
        Inside
    }

    pub(crate) fn refuse_wait(_: usize, _: &'static str) -> Result<()> {
        Ok(())
    }
}
