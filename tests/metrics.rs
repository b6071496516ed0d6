//! The metrics that a log exports, as a recorder gets them.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use chunked_wal::Flush;
use chunked_wal::storage::{Fault, FaultHow, OpKind};
use common::*;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

/// Name, type, unit and value of each metric of a log.
type Exported = BTreeMap<String, (&'static str, &'static str, DebugValue)>;

/// Opens a log under a recorder of its own: the thread that opens is the one whose recorder counts.
fn open(disk: &Disk) -> (Wal, List, DebuggingRecorder) {
    let recorder = DebuggingRecorder::new();
    let (wal, list) = metrics::with_local_recorder(&recorder, || disk.open());
    (wal, list, recorder)
}

fn exported(recorder: &DebuggingRecorder) -> Exported {
    let mut found = Exported::new();
    for (key, unit, help, value) in recorder.snapshotter().snapshot().into_vec() {
        let labels: Vec<_> =
            key.key().labels().map(|label| (label.key().to_string(), label.value().to_string())).collect();
        assert_eq!(labels, [("log".to_string(), "/log".to_string())]);
        assert!(help.is_some_and(|help| !help.is_empty()));
        let kind = match &value {
            DebugValue::Counter(_) => "counter",
            DebugValue::Gauge(_) => "gauge",
            DebugValue::Histogram(_) => "histogram",
        };
        let unit = unit.unwrap().as_str();
        found.insert(key.key().name().to_string(), (kind, unit, value));
    }
    found
}

fn counter(exported: &Exported, name: &str) -> u64 {
    match exported[name].2 {
        DebugValue::Counter(count) => count,
        ref other => panic!("{name}: {other:?}"),
    }
}

fn gauge(exported: &Exported, name: &str) -> u64 {
    match exported[name].2 {
        DebugValue::Gauge(value) => value.0 as u64,
        ref other => panic!("{name}: {other:?}"),
    }
}

fn histogram(exported: &Exported, name: &str) -> Vec<f64> {
    match &exported[name].2 {
        DebugValue::Histogram(values) => values.iter().map(|value| value.0).collect(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn they_are_what_flush_metrics_says() {
    let (mut wal, mut list, recorder) = open(&Disk::default());
    for n in 0..200 {
        wal.append_and_apply("word".repeat(1 + n % 40), &mut list).unwrap();
        let mode = if n % 3 == 0 { Flush::Sync } else { Flush::Write };
        wal.flush_ticket(mode).unwrap().wait().unwrap();
        list.words.clear();
        wal.try_close_full_chunk(&list).unwrap();
    }
    let drained = wal.drain_closed_chunks_while(|_| true);
    wal.remove_chunks(drained).unwrap();
    wal.wait_idle().unwrap();
    wal.sync().unwrap();
    wal.wait_idle().unwrap();

    let (said, progress) = (wal.flush_metrics(), wal.progress());
    let found = exported(&recorder);
    for (name, value) in [
        ("chunked_wal_batches_total", said.batch_count),
        ("chunked_wal_synced_batches_total", said.sync_batch_count),
        ("chunked_wal_flushes_total", said.flush_count),
        ("chunked_wal_written_bytes_total", said.write_bytes),
        ("chunked_wal_rotations_total", said.rotation_count),
        ("chunked_wal_removed_chunks_total", said.removed_count),
    ] {
        assert!(value > 0, "{name}");
        assert_eq!(counter(&found, name), value, "{name}");
    }
    for (name, latency) in [
        ("chunked_wal_queue_wait_seconds", said.queue_wait),
        ("chunked_wal_write_seconds", said.write),
        ("chunked_wal_sync_seconds", said.sync),
        ("chunked_wal_batch_seconds", said.batch),
    ] {
        let values = histogram(&found, name);
        let longest_us = values.iter().fold(0.0, |longest: f64, value| longest.max(*value)) * 1e6;
        assert_eq!(values.len() as u64, latency.count, "{name}");
        assert!((longest_us - latency.max_us as f64).abs() < 1.1, "{name}: {longest_us} µs");
    }
    let flushes = histogram(&found, "chunked_wal_batch_flushes");
    assert_eq!(flushes.len() as u64, said.batch_count);
    assert_eq!(flushes.iter().sum::<f64>() as u64, said.flush_count);
    for (name, value) in [
        ("chunked_wal_appended_offset_bytes", progress.appended),
        ("chunked_wal_written_offset_bytes", progress.written),
        ("chunked_wal_synced_offset_bytes", progress.synced),
        ("chunked_wal_failed", 0),
    ] {
        assert_eq!(gauge(&found, name), value, "{name}");
    }
}

#[test]
fn the_document_lists_them_all() {
    let (_wal, _, recorder) = open(&Disk::default());
    let found: Vec<String> = exported(&recorder)
        .into_iter()
        .map(|(name, (kind, unit, _))| format!("| `{name}` | {kind} | {unit} |"))
        .collect();
    let document = include_str!("../docs/features/metrics.md");
    let mut listed: Vec<String> = document
        .lines()
        .filter(|line| line.starts_with("| `chunked_wal_"))
        .map(|line| line.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|")
        .collect();
    listed.sort();
    assert_eq!(listed, found);
}

#[test]
fn a_log_that_fails_shows_it() {
    let disk = Disk::default();
    let (mut wal, mut list, recorder) = open(&disk);
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    wal.append_and_apply("lost".to_string(), &mut list).unwrap();
    wal.sync().unwrap_err();
    let found = exported(&recorder);
    assert_eq!(gauge(&found, "chunked_wal_failed"), 1);
    let [written, synced] = ["chunked_wal_written_offset_bytes", "chunked_wal_synced_offset_bytes"]
        .map(|name| gauge(&found, name));
    assert!(written > synced, "{written} written, {synced} synced");
}

#[test]
fn without_a_recorder_a_log_is_a_log() {
    let (mut wal, mut list) = Disk::default().open();
    wal.append_and_apply("word".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    assert_eq!(wal.flush_metrics().flush_count, 1);
}
