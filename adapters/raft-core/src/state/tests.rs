//! Tests of the state alone, with the log's crash tests: they remove any number of the oldest chunks,
//! so that replay starts with a checkpoint whose entries are gone.

use std::sync::Arc;

use chunked_wal::codeq::Encode;
use chunked_wal::testing::{CrashTest, Subject};
use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord};

use super::{Found, Refused, State};
use crate::places::ChunkIndex;
use crate::record::{Action, Checkpoint, Meta, RaftWal};
use crate::types::RaftTypes;

/// Commands are texts; a log id is a term and an index, a vote a term and a candidate.
#[derive(Debug, Clone, PartialEq)]
struct Texts;

impl RaftTypes for Texts {
    type LogId = (u64, u64);
    type Vote = (u64, u64);
    type Entry = ((u64, u64), String);
    type Callback = ();

    fn index(log_id: &(u64, u64)) -> u64 {
        log_id.1
    }

    fn log_id(entry: &Self::Entry) -> (u64, u64) {
        entry.0
    }
}

fn log_id(index: u64) -> (u64, u64) {
    (1, index)
}

fn entry(index: u64, text: &str) -> Action<Texts> {
    Action::Entry(Arc::new((log_id(index), text.to_string())))
}

/// A state that chooses the next action itself, whatever the number, so that each action fits the one
/// before.
struct TheState {
    checkpoint_len_max: u64,
}

impl Subject for TheState {
    type Types = RaftWal<Texts>;
    type StateMachine = State<Texts>;

    fn state_machine(&self) -> State<Texts> {
        State::new(300, self.checkpoint_len_max)
    }

    /// Numbers come in short runs. Most are entries of the first few indexes, so that many fit.
    fn action(&self, n: u64) -> Action<Texts> {
        let near = n % 12;
        match n / 12 % 16 {
            0 => Action::Vote((n, near)),
            1 => Action::Committed(Some(log_id(near))),
            2 => Action::Purge(log_id(near % 5)),
            4 => Action::UserData((near > 3).then(|| vec![0xc1; near as usize])),
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
                && a.0 != b.0
            {
                return Err(format!("{a:?} is not {b:?}"));
            }
        }
        Ok(())
    }
}

#[test]
fn replay_restores_the_state_from_any_first_chunk() {
    // With the smaller limit, a third of the checkpoints have no index.
    for checkpoint_len_max in [u64::MAX, 46] {
        let test = CrashTest::new(TheState { checkpoint_len_max }).states(2000);
        let report = test.run().unwrap_or_else(|failure| panic!("{failure}"));
        println!("{report}");
    }
}

/// The segment of the `n`th record.
fn place(n: u64) -> Segment {
    Segment::new(n * 96, 96)
}

fn state(actions: Vec<Action<Texts>>) -> Result<State<Texts>, Refused> {
    let mut state = State::new(1000, u64::MAX);
    let begin = WalRecord::Checkpoint(state.checkpoint());
    let records = std::iter::once(begin).chain(actions.into_iter().map(WalRecord::Action));
    for (n, record) in (0..).zip(records) {
        state.apply(&record, ChunkId(0), place(n))?;
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
    let refused = from_eleven.apply(&before_the_first, ChunkId(0), place(3));
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
    let checkpoint = state.checkpoint();
    let mut apply = |checkpoint: &Checkpoint<Texts>| {
        state.apply(&WalRecord::Checkpoint(checkpoint.clone()), ChunkId(480), place(5))
    };
    let mut other = checkpoint.clone();
    other.meta.last = Some(log_id(8));
    assert!(matches!(apply(&other), Err(Refused::Checkpoint { .. })));
    let mut other = checkpoint.clone();
    other.index.as_mut().map(Arc::make_mut).unwrap().truncate(7);
    assert!(matches!(apply(&other), Err(Refused::Checkpoint { .. })));
    assert_eq!(apply(&Checkpoint { index: None, ..other }), Ok(()));
    assert_eq!(apply(&checkpoint), Ok(()));

    let mut replayed = State::<Texts>::new(1000, u64::MAX);
    let meta = Meta { last: Some(log_id(8)), ..checkpoint.meta.clone() };
    let refused = replayed.apply(
        &WalRecord::Checkpoint(Checkpoint { meta: meta.clone(), ..checkpoint }),
        ChunkId(0),
        place(0),
    );
    assert_eq!(refused, Err(Refused::Index { found: 5..8, last: Some(8) }));
    let first = WalRecord::Checkpoint(Checkpoint { meta, index: None });
    replayed.apply(&first, ChunkId(0), place(0)).unwrap();
    assert_eq!(replayed.missing(), 4);
    replayed.apply(&WalRecord::Action(entry(9, "")), ChunkId(0), place(1)).unwrap();
    assert_eq!((replayed.missing(), replayed.find(8).is_none(), replayed.find(9).is_some()), (4, true, true));
    replayed.apply(&WalRecord::Action(Action::Purge(log_id(8))), ChunkId(0), place(2)).unwrap();
    assert_eq!(replayed.missing(), 0);
}

/// The state after the actions of one chunk after the other; and after replay of the last chunk alone, with the
/// checkpoints of the others, in a log that starts at the offset `start`.
fn opened(chunks: &[Vec<Action<Texts>>], start: u64) -> (State<Texts>, State<Texts>) {
    let (mut live, mut opened) = (State::new(1000, u64::MAX), State::new(1000, u64::MAX));
    let (mut n, mut indexes) = (0, Vec::new());
    for (at, actions) in chunks.iter().enumerate() {
        let chunk_id = ChunkId(place(n).offset);
        let checkpoint = live.checkpoint();
        if at > 0 {
            indexes.extend(checkpoint.index.clone());
        }
        let records = std::iter::once(WalRecord::Checkpoint(checkpoint))
            .chain(actions.iter().cloned().map(WalRecord::Action));
        for record in records {
            live.apply(&record, chunk_id, place(n)).unwrap();
            if at + 1 == chunks.len() {
                opened.apply(&record, chunk_id, place(n)).unwrap();
            }
            n += 1;
        }
    }
    opened.opened(indexes, start);
    (live, opened)
}

#[test]
fn the_checkpoints_lead_to_every_entry_that_replay_of_all_chunks_finds() {
    let put = |range: std::ops::Range<u64>| range.map(|index| entry(index, "")).collect::<Vec<_>>();
    let cut = |since: u64| vec![Action::Truncate { since, last: since.checked_sub(1).map(log_id) }];
    let cut_all = |since: u64, last: Option<u64>| vec![Action::Truncate { since, last: last.map(log_id) }];
    let purge = |upto: u64| vec![Action::Purge(log_id(upto))];
    let none = Vec::new;
    for (what, chunks) in [
        ("a new log", vec![none()]),
        ("one after the other", vec![put(0..5), put(5..7), put(7..9)]),
        ("nothing in the newest", vec![put(0..5), put(5..7), none()]),
        ("a chunk without actions", vec![put(0..5), none(), none(), put(5..7), none()]),
        ("a chunk without entries", vec![put(0..5), vec![Action::Vote((1, 1))], put(5..7), none()]),
        ("truncated in the next chunk", vec![put(0..5), cut(3), put(3..6), none()]),
        (
            "truncated into older chunks",
            vec![put(0..5), put(5..9), put(9..12), [cut(3), put(3..4)].concat(), none()],
        ),
        ("truncated in the newest", vec![put(0..5), put(5..9), cut(2)]),
        ("truncated and replaced in the newest", vec![put(0..5), put(5..9), [cut(2), put(2..4)].concat()]),
        (
            "truncated, and nothing follows",
            vec![put(0..5), put(5..9), cut(7), vec![Action::Vote((1, 1))], none()],
        ),
        ("truncated to nothing", vec![put(3..5), put(5..9), cut_all(3, None), none()]),
        (
            "truncated to nothing, then others",
            vec![put(3..9), cut_all(3, None), put(5..7), cut_all(0, None), put(1..2), none()],
        ),
        ("truncated to nothing, then beyond", vec![put(3..5), cut_all(0, None), put(50..52), put(52..54)]),
        (
            "purged in the middle",
            vec![put(0..5), [purge(2), put(5..9)].concat(), [purge(6), put(9..12)].concat(), none()],
        ),
        ("purged in the newest", vec![put(0..5), put(5..9), purge(6)]),
        ("purged beyond the end", vec![put(0..5), purge(20), put(21..23), none()]),
        ("purged beyond the end in the newest", vec![put(0..5), [purge(20), put(21..23)].concat()]),
        (
            "truncated to nothing, purged below, then others",
            vec![put(11..13), [cut_all(11, None), purge(4)].concat(), put(5..7), none()],
        ),
        (
            "purged below, truncated to nothing, then others",
            vec![put(11..13), purge(4), cut_all(9, Some(4)), put(5..7), none()],
        ),
        ("purged, then truncated to it", vec![put(0..9), purge(4), cut_all(2, Some(4)), put(5..7), none()]),
        (
            "all in one chunk, and once more",
            vec![[put(0..9), purge(4), cut(7), put(7..8)].concat(), none(), cut(6), put(6..7)],
        ),
    ] {
        let (live, opened) = opened(&chunks, 0);
        assert_eq!((opened.missing(), &opened.meta), (0, &live.meta), "{what}");
        for index in 0..60 {
            let places = [&live, &opened].map(|state| state.places.get(index));
            assert_eq!(places[0], places[1], "{what}: {index}");
            assert_eq!(places[0].is_some(), live.meta.indexes().contains(&index), "{what}: {index}");
        }
        assert_eq!(opened.checkpoint(), live.checkpoint(), "{what}");
    }
}

#[test]
fn entries_of_chunks_that_are_gone_are_missing() {
    let put = |range: std::ops::Range<u64>| range.map(|index| entry(index, "")).collect::<Vec<_>>();
    let chunks = [put(0..5), put(5..9), put(9..12), vec![]];
    for (start, missing) in [(0, 0), (576, 5), (1056, 9), (1440, 12)] {
        assert_eq!(opened(&chunks, start).1.missing(), missing, "{start}");
    }
}

#[test]
fn an_index_that_is_too_large_for_a_checkpoint_is_left_out() {
    let mut state = state(three_after_a_purge()).unwrap();
    let with_index = bytes_of(&state.checkpoint());
    state.checkpoint_len_max = with_index;
    assert!(state.checkpoint().index.is_some());
    state.checkpoint_len_max = with_index - 1;
    assert!(state.checkpoint().index.is_none());
    assert!(!state.is_index_full(ChunkId(0)));
    state.checkpoint_len_max = 6;
    assert!(state.is_index_full(ChunkId(0)));
    assert!(!state.is_index_full(ChunkId(480)), "the index is of the chunk before");
}

fn bytes_of(checkpoint: &Checkpoint<Texts>) -> u64 {
    checkpoint.encode(std::io::sink()).unwrap() as u64
}

#[test]
fn a_checkpoint_may_say_anything_without_a_panic() {
    let extreme = [0, 1, u64::MAX - 1, u64::MAX];
    let mut index = ChunkIndex::default();
    (0..2).for_each(|n| index.push(n, place(n)));
    for n in 0..128 {
        let [first, last, purged] = [n % 4, n / 4 % 4, n / 16 % 4].map(|n| extreme[n]);
        let meta = Meta { first, last: Some(log_id(last)), purged: Some(log_id(purged)), ..Meta::default() };
        let index = (n >= 64).then(|| Arc::new(index.clone()));
        for next in extreme {
            let mut state = State::<Texts>::new(0, u64::MAX);
            let mut at = 10;
            let mut apply = |record| {
                at += 1;
                state.apply(&record, ChunkId(0), place(at)).ok()
            };
            apply(WalRecord::Checkpoint(Checkpoint { meta: meta.clone(), index: index.clone() }));
            apply(WalRecord::Action(entry(next, "")));
            let left = next.checked_sub(1).map(log_id);
            apply(WalRecord::Action(Action::Truncate { since: next, last: left }));
            apply(WalRecord::Action(Action::Purge(log_id(next))));
            state.opened(index.iter().cloned().collect(), 400);
            let (_, _) = (state.missing(), state.find(next).is_some());
        }
    }
}
