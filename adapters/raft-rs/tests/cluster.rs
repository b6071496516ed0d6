//! Three members in one process, each on a disk that crashes: what is committed stays, and all agree.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkedWal, Config};
use chunked_wal_groups::GroupWal;
use chunked_wal_raft_rs::{GroupStore, Groups, LogStore, Node, ReadyStore};
use raft::{GetEntriesContext, Storage};

fn open(disk: &MemoryStorage) -> LogStore {
    let mut config = Config::new("/log");
    config.chunk_max_size = 512;
    let options = ChunkedWal::options(config).storage(Arc::new(disk.clone()));
    LogStore::open(options, &[1, 2, 3]).unwrap()
}

fn open_groups(disk: &MemoryStorage) -> Groups {
    let mut config = chunked_wal_groups::Config::new("/log");
    config.wal.chunk_max_size = 1024;
    let options = ChunkedWal::<GroupWal>::options(config.wal).storage(Arc::new(disk.clone()));
    Groups::open_with(options, 1.3).unwrap()
}

fn open_group(disk: &MemoryStorage) -> GroupStore {
    GroupStore::open(&open_groups(disk), 7, &[1, 2, 3]).unwrap()
}

struct Cluster<S: ReadyStore> {
    open: fn(&MemoryStorage) -> S,
    disks: Vec<MemoryStorage>,
    nodes: Vec<Option<Node<S>>>,
}

impl<S: ReadyStore> Cluster<S> {
    fn new(open: fn(&MemoryStorage) -> S) -> Self {
        let disks: Vec<_> = (0..3).map(|_| MemoryStorage::default()).collect();
        let node = |(id, disk)| Some(Node::new(id, open(disk)).unwrap());
        let nodes = (1..).zip(&disks).map(node).collect();
        Cluster { open, disks, nodes }
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
        self.nodes[at] = Some(Node::new(at as u64 + 1, (self.open)(&self.disks[at])).unwrap());
    }
}

#[test]
fn committed_entries_survive_crashes_of_the_leader() {
    survive(open);
}

#[test]
fn committed_entries_of_a_group_survive_crashes_of_the_leader() {
    survive(open_group);
}

fn survive<S: ReadyStore>(open: fn(&MemoryStorage) -> S) {
    let mut cluster = Cluster::new(open);
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
    let mut cluster = Cluster::new(open);
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
    let entries = store.entries(last - 19, last + 1, None, GetEntriesContext::empty(false)).unwrap();
    assert_eq!(entries.len(), 20);
    assert!(store.term(last - 21).is_err() && store.term(last + 1).is_err());
}

#[test]
fn a_snapshot_takes_the_place_of_its_entries() {
    let mut cluster = Cluster::new(open_group);
    cluster.propose(0, 60);
    cluster.applied(60);
    let node = cluster.nodes[1].as_mut().unwrap();
    node.save_snapshot().unwrap();
    cluster.propose(60, 70);
    cluster.applied(70);
    // It starts with what is in the snapshot, and applies the rest again.
    cluster.crash(1);
    cluster.restart(1);
    assert!(cluster.nodes[1].as_ref().unwrap().applied().len() >= 60);
    cluster.applied(70);
    let store = cluster.nodes[1].as_mut().unwrap().store();
    let first = store.first_index().unwrap();
    assert!(first > 60, "{first}");
    let context = || GetEntriesContext::empty(false);
    let compacted = store.entries(first - 1, first + 1, None, context()).unwrap_err();
    assert_eq!(compacted, raft::Error::Store(raft::StorageError::Compacted));
    let last = store.last_index().unwrap();
    assert_eq!(store.entries(first, last + 1, None, context()).unwrap().len() as u64, last + 1 - first);
    assert_eq!(store.entries(first, last + 1, 1, context()).unwrap().len(), 1, "at least one");
    assert!(store.term(first - 1).is_ok() && store.term(first - 2).is_err() && store.term(last + 1).is_err());
}

/// With entries that the others have not, also after the snapshot.
#[test]
fn a_member_that_was_away_gets_a_snapshot() {
    let mut cluster = Cluster::new(open_group);
    cluster.propose(0, 10);
    cluster.applied(10);
    let away = cluster.leader();
    // No one hears of these.
    for _ in 0..100 {
        cluster.nodes[away].as_mut().unwrap().propose(vec![200]).unwrap();
    }
    cluster.nodes[away].as_mut().unwrap().run().unwrap();
    cluster.nodes[away].as_mut().unwrap().store().log().sync().unwrap();
    cluster.crash(away);
    cluster.propose(10, 60);
    cluster.applied(60);
    for node in cluster.nodes.iter_mut().flatten() {
        node.save_snapshot().unwrap();
    }
    cluster.restart(away);
    cluster.applied(60);
    let store = cluster.nodes[away].as_mut().unwrap().store();
    assert!(store.last_snapshot().unwrap().is_some());
    assert!(store.last_index().unwrap() < 100, "its own entries are void");
    cluster.propose(60, 65);
    cluster.applied(65);
    cluster.crash(away);
    cluster.restart(away);
    assert!(cluster.nodes[away].as_ref().unwrap().applied().len() >= 60);
    cluster.applied(65);
}

/// Until its callback comes, a follower has not promised anything.
#[test]
fn nothing_is_answered_for_before_it_is_durable() {
    promise(open);
}

#[test]
fn no_group_answers_before_it_is_durable() {
    promise(open_group);
}

fn promise<S: ReadyStore>(open: fn(&MemoryStorage) -> S) {
    let mut cluster = Cluster::new(open);
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
