//! Every promise holds in every state of the models in `spec/models`. With `MODELS=large` in the environment, of those in
//! `spec/models/large`: for a night.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::scope;

use chunked_wal_protocol::explore::{actions_of, explore, explore_with};
use chunked_wal_protocol::{Bounds, Frame, Pc, Process, RemovalStep, Stage, State};

/// All models together have at least this many states.
const STATES_MIN: usize = 1_000_000;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec")
}

fn bounds(model: impl AsRef<Path>) -> Bounds {
    Bounds::parse(&std::fs::read_to_string(folder().join("models").join(model)).unwrap()).unwrap()
}

#[test]
fn every_promise_holds_in_every_state_of_every_model() {
    let of = PathBuf::from(std::env::var("MODELS").unwrap_or_default());
    let entries = folder().join("models").join(&of).read_dir().unwrap();
    let mut models: Vec<_> = entries.map(|entry| of.join(entry.unwrap().file_name())).collect();
    models.retain(|path| path.extension().is_some_and(|extension| extension == "cfg"));
    models.sort();
    let (left, all) = (Mutex::new(models), Mutex::new((0, BTreeMap::new())));
    let work = || {
        while let Some(model) = { left.lock().unwrap().pop() } {
            let found = explore(&bounds(&model));
            println!("{}: {} states", model.display(), found.states);
            let mut all = all.lock().unwrap();
            assert!(found.broken.is_none(), "{}: {:?}", model.display(), found.broken);
            all.0 += found.states;
            found.actions.into_iter().for_each(|(action, count)| *all.1.entry(action).or_default() += count);
        }
    };
    scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let (states, actions) = all.into_inner().unwrap();
    assert!(states >= STATES_MIN, "{states} states");
    expect_all_taken(&actions);
}

/// An action that is never taken proves nothing.
fn expect_all_taken(actions: &BTreeMap<&str, usize>) {
    let spec = std::fs::read_to_string(folder().join("Log.tla")).unwrap();
    let names = actions_of(&spec);
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        assert!(actions.contains_key(name), "{name} is never taken");
    }
}

/// An error in the protocol: a step that it doesn't allow.
type Wrong = fn(State) -> Option<State>;

/// Each promise but `NoBatchIsTorn`, which only a wrong scan breaks, and an error that breaks it. `spec/tests` has more
/// of them.
const ERRORS: [(&str, &str, Wrong); 8] = [
    ("AcknowledgedIsDurable", "small/batches.cfg", acknowledge_without_sync),
    ("RecoveredIsPrefix", "small/batches.cfg", forget_what_was_written),
    ("NoCrashIsDamage", "small/rotations.cfg", call_records_durable),
    ("RemovedIsRemoved", "small/removals.cfg", remove_without_sync),
    ("RemovedForAReason", "small/removals.cfg", remove_too_early),
    ("RecoveredIsDurable", "small/faults.cfg", open_without_rewriting),
    ("RecoveryIsIdempotent", "small/batches.cfg", open_without_an_end),
    ("NamesAreUnique", "small/rotations.cfg", name_like_the_first),
];

#[test]
fn each_promise_notices_an_error() {
    for (promise, model, wrong) in ERRORS {
        let found = explore_with(&bounds(model), |state| wrong(state.clone()));
        assert_eq!(found.broken.map(|(promise, _)| promise), Some(promise), "{wrong:?}");
    }
}

fn acknowledge_without_sync(mut s: State) -> Option<State> {
    s.h.acked = s.w.written;
    (s.w.pc == Pc::Up && s.w.stage == Stage::Open).then_some(s)
}

fn forget_what_was_written(mut s: State) -> Option<State> {
    let written = s.w.written.checked_sub(1)?;
    if let Frame::Record { id, .. } = s.h.log.to_vec().get_mut(written)? {
        *id += 1000;
        let mut log = s.h.log.to_vec();
        log[written] = Frame::Record { id: *id, salt: 0, durable: 0, more: false };
        s.h.log = log.into();
        return (s.w.pc == Pc::Up).then_some(s);
    }
    None
}

fn call_records_durable(mut s: State) -> Option<State> {
    s.w.synced = s.w.written;
    (s.w.pc == Pc::Up && s.w.stage == Stage::Open).then_some(s)
}

fn remove_without_sync(s: State) -> Option<State> {
    if s.w.removal.step != RemovalStep::Renamed {
        return None;
    }
    let names = s.names.clone();
    let mut s = s.sync_move()?;
    s.names = names;
    Some(s)
}

fn remove_too_early(mut s: State) -> Option<State> {
    let is_asked = s.w.removal.step == RemovalStep::Asked && s.w.stage == Stage::Open;
    s.w.removal.step = RemovalStep::HandedOver;
    is_asked.then_some(s)
}

fn open_without_rewriting(s: State) -> Option<State> {
    (s.w.pc == Pc::Named).then(|| with(s, Pc::Rewritten))
}

fn open_without_an_end(s: State) -> Option<State> {
    (s.w.pc == Pc::Rewritten).then(|| with(s, Pc::Opened))
}

fn with(s: State, pc: Pc) -> State {
    State { w: Process { pc, ..Process::default() }, ..s }
}

fn name_like_the_first(mut s: State) -> Option<State> {
    let (file, start) = *s.w.live.last()?;
    std::rc::Rc::make_mut(&mut s.names.0[file]).disk.insert(1);
    (s.w.pc == Pc::Up && start > 1).then_some(s)
}
