//! A server: raft on a `LogStore`, with an HTTP interface. Copy this directory to start your own.
//!
//! ```text
//! client ── POST /write, /read ──► server ── Raft ─┬─ LogStore ── chunked-wal ─┬─► Storage
//! other server ── POST /raft/… ──►                 └─ Machine ─── Snapshots ───┘
//! ```
//!
//! | file | |
//! | --- | --- |
//! | `types.rs` | the commands of raft, and the answers to clients |
//! | `machine.rs`, `snapshot.rs` | the state machine, and its snapshots, which are durable |
//! | `network.rs`, `addresses.rs` | messages between servers, and where the servers are |

pub(crate) mod addresses;
mod machine;
mod network;
mod snapshot;
pub(crate) mod types;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use chunked_wal::storage::Storage;
use chunked_wal::{ChunkedWal, Config};
use chunked_wal_openraft::{Limits, LogStore, RaftWal};
use openraft::error::{InitializeError, InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, Raft, ServerState, SnapshotPolicy};
use tokio::net::TcpListener;

use self::addresses::Addresses;
use self::machine::Machine;
use self::network::Network;
use self::types::{Answer, Kv, Map, NodeId, Read, Status, Write};
use crate::Outcome;

/// What a server needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) id: NodeId,
    /// Where this server publishes its address, and where it finds those of the others.
    pub(crate) addresses: Addresses,
    pub(crate) peers: Addresses,
    /// The directory of its log and its snapshots, and the disk that the directory is on.
    pub(crate) dir: PathBuf,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) chunk_max_size: u64,
    /// The number of entries after which a snapshot is made.
    pub(crate) snapshot_after: u64,
}

#[derive(Clone)]
struct Server {
    raft: Raft<Kv>,
    machine: Machine,
}

/// Serves; returns an error when raft stops, which it does after any error of its storage.
pub(crate) async fn run(settings: Settings) -> Outcome<()> {
    let Settings { id, addresses, peers, dir, storage, chunk_max_size, snapshot_after } = settings;
    let machine = Machine::open(storage.clone(), &dir)?;
    let mut config = Config::new(dir.join("log"));
    config.chunk_max_size = chunk_max_size;
    let options = ChunkedWal::<RaftWal<Kv>>::options(config).storage(storage);
    let log = LogStore::open_with(options, Limits::default())?;
    let network = Network { peers, http: reqwest::Client::new() };
    let raft = Raft::new(id, Arc::new(raft_config(snapshot_after)?), network, log, machine.clone()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    addresses.publish(id, &listener.local_addr()?.to_string())?;
    let serving = axum::serve(listener, router(Server { raft: raft.clone(), machine }));
    tokio::select! {
        served = serving => Ok(served?),
        why = stopped(&raft) => Err(why.into()),
    }
}

/// Resolves with the reason when raft has stopped.
async fn stopped(raft: &Raft<Kv>) -> String {
    let mut metrics = raft.metrics();
    match metrics.wait_for(|metrics| metrics.running_state.is_err()).await {
        Ok(metrics) => metrics.running_state.as_ref().err().map(ToString::to_string).unwrap_or_default(),
        Err(_) => "raft has ended".to_string(),
    }
}

fn raft_config(snapshot_after: u64) -> Outcome<openraft::Config> {
    let config = openraft::Config {
        // Short, as in one data centre, so that a leader's failure is over soon.
        heartbeat_interval: 50,
        election_timeout_min: 200,
        election_timeout_max: 400,
        install_snapshot_timeout: 3000,
        snapshot_max_chunk_size: 256 * 1024,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_after),
        max_in_snapshot_log_to_keep: snapshot_after / 4,
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
        .route("/read", post(read))
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

async fn write(State(server): State<Server>, Json(write): Json<Write>) -> Json<Answer<()>> {
    let metrics = server.raft.metrics().borrow().clone();
    if metrics.state != ServerState::Leader {
        return Json(Answer::NotLeader(metrics.current_leader));
    }
    // From here on the entry may be in a log, and no error proves that it never takes effect.
    Json(match server.raft.client_write(write).await {
        Ok(_) => Answer::Done(()),
        Err(error) => Answer::Unknown(error.to_string()),
    })
}

async fn read(State(server): State<Server>, Json(read): Json<Read>) -> Json<Answer<Option<String>>> {
    // A majority confirms that this server still leads, and everything committed so far is applied.
    Json(match server.raft.ensure_linearizable().await {
        Ok(_) => Answer::Done(server.machine.value(&read.key)),
        Err(error) => match error.forward_to_leader() {
            Some(forward) => Answer::NotLeader(forward.leader_id),
            None => Answer::Unknown(error.to_string()),
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
