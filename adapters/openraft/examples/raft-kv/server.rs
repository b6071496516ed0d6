//! A server: raft on a `LogStore`, with an HTTP interface.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use chunked_wal::Config;
use chunked_wal_openraft::LogStore;
use openraft::error::{InitializeError, InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, Raft, ServerState, SnapshotPolicy};
use tokio::net::TcpListener;

use crate::address::node_dir;
use crate::machine::Machine;
use crate::network::Network;
use crate::types::{Answer, Kv, Map, NodeId, Status, Write};
use crate::{Outcome, address};

/// Small, so that chunks are removed in a run of some seconds.
const CHUNK_MAX_SIZE: u64 = 256 * 1024;

#[derive(Clone)]
struct Server {
    raft: Raft<Kv>,
    machine: Machine,
}

/// Serves until standard input ends, which happens when the starter is gone.
pub(crate) async fn run(id: NodeId, cluster: &Path) -> Outcome<()> {
    let dir = node_dir(cluster, id);
    let machine = Machine::open(&dir)?;
    let mut config = Config::new(dir.join("log"));
    config.chunk_max_size = CHUNK_MAX_SIZE;
    let log = LogStore::<Kv>::open(config)?;
    let network = Network { cluster: cluster.to_owned(), http: reqwest::Client::new() };
    let raft = Raft::new(id, Arc::new(raft_config()?), network, log, machine.clone()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    address::publish(cluster, id, &listener.local_addr()?.to_string())?;
    let serving = axum::serve(listener, router(Server { raft, machine }));
    tokio::select! {
        served = serving => Ok(served?),
        _ = starter_gone() => Ok(()),
    }
}

/// Resolves when standard input ends. Its own thread reads it, because the read may never return.
async fn starter_gone() {
    let (gone, is_gone) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ended = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(gone);
    });
    let _dropped = is_gone.await;
}

fn raft_config() -> Outcome<openraft::Config> {
    let config = openraft::Config {
        heartbeat_interval: 100,
        election_timeout_min: 400,
        election_timeout_max: 800,
        install_snapshot_timeout: 3000,
        snapshot_max_chunk_size: 256 * 1024,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(2000),
        max_in_snapshot_log_to_keep: 500,
        ..openraft::Config::default()
    };
    Ok(config.validate()?)
}

fn router(server: Server) -> Router {
    Router::new()
        .route("/raft/append", post(append))
        .route("/raft/vote", post(vote))
        .route("/raft/snapshot", post(snapshot))
        .route("/initialize", post(initialize))
        .route("/write", post(write))
        .route("/status", get(status))
        .route("/map", get(map))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(server)
}

async fn append(
    State(server): State<Server>,
    Json(message): Json<AppendEntriesRequest<Kv>>,
) -> Json<Result<AppendEntriesResponse<NodeId>, RaftError<NodeId>>> {
    Json(server.raft.append_entries(message).await)
}

async fn vote(
    State(server): State<Server>,
    Json(message): Json<VoteRequest<NodeId>>,
) -> Json<Result<VoteResponse<NodeId>, RaftError<NodeId>>> {
    Json(server.raft.vote(message).await)
}

async fn snapshot(
    State(server): State<Server>,
    Json(message): Json<InstallSnapshotRequest<Kv>>,
) -> Json<Result<InstallSnapshotResponse<NodeId>, RaftError<NodeId, InstallSnapshotError>>> {
    Json(server.raft.install_snapshot(message).await)
}

async fn initialize(
    State(server): State<Server>,
    Json(members): Json<BTreeMap<NodeId, BasicNode>>,
) -> Json<Result<(), RaftError<NodeId, InitializeError<NodeId, BasicNode>>>> {
    Json(server.raft.initialize(members).await)
}

async fn write(State(server): State<Server>, Json(write): Json<Write>) -> Json<Answer> {
    Json(match server.raft.client_write(write).await {
        Ok(_) => Answer::Done,
        Err(error) => match error.forward_to_leader() {
            Some(forward) => Answer::Leader(forward.leader_id),
            None => Answer::Failed(error.to_string()),
        },
    })
}

async fn status(State(server): State<Server>) -> Json<Status> {
    let metrics = server.raft.metrics().borrow().clone();
    Json(Status {
        id: metrics.id,
        leads: metrics.state == ServerState::Leader,
        term: metrics.current_term,
        last_log: metrics.last_log_index,
        applied: metrics.last_applied.map(|id| id.index),
        snapshot: metrics.snapshot.map(|id| id.index),
        purged: metrics.purged.map(|id| id.index),
    })
}

async fn map(State(server): State<Server>) -> Json<Map> {
    Json(server.machine.map())
}
