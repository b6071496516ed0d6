//! [`SharedWal`]: a log and its state machine for any number of threads and tasks.
//!
//! ```text
//! commit ─► lock: rotate if full ─► append ─► apply ─► ask for a sync ─► unlock ─► wait for the sync
//!           └───────────────── memory only ──────────────────────────┘            └ shared with others
//! ```
//!
//! - One lock orders all commits, so the order of application is the order in the log.
//! - No thread waits for the worker or for the disk while it holds the log's lock, except on a full disk: a commit that
//!   finds no room in the queue, or no file for the next chunk, releases the lock and waits.
//! - The state has its own lock, which is taken after the log's lock and held only while a record is applied. So a
//!   callback may read the state even if the holder of the log's lock waits for the callback.

mod close;
mod commit;
mod snapshot;
mod state;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use self::close::Closing;
use self::state::State;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::flush::{Inside, Positions, Progress, ProgressHandle, SpareAsked};
use crate::reader::WalReader;
use crate::record::{StateMachine, WalTypes};
use crate::wal::{ChunkedWal, Wants};

pub use commit::Commit;
pub use state::SharedState;

/// A log and its state machine, for any number of threads and tasks: give each a clone to commit with.
///
/// [`commit`](Self::commit) appends an action, applies it, and returns a [`Commit`], which resolves when the record is
/// durable: [`wait`](Commit::wait) for it, or `.await` it. Actions are applied in the order of the log. Commits that
/// are made during a sync share the next sync.
///
/// ```
/// # use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, SharedWal, StateMachine, WalRecord, WalTypes};
/// # struct Ledger;
/// # impl WalTypes for Ledger { type Action = u64; type Checkpoint = u64; type Callback = (); }
/// # #[derive(Default)]
/// # struct Balance(u64);
/// # impl StateMachine<Ledger> for Balance {
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, record: &WalRecord<Ledger>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
/// #         match record {
/// #             WalRecord::Action(amount) => self.0 += amount,
/// #             WalRecord::Checkpoint(balance) => self.0 = *balance,
/// #         }
/// #         Ok(())
/// #     }
/// #     fn checkpoint(&self) -> u64 { self.0 }
/// # }
/// # let dir = tempfile::tempdir()?;
/// # let config = Config::new(dir.path());
/// let wal = SharedWal::<Ledger, _>::open(config, Balance::default())?;
/// let threads: Vec<_> = (0..8)
///     .map(|_| {
///         let wal = wal.clone();
///         std::thread::spawn(move || wal.commit(5)?.wait())
///     })
///     .collect();
/// for thread in threads {
///     thread.join().unwrap()?; // durable
/// }
/// assert_eq!(wal.read(|balance| balance.0), 40);
/// wal.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Reads
///
/// [`read`](Self::read) sees each action as soon as it is applied, which is before it is durable. So a crash can still
/// undo a state that was read. To answer only with durable state, first commit an action and wait for it, or wait with
/// [`progress_handle`](Self::progress_handle).
///
/// # Blocking
///
/// `commit` blocks only while the queue is full, or while no file is ready for the next chunk;
/// [`commit_async`](Self::commit_async) awaits both instead. The wait delays no other thread. On a full disk, both
/// block during removals that may free space. In the repository, `docs/design/architecture.md` has a table of all
/// calls, what each may wait for, and its awaited form.
///
/// # Panics
///
/// A panic of the codec or of the state machine reaches the caller of `commit`. Nothing is appended then, and all
/// handles stay usable. `apply` must leave the state unchanged if it panics, as after an error.
///
/// # In a callback
///
/// Inside [`read`](Self::read), [`with_log`](Self::with_log), the state machine and the codec, and in a callback of the
/// log, a call that needs the log's lock could wait for itself, so it returns [`Error::WouldDeadlock`]. A `read` is
/// allowed in all of these places except in [`StateMachine::apply`] and [`SharedState::change`], where it panics,
/// because the thread is changing the state.
///
/// # Closing
///
/// [`close`](Self::close) from any handle closes the log for all handles. Otherwise the drop of the last handle closes
/// the log, and blocks meanwhile. A [`Commit`] or a [`reader`](Self::reader) is not a handle.
pub struct SharedWal<W: WalTypes, SM> {
    core: Arc<Core<W, SM>>,
}

struct Core<W: WalTypes, SM> {
    /// None once it is closed. Locked before `state`.
    log: Mutex<Option<ChunkedWal<W>>>,
    state: State<SM>,
    closing: Arc<Closing>,
    /// Held for a whole snapshot: an older one must not replace a newer one.
    snapshot: Mutex<()>,
    positions: Arc<Positions>,
    reader: WalReader<W>,
}

impl<W: WalTypes, SM: StateMachine<W>> SharedWal<W, SM> {
    /// Shares an open log. `state_machine` must be the one that the log was opened with, and must have applied every
    /// record that was appended since.
    pub fn new(wal: ChunkedWal<W>, state_machine: SM) -> Self {
        let core = Core {
            positions: wal.positions().clone(),
            reader: wal.reader(),
            log: Mutex::new(Some(wal)),
            state: State::new(state_machine),
            closing: Arc::default(),
            snapshot: Mutex::default(),
        };
        SharedWal { core: Arc::new(core) }
    }

    /// Opens or creates the log in `config.dir`, and replays it into `state_machine`. For other options, open a
    /// [`ChunkedWal`] and share it with [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`](crate::OpenOptions::open).
    pub fn open(config: Config, mut state_machine: SM) -> Result<Self> {
        let wal = ChunkedWal::open(config, &mut state_machine)?;
        Ok(SharedWal::new(wal, state_machine))
    }

    /// Runs `look` with the state. Any number of threads may read at once.
    ///
    /// `read` waits while a commit is being applied or waits to be applied. While `look` runs, no commit is applied,
    /// and so no later commit is appended: keep `look` short, and clone what needs long work.
    ///
    /// Inside `look`, a commit returns [`Error::WouldDeadlock`]; another `read` on the same thread is allowed. Don't
    /// wait inside `look` for a commit or a read of another thread, because that thread may wait for this `read`.
    ///
    /// # Panics
    ///
    /// If this thread is changing the state, in [`StateMachine::apply`] or [`SharedState::change`].
    pub fn read<R>(&self, look: impl FnOnce(&SM) -> R) -> R {
        self.core.read(look)
    }

    /// Runs `work` with the log and the state, for all other calls: rotating, draining, statistics. Meanwhile all
    /// commits wait; reads don't. `work` must apply each record that it appends:
    ///
    /// ```
    /// # use chunked_wal::{Error, SharedWal, StateMachine, WalTypes};
    /// fn last_word<W: WalTypes, SM: StateMachine<W>>(wal: &SharedWal<W, SM>, word: W::Action) -> Result<(), Error> {
    ///     wal.with_log(|log, state| {
    ///         log.append_and_apply(word, state)?;
    ///         log.close_open_chunk(state)?;
    ///         log.wait_idle()
    ///     })?
    /// }
    /// ```
    ///
    /// `work` may wait for the log and its callbacks, but not for a commit of another thread.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], and [`Error::WouldDeadlock`] [in a callback](Self#in-a-callback).
    pub fn with_log<R>(
        &self,
        work: impl FnOnce(&mut ChunkedWal<W>, &mut SharedState<'_, W, SM>) -> R,
    ) -> Result<R> {
        self.core.refuse_inside("with_log")?;
        let mut log = self.core.log.lock();
        let wal = log.as_mut().ok_or(Error::Closed)?;
        let _inside = Inside::enter(self.core.identity(Held::Log));
        Ok(work(wal, &mut SharedState::new(&self.core)))
    }

    /// Returns the log's progress; after a close, the last progress.
    pub fn progress(&self) -> Progress {
        self.core.positions.progress()
    }

    /// Returns a handle that shows the progress, or waits for an offset.
    pub fn progress_handle(&self) -> ProgressHandle {
        ProgressHandle::new(self.core.positions.clone())
    }

    /// Returns a reader of the log's records, which can also [follow](WalReader::follow) the log.
    pub fn reader(&self) -> WalReader<W> {
        self.core.reader.clone()
    }
}

/// What a thread holds of a [`Core`].
#[derive(Debug, Clone, Copy)]
enum Held {
    /// The log's lock.
    Log,
    /// The state's, to read it.
    State,
    /// The turn to take a snapshot.
    Snapshot,
}

impl<W: WalTypes, SM> Core<W, SM> {
    /// Distinguishes threads that hold this; an address in the core, so no other core's.
    fn identity(&self, held: Held) -> usize {
        std::ptr::from_ref(self).addr() + held as usize
    }

    /// Whether this thread holds the log's lock or the state's, or is one that a holder may wait for.
    fn is_inside(&self) -> bool {
        [self.identity(Held::Log), self.identity(Held::State), self.positions.identity()]
            .into_iter()
            .any(Inside::is)
    }

    /// An error if this thread holds a lock that `method` needs, or may be one that the holder waits for.
    fn refuse_inside(&self, method: &'static str) -> Result<()> {
        if self.is_inside() { Err(Error::WouldDeadlock { method }) } else { Ok(()) }
    }

    /// Does `work` under the lock; `None` if it would wait for the worker.
    fn attempt<T>(
        &self,
        wants: Wants,
        asked: &mut SpareAsked,
        work: impl FnOnce(&mut ChunkedWal<W>) -> Result<T>,
    ) -> Option<Result<T>> {
        let mut log = self.log.lock();
        let Some(wal) = log.as_mut() else { return Some(Err(Error::Closed)) };
        let _inside = Inside::enter(self.identity(Held::Log));
        wal.is_ready(wants, asked).then(|| work(wal))
    }
}

impl<W: WalTypes, SM> Clone for SharedWal<W, SM> {
    fn clone(&self) -> Self {
        SharedWal { core: self.core.clone() }
    }
}

impl<W: WalTypes, SM> fmt::Debug for SharedWal<W, SM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWal").field("progress", &self.core.positions.progress()).finish_non_exhaustive()
    }
}
