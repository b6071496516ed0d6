//! The metrics that a log exports, as a recorder gets them.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use chunked_wal::Flush;
use chunked_wal::storage::{Fault, FaultHow, OpKind};
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::common::*;

/// What a metric holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Counter(Arc<AtomicU64>),
    /// The bits of a float.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Values>),
}

/// All values that a histogram was given.
#[derive(Debug, Default)]
pub(crate) struct Values(Mutex<Vec<f64>>);

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

/// A metric of a log, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metric {
    unit: Option<Unit>,
    help: String,
    pub(crate) value: Option<Value>,
}

pub(crate) type Exported = BTreeMap<String, Metric>;

/// A recorder that keeps everything.
#[derive(Debug, Default)]
pub(crate) struct Everything(Mutex<Exported>);

impl Everything {
    fn describe(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        let mut found = self.0.lock().unwrap();
        let metric = found.entry(key.as_str().to_string()).or_default();
        (metric.unit, metric.help) = (unit, help.to_string());
    }

    fn register(&self, key: &Key, value: Value) {
        let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        assert_eq!(labels, [("log", "/log")]);
        let before = self.0.lock().unwrap().entry(key.name().to_string()).or_default().value.replace(value);
        assert!(before.is_none(), "{} is registered twice", key.name());
    }
}

impl Recorder for Everything {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(key, unit, help);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(key, unit, help);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(key, unit, help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let value = Arc::<AtomicU64>::default();
        self.register(key, Value::Counter(value.clone()));
        Counter::from_arc(value)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let value = Arc::<AtomicU64>::default();
        self.register(key, Value::Gauge(value.clone()));
        Gauge::from_arc(value)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let value = Arc::<Values>::default();
        self.register(key, Value::Histogram(value.clone()));
        Histogram::from_arc(value)
    }
}

/// Opens a log under a recorder of its own: the thread that opens is the one whose recorder counts.
pub(crate) fn open(disk: &Disk) -> (Wal, List, Everything) {
    let recorder = Everything::default();
    let (wal, list) = metrics::with_local_recorder(&recorder, || disk.open());
    (wal, list, recorder)
}

pub(crate) fn exported(recorder: &Everything) -> Exported {
    let found = recorder.0.lock().unwrap().clone();
    assert!(found.values().all(|metric| !metric.help.is_empty()));
    found
}

fn counter(exported: &Exported, name: &str) -> u64 {
    match &exported[name].value {
        Some(Value::Counter(count)) => count.load(Relaxed),
        other => panic!("{name}: {other:?}"),
    }
}

fn gauge(exported: &Exported, name: &str) -> u64 {
    match &exported[name].value {
        Some(Value::Gauge(value)) => f64::from_bits(value.load(Relaxed)) as u64,
        other => panic!("{name}: {other:?}"),
    }
}

fn histogram(exported: &Exported, name: &str) -> Vec<f64> {
    match &exported[name].value {
        Some(Value::Histogram(values)) => values.0.lock().unwrap().clone(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn exported_metrics_agree_with_flush_metrics() {
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
fn a_sync_that_hangs_shows_since_when() {
    let disk = Disk::default();
    let (mut wal, mut list, recorder) = open(&disk);
    let began = || gauge(&exported(&recorder), "chunked_wal_sync_started_timestamp_seconds");
    wal.wait_idle().unwrap();
    assert_eq!(began(), 0);
    let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let before = now();
    disk.storage.pause_syncs(true);
    wal.append_and_apply("word".to_string(), &mut list).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    while began() == 0 {
        std::thread::yield_now();
    }
    assert!((before..=now()).contains(&began()), "{}", began());
    disk.storage.pause_syncs(false);
    wal.wait_idle().unwrap();
    assert_eq!(began(), 0);
}

#[test]
fn pinned_readers_show() {
    let (mut wal, list, recorder) = open(&Disk::default());
    let shown = || {
        ["chunked_wal_pinned_readers", "chunked_wal_pinned_removals"]
            .map(|name| gauge(&exported(&recorder), name))
    };
    let pinned = wal.pinned_reader();
    wal.close_open_chunk(&list).unwrap();
    let drained = wal.drain_closed_chunks_while(|_| true);
    wal.remove_chunks(drained).unwrap();
    wal.wait_idle().unwrap();
    assert_eq!(shown(), [1, 1]);
    drop(pinned);
    wal.wait_idle().unwrap();
    assert_eq!(shown(), [0, 0]);
}

#[test]
fn the_document_lists_them_all() {
    let (_wal, _, recorder) = open(&Disk::default());
    let line = |(name, metric): (String, Metric)| {
        let kind = match metric.value.unwrap() {
            Value::Counter(_) => "counter",
            Value::Gauge(_) => "gauge",
            Value::Histogram(_) => "histogram",
        };
        format!("| `{name}` | {kind} | {} |", metric.unit.unwrap().as_str())
    };
    let found: Vec<String> = exported(&recorder).into_iter().map(line).collect();
    let document = include_str!("../../docs/features/metrics.md");
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
