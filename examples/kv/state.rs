//! The state machine: a map, and its position in the log.

use std::io;
use std::path::{Path, PathBuf};

use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord};

use crate::record::{Checkpoint, Kv, Map};
use crate::snapshot;
use crate::snapshot::SnapshotId;

/// The state that the log is replayed into.
#[derive(Debug)]
pub(crate) struct State {
    /// The directory of the snapshots.
    dir: PathBuf,
    /// Whether replay has found a checkpoint to start from; before that, `map` means nothing.
    grounded: bool,
    map: Map,
    applied: u64,
    /// The newest snapshot that a checkpoint in the log names.
    snapshot: Option<SnapshotId>,
}

impl State {
    /// Makes a state to replay a log into, with its snapshots in `dir`.
    pub(crate) fn before_replay(dir: &Path) -> Self {
        State { dir: dir.to_owned(), grounded: false, map: Map::new(), applied: 0, snapshot: None }
    }

    /// Ends a replay without any chunk: the log is new, and the empty map is its state.
    pub(crate) fn start_new(&mut self) {
        self.grounded = true;
    }

    /// Whether all replayed actions are in the map.
    pub(crate) fn is_grounded(&self) -> bool {
        self.grounded
    }

    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// Returns the number of actions applied since the log was new.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    pub(crate) fn snapshot(&self) -> Option<SnapshotId> {
        self.snapshot
    }

    /// Records that a checkpoint in the log names this snapshot from now on.
    pub(crate) fn snapshot_is_named(&mut self, id: SnapshotId) {
        self.snapshot = Some(id);
    }

    /// Usually the first checkpoint of the oldest chunk is the ground: everything before it is in the
    /// snapshot that it names. Later checkpoints add nothing; they are compared.
    ///
    /// A crash in the middle of a removal leaves some chunks before the ground that were to be removed,
    /// too. They start with a checkpoint whose map no longer exists. That map is not needed, because
    /// the snapshot of the ground covers all of these chunks. They are counted and skipped.
    fn apply_checkpoint(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        if self.grounded && self.applied != checkpoint.applied {
            let (found, expected) = (checkpoint.applied, self.applied);
            let message = format!("a checkpoint counts {found} actions where {expected} were replayed");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        if !self.grounded && checkpoint.is_ground() {
            if let Some(id) = checkpoint.snapshot {
                self.map = snapshot::load(&self.dir, id)?;
            }
            self.grounded = true;
        }
        self.applied = checkpoint.applied;
        self.snapshot = checkpoint.snapshot;
        Ok(())
    }
}

impl StateMachine<Kv> for State {
    type Error = io::Error;

    fn apply(&mut self, record: &WalRecord<Kv>, _: ChunkId, _: Segment) -> io::Result<()> {
        match record {
            WalRecord::Checkpoint(checkpoint) => self.apply_checkpoint(checkpoint)?,
            WalRecord::Action(action) => {
                if self.grounded {
                    action.apply_to(&mut self.map);
                }
                self.applied += 1;
            }
        }
        Ok(())
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { applied: self.applied, snapshot: self.snapshot }
    }
}
