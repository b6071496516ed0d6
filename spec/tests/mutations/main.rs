//! Proves that the models would notice: puts one deliberate error after the other into a specification, and expects the
//! promise that it breaks, by name. With `MUTATION=seal` in the environment, only those whose name contains "seal".

mod archive;
mod groups;
mod log;

use std::sync::Mutex;
use std::thread::scope;
use std::time::Instant;

use chunked_wal_spec::{Outcome, check, read, spec_of};

/// More than any of these needs; a check that gets there has missed its error.
const STATES_MAX: usize = 300_000;

/// An error in the protocol.
#[derive(Clone, Copy)]
struct Mutation {
    name: &'static str,
    /// The definition in the specification after which the first occurrence of a piece is replaced.
    action: &'static str,
    from: &'static str,
    to: &'static str,
    /// In `models`.
    model: &'static str,
    breaks: &'static str,
}

const fn mutation(
    name: &'static str,
    action: &'static str,
    [from, to]: [&'static str; 2],
    model: &'static str,
    breaks: &'static str,
) -> Mutation {
    Mutation { name, action, from, to, model, breaks }
}

/// The specification with the error in it.
fn apply(spec: &str, mutation: &Mutation) -> String {
    let at = spec.find(&format!("\n{}", mutation.action));
    let (before, after) = spec.split_at(at.unwrap_or_else(|| panic!("{}: no such action", mutation.name)));
    assert!(after.contains(mutation.from), "{}: '{}' is not there any more", mutation.name, mutation.from);
    before.to_owned() + &after.replacen(mutation.from, mutation.to, 1)
}

/// What the check of a mutation has found, if it is not the promise that should be broken.
fn missed(mutation: &Mutation) -> Option<String> {
    let path = format!("models/{}.cfg", mutation.model);
    let (spec, model) = (read(spec_of(path.as_ref())).unwrap(), read(path).unwrap());
    let started = Instant::now();
    let outcome = check(&apply(&spec, mutation), &model, STATES_MAX);
    let line = format!("{}: {}", mutation.name, outcome.summary());
    println!("{} ms, {line}", started.elapsed().as_millis());
    let is_caught = matches!(&outcome, Outcome::Broken { promise, .. } if promise == mutation.breaks);
    (!is_caught).then_some(line)
}

#[test]
fn each_error_breaks_a_promise() {
    let only = std::env::var("MUTATION").unwrap_or_default();
    let all = [log::all(), groups::all(), archive::all()].concat();
    let next = all.iter().filter(|mutation| mutation.name.contains(&only));
    let (left, missed_ones) = (Mutex::new(next.collect::<Vec<_>>()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(mutation) = { left.lock().unwrap().pop() } {
            // Before the lock is taken, or else the checks would wait for each other.
            let missed = missed(mutation);
            missed_ones.lock().unwrap().extend(missed);
        }
    };
    scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let missed = missed_ones.into_inner().unwrap();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
