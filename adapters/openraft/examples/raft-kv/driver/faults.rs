//! Faults, one after the other, until the time is over and each has happened.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;

use crate::Outcome;
use crate::driver::NODES;
use crate::driver::cluster::Cluster;
use crate::driver::network::Cut;
use crate::server::types::NodeId;

/// How long a node is dead.
const DEAD: Duration = Duration::from_millis(250);

/// How long a node is paused, or cut off: longer than the others take to elect another leader.
const AWAY: Duration = Duration::from_millis(1200);

/// How long a disk is full, if its node doesn't end.
const FULL: Duration = Duration::from_millis(3000);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT later.
    Pause,
    CutOff,
    /// The node is heard, and hears nothing.
    Deaf,
    /// The node hears, and is not heard.
    Mute,
    /// No space on the disk, until the node ends.
    DiskFull,
    /// What was not synced may be lost.
    PowerLoss,
    /// Power loss of all nodes at once.
    Blackout,
}

impl Fault {
    pub(crate) const ALL: [Fault; 8] = [
        Fault::Kill,
        Fault::Pause,
        Fault::CutOff,
        Fault::Deaf,
        Fault::Mute,
        Fault::DiskFull,
        Fault::PowerLoss,
        Fault::Blackout,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Fault::Kill => "killed",
            Fault::Pause => "paused",
            Fault::CutOff => "cut off",
            Fault::Deaf => "can't hear",
            Fault::Mute => "can't be heard",
            Fault::DiskFull => "disk full",
            Fault::PowerLoss => "power lost",
            Fault::Blackout => "all lost power",
        })
    }
}

/// How a power loss treats what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// Each write is kept, lost or torn.
    Drawn,
    Lost,
}

/// Whether a killed node has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    On,
    Off,
}

/// What to do to a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) kinds: Vec<Fault>,
    pub(crate) unsynced: Unsynced,
    /// How long all is well between two faults.
    pub(crate) well: Duration,
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Struck {
    pub(crate) counts: BTreeMap<Fault, u64>,
    /// The nodes that ended because their disk was full.
    pub(crate) stopped_by_full_disk: u64,
}

/// Strikes a cluster.
#[derive(Debug)]
pub(crate) struct Faults {
    plan: Plan,
    rng: Rng,
    started: Instant,
    struck: Struck,
}

impl Faults {
    pub(crate) fn new(plan: Plan, rng: Rng) -> Self {
        Faults { plan, rng, started: Instant::now(), struck: Struck::default() }
    }

    /// Strikes for `time`, and until each fault has happened. All nodes run and have caught up when this
    /// returns.
    pub(crate) async fn run(mut self, cluster: &mut Cluster, time: Duration) -> Outcome<Struck> {
        let mut left = Vec::new();
        while self.struck.counts.len() < self.plan.kinds.len() || self.started.elapsed() < time {
            if left.is_empty() {
                left.clone_from(&self.plan.kinds);
                self.rng.shuffle(&mut left);
            }
            let Some(fault) = left.pop() else { break };
            let leader = cluster.wait_healthy().await?.id;
            tokio::time::sleep(self.plan.well).await;
            let id = self.target(fault, leader, cluster);
            self.note(fault, id, leader);
            self.strike(fault, id, leader, cluster).await.map_err(|e| format!("{fault}, node {id}: {e}"))?;
        }
        cluster.wait_healthy().await?;
        Ok(self.struck)
    }

    /// Chooses a node: the leader more often than the others.
    fn target(&mut self, fault: Fault, leader: NodeId, cluster: &Cluster) -> NodeId {
        let nodes = match fault {
            Fault::DiskFull | Fault::PowerLoss => cluster.on_disks(),
            _ => (1..=NODES).collect(),
        };
        if nodes.contains(&leader) && self.rng.bool() { leader } else { self.any_of(&nodes) }
    }

    fn any_of(&mut self, nodes: &[NodeId]) -> NodeId {
        nodes[self.rng.usize(..nodes.len())]
    }

    /// Counts a fault, and prints it.
    fn note(&mut self, fault: Fault, id: NodeId, leader: NodeId) {
        *self.struck.counts.entry(fault).or_default() += 1;
        let node = match fault {
            Fault::Blackout => String::new(),
            _ if id == leader => format!("node {id}, the leader"),
            _ => format!("node {id}"),
        };
        println!("  {:>6.1} s  {fault:<16} {node}", self.started.elapsed().as_secs_f64());
    }

    async fn strike(
        &mut self,
        fault: Fault,
        id: NodeId,
        leader: NodeId,
        cluster: &mut Cluster,
    ) -> Outcome<()> {
        let cut = match fault {
            Fault::Kill => return self.stop(&[id], Power::On, cluster).await,
            Fault::PowerLoss => return self.stop(&[id], Power::Off, cluster).await,
            Fault::Blackout => {
                let all: Vec<NodeId> = (1..=NODES).collect();
                return self.stop(&all, Power::Off, cluster).await;
            }
            Fault::DiskFull => return self.fill_disk(id, cluster).await,
            Fault::Pause => {
                cluster.signal(id, Signal::STOP)?;
                self.away(id, leader, cluster).await?;
                return cluster.signal(id, Signal::CONT);
            }
            Fault::CutOff => Cut::Both,
            Fault::Deaf => Cut::In,
            Fault::Mute => Cut::Out,
        };
        cluster.network.cut(id, cut);
        self.away(id, leader, cluster).await?;
        cluster.network.heal();
        Ok(())
    }

    /// Waits while a node is paused or cut off. Half of the time, another one loses power meanwhile.
    async fn away(&mut self, id: NodeId, leader: NodeId, cluster: &mut Cluster) -> Outcome<()> {
        tokio::time::sleep(AWAY / 2).await;
        if self.rng.bool() {
            let others: Vec<NodeId> = cluster.on_disks().into_iter().filter(|other| *other != id).collect();
            let other = self.any_of(&others);
            self.note(Fault::PowerLoss, other, leader);
            self.stop(&[other], Power::Off, cluster).await?;
        }
        tokio::time::sleep(AWAY / 2).await;
        Ok(())
    }

    async fn fill_disk(&mut self, id: NodeId, cluster: &mut Cluster) -> Outcome<()> {
        if !cluster.fill_disk(id, FULL).await? {
            return Ok(());
        }
        self.struck.stopped_by_full_disk += 1;
        self.stop(&[id], Power::On, cluster).await
    }

    /// Kills nodes, all at once, and starts them again.
    async fn stop(&mut self, ids: &[NodeId], power: Power, cluster: &mut Cluster) -> Outcome<()> {
        for id in ids {
            cluster.kill(*id).await?;
        }
        // Nodes on real files keep what they wrote.
        let on_disks = cluster.on_disks();
        for id in ids.iter().filter(|id| power == Power::Off && on_disks.contains(id)) {
            let seed = match self.plan.unsynced {
                Unsynced::Drawn => self.rng.u64(..),
                Unsynced::Lost => 0,
            };
            cluster.power_off(*id, seed)?;
        }
        tokio::time::sleep(DEAD).await;
        for id in ids {
            cluster.start_node(*id).await?;
        }
        Ok(())
    }
}
