//! The room `flush`, as far as it is modelled: these are the crate's own files, the worker's loop and the
//! appender's side of it among them. What they work on is in `chunk.rs`.

#[path = "../../src/flush/batch.rs"]
mod batch;
#[path = "../../src/flush/export.rs"]
mod export;
#[path = "../../src/flush/hand_over.rs"]
mod hand_over;
#[path = "../../src/flush/metrics.rs"]
mod metrics;
#[path = "../../src/flush/names.rs"]
mod names;
#[path = "../../src/flush/progress.rs"]
mod progress;
#[path = "../../src/flush/queue.rs"]
mod queue;
#[path = "../../src/flush/rotate.rs"]
mod rotate;
#[path = "../../src/flush/tasks.rs"]
mod tasks;
#[path = "../../src/flush/ticket.rs"]
mod ticket;
#[path = "../../src/flush/under_way.rs"]
mod under_way;
#[path = "../../src/flush/wakes.rs"]
mod wakes;
#[path = "../../src/flush/worker.rs"]
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use crate::chunk::{ChunkFile, Cut, Disk};
use crate::error::Result;

pub(crate) use batch::{ChunkBeginning, FlushRequest, NewFlush, Request, Rotation};
#[cfg(feature = "metrics")]
pub(crate) use export::Gauges;
pub(crate) use hand_over::HandOver;
pub(crate) use metrics::Metrics;
pub(crate) use names::Naming;
pub(crate) use progress::{Positions, Progress, ProgressHandle, SyncTurn};
pub(crate) use queue::{BatchLimit, Entry, Queue, Refused, Wake};
pub(crate) use rotate::Unnamed;
pub(crate) use tasks::{TaskEntry, Tasks};
pub(crate) use ticket::{FlushSender, FlushTicket};
pub(crate) use worker::{Pipeline, Quiet, Worker, run};

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

    pub(crate) fn is(_: usize) -> bool {
        false
    }

    pub(crate) fn refuse_wait(_: usize, _: &'static str) -> Result<()> {
        Ok(())
    }
}

/// A file for the next chunk: there always is one.
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) handle: Arc<Disk>,
    pub(crate) allocated: u64,
    pub(crate) zeroed: u64,
}

/// It makes the names of chunks durable, but only for those who wait for that: no thread of its own is modelled.
pub(crate) struct Housekeeper {
    naming: Naming,
}

impl Housekeeper {
    pub(crate) fn new(disk: Arc<Disk>, positions: Arc<Positions>) -> Self {
        Housekeeper { naming: Naming::new(disk, PathBuf::new(), positions) }
    }

    pub(crate) fn naming(&self) -> &Naming {
        &self.naming
    }

    pub(crate) fn finish_rotation(&self, _: Option<Cut>) {}

    pub(crate) fn wait_rotation(&self) {
        let _failed = self.naming.sync();
    }

    pub(crate) fn give_up_spare(&self) -> bool {
        false
    }

    pub(crate) fn zero_spare(&self) {}

    pub(crate) fn remove(&self, _: Vec<Arc<ChunkFile>>) {}

    pub(crate) fn wait_removals(&self) {}

    pub(crate) fn close(&self) {}
}
