//! Streams of entries: in batches, without a hole, and for one leader only.

use chunked_wal::Config;
use chunked_wal::storage::MemoryStorage;
use futures_util::StreamExt;
use openraft::RaftLogReader;
use openraft::storage::{LeaderBoundedStreamError, RaftLogStorage, RaftLogStorageExt};

use crate::common::{LogReader, Store, Texts, Vote, all, entries, log_id, open, run, tiny, truncate};

/// A store with the entries 0 to 39, of which few are in memory and few fit into a batch.
async fn forty() -> (MemoryStorage, Store, LogReader<Texts>) {
    let disk = MemoryStorage::default();
    let mut store = open(&disk, tiny(Config::new("/log"))).unwrap();
    store.blocking_append(entries(1, 0..40)).await.unwrap();
    let reader = store.get_log_reader().await;
    (disk, store, reader)
}

#[test]
fn a_stream_has_the_entries_of_its_range_and_those_only() {
    run(async {
        let (_disk, mut store, mut reader) = forty().await;
        assert!(reader.limited_get_log_entries(0, 40).await.unwrap().len() < 10);
        store.purge(log_id(1, 4)).await.unwrap();
        for (range, expected) in [(0..100, 5..40), (0..5, 0..0), (7..9, 7..9), (9..9, 0..0), (40..50, 0..0)] {
            let stream = reader.entries_stream(range.clone()).await;
            let read: Vec<_> = stream.map(Result::unwrap).collect().await;
            assert_eq!(read, entries(1, expected), "{range:?}");
        }
        // What is appended meanwhile is for the next stream.
        let mut streaming = reader.clone();
        let stream = streaming.entries_stream(0..).await;
        store.blocking_append(entries(1, 40..42)).await.unwrap();
        assert_eq!(stream.count().await, 35);
        assert_eq!(all(&mut reader).await.len(), 37);
    });
}

#[test]
fn a_stream_ends_with_an_error_if_its_entries_go() {
    run(async {
        for purges in [true, false] {
            let (_disk, mut store, mut reader) = forty().await;
            let stream = reader.entries_stream(0..40).await;
            let mut stream = Box::pin(stream);
            assert_eq!(stream.next().await.unwrap().unwrap(), entries(1, 0..1)[0]);
            if purges {
                store.purge(log_id(1, 30)).await.unwrap();
            } else {
                truncate(&mut store, 1).await.unwrap();
            }
            let mut rest: Vec<_> = stream.collect().await;
            let last = rest.pop().unwrap();
            assert_eq!(last.unwrap_err().kind(), std::io::ErrorKind::NotFound);
            let read: Vec<_> = rest.into_iter().map(Result::unwrap).collect();
            assert!(read.len() < 10);
            assert_eq!(read, entries(1, 1..1 + read.len() as u64));
        }
    });
}

#[test]
fn a_stream_for_a_leader_ends_when_the_vote_changes() {
    run(async {
        let (_disk, mut store, mut reader) = forty().await;
        let vote = Vote::new_committed(3, 1);
        let leader = *vote.leader_id();
        // Neither no vote nor one that no quorum granted is a leader's.
        for vote in [None, Some(Vote::new(3, 1))] {
            if let Some(vote) = vote {
                store.save_vote(&vote).await.unwrap();
            }
            let refused: Vec<_> = reader.leader_bounded_stream(leader, 0..40).await.collect().await;
            let [Err(LeaderBoundedStreamError::LeaderChanged(changed))] = &refused[..] else {
                panic!("{refused:?}")
            };
            assert_eq!((changed.expected_leader, changed.current_vote), (leader, vote));
        }
        store.save_vote(&vote).await.unwrap();
        let read: Vec<_> =
            reader.leader_bounded_stream(leader, 0..40).await.map(Result::unwrap).collect().await;
        assert_eq!(read, entries(1, 0..40));

        let mut stream = Box::pin(reader.leader_bounded_stream(leader, 0..40).await);
        stream.next().await.unwrap().unwrap();
        store.save_vote(&Vote::new(4, 2)).await.unwrap();
        let mut rest: Vec<_> = stream.collect().await;
        assert!(matches!(rest.pop(), Some(Err(LeaderBoundedStreamError::LeaderChanged(_)))));
        assert!(rest.len() < 10 && rest.iter().all(Result::is_ok), "{rest:?}");
    });
}
