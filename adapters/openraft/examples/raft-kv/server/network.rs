//! Between servers: openraft's messages as JSON over HTTP.

use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, RaftNetwork, RaftNetworkFactory};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::addresses::Addresses;
use super::types::{Kv, NodeId};

/// Makes a connection to each server.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// The other servers, as this one reaches them.
    pub(crate) peers: Addresses,
    pub(crate) http: reqwest::Client,
}

/// The connection to one server.
#[derive(Debug)]
pub(crate) struct Way {
    network: Network,
    target: NodeId,
}

impl RaftNetworkFactory<Kv> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: NodeId, _: &BasicNode) -> Way {
        Way { network: self.clone(), target }
    }
}

type Rpc<T, E = openraft::error::Infallible> = Result<T, RPCError<NodeId, BasicNode, RaftError<NodeId, E>>>;

impl Way {
    async fn send<T, E>(&self, path: &str, message: &impl Serialize, option: RPCOption) -> Rpc<T, E>
    where
        T: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let Network { peers, http } = &self.network;
        let url = peers.url(self.target, path).map_err(|e| Unreachable::new(&e))?;
        let sent = http.post(url).json(message).timeout(option.hard_ttl()).send().await;
        let answered =
            sent.map_err(|e| if e.is_connect() { Unreachable::new(&e).into() } else { lost(e) })?;
        let result: Result<T, RaftError<NodeId, E>> = answered.json().await.map_err(lost)?;
        result.map_err(|e| RemoteError::new(self.target, e).into())
    }
}

fn lost<E: std::error::Error>(error: reqwest::Error) -> RPCError<NodeId, BasicNode, RaftError<NodeId, E>> {
    NetworkError::new(&error).into()
}

impl RaftNetwork<Kv> for Way {
    async fn append_entries(
        &mut self,
        message: AppendEntriesRequest<Kv>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<NodeId>> {
        self.send("/raft/append", &message, option).await
    }

    async fn install_snapshot(
        &mut self,
        message: InstallSnapshotRequest<Kv>,
        option: RPCOption,
    ) -> Rpc<InstallSnapshotResponse<NodeId>, InstallSnapshotError> {
        self.send("/raft/snapshot", &message, option).await
    }

    async fn vote(&mut self, message: VoteRequest<NodeId>, option: RPCOption) -> Rpc<VoteResponse<NodeId>> {
        self.send("/raft/vote", &message, option).await
    }
}
