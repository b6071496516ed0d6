//! The network of a cluster in one process: a call of the other node's raft, or an error if it is down.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Cursor;
use std::sync::{Arc, Mutex};

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::{SnapshotOf, VoteOf};
use openraft::{BasicNode, OptionalSend};

use crate::common::Texts;
use crate::machine::Machine;

pub(crate) type Raft = openraft::Raft<Texts, Machine>;

/// The nodes that are up.
#[derive(Clone, Default)]
pub(crate) struct Network {
    nodes: Arc<Mutex<BTreeMap<u64, Raft>>>,
}

impl Network {
    pub(crate) fn connect(&self, id: u64, raft: Raft) {
        self.nodes.lock().unwrap().insert(id, raft);
    }

    pub(crate) fn disconnect(&self, id: u64) {
        self.nodes.lock().unwrap().remove(&id);
    }
}

/// The way to one node.
pub(crate) struct Connection {
    network: Network,
    target: u64,
}

impl Connection {
    fn raft(&self) -> Result<Raft, Unreachable<Texts>> {
        let raft = self.network.nodes.lock().unwrap().get(&self.target).cloned();
        raft.ok_or_else(|| Unreachable::from_string(format!("node {} is down", self.target)))
    }
}

impl RaftNetworkFactory<Texts> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, _: &BasicNode) -> Connection {
        Connection { network: self.clone(), target }
    }
}

impl RaftNetworkV2<Texts> for Connection {
    type SnapshotData = Cursor<Vec<u8>>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Texts>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Texts>, RPCError<Texts>> {
        let answer = self.raft()?.append_entries(request).await;
        answer.map_err(|e| RPCError::Unreachable(Unreachable::new(&e)))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Texts>,
        _: RPCOption,
    ) -> Result<VoteResponse<Texts>, RPCError<Texts>> {
        let answer = self.raft()?.vote(request).await;
        answer.map_err(|e| RPCError::Unreachable(Unreachable::new(&e)))
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Texts>,
        snapshot: SnapshotOf<Texts, Cursor<Vec<u8>>>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Texts>, StreamingError<Texts>> {
        let answer = self.raft()?.install_full_snapshot(vote, snapshot).await;
        answer.map_err(|e| StreamingError::Unreachable(Unreachable::new(&e)))
    }
}
