//! The promises so far, and a copy of the disk before each of its operations.
//!
//! ```text
//! operation ─► hook ─► gate ─► promises ─► copy of the disk ─► requests ─► Cut
//! ```
//!
//! - Requirements are read before the disk is copied, and permissions after it. So a cut demands too little rather than
//!   too much while the log's threads run.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::Error;
use crate::flush::{Flush, ProgressHandle};
use crate::storage::{MemoryStorage, Op};
use crate::testing::check::history::Bounds;

/// A disk at some moment, and the promises that must hold for it.
pub(crate) struct Cut {
    pub(crate) disk: MemoryStorage,
    pub(crate) bounds: Bounds,
    /// The operations since the last cut.
    pub(crate) done: Vec<String>,
    /// The operation that the crash prevented.
    pub(crate) next: String,
}

/// All cuts of a workload, through all its lives.
#[derive(Default)]
pub(crate) struct Tape {
    pub(crate) cuts: Mutex<Vec<Cut>>,
    pub(crate) gate: Gate,
}

/// The promises in one life of a log, from one open to the next.
pub(crate) struct Promises {
    bounds: Mutex<Bounds>,
    progress: Mutex<Option<ProgressHandle>>,
    /// Outstanding completions (negative: delivered twice).
    pending: AtomicI64,
    failed: Mutex<Option<Error>>,
}

impl Promises {
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        let bounds = Mutex::new(bounds);
        Arc::new(Promises {
            bounds,
            progress: Mutex::default(),
            pending: AtomicI64::new(0),
            failed: Mutex::default(),
        })
    }

    /// Makes a cut before every operation of a disk from now on.
    pub(crate) fn watch(self: &Arc<Self>, disk: &MemoryStorage, tape: &Arc<Tape>) {
        let (promises, tape, copied) = (self.clone(), tape.clone(), disk.clone());
        disk.record(true);
        disk.on_operation(move |op| {
            if op.kind.is_change() {
                tape.gate.pass();
                let cut = promises.cut(&copied, named(op));
                tape.cuts.lock().push(cut);
            }
        });
    }

    pub(crate) fn cut(&self, disk: &MemoryStorage, next: String) -> Cut {
        let promised = self.promised();
        let (copy, done) = (disk.kill(), disk.take_log());
        let Bounds { durable, written, start_min, .. } = promised;
        let bounds = Bounds { durable, written, start_min, ..self.bounds.lock().clone() };
        Cut { disk: copy, bounds, done, next }
    }

    /// Returns the log's promises so far, by any means.
    pub(crate) fn promised(&self) -> Bounds {
        let mut bounds = self.bounds.lock().clone();
        if let Some(progress) = &*self.progress.lock() {
            let progress = progress.progress();
            bounds.durable = bounds.durable.max(progress.synced);
            bounds.written = bounds.written.max(progress.written);
        }
        bounds
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Bounds)) {
        change(&mut self.bounds.lock());
    }

    /// Sets the bounds that hold from now on, because the log is open.
    pub(crate) fn opened(&self, bounds: Bounds, progress: ProgressHandle) {
        *self.progress.lock() = Some(progress);
        *self.bounds.lock() = bounds;
    }

    /// Records that everything below `end` is durable.
    pub(crate) fn durable(&self, end: u64) {
        self.change(|bounds| {
            bounds.durable = bounds.durable.max(end);
            bounds.written = bounds.written.max(end);
        });
    }

    /// Expects the completion of a flush of everything up to `end`; returns its callback.
    pub(crate) fn expect(
        self: &Arc<Self>,
        mode: Flush,
        end: u64,
    ) -> impl FnOnce(Result<(), Error>) + Send + 'static {
        self.pending.fetch_add(1, SeqCst);
        let promises = self.clone();
        move |result| {
            match (result, mode) {
                (Ok(()), Flush::Sync) => promises.durable(end),
                (Ok(()), Flush::Write) => promises.change(|bounds| bounds.written = bounds.written.max(end)),
                (Err(error), _) => *promises.failed.lock() = Some(error),
            }
            promises.pending.fetch_sub(1, SeqCst);
        }
    }

    /// Returns the error of a completion, if there was one.
    pub(crate) fn failed(&self) -> Option<Error> {
        self.failed.lock().clone()
    }

    /// Returns the number of outstanding completions.
    pub(crate) fn pending(&self) -> i64 {
        self.pending.load(SeqCst)
    }
}

/// Describes an operation.
fn named(op: &Op) -> String {
    let name = op.path.file_name().unwrap_or(op.path.as_os_str());
    format!("{:?} {}", op.kind, name.to_string_lossy())
}

/// Holds the flush worker before its next operation, so that the queue can be filled meanwhile.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    held: bool,
    arrived: bool,
}

/// The longest wait for a worker that may have nothing to do.
const ARRIVAL: Duration = Duration::from_millis(20);

impl Gate {
    pub(crate) fn hold(&self) -> Held<'_> {
        *self.state.lock() = GateState { held: true, arrived: false };
        Held { gate: self }
    }

    pub(crate) fn wait_arrived(&self) {
        let mut state = self.state.lock();
        self.changed.wait_while_for(&mut state, |state| !state.arrived, ARRIVAL);
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        if state.held && std::thread::current().name() == Some("wal-flush") {
            state.arrived = true;
            self.changed.notify_all();
            self.changed.wait_while(&mut state, |state| state.held);
        }
    }
}

/// The gate is shut as long as this exists.
pub(crate) struct Held<'a> {
    gate: &'a Gate,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.gate.state.lock().held = false;
        self.gate.changed.notify_all();
    }
}
