//! A log that openraft 0.9 wrote is opened with 0.10, and the other way round: the records have the same
//! bytes. This holds for type configs with the default ids, votes and entries.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

/// The same types with openraft 0.9.
mod old {
    use std::io::Cursor;

    use openraft_0_9 as openraft;

    openraft::declare_raft_types!(pub(crate) Texts: D = String, R = String);

    pub(crate) type Store = chunked_wal_openraft::LogStore<Texts>;
}

use std::collections::BTreeSet;

use chunked_wal::Config;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{BasicNode, Entry, EntryPayload, Membership, RaftLogReader};
use openraft_0_9 as openraft_old;
use openraft_0_9::RaftLogReader as _;
use openraft_0_9::storage::{RaftLogStorage as _, RaftLogStorageExt as _};

use common::{Store, Vote, entry, log_id, run, tiny};

fn old_id(term: u64, index: u64) -> openraft_old::LogId<u64> {
    openraft_old::LogId::new(openraft_old::CommittedLeaderId::new(term, 0), index)
}

fn old_entry(index: u64, payload: openraft_old::EntryPayload<old::Texts>) -> openraft_old::Entry<old::Texts> {
    openraft_old::Entry { log_id: old_id(1, index), payload }
}

fn members() -> (Vec<BTreeSet<u64>>, Vec<(u64, &'static str)>) {
    (vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])], vec![(1, "a:1"), (2, "b:2"), (3, "c:3")])
}

async fn write_with_0_9(config: Config) {
    let mut store = old::Store::open(config).unwrap();
    store.save_vote(&openraft_old::Vote::new_committed(3, 2)).await.unwrap();
    let (configs, nodes) = members();
    let nodes: std::collections::BTreeMap<_, _> =
        nodes.into_iter().map(|(id, address)| (id, openraft_old::BasicNode::new(address))).collect();
    let membership = openraft_old::Membership::new(configs, nodes);
    let mut entries = vec![
        old_entry(0, openraft_old::EntryPayload::Blank),
        old_entry(1, openraft_old::EntryPayload::Membership(membership)),
    ];
    let text = |index: u64| openraft_old::EntryPayload::Normal(format!("text {index}"));
    entries.extend((2..10).map(|index| old_entry(index, text(index))));
    store.blocking_append(entries).await.unwrap();
    store.truncate(old_id(1, 8)).await.unwrap();
    store.save_committed(Some(old_id(1, 6))).await.unwrap();
    store.purge(old_id(1, 0)).await.unwrap();
    store.close().unwrap();
}

#[test]
fn a_log_of_0_9_opens_with_0_10_and_back() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let config = tiny(Config::new(dir.path()));
        write_with_0_9(config.clone()).await;

        let mut store = Store::open(config.clone()).unwrap();
        assert_eq!(store.read_vote().await.unwrap(), Some(Vote::new_committed(3, 2)));
        assert_eq!(store.read_committed().await.unwrap(), Some(log_id(1, 6)));
        assert_eq!(store.get_log_state().await.unwrap().last_purged_log_id, Some(log_id(1, 0)));
        let (configs, nodes) = members();
        let nodes: std::collections::BTreeMap<_, _> =
            nodes.into_iter().map(|(id, address)| (id, BasicNode::new(address))).collect();
        let payload = EntryPayload::Membership(Membership::new(configs, nodes).unwrap());
        let mut expected = vec![Entry { log_id: log_id(1, 1), payload }];
        expected.extend((2..8).map(|index| entry(1, index, &format!("text {index}"))));
        assert_eq!(common::all(&mut store).await, expected);
        store.blocking_append([entry(3, 8, "new")]).await.unwrap();
        store.close().unwrap();

        let mut store = old::Store::open(config).unwrap();
        let read = store.try_get_log_entries(0..).await.unwrap();
        assert_eq!(read.len(), expected.len() + 1);
        let new = openraft_old::EntryPayload::Normal("new".to_string());
        assert_eq!(read.last(), Some(&openraft_old::Entry { log_id: old_id(3, 8), payload: new }));
        assert_eq!(store.read_vote().await.unwrap(), Some(openraft_old::Vote::new_committed(3, 2)));
    });
}
