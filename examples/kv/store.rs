//! The store: a [`State`], the log that it is replayed from, and the snapshots that allow old chunks to
//! be removed.
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
//! 1. The snapshot file is written and synced, renamed to its final name, and the directory synced.
//!    Until a checkpoint names it, it is a stray file without effect.
//! 2. The log rotates: the new chunk starts with a checkpoint that names the snapshot. No action is
//!    applied between steps 1 and 2, so the snapshot is exactly the state at that checkpoint: a ground
//!    to replay from.
//! 3. Chunks before the ground are drained and removed. The log makes all appended records durable
//!    before it removes anything, so the ground is on stable storage by then. The oldest chunks are
//!    removed first, and replay skips those that are left when a crash cut the removal short (see
//!    [`State`]).
//! 4. The store waits for these removals.
//! 5. Only now other snapshots are removed, and only if no chunk before the ground is left: an archiver
//!    may keep one. Then every checkpoint in the log is at the ground or after it, and names the
//!    snapshot of the ground. So replay never finds the name of a removed snapshot.
//!
//! Opening ends with steps 3 to 5, which finishes what a crash interrupted. Removals of an earlier
//! process need no sync here, because opening a log syncs its directory.

use std::path::{Path, PathBuf};

use chunked_wal::{ChunkedWal, Config, Flush, RecoveryReport, StateMachine};

use crate::import::Acknowledge;
use crate::record::{Action, Kv, Map};
use crate::snapshot::SnapshotId;
use crate::state::State;
use crate::{Outcome, snapshot};

/// How many closed chunks make [`Store::snapshot_if_due`] take a snapshot.
const CLOSED_CHUNKS_MAX: usize = 8;

/// A durable map.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    wal: ChunkedWal<Kv>,
    state: State,
}

/// What to do if there is no store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Missing {
    Create,
    Fail,
}

/// The result of taking a snapshot.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The size of its file; `None` if an earlier snapshot is still the whole state.
    pub(crate) bytes: Option<u64>,
    pub(crate) chunks_removed: usize,
}

impl Store {
    /// Opens the store in `dir`, or makes it: replays its log, and finishes what a crash interrupted.
    pub(crate) fn open(dir: &Path, chunk_max_size: u64, missing: Missing) -> Outcome<Self> {
        let mut config = Config::new(dir.join("log"));
        config.chunk_max_size = chunk_max_size;
        let mut options = ChunkedWal::<Kv>::options(config);
        // A log is older than its first snapshot: snapshots without a log must not look like a new
        // store.
        if missing == Missing::Fail || !snapshot::list(dir)?.is_empty() {
            options = options.must_exist();
        }
        let mut state = State::before_replay(dir);
        let wal = options.open(&mut state)?;
        if wal.recovery().chunks == 0 {
            state.start_new();
        }
        if !state.is_grounded() {
            let message = "the log ends before what its snapshots cover: its newest chunks are missing";
            return Err(format!("'{}': {message}; restore them from a copy", dir.display()).into());
        }
        let mut store = Store { dir: dir.to_owned(), wal, state };
        store.remove_superfluous()?;
        Ok(store)
    }

    /// Appends an action and applies it. The action is durable after the next flush or sync.
    pub(crate) fn append(&mut self, action: Action) -> Outcome<()> {
        // Rotates when the chunk is full; the new chunk starts with `State::checkpoint`.
        self.wal.append_and_apply(action, &mut self.state)?;
        Ok(())
    }

    /// Starts to make everything appended durable, without waiting; `acknowledge` gets the result.
    pub(crate) fn flush(&mut self, acknowledge: Acknowledge) -> Outcome<()> {
        Ok(self.wal.flush(Flush::Sync, Some(acknowledge))?)
    }

    /// Makes everything appended durable, and waits for that.
    pub(crate) fn sync(&mut self) -> Outcome<()> {
        Ok(self.wal.sync()?)
    }

    /// Takes a snapshot, and removes the chunks and snapshots that it makes unneeded. The steps are
    /// described at the top of this file.
    pub(crate) fn snapshot(&mut self) -> Outcome<Snapshot> {
        let id = SnapshotId { applied: self.state.applied() };
        let mut bytes = None;
        if !self.state.checkpoint().is_ground() {
            bytes = Some(snapshot::write(&self.dir, id, self.state.map())?);
            let mut ground = self.state.checkpoint();
            ground.snapshot = Some(id);
            self.wal.close_open_chunk_with(ground)?;
            // Not before: if the rotation fails, no chunk may be removed because of a checkpoint that
            // was never written.
            self.state.snapshot_is_named(id);
        }
        Ok(Snapshot { bytes, chunks_removed: self.remove_superfluous()? })
    }

    /// Takes a snapshot if the log has grown long.
    pub(crate) fn snapshot_if_due(&mut self) -> Outcome<()> {
        let closed = self.closed_chunks();
        if closed >= CLOSED_CHUNKS_MAX && closed - self.chunks_held() >= CLOSED_CHUNKS_MAX {
            self.snapshot()?;
        }
        Ok(())
    }

    /// The closed chunks that the newest snapshot covers, and that somebody else keeps: an archiver, for
    /// example.
    pub(crate) fn chunks_held(&self) -> usize {
        let covered = self.state.snapshot().map_or(0, |id| id.applied);
        let chunks = self.wal.closed_chunk_stats();
        chunks.iter().take_while(|chunk| chunk.checkpoint.applied <= covered).count()
    }

    /// Removes the chunks that the newest snapshot covers, and then older snapshots, once no chunk is
    /// left that could start with the name of one. Returns the number of removed chunks.
    pub(crate) fn remove_superfluous(&mut self) -> Outcome<usize> {
        let snapshot = self.state.snapshot();
        let covered = snapshot.map_or(0, |id| id.applied);
        // A closed chunk's checkpoint is the state after its last record. If the snapshot covers that
        // state, the chunk may go; the first chunk that stays starts with the ground.
        let chunks = self.wal.drain_closed_chunks_while(|closing| closing.applied <= covered);
        let count = chunks.len();
        self.wal.remove_chunks(chunks)?;
        // If a chunk could not be removed, this fails, and the snapshots stay, too.
        self.wal.wait_idle()?;
        if self.chunks_held() == 0 {
            snapshot::remove_all_but(&self.dir, snapshot)?;
        }
        Ok(count)
    }

    /// Makes everything durable and releases the directory.
    pub(crate) fn close(self) -> Outcome<()> {
        Ok(self.wal.close()?)
    }

    pub(crate) fn map(&self) -> &Map {
        self.state.map()
    }

    /// Returns the number of actions applied since the store was made.
    pub(crate) fn applied(&self) -> u64 {
        self.state.applied()
    }

    /// Returns the report of the opening.
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
