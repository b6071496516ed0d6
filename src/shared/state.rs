//! The lock of the state, and its rules against deadlocks.
//!
//! - A writer holds the log's lock, and waits for nothing while it holds the state's lock.
//! - A reader lets a waiting writer go first, so that overlapping reads don't delay the writer. Two kinds of reads
//!   don't, because the writer may wait for them: a read inside another read of the same thread, and a read in a
//!   callback. The reader that the writer waits for may itself wait for the callback.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::{RwLock, RwLockWriteGuard};

use super::{Core, Held};
use crate::flush::Inside;
use crate::position::{ChunkId, Segment};
use crate::record::{StateMachine, WalRecord, WalTypes};

/// The state and its lock.
pub(super) struct State<SM> {
    lock: RwLock<SM>,
    /// The thread that changes it, or 0. Another thread never reads its own number here.
    writer: AtomicUsize,
}

impl<SM> State<SM> {
    pub(super) fn new(state: SM) -> Self {
        State { lock: RwLock::new(state), writer: AtomicUsize::new(0) }
    }
}

/// A number that no other living thread has.
fn this_thread() -> usize {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}

/// The state while it is changed.
pub(super) struct Writing<'a, SM> {
    guard: RwLockWriteGuard<'a, SM>,
    writer: &'a AtomicUsize,
}

impl<SM> Deref for Writing<'_, SM> {
    type Target = SM;

    fn deref(&self) -> &SM {
        &self.guard
    }
}

impl<SM> DerefMut for Writing<'_, SM> {
    fn deref_mut(&mut self) -> &mut SM {
        &mut self.guard
    }
}

impl<SM> Drop for Writing<'_, SM> {
    fn drop(&mut self) {
        self.writer.store(0, Relaxed);
    }
}

impl<W: WalTypes, SM> Core<W, SM> {
    pub(super) fn read<R>(&self, look: impl FnOnce(&SM) -> R) -> R {
        let State { lock, writer } = &self.state;
        assert!(
            writer.load(Relaxed) != this_thread(),
            "`SharedWal::read` while this thread changes the state"
        );
        let state = if self.is_inside() { lock.read_recursive() } else { lock.read() };
        let _inside = Inside::enter(self.identity(Held::State));
        look(&state)
    }

    /// The state, to be changed under the log's lock.
    pub(super) fn write(&self) -> Writing<'_, SM> {
        assert!(
            !Inside::surely(self.identity(Held::State)),
            "the state changed inside a `read` of this thread"
        );
        let guard = self.state.lock.write();
        self.state.writer.store(this_thread(), Relaxed);
        Writing { guard, writer: &self.state.writer }
    }
}

/// The state of a [`SharedWal`](crate::SharedWal) inside [`with_log`](crate::SharedWal::with_log).
///
/// It is a state machine, for the log's methods that need one. The state is locked only while a record is applied, and
/// never while the log waits.
///
/// # Panics
///
/// A change of the state, by a record or otherwise, panics inside a [`SharedWal::read`](crate::SharedWal::read) of the
/// same thread, because it would wait for itself.
pub struct SharedState<'a, W: WalTypes, SM> {
    core: &'a Core<W, SM>,
}

impl<'a, W: WalTypes, SM> SharedState<'a, W, SM> {
    pub(super) fn new(core: &'a Core<W, SM>) -> Self {
        SharedState { core }
    }

    /// Runs `look` with the state, as [`SharedWal::read`](crate::SharedWal::read) does.
    pub fn read<R>(&self, look: impl FnOnce(&SM) -> R) -> R {
        self.core.read(look)
    }

    /// Changes the state without a record. Reads wait meanwhile.
    ///
    /// Keep `change` short, and don't use the log in it: methods that would wait for the log's worker return
    /// [`Error::WouldDeadlock`](crate::Error::WouldDeadlock) there.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut SM) -> R) -> R {
        let mut state = self.core.write();
        let _inside = Inside::enter(self.core.positions.identity());
        change(&mut state)
    }
}

impl<W: WalTypes, SM: StateMachine<W>> StateMachine<W> for SharedState<'_, W, SM> {
    type Error = SM::Error;

    fn apply(
        &mut self,
        record: &WalRecord<W>,
        chunk_id: ChunkId,
        segment: Segment,
    ) -> Result<(), Self::Error> {
        self.core.write().apply(record, chunk_id, segment)
    }

    fn checkpoint(&self) -> W::Checkpoint {
        self.core.read(SM::checkpoint)
    }
}

impl<W: WalTypes, SM> std::fmt::Debug for SharedState<'_, W, SM> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedState").finish_non_exhaustive()
    }
}
