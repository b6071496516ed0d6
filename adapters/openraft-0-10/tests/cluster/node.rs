//! A key-value server, as a program has it on its own machine: raft, its log on a disk, the state in
//! memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chunked_wal::Config;
use chunked_wal_openraft_0_10::LogStore;
use openraft::{ReadPolicy, SnapshotPolicy};

use crate::common::{Texts, tiny};
use crate::machine::Machine;
use crate::network::{Network, Raft};

pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    dir: PathBuf,
    network: Network,
    policy: SnapshotPolicy,
}

impl Node {
    /// Starts a server on a directory, with the state of its last snapshot. The rest of the state comes
    /// from the log: openraft applies what was committed, before it returns the `Raft`.
    pub(crate) async fn start(
        id: u64,
        dir: PathBuf,
        machine: Machine,
        network: &Network,
        policy: SnapshotPolicy,
    ) -> Self {
        let config = openraft::Config {
            heartbeat_interval: 50,
            election_timeout_min: 300,
            election_timeout_max: 600,
            snapshot_policy: policy.clone(),
            max_in_snapshot_log_to_keep: 5,
            ..openraft::Config::default()
        };
        let config = Arc::new(config.validate().unwrap());
        let log_store = LogStore::<Texts>::open(tiny(Config::new(&dir))).unwrap();
        let network = network.clone();
        let raft = Raft::new(id, config, network.clone(), log_store, machine.clone()).await.unwrap();
        Node { id, raft, machine, dir, network, policy }
    }

    /// Lets the other nodes reach this one.
    pub(crate) fn connect(&self) {
        self.network.connect(self.id, self.raft.clone());
    }

    pub(crate) async fn stop(self) -> Stopped {
        self.network.disconnect(self.id);
        self.raft.shutdown().await.unwrap();
        Stopped(self)
    }

    /// The value of a key, after all writes that were answered before.
    pub(crate) async fn read(&self, key: &str) -> Result<Option<String>, String> {
        self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await.map_err(|e| e.to_string())?;
        Ok(self.machine.get(key))
    }

    pub(crate) async fn write(&self, key: &str, value: &str) -> Result<u64, String> {
        let write = self.raft.client_write(format!("{key}={value}"));
        let written = tokio::time::timeout(Duration::from_secs(5), write).await.map_err(|e| e.to_string())?;
        written.map(|written| written.log_id.index).map_err(|e| e.to_string())
    }
}

/// A server that is not running.
pub(crate) struct Stopped(Node);

impl Stopped {
    /// Starts again on what was on the disk, without a connection.
    pub(crate) async fn start(self) -> Node {
        let Node { id, machine, dir, network, policy, .. } = self.0;
        Node::start(id, dir, machine.restarted(), &network, policy).await
    }
}
