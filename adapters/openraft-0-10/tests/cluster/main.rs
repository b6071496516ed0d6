//! A small key-value server of openraft 0.10 with this store, three times in one process: its nodes
//! write, restart, catch up and read.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../common/machine.rs"]
mod machine;

mod network;

mod node;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use openraft::type_config::TypeConfigExt;
use openraft::{BasicNode, SnapshotPolicy};

use common::Texts;
use machine::Machine;
use network::Network;
use node::Node;

/// Long enough for the slowest machine; what is waited for comes in milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

async fn three_nodes(dir: &Path, policy: SnapshotPolicy) -> Vec<Node> {
    let network = Network::default();
    let mut nodes = Vec::new();
    for id in 1..=3 {
        let dir = dir.join(id.to_string());
        nodes.push(Node::start(id, dir, Machine::default(), &network, policy.clone()).await);
    }
    nodes.iter().for_each(Node::connect);
    let members: BTreeMap<_, _> = (1..=3).map(|id| (id, BasicNode::default())).collect();
    nodes[0].raft.initialize(members).await.unwrap();
    nodes
}

/// Where the leader is in `nodes`, once one of them leads.
async fn leader(nodes: &[Node]) -> usize {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        if let Some(at) = nodes.iter().position(|node| node.raft.is_leader()) {
            return at;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no node leads");
}

/// Writes `key-n = value-n` for each number, through whoever leads, and returns the last index.
async fn write(nodes: &[Node], numbers: std::ops::Range<u64>) -> u64 {
    let mut last = 0;
    for n in numbers {
        let give_up = Instant::now() + PATIENCE;
        last = loop {
            let leader = &nodes[leader(nodes).await];
            match leader.write(&format!("key-{n}"), &format!("value-{n}")).await {
                Ok(index) => break index,
                // The leader has changed: the same write is tried again.
                Err(error) => assert!(Instant::now() < give_up, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
    }
    last
}

async fn applied(node: &Node, index: u64) {
    let wait = node.raft.wait(Some(PATIENCE));
    wait.applied_index_at_least(Some(index), "applied").await.unwrap();
}

fn has_all(node: &Node, numbers: std::ops::Range<u64>) {
    for n in numbers {
        assert_eq!(node.machine.get(&format!("key-{n}")), Some(format!("value-{n}")), "node {}", node.id);
    }
}

async fn nodes_restart(policy: SnapshotPolicy) {
    let dir = tempfile::tempdir().unwrap();
    let purges = policy != SnapshotPolicy::Never;
    let mut nodes = three_nodes(dir.path(), policy).await;
    let index = write(&nodes, 0..40).await;

    // A follower is away, comes back with its log and gets the rest.
    let follower = (leader(&nodes).await + 1) % 3;
    let away = nodes.remove(follower);
    applied(&away, index).await;
    let away = away.stop().await;
    let index = write(&nodes, 40..80).await;
    let back = away.start().await;
    // What it had applied comes from its own disk.
    has_all(&back, 0..40);
    back.connect();
    applied(&back, index).await;
    has_all(&back, 0..80);
    nodes.push(back);

    // The leader restarts: another one leads, and nothing that was answered is lost.
    let old = nodes.remove(leader(&nodes).await);
    let old = old.stop().await;
    let index = write(&nodes, 80..100).await;
    let new = &nodes[leader(&nodes).await];
    for n in [0, 79, 99] {
        assert_eq!(new.read(&format!("key-{n}")).await.unwrap(), Some(format!("value-{n}")));
    }
    let old = old.start().await;
    has_all(&old, 0..80);
    old.connect();
    nodes.push(old);

    // All restart at once.
    for node in &nodes {
        applied(node, index).await;
    }
    let mut stopped = Vec::new();
    for node in nodes.drain(..) {
        stopped.push(node.stop().await);
    }
    for node in stopped {
        nodes.push(node.start().await);
    }
    nodes.iter().for_each(Node::connect);
    let index = write(&nodes, 100..110).await;
    for node in &nodes {
        applied(node, index).await;
        has_all(node, 0..110);
        assert_eq!(node.machine.has_snapshot(), purges);
        if purges {
            let wait = node.raft.wait(Some(PATIENCE));
            wait.metrics(|metrics| metrics.purged.is_some(), "purged").await.unwrap();
        }
    }
    for node in nodes {
        node.stop().await;
    }
}

/// With the log alone: after a restart, the whole state comes from it.
#[test]
fn nodes_restart_with_their_logs() {
    Texts::run(nodes_restart(SnapshotPolicy::Never));
}

/// With snapshots, and a log that is purged up to them.
#[test]
fn nodes_restart_with_snapshots_and_purged_logs() {
    Texts::run(nodes_restart(SnapshotPolicy::LogsSinceLast(15)));
}
