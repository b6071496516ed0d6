//! A log of groups that somebody else keeps, or that has used up its budget.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkedWal, Error as WalError, Subscriber};
use chunked_wal_groups::{Config, Error, GroupLog, GroupWal};
use common::Entry;

fn entry(index: u64) -> Entry {
    Entry { index, made: 1, size: 1000 }
}

/// Waits until the log has become that small.
fn wait_for(log: &GroupLog<Entry>, bytes: u64) {
    let started = Instant::now();
    while log.space().log > bytes {
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", log.space());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_subscriber_keeps_chunks_and_commits_do_not_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.wal.chunk_max_size = 16 << 10;
    let log = GroupLog::<Entry>::open(config).unwrap();
    log.batch().ticket().unwrap().wait().unwrap();
    let subscriber = Subscriber::options(dir.path(), "copy").open().unwrap();
    let mut fastest = Duration::MAX;
    for hundred in 0..20 {
        let started = Instant::now();
        for index in (1..=100).map(|i| 100 * hundred + i) {
            let mut batch = log.batch();
            batch.append(1, &[entry(index)]).unwrap();
            batch.purge(1, index - 1).unwrap();
            batch.write().unwrap();
        }
        fastest = fastest.min(started.elapsed());
    }
    assert!(log.space().log > 900_000, "{:?}", log.space());
    // A commit waits for a millisecond while reclaiming lags, but here nothing can be reclaimed.
    assert!(fastest < Duration::from_millis(90), "{fastest:?}");
    subscriber.remove().unwrap();
    wait_for(&log, 100_000);
    assert_eq!(log.entries(1, 2000..2001, u64::MAX).unwrap(), [entry(2000)]);
    log.close().unwrap();
}

#[test]
fn at_the_hard_budget_entries_are_refused_and_a_purge_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.wal.chunk_max_size = 16 << 10;
    config.wal.hard_budget = 400 << 10;
    let log = GroupLog::<Entry>::open(config).unwrap();
    let mut last = 0;
    let error = loop {
        let mut batch = log.batch();
        batch.append(1, &[entry(last + 1)]).unwrap();
        match batch.write() {
            Ok(()) => last += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Wal(WalError::OverBudget { .. })), "{error:?}");
    assert!(last > 250, "{last}");
    let mut batch = log.batch();
    batch.purge(1, last - 10).unwrap();
    batch.set_state(1, &7).unwrap();
    batch.write().unwrap();
    let started = Instant::now();
    loop {
        let mut batch = log.batch();
        batch.append(1, &[entry(last + 1)]).unwrap();
        match batch.write() {
            Ok(()) => break,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(60), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(log.bounds(1), Some(last - 9..last + 2));
    log.close().unwrap();
}

fn append(log: &GroupLog<Entry>, group: u64, index: u64) -> Result<(), Error> {
    let mut batch = log.batch();
    batch.append(group, &[entry(index)])?;
    batch.write()
}

/// Appends until that succeeds.
fn until_taken(log: &GroupLog<Entry>, group: u64, index: u64) {
    let started = Instant::now();
    while let Err(error) = append(log, group, index) {
        assert!(started.elapsed() < Duration::from_secs(20), "{error}: {:?}", log.space());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn at_the_hard_budget_each_chunk_that_has_little_alive_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.wal.chunk_max_size = 16 << 10;
    config.wal.hard_budget = 400 << 10;
    let log = GroupLog::<Entry>::open(config).unwrap();
    // Ten groups in turn, so that each chunk has entries of all of them.
    let mut last = 0;
    let refused = (0_u64..)
        .find(|nth| append(&log, nth % 10, nth / 10 + 1).is_err().then(|| last = nth / 10).is_some());
    // A vote alone is no entry.
    let mut batch = log.batch();
    batch.set_state(3, &7).unwrap();
    batch.write().unwrap();
    // A fifth of the log is not needed any more.
    let mut batch = log.batch();
    batch.purge(0, last).unwrap();
    batch.purge(1, last).unwrap();
    batch.write().unwrap();
    let group = refused.unwrap() % 10;
    until_taken(&log, group, refused.unwrap() / 10 + 1);
    log.close().unwrap();
}

#[test]
fn a_disk_that_others_have_made_room_on_takes_entries_although_a_subscriber_holds_the_log() {
    let disk = MemoryStorage::default();
    disk.set_capacity(Some(1 << 20));
    let mut config = chunked_wal::Config::new("/log");
    config.chunk_max_size = 32 << 10;
    let options = ChunkedWal::<GroupWal>::options(config).storage(Arc::new(disk.clone()));
    let log = GroupLog::<Entry>::open_with(options, 1.4).unwrap();
    log.batch().ticket().unwrap().wait().unwrap();
    let storage = Arc::new(disk.clone());
    let subscriber = Subscriber::options("/log", "copy").storage(storage).open().unwrap();
    let mut index = 1;
    while append(&log, 1, index).is_ok() {
        index += 1;
    }
    let mut batch = log.batch();
    batch.purge(1, index - 2).unwrap();
    batch.write().unwrap();
    // The reclaimer has come to the subscriber by then.
    std::thread::sleep(Duration::from_millis(200));
    disk.set_capacity(Some(4 << 20));
    until_taken(&log, 1, index);
    drop(subscriber);
    log.close().unwrap();
}
