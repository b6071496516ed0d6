//! [`Gate`]: a place in the disk's work at which a test holds it up.

use std::sync::{Arc, Condvar, Mutex};

use chunked_wal::storage::{MemoryStorage, Op};

/// Holds the operations that it is for, until it is opened.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    arrived: usize,
    open: bool,
}

impl Gate {
    /// A closed gate for what `is_for` says; it takes the place of the storage's hook.
    pub fn new(storage: &MemoryStorage, is_for: impl Fn(&Op) -> bool + Send + Sync + 'static) -> Arc<Self> {
        let gate = Arc::new(Gate::default());
        let passed = gate.clone();
        storage.on_operation(move |op| {
            if is_for(op) {
                passed.pass();
            }
        });
        gate
    }

    /// Waits until it is open; for a hook that has several gates.
    pub fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.arrived += 1;
        self.changed.notify_all();
        let _open = self.changed.wait_while(state, |state| !state.open).unwrap();
    }

    /// Waits until this many have come.
    pub fn wait_for(&self, arrived: usize) {
        let state = self.state.lock().unwrap();
        let _arrived = self.changed.wait_while(state, |state| state.arrived < arrived).unwrap();
    }

    pub fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }
}
