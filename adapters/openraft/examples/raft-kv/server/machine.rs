//! The state machine: a map in memory. Its snapshots are durable; later entries are applied again from
//! the log when the server starts, up to the commit that the log has kept.

use std::io;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use chunked_wal::storage::Storage;
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot,
    StorageError, StorageIOError, StoredMembership,
};
use parking_lot::RwLock;

use super::snapshot;
use super::snapshot::{Meta, Snapshots};
use super::types::{Kv, Map, NodeId};

type Failed = StorageError<NodeId>;

/// A server's state. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    state: Arc<RwLock<State>>,
    snapshots: Arc<Snapshots>,
}

#[derive(Debug, Default)]
struct State {
    map: Map,
    applied: Option<LogId<NodeId>>,
    membership: StoredMembership<NodeId, BasicNode>,
}

impl State {
    fn of(meta: &Meta, map: Map) -> Self {
        State { map, applied: meta.last_log_id, membership: meta.last_membership.clone() }
    }

    fn apply(&mut self, entry: Entry<Kv>) {
        self.applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(write) => drop(self.map.insert(write.key, write.value)),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
        }
    }
}

fn read_failed(error: io::Error) -> Failed {
    StorageIOError::read_snapshot(None, AnyError::new(&error)).into()
}

fn write_failed(error: io::Error) -> Failed {
    StorageIOError::write_snapshot(None, AnyError::new(&error)).into()
}

impl Machine {
    /// Returns the state of the newest snapshot in `dir`.
    pub(crate) fn open(storage: Arc<dyn Storage>, dir: &Path) -> io::Result<Self> {
        let (snapshots, newest) = Snapshots::open(storage, dir)?;
        let state = newest.map(|(meta, map)| State::of(&meta, map)).unwrap_or_default();
        Ok(Machine { state: Arc::new(RwLock::new(state)), snapshots: Arc::new(snapshots) })
    }

    /// Returns a key's value.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        self.state.read().map.get(key).cloned()
    }

    /// Returns the whole map.
    pub(crate) fn map(&self) -> Map {
        self.state.read().map.clone()
    }
}

impl RaftSnapshotBuilder<Kv> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Kv>, Failed> {
        let (meta, map) = {
            let state = self.state.read();
            let snapshot_id = state.applied.map_or_else(|| "empty".to_string(), |id| id.to_string());
            let last_membership = state.membership.clone();
            (Meta { last_log_id: state.applied, last_membership, snapshot_id }, state.map.clone())
        };
        let bytes = snapshot::encode(&map).map_err(write_failed)?;
        self.snapshots.save(&meta, map).await.map_err(write_failed)?;
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}

impl RaftStateMachine<Kv> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<NodeId>>, StoredMembership<NodeId, BasicNode>), Failed> {
        let state = self.state.read();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, Failed>
    where
        I: IntoIterator<Item = Entry<Kv>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut state = self.state.write();
        Ok(entries.into_iter().map(|entry| state.apply(entry)).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, Failed> {
        Ok(Box::default())
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Box<Cursor<Vec<u8>>>) -> Result<(), Failed> {
        let map = snapshot::decode(snapshot.get_ref()).map_err(read_failed)?;
        // The snapshot must be durable before it is used, because raft then purges the log before it.
        self.snapshots.save(meta, map.clone()).await.map_err(write_failed)?;
        *self.state.write() = State::of(meta, map);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Kv>>, Failed> {
        let Some((meta, map)) = self.snapshots.load().await.map_err(read_failed)? else { return Ok(None) };
        let bytes = snapshot::encode(&map).map_err(read_failed)?;
        Ok(Some(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }))
    }
}
