use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunked_wal_02::WALRecord;
use codeq::{Decode, Encode};
use raft_log::api::raft_log_writer::RaftLogWriter;
use raft_log::{Config, RaftLog, RaftWalTypes};
use serde::Serialize;

use super::{Source, Totals};
use crate::convert::OldFormat;
use crate::error::{Error, Result};
use crate::raft::{LogId, LogWal, Vote};

#[derive(Serialize)]
struct Id {
    leader_id: Leader,
    index: u64,
}

#[derive(Serialize, Clone, Copy)]
struct Leader {
    term: u64,
    node_id: u64,
}

#[derive(Serialize)]
struct Entry {
    log_id: Id,
    payload: String,
}

#[derive(Serialize)]
struct AVote {
    leader_id: Leader,
    committed: bool,
}

const LEADER: Leader = Leader { term: 300, node_id: 2 };

fn value<T: Decode>(value: &impl Serialize) -> T {
    T::decode(&rmp_serde::to_vec_named(value).unwrap()[..]).unwrap()
}

fn id(index: u64) -> Id {
    Id { leader_id: LEADER, index }
}

/// Writes a log of two chunks, with one record of each kind at least.
fn write(dir: &Path) {
    let mut config = Config::new(dir.display());
    config.wal.chunk_max_records = Some(6);
    let mut log = RaftLog::<LogWal>::open(Arc::new(config)).unwrap();
    log.save_vote(value::<Vote>(&AVote { leader_id: LEADER, committed: true })).unwrap();
    for index in 0..4 {
        let entry = Entry { log_id: id(index), payload: format!("text {index}") };
        log.append([(value::<LogId>(&id(index)), value(&entry))]).unwrap();
    }
    log.commit(value(&id(2))).unwrap();
    log.truncate(3).unwrap();
    log.purge(value(&id(1))).unwrap();
}

fn format() -> OldFormat {
    OldFormat { types: "these", checksummed: 0..=5 }
}

/// The bytes of each record.
fn read(dir: &Path) -> Result<(Totals, Vec<Vec<u8>>)> {
    let mut records = Vec::new();
    let totals = Source::open(dir)?.read::<RaftWalTypes<LogWal>>(&format(), |record| {
        let mut bytes = Vec::new();
        record.record.encode(&mut bytes).map_err(Error::io("encode", dir))?;
        let payload = match record.record {
            WALRecord::Action(_) => &bytes[..],
            WALRecord::Checkpoint(_) => &bytes[4..bytes.len() - 8],
        };
        assert_eq!(record.payload, payload);
        records.push(bytes);
        Ok(())
    })?;
    Ok((totals, records))
}

fn chunks(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some());
    paths.sort();
    paths
}

#[test]
fn every_byte_is_read() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let (totals, records) = read(dir.path()).unwrap();
    let files: Vec<u8> = chunks(dir.path()).iter().flat_map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(records.concat(), files);
    let (chunks, count, bytes) = (2, records.len() as u64, files.len() as u64);
    assert_eq!(totals, Totals { chunks, records: count, bytes, torn: None });
}

#[test]
fn each_flipped_bit_is_damage_at_its_record_or_looks_torn_in_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let (_, all) = read(dir.path()).unwrap();
    let mut torn = 0;
    let chunks = chunks(dir.path());
    for path in &chunks {
        let bytes = fs::read(path).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(path, &flipped).unwrap();
            match read(dir.path()) {
                Err(Error::Damaged { path: named, position, .. }) => {
                    assert_eq!(named, *path);
                    assert!(position <= bit as u64 / 8, "bit {bit}: {position}");
                }
                Ok((totals, records)) => {
                    assert!(totals.torn.is_some() && Some(path) == chunks.last(), "bit {bit} of {path:?}");
                    assert_eq!(records, all[..all.len() - 1], "bit {bit} of {path:?}");
                    torn += 1;
                }
                Err(error) => panic!("bit {bit} of {path:?}: {error}"),
            }
        }
        fs::write(path, &bytes).unwrap();
    }
    // Only a length of the last record that points beyond the file looks like a torn write.
    assert!((1..100).contains(&torn), "{torn}");
}

#[test]
fn each_cut_of_the_newest_chunk_is_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let (_, all) = read(dir.path()).unwrap();
    let newest = chunks(dir.path()).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    for len in 0..bytes.len() {
        fs::write(&newest, &bytes[..len]).unwrap();
        let (totals, records) = read(dir.path()).unwrap();
        assert!(all.starts_with(&records), "{len}");
        let end = totals.bytes + totals.torn.map_or(0, |torn| torn.bytes);
        assert_eq!(end, (all.concat().len() - bytes.len() + len) as u64);
    }
}
