//! Holds runs of the real log against the model: every operation on the storage, and every call and answer, has to be
//! a step that the model allows.
//!
//! ```text
//! run ─► ChunkedWal ─► Recorded ─► MemoryStorage
//!  │ calls, answers       │ operations
//!  └──────► Tape ◄────────┘
//!            └─► replay ─► model: accepted, or the first event that is no step
//! ```
//!
//! - The tape has the order in which things happened: an operation is on it before the next one starts. A call is on
//!   it before it is made, an answer after it was given.
//! - All frames of these runs have [one size](frame::FRAME), so that a place of the model is a place in the file.
//! - The steps that can't be seen (an appended record that is still in memory, a verdict) are put in where the model
//!   needs them. [`replay`] says where it is more lenient than the model, and why that hides nothing.
//!
//! `TRACES=100000` in the environment does more runs, and `TRACE_SEED=7` only one of them.

mod down;
mod frame;
mod opening;
mod replay;
mod run;
mod storage;
mod tape;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::scope;

use chunked_wal_protocol::explore::actions_of;

use crate::replay::replay;
use crate::run::{LAST, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_event_of_every_run_is_a_step_of_the_model() {
    let seeds = match number("TRACE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TRACES").unwrap_or(10_000),
    };
    let (next, actions) = (AtomicU64::new(seeds.start), Mutex::new(BTreeMap::<&str, usize>::new()));
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Relaxed)).filter(|seed| *seed < seeds.end) {
            let taken = replay(&run(seed), LAST).unwrap_or_else(|why| panic!("TRACE_SEED={seed}\n{why}"));
            let mut actions = actions.lock().unwrap();
            taken.into_iter().for_each(|(action, count)| *actions.entry(action).or_default() += count);
        }
    };
    scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let actions = actions.into_inner().unwrap();
    println!("{} runs, {actions:?}", seeds.end - seeds.start);
    // An action that no run takes is not compared with the code.
    if seeds.end - seeds.start >= 10_000 {
        let spec =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/Log.tla")).unwrap();
        let never: Vec<_> =
            actions_of(&spec).into_iter().filter(|action| !actions.contains_key(action)).collect();
        assert!(never.is_empty(), "never taken: {never:?}");
    }
}
