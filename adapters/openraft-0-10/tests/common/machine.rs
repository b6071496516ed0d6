//! A key-value state machine in memory, for commands like `key=value`, with its last snapshot.

use std::collections::BTreeMap;
use std::io;
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};

use crate::common::Texts;

type Data = Cursor<Vec<u8>>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    applied: Option<LogIdOf<Texts>>,
    membership: StoredMembershipOf<Texts>,
    values: BTreeMap<String, String>,
    snapshot: Option<(SnapshotMetaOf<Texts>, Vec<u8>)>,
}

#[allow(dead_code, reason = "for the cluster")]
impl Machine {
    /// What a server has after a restart: its snapshot, which would be on its disk.
    pub(crate) fn restarted(&self) -> Self {
        let snapshot = self.state().snapshot.clone();
        Machine { state: Arc::new(Mutex::new(State { snapshot, ..State::default() })) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        self.state().values.get(key).cloned()
    }

    pub(crate) fn has_snapshot(&self) -> bool {
        self.state().snapshot.is_some()
    }
}

impl Machine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    /// Applies a command and returns the value that it replaces.
    fn set(&mut self, command: &str) -> String {
        let (key, value) = command.split_once('=').unwrap_or((command, ""));
        self.values.insert(key.to_string(), value.to_string()).unwrap_or_default()
    }
}

impl RaftSnapshotBuilder<Texts> for Machine {
    type SnapshotData = Data;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Texts, Data>, io::Error> {
        let mut state = self.state();
        let meta =
            SnapshotMetaOf::<Texts> { last_log_id: state.applied, last_membership: state.membership.clone() };
        let bytes = serde_json::to_vec(&state.values)?;
        state.snapshot = Some((meta.clone(), bytes.clone()));
        Ok(SnapshotOf::<Texts, Data> { meta, snapshot: Cursor::new(bytes) })
    }
}

impl RaftStateMachine<Texts> for Machine {
    type SnapshotData = Data;
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogIdOf<Texts>>, StoredMembershipOf<Texts>), io::Error> {
        let state = self.state();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Texts>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let mut state = self.state();
            state.applied = Some(entry.log_id);
            let response = match entry.payload {
                EntryPayload::Normal(command) => state.set(&command),
                EntryPayload::Membership(membership) => {
                    state.membership = StoredMembershipOf::<Texts>::new(Some(entry.log_id), membership);
                    String::new()
                }
                EntryPayload::Blank => String::new(),
            };
            if let Some(responder) = responder {
                responder.send(response);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Texts>, data: Data) -> Result<(), io::Error> {
        let values = serde_json::from_slice(data.get_ref())?;
        let mut state = self.state();
        state.applied = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        state.values = values;
        state.snapshot = Some((meta.clone(), data.into_inner()));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<Texts, Data>>, io::Error> {
        let snapshot = self.state().snapshot.clone();
        Ok(snapshot.map(|(meta, bytes)| SnapshotOf::<Texts, Data> { meta, snapshot: Cursor::new(bytes) }))
    }
}
