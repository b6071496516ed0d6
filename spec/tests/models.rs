//! `Log.tla` and the model in Rust (`tests/protocol`) are one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread::scope;

use chunked_wal_protocol::explore::{Bounds, explore};
use chunked_wal_spec::{Outcome, check, read};

/// Together they take every action, and are small enough to be checked each time.
const COMPARED: [&str; 3] = ["removal_faults", "batches", "faults"];

/// Every promise holds, and both have the same number of states and take each action as often.
fn expect_same(spec: &str, name: &str) {
    let model = read(format!("models/small/{name}.cfg")).unwrap();
    let theirs = match check(spec, &model, usize::MAX) {
        Outcome::Holds(theirs) => theirs,
        other => panic!("{name}: {}", other.summary()),
    };
    let ours = explore(&Bounds::parse(&model).unwrap());
    println!("{name}: {} states, {} steps", theirs.states, theirs.steps);
    assert!(ours.broken.is_none(), "{name}: {:?}", ours.broken);
    assert_eq!(ours.states, theirs.states, "{name}");
    let taken = |(action, count): (&&str, &usize)| (action.to_string(), *count);
    assert_eq!(ours.actions.iter().map(taken).collect::<BTreeMap<_, _>>(), theirs.actions, "{name}");
}

#[test]
fn both_models_are_the_same() {
    let spec = read("Log.tla").unwrap();
    let left = Mutex::new(COMPARED.to_vec());
    let work = || {
        while let Some(name) = { left.lock().unwrap().pop() } {
            expect_same(&spec, name);
        }
    };
    scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
}
