//! Everything at once on real files: an appender with small chunks, readers, a follower, removals, reused files. Every
//! byte read is checked, and no thread waits forever.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};
use std::{fs, thread};

use chunked_wal::{Config, Error, Flush, ProgressHandle, Segment, WalReader};

use crate::common::*;

const RUNS_FOR: Duration = Duration::from_secs(5);

/// After this much longer a thread hangs.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// Closed chunks that are kept.
const KEPT: usize = 3;

/// The appender's reports, and the progress of the other threads.
#[derive(Default)]
struct Told {
    /// The segment of each number, from 0 on.
    segments: RwLock<Vec<Segment>>,
    /// No segment at or after this offset is drained.
    drained_to: AtomicU64,
    /// The follower has read all that ends at or before this.
    followed_to: AtomicU64,
    /// The appender has closed the log's end.
    appended_all: AtomicBool,
    done: AtomicBool,
}

/// The progress of each thread, for the watchdog.
#[derive(Default)]
struct Beats {
    appender: AtomicU64,
    follower: AtomicU64,
    readers: AtomicU64,
    iterators: AtomicU64,
}

impl Beats {
    fn show(&self) -> String {
        let [a, f, r, i] = [&self.appender, &self.follower, &self.readers, &self.iterators];
        let [a, f, r, i] = [a, f, r, i].map(|beats| beats.load(SeqCst));
        format!("{a} records appended, {f} followed, {r} read, {i} passes over all records")
    }
}

/// A number that differs from call to call.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// The word with this number: every byte of it follows from the number.
fn word(number: u64) -> String {
    let mut state = number;
    let letters = random(&mut state) % if number.is_multiple_of(50) { 4000 } else { 300 };
    let letter = |_| char::from(b'a' + (random(&mut state) % 26) as u8);
    format!("{number}:{}", (0..letters).map(letter).collect::<String>())
}

/// The number of a word, all of which is checked.
fn number(found: &str) -> u64 {
    let number = found.split(':').next().unwrap().parse().unwrap();
    assert_eq!(found, word(number));
    number
}

fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir);
    config.chunk_max_size = 16 << 10;
    config.open_buffer_max_bytes = 8 << 10;
    config.flush_queue_max_bytes = 32 << 10;
    config.read_buffer_size = 3000;
    config.spare_chunks = 2;
    config
}

/// Appends, flushes in every way, drains and removes until the time is over; returns the numbers of records and of
/// chunks removed.
fn append(wal: &mut Wal, told: &Told, beats: &Beats) -> (u64, u64) {
    let mut history = History::default();
    let (mut seed, mut number, mut removed) = (1, 0, 0);
    let ends = Instant::now() + RUNS_FOR;
    while Instant::now() < ends {
        for _ in 0..1 + random(&mut seed) % 20 {
            let segment = wal.append_and_apply(word(number), &mut history).unwrap();
            told.segments.write().unwrap().push(segment);
            number += 1;
            beats.appender.store(number, SeqCst);
        }
        match random(&mut seed) % 12 {
            0 => wal.sync().unwrap(),
            1..=4 => wal.flush(Flush::Sync, None).unwrap(),
            5..=6 => wal.flush(Flush::Write, None).unwrap(),
            7 => drop(wal.flush_ticket(Flush::Sync).unwrap().wait_timeout(Duration::from_millis(1))),
            8 => drop(wal.append(&checkpoint(&history.state)).unwrap()),
            _ => {}
        }
        history.records.clear();
        removed += remove(wal, told);
        if random(&mut seed).is_multiple_of(50) {
            wal.wait_idle().unwrap();
        }
    }
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    told.appended_all.store(true, SeqCst);
    (number, removed)
}

/// Removes the oldest chunks that the follower has read.
fn remove(wal: &mut Wal, told: &Told) -> u64 {
    let stats = wal.closed_chunk_stats();
    let followed_to = told.followed_to.load(SeqCst);
    let old = stats.iter().take(stats.len().saturating_sub(KEPT));
    let old: Vec<_> = old.take_while(|stat| stat.global_end <= followed_to).collect();
    let Some(last) = old.last() else { return 0 };
    // Before the removal: a reader that misses a record looks at this afterwards.
    told.drained_to.store(last.global_end, SeqCst);
    let mut left = old.len();
    let ids = wal.drain_closed_chunks_while(|_| {
        left = left.wrapping_sub(1);
        left != usize::MAX
    });
    assert_eq!(ids, old.iter().map(|stat| stat.chunk_id).collect::<Vec<_>>());
    wal.remove_chunks(ids).unwrap();
    old.len() as u64
}

/// Reads known records at random, half of them among the newest.
fn read_at_random(reader: &WalReader<Words>, told: &Told, beats: &Beats, mut seed: u64) {
    while !told.done.load(SeqCst) {
        let (at, segment) = {
            let segments = told.segments.read().unwrap();
            if segments.is_empty() {
                continue;
            }
            let from =
                if random(&mut seed).is_multiple_of(2) { 0 } else { segments.len().saturating_sub(200) };
            let at = from + random(&mut seed) as usize % (segments.len() - from);
            (at, segments[at])
        };
        match reader.read_record(segment) {
            Ok(record) => assert_eq!(record, action(&word(at as u64))),
            Err(error) => must_be_drained(&error, segment.offset, told),
        }
        beats.readers.fetch_add(1, SeqCst);
    }
}

fn must_be_drained(error: &Error, offset: u64, told: &Told) {
    assert!(matches!(error, Error::NotInLog { .. }), "at {offset}: {error}");
    let drained_to = told.drained_to.load(SeqCst);
    assert!(offset < drained_to, "at {offset}, drained to {drained_to}: {error}");
}

/// Reads all records again and again: none is missing, none comes twice, and each pass reaches the end that the log had
/// when the pass started.
fn read_all(reader: &WalReader<Words>, told: &Told, beats: &Beats) {
    while !told.done.load(SeqCst) {
        let known = told.segments.read().unwrap().len() as u64;
        let (mut next, mut ends) = (None, 0);
        let mut drained = false;
        for record in reader.records() {
            match record {
                Ok((chunk_id, segment, record)) => {
                    assert!(segment.offset >= ends && segment.offset >= chunk_id.offset());
                    ends = segment.offset + segment.size;
                    let Record::Action(found) = record else { continue };
                    let found = number(&found);
                    assert!(next.is_none_or(|next| next == found), "{found} comes, not {next:?}");
                    assert_eq!(
                        told.segments.read().unwrap().get(found as usize).unwrap_or(&segment),
                        &segment
                    );
                    next = Some(found + 1);
                }
                Err(error) => {
                    must_be_drained(&error, ends, told);
                    drained = true;
                }
            }
        }
        assert!(drained || next.unwrap_or(0) >= known, "{known} were there, read up to {next:?}");
        beats.iterators.fetch_add(1, SeqCst);
    }
}

/// Reads each new record, in order and once, when it is durable and not before.
fn follow(reader: &WalReader<Words>, progress: &ProgressHandle, told: &Told, beats: &Beats) -> u64 {
    let (mut next, mut last) = (0, progress.progress());
    loop {
        let ended = told.appended_all.load(SeqCst);
        let now = progress.progress();
        assert!(now.appended >= now.written && now.written >= now.synced, "{now:?}");
        assert!(now.appended >= last.appended && now.written >= last.written && now.synced >= last.synced);
        last = now;
        let new = told.segments.read().unwrap()[next..].to_vec();
        let durable = new.iter().take_while(|segment| segment.offset + segment.size <= now.synced);
        let before = next;
        for segment in durable {
            assert_eq!(reader.read_record(*segment).unwrap(), action(&word(next as u64)));
            next += 1;
            told.followed_to.store(segment.offset + segment.size, SeqCst);
            beats.follower.store(next as u64, SeqCst);
        }
        if next > before {
            continue;
        }
        if ended && next == told.segments.read().unwrap().len() {
            return next as u64;
        }
        // No new record: wait for one in one of two ways.
        match new.first() {
            Some(first) if next.is_multiple_of(3) => {
                let end = first.offset + first.size;
                progress.wait_synced(end).unwrap();
                assert!(progress.progress().synced >= end);
            }
            _ => thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// Ends the process, and names the thread that hangs, unless `done` is set in time.
fn watchdog(told: Arc<Told>, beats: Arc<Beats>) {
    thread::spawn(move || {
        let limit = Instant::now() + RUNS_FOR + HANGS_AFTER;
        while !told.done.load(SeqCst) || Arc::strong_count(&told) > 2 {
            if Instant::now() > limit {
                eprintln!(
                    "a thread hangs: {}; {} s are over",
                    beats.show(),
                    (RUNS_FOR + HANGS_AFTER).as_secs()
                );
                std::process::abort();
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
}

/// Whether the chunk in this file is its second one or later.
fn is_used_again(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.starts_with(b"CHNKWAL\n") && bytes[12] & 2 != 0
}

#[test]
fn everybody_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut wal = Wal::open(config.clone(), &mut History::default()).unwrap();
    let (told, beats) = (Arc::new(Told::default()), Arc::new(Beats::default()));
    watchdog(told.clone(), beats.clone());

    let others: Vec<_> = (0..4)
        .map(|i| {
            let (reader, told, beats) = (wal.reader(), told.clone(), beats.clone());
            thread::spawn(move || match i {
                0 => read_all(&reader, &told, &beats),
                seed => read_at_random(&reader, &told, &beats, seed),
            })
        })
        .collect();
    let follower = {
        let (reader, progress, told, beats) =
            (wal.reader(), wal.progress_handle(), told.clone(), beats.clone());
        thread::spawn(move || follow(&reader, &progress, &told, &beats))
    };
    let (appended, removed) = append(&mut wal, &told, &beats);
    assert_eq!(follower.join().unwrap(), appended);
    told.done.store(true, SeqCst);
    for other in others {
        other.join().unwrap();
    }
    println!("{}", beats.show());

    let metrics = wal.flush_metrics();
    assert_eq!((metrics.removed_count, metrics.housekeeping_failure_count), (removed, 0));
    assert!(
        metrics.rotation_count > 20 && removed > 10,
        "{} rotations, {removed} removed",
        metrics.rotation_count
    );
    wal.close().unwrap();
    let again =
        fs::read_dir(dir.path()).unwrap().filter(|entry| is_used_again(&entry.as_ref().unwrap().path()));
    assert!(again.count() > 0, "no file was used again");

    let mut history = History::default();
    Wal::open(config, &mut history).unwrap().close().unwrap();
    let numbers: Vec<u64> = history
        .records
        .iter()
        .filter_map(|(_, _, record)| match record {
            Record::Action(found) => Some(number(found)),
            Record::Checkpoint(_) => None,
        })
        .collect();
    assert_eq!(numbers, (appended - numbers.len() as u64..appended).collect::<Vec<_>>());
    assert!(!numbers.is_empty());
}
