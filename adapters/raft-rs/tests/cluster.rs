//! Three members in one process, each on a disk that crashes: what is committed stays, and all agree.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkedWal, Config};
use chunked_wal_raft_rs::{LogStore, Node};
use raft::Storage;

fn open(disk: &MemoryStorage) -> LogStore {
    let mut config = Config::new("/log");
    config.chunk_max_size = 512;
    let options = ChunkedWal::options(config).storage(Arc::new(disk.clone()));
    LogStore::open(options, &[1, 2, 3]).unwrap()
}

struct Cluster {
    disks: Vec<MemoryStorage>,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    fn new() -> Self {
        let disks: Vec<_> = (0..3).map(|_| MemoryStorage::default()).collect();
        let node = |(id, disk)| Some(Node::new(id, open(disk)).unwrap());
        let nodes = (1..).zip(&disks).map(node).collect();
        Cluster { disks, nodes }
    }

    /// Lets time pass and messages go, until something is so.
    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..5000 {
            if done(self) {
                return;
            }
            let mut messages = Vec::new();
            for node in self.nodes.iter_mut().flatten() {
                node.tick();
                messages.extend(node.run().unwrap());
            }
            for message in messages {
                // A dead one hears nothing.
                if let Some(node) = &mut self.nodes[message.to as usize - 1] {
                    node.step(message).unwrap();
                }
            }
            // The disks are memory, their syncs take microseconds.
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        panic!("it never comes");
    }

    fn leader(&mut self) -> usize {
        let leads = |cluster: &Self| cluster.nodes.iter().position(|n| n.as_ref().is_some_and(Node::leads));
        self.until(|cluster| leads(cluster).is_some());
        leads(self).unwrap()
    }

    fn propose(&mut self, from: u8, to: u8) {
        let leader = self.leader();
        for n in from..to {
            self.nodes[leader].as_mut().unwrap().propose(vec![n; 50]).unwrap();
        }
    }

    /// Waits until all that live have applied so many.
    fn applied(&mut self, n: u8) {
        self.until(|cluster| cluster.nodes.iter().flatten().all(|node| node.applied().len() >= n.into()));
        let expected: Vec<_> = (0..n).map(|n| vec![n; 50]).collect();
        for node in self.nodes.iter().flatten() {
            assert_eq!(node.applied(), expected);
        }
    }

    /// Crashes a member; what is not synced is lost.
    fn crash(&mut self, at: usize) {
        let disk = self.disks[at].crash(0);
        self.nodes[at] = None;
        self.disks[at] = disk;
    }

    fn restart(&mut self, at: usize) {
        self.nodes[at] = Some(Node::new(at as u64 + 1, open(&self.disks[at])).unwrap());
    }
}

#[test]
fn committed_entries_survive_crashes_of_the_leader() {
    let mut cluster = Cluster::new();
    let mut n = 0;
    for _ in 0..5 {
        cluster.propose(n, n + 10);
        n += 10;
        cluster.applied(n);
        let leader = cluster.leader();
        cluster.crash(leader);
        cluster.propose(n, n + 10);
        n += 10;
        cluster.applied(n);
        // It has forgotten what it applied, and hears of it anew.
        cluster.restart(leader);
        cluster.applied(n);
    }
    // All at once, which is the power of the whole house.
    (0..3).for_each(|at| cluster.crash(at));
    (0..3).for_each(|at| cluster.restart(at));
    cluster.applied(n);
}

#[test]
fn compaction_lets_chunks_go_and_keeps_the_rest() {
    let mut cluster = Cluster::new();
    cluster.propose(0, 100);
    cluster.applied(100);
    let store = cluster.nodes[1].as_mut().unwrap().store();
    let (chunks, last) = (store.wal().closed_chunk_stats().len(), store.last_index().unwrap());
    store.compact(last - 20).unwrap();
    store.wal().wait_idle().unwrap();
    assert!(store.wal().closed_chunk_stats().len() < chunks / 2);
    let term = store.term(last - 20).unwrap();
    cluster.crash(1);
    let store = open(&cluster.disks[1]);
    assert_eq!(store.first_index().unwrap(), last - 19);
    assert_eq!(store.term(last - 20).unwrap(), term);
    let entries = store.entries(last - 19, last + 1, None, raft::GetEntriesContext::empty(false)).unwrap();
    assert_eq!(entries.len(), 20);
    assert!(store.term(last - 21).is_err() && store.term(last + 1).is_err());
}

/// Until its callback comes, a follower has not promised anything.
#[test]
fn nothing_is_answered_for_before_it_is_durable() {
    let mut cluster = Cluster::new();
    let leader = cluster.leader();
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    for at in &others {
        cluster.disks[*at].pause_syncs(true);
    }
    cluster.propose(0, 1);
    for _ in 0..20 {
        let mut messages = Vec::new();
        for node in cluster.nodes.iter_mut().flatten() {
            messages.extend(node.run().unwrap());
        }
        for message in messages {
            cluster.nodes[message.to as usize - 1].as_mut().unwrap().step(message).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let promised = cluster.nodes.iter().flatten().any(|node| !node.applied().is_empty());
    // Before anything may fail: a log that is dropped waits for its disk.
    for at in &others {
        cluster.disks[*at].pause_syncs(false);
    }
    assert!(!promised, "one of three has it");
    cluster.applied(1);
}
