//! What every user of a log relies on.
#![allow(clippy::unwrap_used, reason = "tests")]

use chunked_wal::{Flush, WalRecord};

use crate::common::*;

#[test]
fn a_log_reopens_with_what_was_appended() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    for word in ["a", "b", "c"] {
        wal.append_and_apply(word.to_string(), &mut list).unwrap();
    }
    wal.sync().unwrap();
    let id = wal.open_chunk_id();
    wal.close().unwrap();

    let (wal, again) = disk.open();
    assert_eq!(again.words, ["a", "b", "c"]);
    assert_eq!(wal.open_chunk_id(), id, "a healthy last chunk goes on");
    assert_eq!(wal.recovery().records, 4);
    assert_eq!(wal.recovery().torn_tail, None);
}

#[test]
fn every_record_is_readable_in_memory_and_in_files() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let mut segments = Vec::new();
    for i in 0..200 {
        segments.push(wal.append_and_apply(format!("word-{i}"), &mut list).unwrap());
        if i % 7 == 0 {
            wal.flush(Flush::Write, None).unwrap();
        }
        if i % 11 == 0 {
            wal.sync().unwrap();
        }
    }
    assert!(!wal.closed_chunk_stats().is_empty());
    let reader = wal.reader();
    for (i, segment) in segments.iter().enumerate() {
        assert_eq!(reader.read_record(*segment).unwrap(), action(&format!("word-{i}")));
    }
    let words: Vec<_> = wal
        .records()
        .map(|record| record.unwrap().2)
        .filter_map(|record| match record {
            WalRecord::Action(word) => Some(word),
            WalRecord::Checkpoint(_) => None,
        })
        .collect();
    assert_eq!(words, list.words);
    wal.close().unwrap();
    let (wal, again) = disk.open();
    assert_eq!(again.words, list.words);
    for (i, segment) in segments.iter().enumerate() {
        assert_eq!(wal.read_record(*segment).unwrap(), action(&format!("word-{i}")));
    }
}

#[test]
fn drained_and_removed_chunks_do_not_come_back() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    for i in 0..300 {
        wal.append_and_apply(format!("word-{i}"), &mut list).unwrap();
    }
    let before = wal.closed_chunk_stats().len();
    let ids = wal.drain_closed_chunks_while(|all| split(all).len() < 200);
    assert!(!ids.is_empty() && ids.len() < before);
    wal.remove_chunks(ids.clone()).unwrap();
    wal.wait_idle().unwrap();
    wal.close().unwrap();
    let (wal, again) = disk.open();
    assert_eq!(again.words, list.words);
    assert!(wal.closed_chunk_stats().iter().all(|stat| !ids.contains(&stat.chunk_id)));
    assert_eq!(wal.closed_chunk_stats().len(), before - ids.len());
}
