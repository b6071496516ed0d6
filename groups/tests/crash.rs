//! Power losses and kills before every operation of the disk, while space is reclaimed: no acknowledged change is
//! lost, none is half there, nothing comes back.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use chunked_wal::ChunkedWal;
use chunked_wal::storage::MemoryStorage;
use chunked_wal_groups::{Config, GroupLog, GroupWal};
use common::{Dice, Entry, Model, commit};

fn open(disk: &MemoryStorage) -> Result<GroupLog<Entry>, chunked_wal_groups::Error> {
    let mut config = Config::new("/log");
    config.wal.chunk_max_size = 1024;
    config.wal.spare_chunks = 1;
    let options = ChunkedWal::<GroupWal>::options(config.wal).storage(Arc::new(disk.clone()));
    GroupLog::open_with(options, 1.3)
}

/// A disk before an operation, and which versions of the model it may lead to.
struct Cut {
    disk: MemoryStorage,
    acknowledged: usize,
    begun: usize,
}

/// Runs a workload; returns the model's digests after each step, and the cuts.
fn record(seed: u64) -> (Vec<u64>, Vec<Cut>, u64) {
    let disk = MemoryStorage::default();
    let mut dice = Dice(seed);
    let mut model = Model::default();
    let digests = Arc::new(Mutex::new(vec![model.digest()]));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let cuts = Arc::new(Mutex::new(Vec::new()));
    {
        let (digests, acknowledged, cuts, of) =
            (digests.clone(), acknowledged.clone(), cuts.clone(), disk.clone());
        disk.on_operation(move |op| {
            if op.kind.is_change() {
                // In this order: what is acknowledged meanwhile is also on the disk.
                let acknowledged = acknowledged.load(SeqCst);
                let disk = of.kill();
                let begun = digests.lock().unwrap().len() - 1;
                cuts.lock().unwrap().push(Cut { disk, acknowledged, begun });
            }
        });
    }
    let mut moved = 0;
    for _ in 0..3 {
        let log = open(&disk).unwrap();
        for _ in 0..30 {
            let changes = model.draw(&mut dice, 6, 120);
            let version = {
                let mut digests = digests.lock().unwrap();
                digests.push(model.digest());
                digests.len() - 1
            };
            let ticket = commit(&log, &changes).unwrap();
            if dice.below(3) == 0 {
                ticket.wait().unwrap();
                acknowledged.store(version, SeqCst);
            }
        }
        moved += log.space().moved;
        log.close().unwrap();
        acknowledged.store(digests.lock().unwrap().len() - 1, SeqCst);
    }
    disk.on_operation(|_| {});
    let digests = digests.lock().unwrap().clone();
    let cuts = std::mem::take(&mut *cuts.lock().unwrap());
    (digests, cuts, moved)
}

/// What a disk must lead to: one of the versions from the last acknowledged to the last begun one.
fn check(disk: &MemoryStorage, digests: &[u64], from: usize, to: usize) -> Result<usize, String> {
    let log = open(disk).map_err(|error| format!("not opened: {error}"))?;
    let found = Model::of(&log).map_err(|error| format!("not read: {error}"))?;
    let digest = found.digest();
    let version = (from..=to).rev().find(|version| digests[*version] == digest);
    version.ok_or_else(|| format!("no version from {from} to {to} has the groups {found:#?}"))
}

/// Opens the disks that a crash at a cut may leave, and those that a crash in this recovery, or in the reclaiming
/// after it, may leave.
fn explore(cut: &Cut, digests: &[u64], seed: u64, disks: u64) -> Result<u64, String> {
    let mut states = 0;
    for n in 0..disks {
        let left =
            if n == 0 { cut.disk.kill() } else { cut.disk.crash(seed.wrapping_mul(31).wrapping_add(n)) };
        let again = left.kill();
        let version = check(&left, digests, cut.acknowledged, cut.begun)?;
        // As above, but the recovery is cut, too. What it had found may be gone then, if it wasn't acknowledged.
        again.crash_after(1 + (seed ^ n) % 24);
        let _cut_off = check(&again, digests, 0, digests.len() - 1);
        check(&again.crash(seed + n), digests, cut.acknowledged, cut.begun)?;
        // Once it was opened, it stays.
        check(&left.crash(seed + n), digests, version, version)?;
        states += 3;
    }
    Ok(states)
}

#[test]
fn no_crash_loses_or_revives_anything() {
    let goal: u64 = std::env::var("CRASH_STATES").map_or(10_000, |text| text.parse().unwrap());
    let first: u64 = std::env::var("CRASH_SEED").map_or(1, |text| text.parse().unwrap());
    let (mut states, mut moved_in_all) = (0, 0);
    for seed in first.. {
        let (digests, cuts, moved) = record(seed);
        moved_in_all += moved;
        for (n, cut) in cuts.iter().enumerate() {
            states += explore(cut, &digests, seed.wrapping_mul(1000) + n as u64, 4)
                .unwrap_or_else(|wrong| panic!("seed {seed}, cut {n} of {}: {wrong}", cuts.len()));
        }
        if states >= goal {
            break;
        }
    }
    println!("{states} states, {moved_in_all} bytes moved");
    assert!(moved_in_all > 10_000, "only {moved_in_all} bytes were moved");
}
