//! Many threads on their own groups, with readers, while space is reclaimed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use chunked_wal::CallbackFn;
use chunked_wal_groups::{Config, Error, GroupLog};
use common::{Dice, Entry};

fn open(dir: &Path, chunk: u64) -> GroupLog<Entry> {
    let mut config = Config::new(dir);
    config.wal.chunk_max_size = chunk;
    GroupLog::open(config).unwrap()
}

/// Appends, purges and reads in groups of this thread's own, until the time is over; returns the number of entries.
fn work(log: &GroupLog<Entry>, thread: u64, groups: u64, until: Instant) -> u64 {
    let mut dice = Dice(thread);
    let mut appended = 0;
    while Instant::now() < until {
        let group = thread * groups + dice.below(groups);
        let next = log.bounds(group).map_or(1, |bounds| bounds.end);
        let entries: Vec<_> = (next..next + 1 + dice.below(5))
            .map(|index| Entry { index, made: group + index, size: dice.below(300) })
            .collect();
        let mut batch = log.batch();
        batch.append(group, &entries).unwrap();
        batch.set_state(group, &next).unwrap();
        if dice.below(4) == 0 && next > 20 {
            batch.purge(group, next - 1 - dice.below(20)).unwrap();
        }
        let ticket = batch.ticket().unwrap();
        appended += entries.len() as u64;
        let (first, last) = log.first_last(group).unwrap().unwrap();
        let read = log.entries(group, first..last + 1, u64::MAX).unwrap();
        assert!(read.iter().zip(first..).all(|(e, index)| (e.index, e.made) == (index, group + index)));
        assert_eq!(read.len() as u64, last + 1 - first);
        assert_eq!(read[read.len() - entries.len()..], entries);
        assert_eq!(log.state(group).unwrap(), Some(next));
        if dice.below(8) == 0 {
            ticket.wait().unwrap();
        }
    }
    appended
}

#[test]
fn threads_have_their_groups_to_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 32 << 10);
    let until = Instant::now() + Duration::from_secs(3);
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let log = log.clone();
            thread::spawn(move || work(&log, n, 20, until))
        })
        .collect();
    // Somebody else reads, and finds each group as it is at some moment.
    let reader = log.clone();
    let reading = thread::spawn(move || {
        let mut dice = Dice(99);
        while Instant::now() < until {
            let group = dice.below(160);
            let Some((first, last)) = reader.first_last(group).unwrap() else { continue };
            match reader.entries(group, first..last + 1, 4096) {
                Ok(entries) => {
                    assert!(entries.iter().zip(first..).all(|(entry, index)| entry.index == index))
                }
                Err(Error::Purged { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    let appended: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    reading.join().unwrap();
    let space = log.space();
    assert!(appended > 500 && space.moved > 10_000, "{appended} entries, {space:?}");
    let bounds: Vec<_> = (0..160).map(|group| log.bounds(group)).collect();
    log.close().unwrap();
    let log = open(dir.path(), 32 << 10);
    assert_eq!((0..160).map(|group| log.bounds(group)).collect::<Vec<_>>(), bounds);
}

#[test]
fn a_callback_may_use_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1 << 20);
    let (done, wait) = channel();
    for index in 1..=3000 {
        let mut batch = log.batch();
        batch.append(1, &[Entry { index, made: 1, size: 100 }]).unwrap();
        let (inside, done) = (log.clone(), done.clone());
        batch
            .commit(CallbackFn(move |result: Result<(), chunked_wal::Error>| {
                result.unwrap();
                let mut batch = inside.batch();
                batch.set_state(1, &index).unwrap();
                // Full queues are refused here, because this thread empties them.
                let _written = batch.write();
                done.send(inside.first_last(1).unwrap()).unwrap();
            }))
            .unwrap();
    }
    for _ in 0..3000 {
        wait.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}

#[test]
fn what_can_not_be_done_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1 << 20);
    let entry = |index| Entry { index, made: 1, size: 10 };
    let mut batch = log.batch();
    batch.append(1, &[entry(5), entry(6), entry(7)]).unwrap();
    batch.purge(1, 5).unwrap();
    batch.ticket().unwrap().wait().unwrap();
    let refused = |fill: &dyn Fn(&mut chunked_wal_groups::GroupBatch<'_, Entry>)| {
        let mut batch = log.batch();
        batch.set_state(1, &9).unwrap();
        fill(&mut batch);
        let error = batch.ticket().unwrap_err();
        assert_eq!((log.state(1).unwrap(), log.bounds(1)), (None, Some(6..8)), "{error}");
        error.to_string()
    };
    let hole = refused(&|batch| batch.append(1, &[entry(9)]).unwrap());
    assert!(hole.contains("8 is next"), "{hole}");
    let over = refused(&|batch| batch.append(1, &[entry(7)]).unwrap());
    assert!(over.contains("truncate before you overwrite"), "{over}");
    let purged = refused(&|batch| batch.truncate_after(1, 3).unwrap());
    assert!(purged.contains("the first one kept is 6"), "{purged}");
    assert!(matches!(log.entries(1, 4..8, 100), Err(Error::Purged { index: 4, first: 6, .. })));
    assert!(matches!(log.batch().purge(1, u64::MAX), Err(Error::IndexTooLarge { group: 1 })));
    assert_eq!(log.entries(1, 7..100, 0).unwrap(), [entry(7)], "at least one");
    assert_eq!(log.entries(2, 0..100, 0).unwrap(), []);
    // The order within a batch counts.
    let mut batch = log.batch();
    batch.truncate_after(1, 6).unwrap();
    batch.append(1, &[entry(7)]).unwrap();
    batch.destroy(1);
    batch.append(1, &[entry(1)]).unwrap();
    batch.write().unwrap();
    assert_eq!((log.bounds(1), log.state(1).unwrap()), (Some(1..2), None));
    let mut config = Config::new(dir.path());
    config.space_factor = 1.0;
    log.close().unwrap();
    assert!(GroupLog::<Entry>::open(config).unwrap_err().to_string().contains("space_factor is 1"));
}

/// Ten minutes at full rate, or `SOAK_SECONDS`: memory and disk stay flat.
/// `cargo test --release -p chunked-wal-groups --test threads -- --ignored --nocapture`
#[test]
#[ignore = "takes ten minutes"]
fn memory_and_disk_stay_flat() {
    let seconds: u64 = std::env::var("SOAK_SECONDS").map_or(600, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1 << 20);
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let log = log.clone();
            thread::spawn(move || work(&log, n, 1000, until))
        })
        .collect();
    let mut samples = Vec::new();
    while Instant::now() < until {
        thread::sleep(Duration::from_secs((seconds / 20).max(1)));
        let (memory, space) = (resident(), log.space());
        println!("{:>4} s: {} MiB of memory, {space:?}", begun.elapsed().as_secs(), memory >> 20);
        samples.push((memory, space.log as f64 / space.alive as f64));
    }
    threads.into_iter().for_each(|thread| assert!(thread.join().unwrap() > 0));
    let half = samples.len() / 2;
    let largest = |part: &[(u64, f64)]| part.iter().fold((0, 0.0_f64), |a, b| (a.0.max(b.0), a.1.max(b.1)));
    let (first, second) = (largest(&samples[..half]), largest(&samples[half..]));
    assert!(second.0 < first.0 + first.0 / 10 && second.1 < 2.5, "{first:?}, then {second:?}");
}

/// Bytes resident, on Linux.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
