//! The servers, their disks, and the network between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openraft::BasicNode;
use rustix::process::Signal;

use crate::Outcome;
use crate::driver::NODES;
use crate::driver::disk::Disk;
use crate::driver::network::Network;
use crate::driver::node::Start;
use crate::driver::process::Process;
use crate::server::addresses::Addresses;
use crate::server::types::{Map, NodeId, Status};

/// How long to wait for a new leader.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a store acknowledges what it has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledges {
    /// Once it is durable.
    Synced,
    /// At once.
    Early,
}

/// How the servers store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storing {
    pub(crate) acknowledges: Acknowledges,
    /// The number of nodes, from node 1 on, on real files. They can't lose power.
    pub(crate) on_files: NodeId,
    pub(crate) chunk_max_size: u64,
    pub(crate) snapshot_after: u64,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    dir: PathBuf,
    http: reqwest::Client,
    storing: Storing,
    pub(crate) network: Network,
    nodes: BTreeMap<NodeId, Node>,
}

/// A server, running or not.
#[derive(Debug)]
struct Node {
    process: Option<Process>,
    /// Its disk in the driver; `None` if it is on real files.
    disk: Option<Disk>,
    starts: u64,
}

impl Cluster {
    /// Starts the servers, and waits for a leader.
    pub(crate) async fn start(dir: &Path, storing: Storing) -> Outcome<Self> {
        let node = |id| {
            let disk = (id > storing.on_files).then(Disk::new);
            (id, Node { process: None, disk, starts: 0 })
        };
        let nodes = (1..=NODES).map(node).collect();
        let network = Network::start(dir).await?;
        let mut cluster =
            Cluster { dir: dir.to_owned(), http: reqwest::Client::new(), storing, network, nodes };
        for id in 1..=NODES {
            cluster.start_node(id).await?;
        }
        cluster.initialize().await?;
        cluster.wait_healthy().await?;
        if storing.acknowledges == Acknowledges::Early {
            // Only now, because a cluster whose beginning is lost does not start again.
            cluster.nodes.values().filter_map(|node| node.disk.as_ref()).for_each(Disk::acknowledge_early);
        }
        Ok(cluster)
    }

    async fn initialize(&self) -> Outcome<()> {
        let member = |id| (id, BasicNode::new(format!("node-{id}")));
        let members: BTreeMap<NodeId, BasicNode> = (1..=NODES).map(member).collect();
        let url = Addresses::new(&self.dir).url(1, "/initialize")?;
        let answer: Result<(), serde::de::IgnoredAny> =
            self.http.post(url).json(&members).send().await?.json().await?;
        answer.map_err(|_| "the cluster refuses to start".into())
    }

    fn node(&mut self, id: NodeId) -> Outcome<&mut Node> {
        self.nodes.get_mut(&id).ok_or_else(|| format!("there is no node {id}").into())
    }

    fn process(&mut self, id: NodeId) -> Outcome<&mut Process> {
        self.node(id)?.process.as_mut().ok_or_else(|| format!("node {id} is not running").into())
    }

    fn disk(&mut self, id: NodeId) -> Outcome<&mut Disk> {
        self.node(id)?.disk.as_mut().ok_or_else(|| format!("node {id} is on real files").into())
    }

    /// The nodes that can lose power, and whose disks can be full.
    pub(crate) fn on_disks(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.disk.is_some()).map(|(id, _)| *id).collect()
    }

    // Processes -----------------------------------------------------------------------------------

    /// Starts a node, and waits until it listens.
    pub(crate) async fn start_node(&mut self, id: NodeId) -> Outcome<()> {
        let (cluster, http, storing) = (self.dir.clone(), self.http.clone(), self.storing);
        let node = self.node(id)?;
        node.starts += 1;
        let socket = cluster.join(format!("disk-{id}-{}", node.starts));
        let socket = node.disk.as_mut().map(|disk| disk.attach(&socket).map(|()| socket)).transpose()?;
        let Storing { chunk_max_size, snapshot_after, .. } = storing;
        let start = Start { id, cluster, socket, chunk_max_size, snapshot_after };
        node.process = Some(Process::start(&start, &http).await?);
        Ok(())
    }

    /// Kills a node. All that it wrote is there when it starts again.
    pub(crate) async fn kill(&mut self, id: NodeId) -> Outcome<()> {
        let node = self.node(id)?;
        if let Some(process) = node.process.take() {
            process.kill().await?;
        }
        if let Some(disk) = &mut node.disk {
            disk.killed();
        }
        Ok(())
    }

    /// Takes the power from a node that was [killed](Self::kill), or was not started yet.
    pub(crate) fn power_off(&mut self, id: NodeId, seed: u64) -> Outcome<()> {
        self.disk(id)?.power_off(seed);
        Ok(())
    }

    /// Pauses a node with SIGSTOP, or lets it go on with SIGCONT.
    pub(crate) fn signal(&mut self, id: NodeId, signal: Signal) -> Outcome<()> {
        self.process(id)?.signal(signal)
    }

    /// Fills a node's disk until the node ends, or for `time`; returns whether it ended.
    pub(crate) async fn fill_disk(&mut self, id: NodeId, time: Duration) -> Outcome<bool> {
        self.disk(id)?.fill();
        let ended = self.process(id)?.wait_end(time).await?.is_some();
        self.disk(id)?.free();
        Ok(ended)
    }

    // Leaders -------------------------------------------------------------------------------------

    /// Returns the status of the node that leads, once there is one.
    pub(crate) async fn leader(&mut self) -> Outcome<Status> {
        let started = Instant::now();
        loop {
            let mut leads: Option<Status> = None;
            for process in self.nodes.values_mut().filter_map(|node| node.process.as_mut()) {
                process.must_run()?;
                // One that led before it slept may still claim to lead.
                if let Ok(status) = process.status().await
                    && status.leads
                    && leads.as_ref().is_none_or(|other| other.term < status.term)
                {
                    leads = Some(status);
                }
            }
            if let Some(leads) = leads {
                return Ok(leads);
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("there was no leader for {PATIENCE:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until there is a leader, and all nodes have applied what it has applied.
    pub(crate) async fn wait_healthy(&mut self) -> Outcome<Status> {
        let leader = self.leader().await?;
        for id in 1..=NODES {
            self.process(id)?.wait_applied(leader.applied.unwrap_or(0)).await?;
        }
        Ok(leader)
    }

    /// Returns each node's state, once all nodes have applied everything. No client may write.
    pub(crate) async fn states(&mut self) -> Outcome<Vec<(Status, Map)>> {
        let last = self.leader().await?.last_log.unwrap_or(0);
        let mut states = Vec::new();
        for id in 1..=NODES {
            let process = self.process(id)?;
            process.wait_applied(last).await?;
            states.push((process.status().await?, process.get("/map", PATIENCE).await?));
        }
        Ok(states)
    }
}
