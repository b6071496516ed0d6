//! Tests of the state alone, with the log's crash tests: they remove any number of the oldest chunks,
//! so that replay starts with a checkpoint whose entries are gone.

use std::io::Cursor;
use std::sync::Arc;

use chunked_wal::testing::{CrashTest, Subject};
use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, RaftLogId, Vote};

use super::{Found, Refused, State};
use crate::record::{Action, Meta, RaftWal};

openraft::declare_raft_types!(
    /// Commands are texts.
    Texts: D = String, R = ()
);

fn log_id(index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(1, 0), index)
}

fn entry(index: u64, text: &str) -> Action<Texts> {
    Action::Entry(Arc::new(Entry { log_id: log_id(index), payload: EntryPayload::Normal(text.to_string()) }))
}

/// A state that chooses the next action itself, whatever the number, so that each action fits the one
/// before.
struct TheState;

impl Subject for TheState {
    type Types = RaftWal<Texts>;
    type StateMachine = State<Texts>;

    fn state_machine(&self) -> State<Texts> {
        State::new(300)
    }

    /// Numbers come in short runs. Most are entries of the first few indexes, so that many fit.
    fn action(&self, n: u64) -> Action<Texts> {
        let near = n % 12;
        match n / 12 % 16 {
            0 => Action::Vote(Vote::new(n, near)),
            1 => Action::Committed(Some(log_id(near))),
            2 => Action::Purge(log_id(near % 5)),
            3 => Action::Truncate { since: near, last: near.checked_sub(1).map(log_id) },
            _ => entry(near, &"x".repeat((n % 50) as usize)),
        }
    }

    fn check(&self, recovered: &State<Texts>, expected: &State<Texts>) -> Result<(), String> {
        let indexes = expected.meta.indexes();
        let first = indexes.start + recovered.missing();
        for index in 0..20 {
            let found = recovered.find(index);
            if found.is_some() != (first..indexes.end).contains(&index) {
                return Err(format!("{found:?} at {index}, first {first}, {indexes:?}"));
            }
            if let (Some((Found::Here(a), _)), Some((Found::Here(b), _))) = (found, expected.find(index))
                && a.get_log_id() != b.get_log_id()
            {
                return Err(format!("{a:?} is not {b:?}"));
            }
        }
        Ok(())
    }
}

#[test]
fn replay_restores_the_state_from_any_first_chunk() {
    let report = CrashTest::new(TheState).states(3000).run().unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report}");
}

fn state(actions: Vec<Action<Texts>>) -> Result<State<Texts>, Refused> {
    let mut state = State::new(1000);
    state.opened();
    for (n, action) in actions.into_iter().enumerate() {
        let place = Segment::new(n as u64 * 100, 100);
        state.apply(&WalRecord::Action(action), ChunkId(0), place)?;
    }
    Ok(state)
}

fn three_after_a_purge() -> Vec<Action<Texts>> {
    vec![Action::Purge(log_id(4)), entry(5, "a"), entry(6, "b"), entry(7, "c")]
}

#[test]
fn records_that_can_not_follow_are_refused() {
    let after = |action| state([three_after_a_purge(), vec![action]].concat()).map(|state| state.meta);
    let truncate = |since, left: Option<u64>| Action::Truncate { since, last: left.map(log_id) };
    assert_eq!(after(entry(9, "")), Err(Refused::NotConsecutive { index: 9, last: Some(7) }));
    assert_eq!(after(entry(7, "")), Err(Refused::NotConsecutive { index: 7, last: Some(7) }));
    assert_eq!(after(entry(u64::MAX, "")), Err(Refused::IndexesUsedUp { index: u64::MAX }));
    assert_eq!(after(Action::Purge(log_id(u64::MAX))), Err(Refused::IndexesUsedUp { index: u64::MAX }));
    for (since, left) in [(7, Some(4)), (6, None), (9, Some(8)), (7, Some(5)), (3, Some(2))] {
        assert_eq!(after(truncate(since, left)), Err(Refused::Truncation { since, left }));
    }
    let mut from_eleven = state(vec![entry(11, "a"), entry(12, "b")]).unwrap();
    let before_the_first = WalRecord::Action(truncate(10, Some(9)));
    let refused = from_eleven.apply(&before_the_first, ChunkId(0), Segment::new(0, 100));
    assert_eq!(
        refused,
        Err(Refused::Truncation { since: 10, left: Some(9) }),
        "the log never had an entry 9"
    );
    for (since, left) in [(5, Some(4)), (2, Some(4)), (7, Some(6)), (8, Some(7))] {
        assert_eq!(after(truncate(since, left)).unwrap().last, left.map(log_id));
    }
}

#[test]
fn a_checkpoint_that_contradicts_is_refused_and_the_first_is_believed() {
    let mut state = state(three_after_a_purge()).unwrap();
    let place = Segment::new(400, 100);
    let mut meta = state.checkpoint();
    let same = state.apply(&WalRecord::Checkpoint(meta.clone()), ChunkId(0), place);
    assert_eq!(same, Ok(()));
    meta.last = Some(log_id(8));
    let other = state.apply(&WalRecord::Checkpoint(meta.clone()), ChunkId(0), place);
    assert!(matches!(other, Err(Refused::Checkpoint { .. })));

    let mut replayed = State::<Texts>::new(1000);
    replayed.apply(&WalRecord::Checkpoint(meta), ChunkId(0), place).unwrap();
    assert_eq!(replayed.missing(), 4);
    replayed.apply(&WalRecord::Action(entry(9, "")), ChunkId(0), place).unwrap();
    assert_eq!((replayed.missing(), replayed.find(8).is_none(), replayed.find(9).is_some()), (4, true, true));
    replayed.apply(&WalRecord::Action(Action::Purge(log_id(8))), ChunkId(0), place).unwrap();
    assert_eq!(replayed.missing(), 0);
}

#[test]
fn a_checkpoint_may_say_anything_without_a_panic() {
    let extreme = [0, 1, u64::MAX - 1, u64::MAX];
    for n in 0..64 {
        let [first, last, purged] = [n % 4, n / 4 % 4, n / 16].map(|n| extreme[n]);
        let meta = Meta { first, last: Some(log_id(last)), purged: Some(log_id(purged)), ..Meta::default() };
        for index in extreme {
            let mut state = State::<Texts>::new(0);
            let place = Segment::new(0, 100);
            let mut apply = |record| state.apply(&record, ChunkId(0), place).ok();
            apply(WalRecord::Checkpoint(meta.clone()));
            apply(WalRecord::Action(entry(index, "")));
            let left = index.checked_sub(1).map(log_id);
            apply(WalRecord::Action(Action::Truncate { since: index, last: left }));
            apply(WalRecord::Action(Action::Purge(log_id(index))));
            let (_, _) = (state.missing(), state.find(index).is_some());
        }
    }
}
