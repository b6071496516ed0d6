//! The store: a [`State`], the log that it can be replayed from, and the snapshots that let the log
//! be cut short.
//!
//! ```text
//! DIR/snapshot-…0840           the map after 840 actions
//! DIR/log/  chunk 7            chunk 8              chunk 9
//!           ^ 840 applied,     ^ 901 applied,       ^ 977 applied,
//!             snapshot 840       snapshot 840         snapshot 840
//!             = the ground       compared             compared
//! ```
//!
//! A snapshot takes five steps, and a crash between any two leaves a store that opens:
//!
//! 1. The snapshot file is written and synced, renamed to its name, the directory synced. Before a
//!    checkpoint names it, it is a stray file that nobody misses.
//! 2. The log rotates: the new chunk begins with a checkpoint that names the snapshot. Between the two
//!    no action is applied, so the snapshot is exactly the state there: a ground to replay from.
//! 3. Chunks before the ground are drained and removed. The log makes durable what was appended before
//!    it removes anything, so the ground is on stable storage by then. Removal goes oldest first, and
//!    replay passes over what it left when a crash cut it short (see [`State`]).
//! 4. All of them are waited for.
//! 5. Only now other snapshots are removed. So none goes while a chunk is left that begins with its
//!    name: every checkpoint in the log stands at the ground or behind it, and names the snapshot of
//!    the ground. Replay can't come upon the name of a removed snapshot.
//!
//! Opening ends with steps 3 to 5, which finishes what a crash interrupted. It needs no sync of its
//! own for removals that an earlier process made: opening a log syncs its directory.

use std::path::{Path, PathBuf};

use chunked_wal::{ChunkedWal, Config, Flush, RecoveryReport, StateMachine};

use crate::import::Acknowledge;
use crate::record::{Action, Kv, Map};
use crate::snapshot::SnapshotId;
use crate::state::State;
use crate::{Outcome, snapshot};

/// Closed chunks at which [`Store::snapshot_if_due`] takes a snapshot.
const CLOSED_CHUNKS_MAX: usize = 8;

/// A durable map.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    wal: ChunkedWal<Kv>,
    state: State,
}

/// What is done if there is no store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Missing {
    Create,
    Fail,
}

/// What taking a snapshot did.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The size of its file; `None` if an earlier one is still the whole state.
    pub(crate) bytes: Option<u64>,
    pub(crate) chunks_removed: usize,
}

impl Store {
    /// Opens the store in `dir`, or makes it: replays its log, and finishes what a crash interrupted.
    pub(crate) fn open(dir: &Path, chunk_max_size: u64, missing: Missing) -> Outcome<Self> {
        let mut config = Config::new(dir.join("log"));
        config.chunk_max_size = chunk_max_size;
        let mut options = ChunkedWal::<Kv>::options(config);
        // A log is older than its first snapshot: one without a log must not look like a new store.
        if missing == Missing::Fail || !snapshot::list(dir)?.is_empty() {
            options = options.must_exist();
        }
        let mut state = State::before_replay(dir);
        let wal = options.open(&mut state)?;
        if wal.recovery().chunks == 0 {
            state.begin_new();
        }
        if !state.is_grounded() {
            let message = "the log begins behind what its snapshots cover: its newest chunks are missing";
            return Err(format!("'{}': {message}; restore them from a copy", dir.display()).into());
        }
        let mut store = Store { dir: dir.to_owned(), wal, state };
        store.remove_superfluous()?;
        Ok(store)
    }

    /// Appends an action and applies it. It is durable after the next flush or sync.
    pub(crate) fn append(&mut self, action: Action) -> Outcome<()> {
        // Rotates when the chunk is full; the new one begins with `State::checkpoint`.
        self.wal.append_and_apply(action, &mut self.state)?;
        Ok(())
    }

    /// Asks for everything appended to become durable, and goes on; `acknowledge` is told.
    pub(crate) fn flush(&mut self, acknowledge: Acknowledge) -> Outcome<()> {
        Ok(self.wal.flush(Flush::Sync, Some(acknowledge))?)
    }

    /// Makes everything appended durable, and waits until it is.
    pub(crate) fn sync(&mut self) -> Outcome<()> {
        Ok(self.wal.sync()?)
    }

    /// Takes a snapshot, and removes the chunks and snapshots that nobody needs behind it. The steps
    /// are those at the top of this file.
    pub(crate) fn snapshot(&mut self) -> Outcome<Snapshot> {
        let id = SnapshotId { applied: self.state.applied() };
        let mut bytes = None;
        if !self.state.checkpoint().is_ground() {
            bytes = Some(snapshot::write(&self.dir, id, self.state.map())?);
            let mut ground = self.state.checkpoint();
            ground.snapshot = Some(id);
            self.wal.close_open_chunk_with(ground)?;
            // Not before: if the rotation fails, chunks must not go on the word of a checkpoint that
            // was never written.
            self.state.snapshot_is_named(id);
        }
        Ok(Snapshot { bytes, chunks_removed: self.remove_superfluous()? })
    }

    /// Takes a snapshot if the log has grown long.
    pub(crate) fn snapshot_if_due(&mut self) -> Outcome<()> {
        if self.closed_chunks() >= CLOSED_CHUNKS_MAX {
            self.snapshot()?;
        }
        Ok(())
    }

    /// Removes what the newest snapshot covers: chunks, and then, when none is left that could begin
    /// with the name of one, older snapshots. Returns how many chunks.
    fn remove_superfluous(&mut self) -> Outcome<usize> {
        let snapshot = self.state.snapshot();
        let covered = snapshot.map_or(0, |id| id.applied);
        // A closed chunk's checkpoint is the state behind its last record. Where that is covered, the
        // chunk may go; the first that stays begins with the ground.
        let chunks = self.wal.drain_closed_chunks_while(|closing| closing.applied <= covered);
        let count = chunks.len();
        self.wal.remove_chunks(chunks)?;
        // Fails if a chunk could not be removed; then the snapshots stay, too.
        self.wal.wait_idle()?;
        snapshot::remove_all_but(&self.dir, snapshot)?;
        Ok(count)
    }

    /// Makes everything durable and lets go of the directory.
    pub(crate) fn close(self) -> Outcome<()> {
        Ok(self.wal.close()?)
    }

    pub(crate) fn map(&self) -> &Map {
        self.state.map()
    }

    /// Actions applied since the store was made.
    pub(crate) fn applied(&self) -> u64 {
        self.state.applied()
    }

    /// What opening found.
    pub(crate) fn recovery(&self) -> &RecoveryReport {
        self.wal.recovery()
    }

    pub(crate) fn wal(&self) -> &ChunkedWal<Kv> {
        &self.wal
    }

    pub(crate) fn closed_chunks(&self) -> usize {
        self.wal.closed_chunk_stats().len()
    }
}
