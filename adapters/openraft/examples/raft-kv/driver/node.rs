//! A server as the driver starts it: which disk it is on, and when it ends.

use std::path::PathBuf;
use std::sync::Arc;

use chunked_wal::storage::{DiskStorage, Storage};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::driver::disk::RemoteDisk;
use crate::driver::network::peers_of;
use crate::server;
use crate::server::addresses::Addresses;
use crate::server::types::NodeId;

/// The variable with a [`Start`], as JSON: the process is a server.
const VARIABLE: &str = "RAFT_KV_NODE";

/// What a server needs to know from the driver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) id: NodeId,
    pub(crate) cluster: PathBuf,
    /// The socket of a disk in the driver; `None` for real files.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) chunk_max_size: u64,
    pub(crate) snapshot_after: u64,
}

impl Start {
    /// Returns what the driver has passed to this process, if it is a server.
    pub(crate) fn given() -> Outcome<Option<Self>> {
        let Ok(json) = std::env::var(VARIABLE) else { return Ok(None) };
        Ok(Some(serde_json::from_str(&json)?))
    }

    /// Returns the variable and its value for a process that is to be this server.
    pub(crate) fn variable(&self) -> Outcome<(&'static str, String)> {
        Ok((VARIABLE, serde_json::to_string(self)?))
    }
}

/// Serves until standard input ends, which happens when the driver is gone, or until raft stops.
pub(crate) async fn run(start: Start) -> Outcome<()> {
    let Start { id, cluster, socket, chunk_max_size, snapshot_after } = start;
    let (storage, dir): (Arc<dyn Storage>, PathBuf) = match socket {
        Some(socket) => (Arc::new(RemoteDisk::new(socket)), PathBuf::from("/node")),
        None => (Arc::new(DiskStorage), cluster.join(format!("node-{id}"))),
    };
    let addresses = Addresses::new(&cluster);
    let peers = Addresses::new(&peers_of(&cluster, id));
    let settings = server::Settings { id, addresses, peers, dir, storage, chunk_max_size, snapshot_after };
    tokio::select! {
        ended = server::run(settings) => ended,
        () = driver_gone() => Ok(()),
    }
}

/// Resolves when standard input ends. Its own thread reads it, because the read may never return.
async fn driver_gone() {
    let (gone, is_gone) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ended = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(gone);
    });
    let _dropped = is_gone.await;
}
