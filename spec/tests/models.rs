//! Every promise holds in every state of the models beside `Log.tla`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread::scope;

use chunked_wal_spec::{Explored, Outcome, check, folder, read};

/// All models together have at least this many states.
const STATES_MIN: usize = 1_000_000;

/// Checks the models on two threads, the largest first.
fn check_all() -> Vec<(String, Outcome)> {
    let spec = read("Log.tla").unwrap();
    let mut names: Vec<_> =
        folder().join("models").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "cfg"));
    names.sort();
    let (left, done) = (Mutex::new(names), Mutex::new(Vec::new()));
    let work = || {
        while let Some(path) = { left.lock().unwrap().pop() } {
            let outcome = check(&spec, &read(&path).unwrap(), usize::MAX);
            println!("{}: {}", path.display(), outcome.summary());
            done.lock().unwrap().push((path.file_stem().unwrap().to_string_lossy().into_owned(), outcome));
        }
    };
    scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    done.into_inner().unwrap()
}

#[test]
fn every_promise_holds_in_every_state_of_every_model() {
    let (mut states, mut actions) = (0, BTreeMap::<String, usize>::new());
    for (name, outcome) in check_all() {
        let Outcome::Holds(Explored { states: more, actions: taken, .. }) = outcome else {
            panic!("{name}: {}", outcome.summary());
        };
        states += more;
        for (action, count) in taken {
            *actions.entry(action).or_default() += count;
        }
    }
    assert!(states >= STATES_MIN, "{states} states");
    // An action that is never taken proves nothing.
    for action in next_actions(&read("Log.tla").unwrap()) {
        assert!(actions.get(&action).is_some_and(|count| *count > 0), "{action} is never taken");
    }
}

/// The actions of a process that runs, opens or closes its log.
fn next_actions(spec: &str) -> Vec<String> {
    let mut actions = vec!["Kill".to_string(), "Crash".to_string()];
    for part in ["\nRunning ==", "\nOpeningOrClosing =="] {
        let (_, part) = spec.split_once(part).unwrap();
        let (part, _) = part.split_once("\n\n").unwrap();
        actions.extend(part.split_whitespace().filter(|word| *word != "\\/").map(str::to_string));
    }
    actions
}
