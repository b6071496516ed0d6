//! raft-log's logs, opened by the adapters for openraft after the import.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use chunked_wal::{ChunkId, ChunkedWal, Config};
use chunked_wal_import::raft_log::api::raft_log_writer::RaftLogWriter;
use chunked_wal_import::raft_log::{self, Types};
use chunked_wal_import::{Error, Import, LogWal, OpenraftTypes, Report, ToOpenraft};
use chunked_wal_openraft::Limits;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId};
use serde::Serialize;

use crate::common::{Numbers, Place, chunks, copy, untouched};
use crate::new_raft::with_0_9::{LogStore, Texts};
use crate::new_raft::{run, seen as seen_new, with_0_10};
use crate::old_raft::{Named, OldLog, Seen, json, leader, log_id, seen, write_all_kinds};

/// How many logs are written at random.
const RANDOM_LOGS: u64 = 40;

fn import(place: &Place) -> Result<Report, Error> {
    untouched(&place.old(), || Import::new(place.old(), place.new_log()).run(ToOpenraft::<LogWal>::new))
}

/// What raft sees of the old log, from a copy.
fn seen_old(place: &Place) -> Seen {
    let copied = place.root.path().join("copied");
    copy(&place.old(), &copied);
    let seen = seen(&copied);
    fs::remove_dir_all(copied).unwrap();
    seen
}

/// Imports the log that `write` writes, and compares what raft sees.
fn assert_same(write: impl FnOnce(&Path)) -> (Place, Report) {
    let place = Place::new();
    write(&place.old());
    let expected = seen_old(&place);
    let report = import(&place).unwrap();
    assert_eq!(seen_new(&place.new_log()), expected);
    assert!(!place.staging().exists());
    (place, report)
}

#[test]
fn votes_entries_commits_truncations_and_purges_are_the_same() {
    let (place, report) = assert_same(write_all_kinds);
    let chunks = chunks(&place.old());
    assert!(!chunks[0].ends_with("r-00_000_000_000_000_000_000.wal"), "the purge has removed chunks");
    assert!(chunks.len() > 3);
    assert_eq!(report.chunks, chunks.len() as u64);
    assert_eq!(report.old_bytes, chunks.iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>());
    assert_eq!(report.torn, None);
    assert_eq!((&report.notes["first_index"], &report.notes["last_index"]), (&12.into(), &34.into()));
    assert_eq!(report.notes["purges"], 1);
}

/// The index at which the log once started is above its entries.
#[test]
fn a_log_that_started_late_was_truncated_to_nothing_and_purged_below_is_the_same() {
    assert_same(|dir| {
        let mut log = OldLog::open(dir, 4);
        log.append_texts(2, 10..13);
        log.0.truncate(0).unwrap();
        log.purge(2, 5);
        log.append_texts(3, 6..9);
        log.sync();
    });
}

#[test]
fn raft_goes_on_with_the_new_log() {
    let (place, _) = assert_same(write_all_kinds);
    let append = || {
        run(async {
            let mut store = LogStore::<Texts>::open(Config::new(place.new_log())).unwrap();
            let next = store.get_log_state().await.unwrap().last_log_id.unwrap().index + 1;
            let log_id = LogId::new(CommittedLeaderId::new(9, 1), next);
            let payload = EntryPayload::Normal("another".into());
            store.blocking_append([Entry { log_id, payload }]).await.unwrap();
            store.purge(LogId::new(CommittedLeaderId::new(4, 2), 20)).await.unwrap();
        });
    };
    append();
    append();
    let seen = seen_new(&place.new_log());
    assert_eq!(seen.entries.len(), 16);
    assert!(seen.entries[15].contains("another"));
}

#[test]
fn a_log_that_only_began_is_imported() {
    let (_, report) = assert_same(|old| drop(OldLog::open(old, 10)));
    assert_eq!((report.old_records, report.new_records), (1, 1));
    let _voted = assert_same(|old| {
        OldLog::open(old, 10).vote(7);
    });
}

#[test]
fn a_log_that_starts_anywhere_and_is_emptied_is_imported() {
    let _first_entries = assert_same(|old| OldLog::open(old, 5).append_texts(3, 100..112));
    let _purged = assert_same(|old| {
        let mut log = OldLog::open(old, 5);
        log.append_texts(3, 0..12);
        log.purge(3, 11);
    });
    let _purged_beyond = assert_same(|old| {
        let mut log = OldLog::open(old, 5);
        log.append_texts(3, 0..12);
        log.purge(4, 50);
        log.append_texts(4, 51..60);
    });
    let _truncated = assert_same(|old| {
        let mut log = OldLog::open(old, 5);
        log.append_texts(3, 0..12);
        log.0.truncate(0).unwrap();
        log.append_texts(4, 0..3);
        log.0.truncate(3).unwrap();
    });
}

#[test]
fn a_snapshot_of_a_later_leader_voids_the_entries_of_an_earlier_one() {
    let place = Place::new();
    let mut log = OldLog::open(&place.old(), 5);
    log.append_texts(1, 0..10);
    log.purge(2, 7);
    log.append_texts(2, 8..9);
    drop(log);
    let report = import(&place).unwrap();
    let new = seen_new(&place.new_log());
    assert_eq!(new.last, json(&log_id(2, 8)));
    assert_eq!(new.purged, json(&log_id(2, 7)));
    assert_eq!(new.entries.len(), 1);
    // The entry that was voided by the purge alone is voided by a record of its own.
    assert_eq!(report.notes["truncations"], 0);
    assert_eq!(report.new_records, report.old_records + 1);
}

#[test]
fn a_state_in_mid_chunk_is_imported() {
    let (_, report) = assert_same(|old| {
        let mut log = OldLog::open(old, 5);
        log.vote(2);
        log.purge(2, 40);
        log.append_texts(2, 41..45);
        log.save_user_data(None);
        log.append_texts(2, 45..50);
    });
    assert_eq!(report.notes["states"], 1);
}

#[test]
fn user_data_are_the_same() {
    let user_data = |term| Some(rmp_serde::to_vec_named(&leader(term)).unwrap());
    let (place, _) = assert_same(|old| {
        let mut log = OldLog::open(old, 5);
        log.append_texts(1, 0..3);
        log.save_user_data(Some(8));
        log.append_texts(1, 3..9);
        log.save_user_data(Some(300));
    });
    assert_eq!(seen_new(&place.new_log()).user_data, user_data(300));
    // The record with the user data is in a chunk that a purge has removed: only checkpoints have them.
    let (place, _) = assert_same(|old| {
        let mut log = OldLog::open(old, 5);
        log.save_user_data(Some(8));
        log.append_texts(1, 0..30);
        log.purge(1, 20);
    });
    assert!(chunks(&place.old())[0] > place.old().join(ChunkId(0).file_name()));
    assert_eq!(seen_new(&place.new_log()).user_data, user_data(8));
    let (place, _) = assert_same(|old| {
        let mut log = OldLog::open(old, 5);
        log.save_user_data(Some(8));
        log.append_texts(1, 0..9);
        log.save_user_data(None);
    });
    assert_eq!(seen_new(&place.new_log()).user_data, None);
}

/// A crash of the old program may cut its log off anywhere in the record with the user data.
#[test]
fn user_data_of_a_torn_record_are_those_before_it() {
    let write = |old: &Path| {
        let mut log = OldLog::open(old, 100);
        log.save_user_data(Some(8));
        log.append_texts(1, 0..3);
        log.sync();
    };
    let place = Place::new();
    write(&place.old());
    let newest = chunks(&place.old()).pop().unwrap();
    let before = fs::metadata(&newest).unwrap().len();
    OldLog::open(&place.old(), 100).save_user_data(Some(300));
    let whole = fs::read(&newest).unwrap();
    let expected = seen_old(&place).user_data;
    assert_eq!(expected, Some(rmp_serde::to_vec_named(&leader(300)).unwrap()));
    for len in before..=whole.len() as u64 {
        fs::write(&newest, &whole[..len as usize]).unwrap();
        import(&place).unwrap();
        let is_whole = len == whole.len() as u64;
        let term = if is_whole { 300 } else { 8 };
        let seen = seen_new(&place.new_log());
        assert_eq!(seen.user_data, Some(rmp_serde::to_vec_named(&leader(term)).unwrap()), "cut to {len}");
        assert_eq!(seen.entries.len(), 3);
        fs::remove_dir_all(place.new_log()).unwrap();
    }
}

/// Each checkpoint has the index of the chunk before it, so that the store need not read closed chunks.
#[test]
fn opening_an_imported_log_reads_no_closed_chunk() {
    let (place, _) = assert_same(write_all_kinds);
    let files = chunks(&place.new_log());
    let store = LogStore::<Texts>::open(Config::new(place.new_log())).unwrap();
    let closed = store.wal().closed_chunk_stats();
    assert!(closed.len() > 5 && closed.iter().all(|stat| stat.checkpoint.index.is_some()), "{closed:?}");
    store.close().unwrap();
    let expected = seen_new(&place.new_log());
    // Damage in a record after the first one is noticed by whoever reads the record.
    for (file, stat) in files.iter().zip(&closed).filter(|(_, stat)| stat.records_count > 1) {
        let sound = fs::read(file).unwrap();
        let mut damaged = sound.clone();
        damaged[usize::try_from(stat.size).unwrap() - 20] ^= 1;
        fs::write(file, damaged).unwrap();
        let options = || ChunkedWal::options(Config::new(place.new_log()));
        drop(LogStore::<Texts>::open_with(options(), Limits::default()).unwrap());
        assert!(LogStore::<Texts>::open_verified(options(), Limits::default()).is_err(), "{file:?}");
        fs::write(file, sound).unwrap();
    }
    assert_eq!(seen_new(&place.new_log()), expected);
}

#[test]
fn chunks_that_are_lost_are_noticed() {
    let place = Place::new();
    OldLog::open(&place.old(), 5).append_texts(1, 0..30);
    let chunks = chunks(&place.old());
    let away = place.root.path().join("away");
    fs::rename(&chunks[0], &away).unwrap();
    let error = import(&place).unwrap_err();
    assert!(matches!(error, Error::NotFinished { .. }), "{error}");
    assert!(error.to_string().contains("4 entries from 0 to 29 are missing"), "{error}");
    fs::rename(&away, &chunks[0]).unwrap();
    fs::rename(&chunks[2], &away).unwrap();
    let error = import(&place).unwrap_err();
    assert!(matches!(&error, Error::Gap { path, .. } if *path == chunks[3]), "{error}");
    fs::remove_file(away).unwrap();
    fs::remove_dir_all(place.staging()).unwrap_err();
    place.assert_nothing_new();
}

#[test]
fn opening_an_old_directory_names_the_importer() {
    let place = Place::new();
    write_all_kinds(&place.old());
    let with_0_9 = LogStore::<Texts>::open(Config::new(place.old())).unwrap_err();
    let with_0_10 = with_0_10::LogStore::<with_0_10::Texts>::open(Config::new(place.old())).unwrap_err();
    for error in [with_0_9, with_0_10] {
        for words in ["raft-log", "chunked-wal 0.2", "chunked-wal-import"] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    // Nothing was lost by the mistake.
    import(&place).unwrap();
}

/// Does something of what raft does, at random, with a log that may be empty, emptied, or opened again.
fn write_at_random(dir: &Path, numbers: &mut Numbers) {
    let records_in_a_chunk = usize::try_from(2 + numbers.below(8)).unwrap();
    let mut log = OldLog::open(dir, records_in_a_chunk);
    let mut term = 1;
    for _ in 0..numbers.below(80) {
        let state = log.0.log_state();
        let last = state.last().map(|last| last.0.index);
        let next = last.map_or_else(|| numbers.below(3), |last| last + 1);
        let any = numbers.below(next.max(1));
        let entry = log.0.read(any, any + 1).next().map(|entry| entry.unwrap().0.0);
        match numbers.below(10) {
            0 => {
                term += numbers.below(2);
                log.vote(term);
            }
            1..=5 => log.append_texts(term, next..next + 1 + numbers.below(4)),
            // raft-log refuses what doesn't fit, and its log stays as it was.
            6 => drop(entry.map(|entry| log.0.commit(Named(entry)))),
            7 => drop(log.0.truncate(any)),
            8 if numbers.below(4) > 0 => {
                entry.into_iter().for_each(|entry| log.purge(entry.leader_id.term, entry.index));
            }
            8 => {
                term += 1;
                log.purge(term, next + numbers.below(5));
            }
            _ if numbers.below(2) > 0 => log.save_user_data([None, Some(term)][numbers.below(2) as usize]),
            _ => {
                drop(log);
                log = OldLog::open(dir, records_in_a_chunk);
            }
        }
    }
}

#[test]
fn whatever_raft_did_is_the_same_in_the_new_log() {
    let mut numbers = Numbers::new(7);
    let (mut chunks, mut entries) = (0, 0);
    for _ in 0..RANDOM_LOGS {
        let (place, report) = assert_same(|old| write_at_random(old, &mut numbers));
        chunks += report.chunks;
        entries += seen_new(&place.new_log()).entries.len();
    }
    assert!(chunks > 2 * RANDOM_LOGS, "{chunks} chunks");
    assert!(entries > 100, "{entries} entries");
}

/// The types of raft-log's own example: pairs of numbers, and texts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Pairs;

impl Types for Pairs {
    type LogId = (u64, u64);
    type LogPayload = String;
    type Vote = (u64, u64);
    type Callback = SyncSender<io::Result<()>>;
    type UserData = String;

    fn log_index(log_id: &(u64, u64)) -> u64 {
        log_id.1
    }

    fn payload_size(payload: &String) -> u64 {
        payload.len() as u64
    }
}

fn named(value: &impl Serialize) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(io::Error::other)
}

fn new_log_id((term, index): (u64, u64)) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

impl OpenraftTypes for Pairs {
    const IN_WORDS: &'static str = "raft-log with pairs";

    fn log_id(log_id: &(u64, u64)) -> io::Result<Vec<u8>> {
        named(&new_log_id(*log_id))
    }

    fn vote((term, node_id): &(u64, u64)) -> io::Result<Vec<u8>> {
        named(&openraft::Vote::new(*term, *node_id))
    }

    fn entry(log_id: &(u64, u64), payload: &String) -> io::Result<Vec<u8>> {
        named(&Entry::<Texts> { log_id: new_log_id(*log_id), payload: EntryPayload::Normal(payload.clone()) })
    }
}

#[test]
fn a_raft_log_of_other_types_is_imported_by_three_functions() {
    let place = Place::new();
    let mut config = raft_log::Config::new(place.old().display());
    config.wal.chunk_max_records = Some(4);
    let mut log = raft_log::RaftLog::<Pairs>::open(Arc::new(config)).unwrap();
    log.save_vote((2, 3)).unwrap();
    log.append((0..9).map(|index| ((2, index), format!("text {index}")))).unwrap();
    log.truncate(7).unwrap();
    log.commit((2, 5)).unwrap();
    drop(log);
    let other = import(&place).unwrap_err();
    assert!(matches!(other, Error::OtherTypes { .. }), "{other}");
    Import::new(place.old(), place.new_log()).run(ToOpenraft::<Pairs>::new).unwrap();
    let seen = seen_new(&place.new_log());
    assert_eq!(seen.vote, json(&openraft::Vote::new(2, 3)));
    assert_eq!(seen.committed, json(&new_log_id((2, 5))));
    assert_eq!(seen.last, json(&new_log_id((2, 6))));
    assert_eq!(seen.entries.len(), 7);
    assert!(seen.entries[6].contains("text 6"));
}
