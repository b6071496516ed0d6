//! A disk that is full, and one that fails.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chunked_wal::storage::{Fault, FaultHow, MemoryStorage};
use chunked_wal::{ChunkedWal, Error as WalError};
use chunked_wal_groups::{Config, Error, GroupLog, GroupWal};
use common::{Dice, Entry, Model, commit};

fn open(disk: &MemoryStorage, chunk: u64) -> Result<GroupLog<Entry>, Error> {
    let mut config = Config::new("/log");
    config.wal.chunk_max_size = chunk;
    let options = ChunkedWal::<GroupWal>::options(config.wal).storage(Arc::new(disk.clone()));
    GroupLog::open_with(options, 1.4)
}

fn append(log: &GroupLog<Entry>, group: u64, index: u64) -> Result<(), Error> {
    let mut batch = log.batch();
    batch.append(group, &[Entry { index, made: index, size: 200 }])?;
    Ok(batch.ticket()?.wait()?)
}

/// Idle groups are in the oldest chunks, alive as a whole; then one group fills the disk.
fn fill(log: &GroupLog<Entry>, hot: u64) -> u64 {
    for group in 0..100 {
        for index in 1..=3 {
            append(log, group, index).unwrap();
        }
    }
    for index in 1.. {
        match append(log, hot, index) {
            Ok(()) => {}
            Err(Error::Wal(WalError::StorageFull { .. })) => return index,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

fn until_it_takes_entries(log: &GroupLog<Entry>, group: u64, index: u64) {
    let begun = Instant::now();
    while let Err(error) = append(log, group, index) {
        assert!(matches!(error, Error::Wal(WalError::StorageFull { .. })), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{error}: {:?}", log.space());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn on_a_full_disk_purging_brings_space_back() {
    let disk = MemoryStorage::default();
    disk.set_capacity(Some(1 << 20));
    let log = open(&disk, 32 << 10).unwrap();
    let next = fill(&log, 1000);
    for _ in 0..3 {
        assert!(append(&log, 5, 4).is_err(), "entries are refused, whichever group's");
    }
    let mut state = log.batch();
    state.set_state(1000, &1).unwrap();
    assert!(state.write().is_err(), "a state alone frees nothing");
    let mut batch = log.batch();
    batch.purge(1000, next - 2).unwrap();
    // The state says what was purged.
    batch.set_state(1000, &2).unwrap();
    batch.ticket().unwrap().wait().unwrap();
    until_it_takes_entries(&log, 1000, next);
    // All of it again, by destroying.
    for index in next + 1.. {
        if append(&log, 1000, index).is_err() {
            break;
        }
    }
    log.destroy(1000).unwrap();
    until_it_takes_entries(&log, 1000, 1);
    let expected = Model::of(&log).unwrap();
    assert_eq!(expected.groups.len(), 101);
    log.close().unwrap();
    assert_eq!(Model::of(&open(&disk, 32 << 10).unwrap()).unwrap(), expected);
}

#[test]
fn a_full_disk_is_opened_and_purged() {
    let disk = MemoryStorage::default();
    disk.set_capacity(Some(1 << 20));
    let log = open(&disk, 32 << 10).unwrap();
    let next = fill(&log, 1000);
    log.close().unwrap();
    let log = open(&disk, 32 << 10).unwrap();
    assert_eq!(log.first_last(1000).unwrap(), Some((1, next - 1)));
    log.destroy(1000).unwrap();
    until_it_takes_entries(&log, 1000, 1);
}

#[test]
fn a_disk_without_room_for_the_reserve_is_a_full_disk() {
    let disk = MemoryStorage::default();
    open(&disk, 32 << 10).unwrap().close().unwrap();
    disk.remove_file("/log/groups.reserve").unwrap();
    disk.set_capacity(Some(disk.used()));
    let log = open(&disk, 32 << 10).unwrap();
    let refused = append(&log, 1, 1);
    assert!(matches!(refused, Err(Error::Wal(WalError::StorageFull { .. }))), "{refused:?}");
    disk.set_capacity(None);
    until_it_takes_entries(&log, 1, 1);
}

/// Each operation of the disk fails once: after that, what was acknowledged is there.
#[test]
fn no_failure_loses_what_was_acknowledged() {
    let hows = [FaultHow::Io, FaultHow::DoneButIo, FaultHow::SyncLies, FaultHow::NoSpace];
    for (nth, how) in (0..200).flat_map(|nth| hows.map(|how| (nth, how))) {
        let disk = MemoryStorage::default();
        let mut dice = Dice(7);
        let mut model = Model::default();
        let Ok(log) = open(&disk, 1024) else { unreachable!() };
        disk.fail(Fault::any(nth, how));
        let (mut acknowledged, mut begun) = (model.clone(), Vec::new());
        for _ in 0..60 {
            let changes = model.draw(&mut dice, 6, 120);
            begun.push(model.clone());
            let Ok(ticket) = commit(&log, &changes) else { break };
            if ticket.wait().is_err() {
                break;
            }
            acknowledged = model.clone();
            begun.clear();
        }
        drop(log);
        disk.heal();
        let found = Model::of(&open(&disk, 1024).unwrap()).unwrap().groups;
        let is_possible = found == acknowledged.groups || begun.iter().any(|model| model.groups == found);
        assert!(is_possible, "fault {nth}, {how:?}");
    }
}
