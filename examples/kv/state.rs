//! The state machine: a map, and where in the log it stands.

use std::io;
use std::path::{Path, PathBuf};

use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord};

use crate::record::{Checkpoint, Kv, Map};
use crate::snapshot;
use crate::snapshot::SnapshotId;

/// What the log is replayed into.
#[derive(Debug)]
pub(crate) struct State {
    /// Where the snapshots are.
    dir: PathBuf,
    /// Whether replay has met a checkpoint that it can stand on; `map` means nothing before.
    grounded: bool,
    map: Map,
    applied: u64,
    /// The newest snapshot that a checkpoint in the log names.
    snapshot: Option<SnapshotId>,
}

impl State {
    /// A state to replay a log into, whose snapshots are in `dir`.
    pub(crate) fn before_replay(dir: &Path) -> Self {
        State { dir: dir.to_owned(), grounded: false, map: Map::new(), applied: 0, snapshot: None }
    }

    /// Ends a replay that met no chunk: the log is new, and the empty map is its state.
    pub(crate) fn begin_new(&mut self) {
        self.grounded = true;
    }

    /// Whether all that was replayed is in the map.
    pub(crate) fn is_grounded(&self) -> bool {
        self.grounded
    }

    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// Actions applied since the log began.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    pub(crate) fn snapshot(&self) -> Option<SnapshotId> {
        self.snapshot
    }

    /// Notes that a checkpoint in the log names this snapshot from now on.
    pub(crate) fn snapshot_is_named(&mut self, id: SnapshotId) {
        self.snapshot = Some(id);
    }

    /// Usually the first checkpoint of the oldest chunk is the ground: everything before it is in the
    /// snapshot that it names. Later ones bring nothing new; they are compared.
    ///
    /// A crash in the middle of a removal leaves, in front of the ground, some chunks that were to go
    /// too: they begin with a checkpoint whose map nobody has any more, and nobody needs, because the
    /// snapshot that let them go covers all they say. They are counted and passed over.
    fn apply_checkpoint(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        if self.grounded && self.applied != checkpoint.applied {
            let (found, expected) = (checkpoint.applied, self.applied);
            let message = format!("a checkpoint tells of {found} actions where {expected} were replayed");
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
