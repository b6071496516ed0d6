//! Every promise holds in every state of the models in `spec/models`, `models/groups` and `models/archive`. With
//! `MODELS=large` in the environment, of those in the folders `large` in these: for a night. `MODEL=late` takes only those
//! whose path contains "late".
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Mutex;
use std::thread::scope;
use std::time::Instant;

use chunked_wal_protocol::explore::{Counts, Explored, Model, actions_of, explore, explore_with};
use chunked_wal_protocol::{Bounds, Frame, Pc, Process, RemovalStep, Stage, State, archive, groups};

/// All models together have at least this many states.
const STATES_MIN: usize = 1_000_000;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec")
}

/// The models of each specification, by its name and the folder in `models`.
const SPECS: [(&str, &str); 3] = [("Log", ""), ("Groups", "groups"), ("Archive", "archive")];

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(folder().join(path)).unwrap()
}

fn bounds(model: &str) -> Bounds {
    Bounds::parse(&read(Path::new("models").join(model))).unwrap()
}

/// A model to be explored.
#[derive(Debug, Clone)]
struct Job {
    spec: &'static str,
    path: PathBuf,
}

/// All models, or those in folders of this name.
fn jobs(of: &str) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (spec, dir) in SPECS {
        let entries = folder().join("models").join(dir).join(of).read_dir().unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let models = paths.filter(|path| path.extension().is_some_and(|extension| extension == "cfg"));
        jobs.extend(models.map(|path| Job { spec, path }));
    }
    jobs.sort_by(|one, other| one.path.cmp(&other.path));
    jobs
}

impl Job {
    /// Explores it; returns how many states it has, and how often each action was taken.
    fn explore(&self) -> (usize, Counts) {
        let (model, started) = (read(&self.path), Instant::now());
        match self.spec {
            "Groups" => self.holds(explore(&groups::Bounds::parse(&model).unwrap()), started),
            "Archive" => self.holds(explore(&archive::Bounds::parse(&model).unwrap()), started),
            _ => self.holds(explore(&Bounds::parse(&model).unwrap()), started),
        }
    }

    fn holds<S: Debug>(&self, found: Explored<S>, started: Instant) -> (usize, Counts) {
        let name = self.path.strip_prefix(folder().join("models")).unwrap().display();
        println!("{name}: {} states in {} s", found.states, started.elapsed().as_secs());
        assert!(found.broken.is_none(), "{name}: {:?}", found.broken);
        (found.states, found.actions)
    }
}

#[test]
fn every_promise_holds_in_every_state_of_every_model() {
    let only = std::env::var("MODEL").unwrap_or_default();
    let mut jobs = jobs(&std::env::var("MODELS").unwrap_or_default());
    jobs.retain(|job| job.path.to_str().unwrap().contains(&only));
    let left = Mutex::new(jobs);
    let all = Mutex::new(BTreeMap::<&str, (usize, Counts)>::new());
    let work = || {
        while let Some(job) = { left.lock().unwrap().pop() } {
            let (states, actions) = job.explore();
            let mut all = all.lock().unwrap();
            let of_spec = all.entry(job.spec).or_default();
            of_spec.0 += states;
            actions.into_iter().for_each(|(action, count)| *of_spec.1.entry(action).or_default() += count);
        }
    };
    scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    if !only.is_empty() {
        return;
    }
    let all = all.into_inner().unwrap();
    let states: usize = all.values().map(|(states, _)| states).sum();
    assert!(states >= STATES_MIN, "{states} states");
    for (spec, (states, actions)) in all {
        println!("{spec}: {states} states");
        expect_all_taken(spec, &actions);
    }
}

/// An action that is never taken proves nothing.
fn expect_all_taken(spec: &str, actions: &Counts) {
    let text = read(format!("{spec}.tla"));
    let names = actions_of(&text);
    assert!(names.len() >= 9, "{names:?}");
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
        expect_broken(promise, &bounds(model), wrong);
    }
}

fn expect_broken<M: Model>(promise: &str, model: &M, wrong: fn(M::State) -> Option<M::State>) {
    let found = explore_with(model, |state| wrong(state.clone()));
    assert_eq!(found.broken.map(|(promise, _)| promise), Some(promise), "{wrong:?}");
}

#[test]
fn each_promise_on_groups_notices_an_error() {
    let with =
        |model: &str| groups::Bounds::parse(&read(Path::new("models/groups/small").join(model))).unwrap();
    let entries = with("entries.cfg");
    expect_broken("AcknowledgedIsDurable", &entries, |mut s| {
        s.acked = s.versions.len();
        Some(s)
    });
    expect_broken("NoBatchIsTorn", &with("batches.cfg"), |mut s| {
        s.records.iter_mut().for_each(|record| record.more = false);
        Some(s)
    });
    expect_broken("NoHole", &entries, |mut s| {
        let first = s.records.first()?.chunk;
        let is_left = s.m.pc == groups::Pc::Down && s.records.last()?.chunk > first;
        (is_left && s.gone.insert(first)).then_some(s)
    });
    expect_broken("NothingIsLost", &entries, |mut s| {
        let at = &mut Rc::make_mut(&mut s.m.index[0]).at[0];
        (std::mem::take(at) != 0).then_some(s)
    });
    expect_broken("NothingComesBack", &entries, |mut s| {
        let at = &mut Rc::make_mut(&mut s.m.index[0]).at[0];
        (s.m.pc == groups::Pc::Up && s.records.len() > 2 && std::mem::replace(at, 2) == 0).then_some(s)
    });
    expect_broken("BoundsAreKept", &entries, |mut s| {
        Rc::make_mut(&mut s.m.index[0]).next += 1;
        Some(s)
    });
}

#[test]
fn each_promise_on_the_archive_notices_an_error() {
    let with =
        |model: &str| archive::Bounds::parse(&read(Path::new("models/archive/small").join(model))).unwrap();
    let (fencing, pins) = (with("fencing.cfg"), with("pins.cfg"));
    expect_broken("OneWriter", &fencing, |mut s| {
        let mut stale = archive::Manifest::clone(&s.store.highest());
        (stale.number, stale.epoch) = (stale.number + 1, stale.epoch.checked_sub(1)?);
        let number = stale.number;
        *s.store.manifests.get_mut(number - 1)? = Some(Rc::new(stale));
        Some(s)
    });
    expect_broken("PartsFollow", &fencing, |mut s| {
        let highest = s.store.manifests.iter_mut().rev().flatten().next()?;
        let highest = Rc::make_mut(highest);
        highest.parts.push(*highest.parts.last()?);
        Some(s)
    });
    expect_broken("NamedIsThere", &fencing, |mut s| {
        s.store.parts.pop_first()?;
        Some(s)
    });
    expect_broken("ReportedIsArchived", &fencing, |mut s| {
        s.told.reported += 1;
        Some(s)
    });
    expect_broken("ReportNeverGoesBack", &fencing, |mut s| {
        let archiver = s.archivers.iter_mut().find(|archiver| archiver.pc == archive::Pc::Published)?;
        archiver.reported = 9;
        Some(s)
    });
    expect_broken("PinnedIsKept", &pins, |mut s| {
        s.told.pins.insert(s.store.highest().end());
        Some(s)
    });
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
