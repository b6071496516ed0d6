//! What has been promised so far, and a copy of the disk before each of its operations.
//!
//! ```text
//! operation ─► hook ─► gate ─► what is promised ─► copy of the disk ─► what is asked for ─► Cut
//! ```
//!
//! - What must hold is read before the copy is made, what may be there after it: so a cut asks for
//!   too little rather than too much, whatever the log's threads do meanwhile.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::history::Bounds;
use crate::error::Error;
use crate::flush::{Flush, ProgressHandle};
use crate::storage::{MemoryStorage, Op};

/// A disk at some moment, and what must hold of it.
pub(super) struct Cut {
    pub(super) disk: MemoryStorage,
    pub(super) bounds: Bounds,
    /// The operations since the cut before.
    pub(super) done: Vec<String>,
    /// The operation that did not happen any more.
    pub(super) next: String,
}

/// All cuts of a workload, through all its lives.
#[derive(Default)]
pub(super) struct Tape {
    pub(super) cuts: Mutex<Vec<Cut>>,
    pub(super) gate: Gate,
}

/// What is promised in one life of a log, from one open to the next.
pub(super) struct Ledger {
    bounds: Mutex<Bounds>,
    progress: Mutex<Option<ProgressHandle>>,
    /// Completions still to come; less than none if one came twice.
    pending: AtomicI64,
    failed: Mutex<Option<Error>>,
}

impl Ledger {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        let bounds = Mutex::new(bounds);
        Arc::new(Ledger {
            bounds,
            progress: Mutex::default(),
            pending: AtomicI64::new(0),
            failed: Mutex::default(),
        })
    }

    /// Cuts before every operation of a disk from now on.
    pub(super) fn watch(self: &Arc<Self>, disk: &MemoryStorage, tape: &Arc<Tape>) {
        let (ledger, tape, copied) = (self.clone(), tape.clone(), disk.clone());
        disk.record(true);
        disk.on_operation(move |op| {
            if op.kind.is_change() {
                tape.gate.pass();
                let cut = ledger.cut(&copied, named(op));
                tape.cuts.lock().push(cut);
            }
        });
    }

    pub(super) fn cut(&self, disk: &MemoryStorage, next: String) -> Cut {
        let promised = self.promised();
        let (copy, done) = (disk.kill(), disk.take_log());
        let Bounds { durable, written, start_min, .. } = promised;
        let bounds = Bounds { durable, written, start_min, ..self.bounds.lock().clone() };
        Cut { disk: copy, bounds, done, next }
    }

    /// What the log has promised, to anybody.
    pub(super) fn promised(&self) -> Bounds {
        let mut bounds = self.bounds.lock().clone();
        if let Some(progress) = &*self.progress.lock() {
            let progress = progress.progress();
            bounds.durable = bounds.durable.max(progress.synced);
            bounds.written = bounds.written.max(progress.written);
        }
        bounds
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Bounds)) {
        change(&mut self.bounds.lock());
    }

    /// The log is open: this holds from now on.
    pub(super) fn opened(&self, bounds: Bounds, progress: ProgressHandle) {
        *self.progress.lock() = Some(progress);
        *self.bounds.lock() = bounds;
    }

    /// Everything below `end` is durable.
    pub(super) fn durable(&self, end: u64) {
        self.change(|bounds| {
            bounds.durable = bounds.durable.max(end);
            bounds.written = bounds.written.max(end);
        });
    }

    /// A completion is asked for, of a flush that reaches to `end`.
    pub(super) fn expect(
        self: &Arc<Self>,
        mode: Flush,
        end: u64,
    ) -> impl FnOnce(Result<(), Error>) + Send + 'static {
        self.pending.fetch_add(1, SeqCst);
        let ledger = self.clone();
        move |result| {
            match (result, mode) {
                (Ok(()), Flush::Sync) => ledger.durable(end),
                (Ok(()), Flush::Write) => ledger.change(|bounds| bounds.written = bounds.written.max(end)),
                (Err(error), _) => *ledger.failed.lock() = Some(error),
            }
            ledger.pending.fetch_sub(1, SeqCst);
        }
    }

    /// What a completion told of.
    pub(super) fn failed(&self) -> Option<Error> {
        self.failed.lock().clone()
    }

    /// Completions that are still to come.
    pub(super) fn pending(&self) -> i64 {
        self.pending.load(SeqCst)
    }
}

/// An operation in words.
fn named(op: &Op) -> String {
    let name = op.path.file_name().unwrap_or(op.path.as_os_str());
    format!("{:?} {}", op.kind, name.to_string_lossy())
}

/// Holds up the flush worker before its next operation, so that a queue can be filled behind it.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    held: bool,
    arrived: bool,
}

/// Nobody waits longer than this for a worker that may have nothing to do.
const ARRIVAL: Duration = Duration::from_millis(20);

impl Gate {
    pub(super) fn hold(&self) -> Held<'_> {
        *self.state.lock() = GateState { held: true, arrived: false };
        Held { gate: self }
    }

    pub(super) fn wait_arrived(&self) {
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

/// The gate is shut while this lives.
pub(super) struct Held<'a> {
    gate: &'a Gate,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.gate.state.lock().held = false;
        self.gate.changed.notify_all();
    }
}
