//! The driver: servers, clients, a killer, and the final check.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use openraft::BasicNode;

use crate::client::Client;
use crate::process::Process;
use crate::report::Report;
use crate::types::{Map, NODES, NodeId, Status};
use crate::{Outcome, address, killer};

const CLIENTS: u64 = 8;

/// Runs a cluster for `time` and a little longer; an error if a write was lost or nodes disagree.
pub(crate) async fn run(time: Duration) -> Outcome<()> {
    // Dropped at the end and on Ctrl-C: then the servers end, and the directory is removed.
    let dir = tempfile::tempdir()?;
    tokio::select! {
        done = run_in(dir.path(), time) => done,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    }
}

async fn run_in(cluster: &Path, time: Duration) -> Outcome<()> {
    let http = reqwest::Client::new();
    let mut nodes = Vec::new();
    for id in 1..=NODES {
        nodes.push(Process::start(id, cluster, &http).await?);
    }
    initialize(cluster, &http).await?;
    killer::leader(&nodes).await?;
    println!("{NODES} nodes, {CLIENTS} clients, {} s", time.as_secs());

    let stop = Arc::new(AtomicBool::new(false));
    let client =
        |number| Client { number, cluster: cluster.to_owned(), http: http.clone(), stop: stop.clone() };
    let clients: Vec<_> = (0..CLIENTS).map(|number| tokio::spawn(client(number).run())).collect();
    let killed = killer::run(&mut nodes, cluster, &http, Instant::now() + time).await?;
    stop.store(true, Relaxed);
    let mut written = Vec::new();
    for client in clients {
        written.push(client.await?);
    }

    let report = Report::new(written, killed, &states(&nodes).await?);
    println!("{report}");
    if report.is_good() { Ok(()) } else { Err("the cluster has lost acknowledged writes".into()) }
}

async fn initialize(cluster: &Path, http: &reqwest::Client) -> Outcome<()> {
    let member = |id| (id, BasicNode::new(format!("node-{id}")));
    let members: BTreeMap<NodeId, BasicNode> = (1..=NODES).map(member).collect();
    let url = address::url(cluster, 1, "/initialize")?;
    let answer: Result<(), serde::de::IgnoredAny> =
        http.post(url).json(&members).send().await?.json().await?;
    answer.map_err(|_| "the cluster refuses to start".into())
}

/// Returns each node's state, once all nodes have applied everything.
async fn states(nodes: &[Process]) -> Outcome<Vec<(Status, Map)>> {
    let (_, leader) = killer::leader(nodes).await?;
    let mut states = Vec::new();
    for node in nodes {
        node.wait_applied(leader.last_log.unwrap_or(0)).await?;
        states.push((node.status().await?, node.get("/map").await?));
    }
    Ok(states)
}
