//! A raft log is cut at every operation of its disk, and what a crash may leave there is opened.
//!
//! What comes back has to be, whole, what raft had stored after some record: at or behind the last that
//! was acknowledged, and none that was never tried. So an acknowledged vote or entry is never lost, an
//! entry that was truncated never comes back, and a purge makes no hole.
//!
//! `CRASH_STATES` and `CRASH_SEED` ask for more, or for others.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use chunked_wal::Config;
use chunked_wal::storage::MemoryStorage;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};

use crate::common::{Store, Vote, entries, open, open_verified, run, truncate};
use crate::model::Model;
use crate::random::Random;
use crate::workload::Workload;

fn setting(name: &str, unless_set: u64) -> u64 {
    std::env::var(name).map_or(unless_set, |n| n.parse().expect(name))
}

#[derive(Default)]
struct Tally {
    workloads: AtomicU64,
    cuts: AtomicU64,
    states: AtomicU64,
    second_crashes: AtomicU64,
    /// States that did not come back as the last that was tried.
    shorter: AtomicU64,
}

#[test]
fn a_crash_anywhere_loses_nothing_acknowledged_and_brings_nothing_back() {
    let states = setting("CRASH_STATES", 12_000);
    let seed = AtomicU64::new(setting("CRASH_SEED", 1) * 1_000_000);
    let tally = Tally::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while tally.states.load(Relaxed) < states {
                    let seed = seed.fetch_add(1, Relaxed);
                    if let Err(wrong) = run(explore(seed, &tally)) {
                        // The others need not go on.
                        tally.states.store(u64::MAX / 2, Relaxed);
                        panic!("CRASH_SEED={seed}: {wrong}");
                    }
                    tally.workloads.fetch_add(1, Relaxed);
                }
            });
        }
    });
    let [workloads, cuts, states, second, shorter] =
        [&tally.workloads, &tally.cuts, &tally.states, &tally.second_crashes, &tally.shorter]
            .map(|n| n.load(Relaxed));
    println!("{states} states of {cuts} cuts in {workloads} workloads; {second} second crashes");
    assert!(second > states / 10 && shorter > states / 10, "{second} and {shorter} of {states}");
}

/// Runs a workload, and judges all its cuts.
async fn explore(seed: u64, tally: &Tally) -> Result<(), String> {
    let mut workload = Workload::new(seed);
    let mut dice = Random::new(!seed);
    let told = |workload: &Workload, wrong: String| format!("{:#?}\n{wrong}", workload.steps);
    workload.open(MemoryStorage::default()).await?;
    for _ in 0..16 {
        let stepped = workload.step().await;
        for cut in workload.take_cuts() {
            tally.cuts.fetch_add(1, Relaxed);
            for disk in cut.disks {
                let judged = judge(disk, &workload.config, &cut.possible, &mut dice, tally).await;
                judged.map_err(|wrong| told(&workload, wrong))?;
            }
        }
        stepped.map_err(|wrong| told(&workload, wrong))?;
    }
    Ok(())
}

/// Opens a disk that a crash left, perhaps after one more crash in the middle of that.
async fn judge(
    disk: MemoryStorage,
    config: &Config,
    possible: &[Model],
    dice: &mut Random,
    tally: &Tally,
) -> Result<(), String> {
    tally.states.fetch_add(1, Relaxed);
    let mut disk = disk;
    if dice.below(4) == 0 {
        disk.crash_after(1 + dice.below(12));
        drop(open(&disk, config.clone()));
        disk = disk.crash(dice.below(1000));
        tally.second_crashes.fetch_add(1, Relaxed);
    }
    // Both ways to open have to find the same.
    let open = if dice.below(2) == 0 { open } else { open_verified };
    let mut store = open(&disk, config.clone()).map_err(|e| format!("doesn't open: {e}"))?;
    let found = Model::of(&mut store).await?;
    match possible.iter().position(|model| *model == found) {
        None => return Err(format!("{found:#?}\nis none of {possible:#?}")),
        Some(at) => tally.shorter.fetch_add(u64::from(at + 1 < possible.len()), Relaxed),
    };
    go_on(store, found, &disk, config).await
}

/// The log goes on as if nothing had happened, and comes back with that, too.
async fn go_on(mut store: Store, found: Model, disk: &MemoryStorage, config: &Config) -> Result<(), String> {
    let mut expected = found;
    let next = expected.next();
    let go = async {
        store.blocking_append(entries(9, next..next + 2)).await?;
        truncate(&mut store, next + 1).await?;
        store.save_vote(&Vote::new(99, 9)).await
    };
    go.await.map_err(|e| format!("doesn't go on: {e}"))?;
    expected.push(9, &format!("9-{next}"));
    expected.vote = Some(Vote::new(99, 9));
    let disk = disk.crash(0);
    for open in [open, open_verified] {
        let mut store = open(&disk, config.clone()).map_err(|e| format!("doesn't open again: {e}"))?;
        let found = Model::of(&mut store).await?;
        if found != expected {
            return Err(format!("{found:#?}\nis not {expected:#?}"));
        }
    }
    Ok(())
}
