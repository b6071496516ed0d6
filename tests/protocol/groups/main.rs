//! Holds runs of the real log of groups against its model: every record that comes into the log, and every chunk that
//! goes, has to be a step that the model allows.
//!
//! ```text
//! run ─► GroupLog ─► MemoryStorage ─► look: the records, and which chunks are there
//!  └───── commits ──────────────────────► replay ─► model: accepted, or the first record that is no step
//! ```
//!
//! - The log is looked at after each commit, on a copy of the disk. The order of its records is the order in which
//!   things have happened, for commits and for the thread that reclaims space.
//! - After a crash, the log must have what the model says it may have, and the groups what the model finds.
//! - The model needs a removal to be durable at once. So the replay asks for it when a chunk is seen to be gone, and
//!   takes it when the chunk is gone after a crash, too.
//! - A step of the reclaiming thread may be several records in one batch. The replay takes them one by one.
//!
//! `GROUP_RUNS=10000` in the environment does more runs, and `GROUP_SEED=7` only one of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod look;
mod replay;
mod run;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::scope;

use chunked_wal_protocol::explore::actions_of;

use crate::run::run;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_record_of_every_run_is_a_step_of_the_model() {
    let seeds = match number("GROUP_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GROUP_RUNS").unwrap_or(200),
    };
    let (next, actions) = (AtomicU64::new(seeds.start), Mutex::new(BTreeMap::<&str, usize>::new()));
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Relaxed)).filter(|seed| *seed < seeds.end) {
            let taken = run(seed).unwrap_or_else(|why| panic!("GROUP_SEED={seed}\n{why}"));
            let mut actions = actions.lock().unwrap();
            taken.into_iter().for_each(|(action, count)| *actions.entry(action).or_default() += count);
        }
    };
    scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let actions = actions.into_inner().unwrap();
    println!("{} runs, {actions:?}", seeds.end - seeds.start);
    if seeds.end - seeds.start >= 200 {
        let spec =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/Groups.tla")).unwrap();
        for action in actions_of(&spec) {
            assert!(actions.contains_key(action), "{action} is never taken");
        }
    }
}
