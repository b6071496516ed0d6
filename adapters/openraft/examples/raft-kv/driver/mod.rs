//! The driver: servers, clients, faults, and the final check.
//!
//! ```text
//! driver ──┬─ clients ── /write, /read ──► servers ◄── proxies ──► servers
//!          │     └─► histories ─► check, at the end
//!          └─ faults: processes, proxies, disks
//! ```
//!
//! | file | |
//! | --- | --- |
//! | `cluster.rs`, `process.rs`, `node.rs` | the servers, as the driver starts, kills and pauses them |
//! | `network.rs` | proxies between the servers, which can be cut |
//! | `disk/` | the disks of nodes 2 and 3, which can be full and lose power; node 1 is on real files |
//! | `faults.rs` | which fault strikes which server, and when |
//! | `client.rs`, `history.rs`, `check.rs` | writes and reads, and whether they are linearizable |
//! | `report.rs` | the table at the end |

mod check;
mod client;
mod cluster;
mod disk;
mod faults;
mod history;
mod network;
pub(crate) mod node;
mod process;
mod report;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;

use self::client::Client;
use self::cluster::{Cluster, Storing};
use self::faults::{Fault, Faults, Plan, Struck, Unsynced};
use self::history::{ClientId, Histories, History};
use self::report::Report;
use crate::Outcome;
use crate::server::addresses::Addresses;
use crate::server::types::NodeId;

pub(crate) use self::cluster::Acknowledges;

/// The number of servers; ids start at 1.
pub(crate) const NODES: NodeId = 3;

const CLIENTS: u64 = 4;

/// A run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// The least time; a run ends once each fault has happened.
    pub(crate) time: Duration,
    pub(crate) seed: u64,
    /// If early, all nodes are on such disks, and all lose power: the check must fail.
    pub(crate) acknowledges: Acknowledges,
}

impl Run {
    fn storing(self) -> Storing {
        let acknowledges = self.acknowledges;
        match acknowledges {
            // Small, so that chunks are removed in a run of some seconds.
            Acknowledges::Synced => {
                Storing { acknowledges, on_files: 1, chunk_max_size: 64 << 10, snapshot_after: 200 }
            }
            // One chunk and no snapshot, because such a disk damages these too, and then a server refuses
            // to start, before the check has seen anything.
            Acknowledges::Early => {
                Storing { acknowledges, on_files: 0, chunk_max_size: 64 << 20, snapshot_after: 1 << 40 }
            }
        }
    }

    fn plan(self) -> Plan {
        match self.acknowledges {
            Acknowledges::Synced => Plan {
                kinds: Fault::ALL.to_vec(),
                unsynced: Unsynced::Drawn,
                well: Duration::from_millis(250),
            },
            Acknowledges::Early => Plan {
                kinds: vec![Fault::Blackout],
                unsynced: Unsynced::Lost,
                // Long enough for some writes to be acknowledged.
                well: Duration::from_secs(1),
            },
        }
    }
}

/// Runs a cluster; an error if a history is not linearizable, nodes disagree, or a node ends by itself.
/// Then the cluster's directory is kept.
pub(crate) async fn run(run: Run) -> Outcome<()> {
    let dir = tempfile::Builder::new().prefix("raft-kv-").tempdir()?;
    // Dropping the run ends the servers.
    let done = tokio::select! {
        done = run_in(dir.path(), run) => done,
        _ = tokio::signal::ctrl_c() => return Err("interrupted".into()),
    };
    done.map_err(|error| {
        let kept = dir.keep();
        let (seed, kept) = (run.seed, kept.display());
        format!("{error}\n  seed {seed}; the histories and the servers' error output are in {kept}").into()
    })
}

async fn run_in(dir: &Path, run: Run) -> Outcome<()> {
    let mut rng = Rng::with_seed(run.seed);
    let mut cluster = Cluster::start(dir, run.storing()).await?;
    println!("{NODES} nodes, {CLIENTS} clients, seed {}", run.seed);
    let histories = Arc::new(Histories::new());
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(number, dir, &histories).run(rng.fork(), stop.clone()));
    }
    let struck = Faults::new(run.plan(), rng).run(&mut cluster, run.time).await;
    stop.store(true, Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let checked = match struck {
        Ok(struck) => conclude(&mut cluster, struck, &histories, run.seed).await,
        Err(error) => Err(error),
    };
    if checked.is_err() {
        std::fs::write(dir.join("histories"), histories.to_string())?;
    }
    checked
}

fn client(number: u64, dir: &Path, histories: &Arc<Histories>) -> Client {
    Client {
        id: ClientId { number, life: 0 },
        addresses: Addresses::new(dir),
        http: reqwest::Client::new(),
        histories: histories.clone(),
        leader: 1,
    }
}

/// Reads each key on each node once more, checks everything, and prints the report.
async fn conclude(cluster: &mut Cluster, struck: Struck, histories: &Histories, seed: u64) -> Outcome<()> {
    let nodes = cluster.states().await?;
    for (number, (_, map)) in (CLIENTS..).zip(&nodes) {
        histories.read_all(ClientId { number, life: 0 }, map)?;
    }
    let (all, totals) = histories.all();
    let keys = all.len();
    let refused = tokio::task::spawn_blocking(|| refused(all)).await??;
    let report = Report { seed, struck, totals, keys, refused, nodes };
    println!("\n{report}");
    report.complaint().map_or(Ok(()), |complaint| Err(complaint.into()))
}

/// Returns the keys whose histories are not linearizable.
fn refused(histories: Vec<History>) -> Result<Vec<usize>, String> {
    let mut refused = Vec::new();
    for (key, history) in histories.iter().enumerate() {
        if !check::is_linearizable(&history.events)? {
            refused.push(key);
        }
    }
    Ok(refused)
}
