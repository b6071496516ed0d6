//! Every promise holds in the small models, and each specification and its model in Rust (`tests/protocol`) are one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread::scope;

use chunked_wal_protocol::explore::{Explored, actions_of, explore};
use chunked_wal_protocol::{Bounds, archive, groups};
use chunked_wal_spec::{Outcome, check, read, spec_of};

/// Of each specification they take every action, and are small enough to be checked each time.
const COMPARED: [&str; 13] = [
    "groups/small/batches",
    "groups/small/entries",
    "groups/small/purges",
    "groups/small/states",
    "archive/small/fencing",
    "archive/small/pins",
    "archive/small/prunes",
    "archive/small/sweeps",
    "archive/small/uploads",
    // The largest first: they are taken from the end.
    "small/cuts",
    "small/faults",
    "small/batches",
    "small/removal_faults",
];

/// What the model in Rust has found: states, and how often each action was taken.
type Found = (usize, BTreeMap<String, usize>);

fn found_in_rust(name: &str, model: &str) -> Found {
    match spec_of(name.as_ref()) {
        "Groups.tla" => found(name, explore(&groups::Bounds::parse(model).unwrap())),
        "Archive.tla" => found(name, explore(&archive::Bounds::parse(model).unwrap())),
        _ => found(name, explore(&Bounds::parse(model).unwrap())),
    }
}

fn found<S: std::fmt::Debug>(name: &str, ours: Explored<S>) -> Found {
    assert!(ours.broken.is_none(), "{name}: {:?}", ours.broken);
    (ours.states, ours.actions.iter().map(|(action, count)| (action.to_string(), *count)).collect())
}

/// Every promise holds, and both have the same number of states and take each action as often.
///
/// Returns the specification's name, and the actions that were taken.
fn expect_same(name: &str) -> (&'static str, Vec<String>) {
    let path = format!("models/{name}.cfg");
    let (spec, model) = (read(spec_of(path.as_ref())).unwrap(), read(&path).unwrap());
    let theirs = match check(&spec, &model, usize::MAX) {
        Outcome::Holds(theirs) => theirs,
        other => panic!("{name}: {}", other.summary()),
    };
    println!("{name}: {} states, {} steps", theirs.states, theirs.steps);
    let taken: Vec<String> = theirs.actions.keys().cloned().collect();
    assert_eq!(found_in_rust(name, &model), (theirs.states, theirs.actions), "{name}");
    (spec_of(path.as_ref()), taken)
}

#[test]
fn both_models_are_the_same() {
    let (left, taken) = (Mutex::new(COMPARED.to_vec()), Mutex::new(BTreeMap::<_, Vec<String>>::new()));
    let work = || {
        while let Some(name) = { left.lock().unwrap().pop() } {
            let (spec, actions) = expect_same(name);
            taken.lock().unwrap().entry(spec).or_default().extend(actions);
        }
    };
    scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    for (spec, taken) in taken.into_inner().unwrap() {
        for action in actions_of(&read(spec).unwrap()) {
            assert!(taken.iter().any(|name| name == action), "{spec}: {action} is never taken");
        }
    }
}
