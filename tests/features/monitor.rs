//! Logs are followed from outside: writers in this process and in others, and files made by hand.
#![cfg(feature = "monitor")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use chunked_wal::monitor::{Changes, LogState, MonitorOptions, WalEvent, WalMonitor, Watch};
use chunked_wal::{ChunkId, Error, WalLock};
use futures_core::Stream;

use crate::common::on_disk::{config, open};
use crate::common::*;

const DIR: &str = "CHUNKED_WAL_MONITOR_DIR";

/// A limit for all waits.
const LONG: Duration = Duration::from_secs(20);

/// Appends words until the chunk is closed.
fn fill_chunk(wal: &mut Wal, list: &mut List) {
    while !wal.is_open_chunk_full() {
        wal.append_and_apply("w".repeat(200), list).unwrap();
    }
    // A short state, or the checkpoints outgrow the chunks.
    list.words.clear();
    wal.close_open_chunk(list).unwrap();
    wal.sync().unwrap();
}

/// Only the operating system's watch brings news in time.
fn told_by_the_system() -> MonitorOptions {
    MonitorOptions::new().poll_interval(10 * LONG)
}

fn polling() -> MonitorOptions {
    MonitorOptions::new().watch(Watch::Poll).poll_interval(Duration::from_millis(2))
}

/// Takes events until the state is as wanted, and sums up what changed.
fn wait_until(monitor: &mut WalMonitor, wanted: impl Fn(&LogState) -> bool) -> Vec<WalEvent<LogState>> {
    let deadline = Instant::now() + LONG;
    let mut events: Vec<WalEvent<LogState>> = Vec::new();
    while !events.last().is_some_and(|event| wanted(&event.state)) {
        let left = deadline.saturating_duration_since(Instant::now());
        match monitor.wait_timeout(left).unwrap() {
            Some(event) => events.push(event),
            None => panic!("not seen in {LONG:?}: {:?} after {events:?}", monitor.state()),
        }
    }
    events
}

fn sum(events: &[WalEvent<LogState>], of: impl Fn(&Changes) -> u64) -> u64 {
    events.iter().map(|event| of(&event.changes)).sum()
}

fn put(dir: &Path, forge: &Forge) {
    // At once, for those who look meanwhile.
    fs::write(dir.join("new"), &forge.bytes).unwrap();
    fs::rename(dir.join("new"), dir.join(ChunkId(forge.id).file_name())).unwrap();
}

#[test]
fn growth_is_reported_with_the_durable_offset() {
    for options in [told_by_the_system(), polling()] {
        let dir = tempfile::tempdir().unwrap();
        let (mut wal, mut list) = open(dir.path());
        let mut monitor = options.open(dir.path()).unwrap();
        let before = monitor.state();
        assert_eq!((before.chunks, before.records, before.end), (1, 1, wal.progress().synced));
        while monitor.state().durable < before.end {
            monitor.check_for_changes().unwrap();
        }
        assert_eq!(monitor.check_for_changes().unwrap(), None, "idle, and its mark is seen");

        for word in ["a", "b", "c"] {
            wal.append_and_apply(word.to_string(), &mut list).unwrap();
        }
        wal.sync().unwrap();
        let synced = wal.progress().synced;
        let events = wait_until(&mut monitor, |state| state.durable == synced);
        let state = monitor.state();
        assert_eq!((state.records, state.end, state.durable), (4, synced, synced));
        assert_eq!(sum(&events, |changes| changes.records), 3);
        assert_eq!(sum(&events, |changes| changes.bytes), synced - before.end);
        assert_eq!(monitor.watch_error(), None);
    }
}

#[test]
fn rotations_and_removals_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, mut list) = open(dir.path());
    let mut monitor = told_by_the_system().open(dir.path()).unwrap();
    for _ in 0..5 {
        fill_chunk(&mut wal, &mut list);
    }
    let events = wait_until(&mut monitor, |state| state.chunks == 6);
    assert_eq!(sum(&events, |changes| changes.rotated_chunks), 5);
    assert_eq!(sum(&events, |changes| changes.removed_chunks), 0);

    let mut two = 2;
    let drained = wal.drain_closed_chunks_while(|_| {
        two -= 1;
        two >= 0
    });
    wal.remove_chunks(drained).unwrap();
    wal.wait_idle().unwrap();
    let events = wait_until(&mut monitor, |state| state.chunks == 4);
    assert_eq!(sum(&events, |changes| changes.removed_chunks), 2);
    let state = monitor.state();
    let stats = wal.closed_chunk_stats();
    assert_eq!(state.start, stats[0].chunk_id.0);
    assert_eq!(state.records, stats.iter().map(|stat| stat.records_count).sum::<u64>() + 1);
    assert_eq!((state.end, state.durable), (wal.progress().synced, wal.progress().synced));

    // Files of removed chunks are used again: chunks with an earlier life are followed just so.
    for _ in 0..3 {
        fill_chunk(&mut wal, &mut list);
        wal.append_and_apply("behind".to_string(), &mut list).unwrap();
    }
    wal.sync().unwrap();
    let synced = wal.progress().synced;
    wait_until(&mut monitor, |state| state.durable == synced);
    let seen_now = MonitorOptions::new().open(dir.path()).unwrap().state();
    assert_eq!(monitor.state(), seen_now, "followed or read anew, it is the same");
}

#[test]
fn a_slow_consumer_gets_one_event() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, mut list) = open(dir.path());
    let mut monitor = told_by_the_system().open(dir.path()).unwrap();
    let before = monitor.state();
    assert!(monitor.wait_timeout(Duration::ZERO).unwrap().is_none(), "the thread runs from here on");
    for _ in 0..40 {
        for _ in 0..10 {
            wal.append_and_apply("word".to_string(), &mut list).unwrap();
            wal.sync().unwrap();
        }
        list.words.clear();
        wal.try_close_full_chunk(&list).unwrap();
    }
    let synced = wal.progress().synced;
    while monitor.state().durable < synced {
        std::thread::yield_now();
    }
    let event = monitor.wait().unwrap().unwrap();
    let state = event.state;
    assert_eq!(event.changes.records, state.records - before.records);
    assert_eq!(event.changes.bytes, synced - before.end);
    assert_eq!(event.changes.rotated_chunks, state.chunks - 1);
    assert!(state.records >= 400 && state.chunks > 1);
    assert!(monitor.check_for_changes().unwrap().is_none(), "that was all");
}

#[test]
fn a_log_may_come_late_go_and_come_again() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("deep/log");
    let mut monitor = polling().open(&dir).unwrap();
    assert_eq!(monitor.state(), LogState::default());
    assert!(!monitor.state().exists());

    let (wal, _) = open(&dir);
    let events = wait_until(&mut monitor, LogState::exists);
    assert_eq!(sum(&events, |changes| changes.records), 1);
    assert_eq!(sum(&events, |changes| changes.gone + changes.reset + changes.rotated_chunks), 0);
    wal.close().unwrap();

    fs::remove_dir_all(base.path().join("deep")).unwrap();
    let events = wait_until(&mut monitor, |state| !state.exists());
    assert_eq!(sum(&events, |changes| changes.gone), 1);
    assert_eq!(monitor.state(), LogState::default());

    let (_wal, _) = open(&dir);
    let events = wait_until(&mut monitor, LogState::exists);
    assert_eq!(sum(&events, |changes| changes.reset), 0);
    assert_eq!(sum(&events, |changes| changes.records), 1);
}

#[test]
fn another_log_in_the_same_place_is_a_reset() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("log");
    let (mut wal, mut list) = open(&dir);
    fill_chunk(&mut wal, &mut list);
    wal.close().unwrap();
    let mut monitor = told_by_the_system().open(&dir).unwrap();
    assert_eq!(monitor.state().chunks, 2);

    // The old one moves away as a whole, so that the directory that is watched is another.
    assert!(monitor.wait_timeout(Duration::ZERO).unwrap().is_none());
    fs::rename(&dir, base.path().join("old")).unwrap();
    let (mut wal, mut list) = open(&dir);
    wal.append_and_apply("new".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    let event = monitor.check_for_changes().unwrap().unwrap();
    assert_eq!(event.changes.reset + event.changes.gone, 1, "{event:?}");
    assert_eq!((event.changes.shrunk, event.changes.removed_chunks), (0, 0));
    assert_eq!((event.state.chunks, event.state.start), (1, 0));
}

#[test]
fn a_newest_chunk_that_was_made_again_is_a_reset() {
    // A crash may take back its name; the log then begins it again, in the same place.
    let dir = tempfile::tempdir().unwrap();
    let first = Forge::chunk(0).checkpoint("").action("a").seal();
    put(dir.path(), &first);
    put(dir.path(), &first.next().checkpoint("a").action("lost"));
    let mut monitor = WalMonitor::open(dir.path()).unwrap();
    // Frames of the old salt are none.
    put(dir.path(), &first.next().checkpoint("a").action("lost").header(24, b"new salt"));
    let event = monitor.check_for_changes().unwrap().unwrap();
    assert_eq!((event.changes.reset, event.state.records, event.state.chunks), (1, 2, 2));
}

#[test]
fn chunks_may_be_removed_under_a_look() {
    let dir = tempfile::tempdir().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut wal, mut list) = open(dir.path());
            while !done.load(Relaxed) {
                for _ in 0..10 {
                    fill_chunk(&mut wal, &mut list);
                }
                let drained = wal.drain_closed_chunks_while(|_| true);
                wal.remove_chunks(drained).unwrap();
            }
        });
        let (mut seen, mut failed) = (BTreeSet::new(), Vec::new());
        let deadline = Instant::now() + LONG;
        while seen.len() < 20 && failed.is_empty() && Instant::now() < deadline {
            // All is new to it, so it opens every chunk that was listed.
            match WalMonitor::open(dir.path()) {
                Ok(monitor) => drop(seen.insert(monitor.state().start)),
                Err(error) => failed.push(error),
            }
        }
        done.store(true, Relaxed);
        assert!(seen.len() >= 20 && failed.is_empty(), "{} seen, {failed:?}", seen.len());
    });
}

#[test]
fn a_watch_moves_to_the_directory_that_has_the_name_now() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("log");
    for name in ["old", "new"] {
        drop(open(&base.path().join(name)));
        std::os::unix::fs::symlink(name, base.path().join(format!("to {name}"))).unwrap();
    }
    fs::rename(base.path().join("to old"), &dir).unwrap();
    let interval = Duration::from_secs(1);
    let mut monitor = MonitorOptions::new().poll_interval(interval).open(&dir).unwrap();
    let (mut wal, mut list) = open(&dir);
    wal.append_and_apply("seen, so it is watched".to_string(), &mut list).unwrap();
    wal.close().unwrap();
    wait_until(&mut monitor, |state| state.records > 1 && state.durable == state.end);
    // At once, so that there is no moment without a directory.
    fs::rename(base.path().join("to new"), &dir).unwrap();
    let (mut wal, mut list) = open(&dir);
    let events = wait_until(&mut monitor, LogState::exists);
    assert_eq!(sum(&events, |changes| changes.reset + changes.gone), 1, "{events:?}");
    // From here on the system reports changes: polls alone would take their interval for each of these.
    let started = Instant::now();
    for _ in 0..6 {
        wal.append_and_apply("word".to_string(), &mut list).unwrap();
        wal.sync().unwrap();
        wait_until(&mut monitor, |state| state.end == wal.progress().synced);
    }
    assert!(started.elapsed() < 3 * interval, "{:?}", started.elapsed());
}

#[test]
fn only_proven_bytes_are_reported_durable() {
    let two = || Forge::chunk(0).checkpoint("").action("a");
    let at = two().at;
    let cases: Vec<(&str, Forge, u64, u64)> = vec![
        // What, the chunk, records, the durable offset.
        ("a first frame, under a name that may not be durable", Forge::chunk(0).checkpoint(""), 1, 0),
        ("a record that knew of nothing", two(), 2, 0),
        ("a later record knew of all before it", two().synced().action("b"), 3, two().end),
        ("and one behind it of no more", two().synced().action("b").action("c"), 4, two().end),
        ("a sync mark", two().mark(), 2, two().end),
        ("a sync mark, zeros behind", two().mark().zeros(512), 2, two().end),
        ("a seal", two().seal(), 2, two().end),
        ("half a record", two().mark().cut(MARK as usize).synced().action("b").cut(8), 2, 0),
        ("a decayed record is no proof", two().synced().action("b").decayed(2), 2, 0),
        ("a decayed mark neither", two().mark().cut(1), 2, 0),
        ("a header alone", Forge::chunk(0), 0, 0),
        ("a frame of a later kind ends what is known", two().synced().frame(9, 0, b"?").action("b"), 2, 0),
        ("offsets saturate", Forge::chunk(u64::MAX - 100).checkpoint(""), 1, u64::MAX - 100),
    ];
    assert!(at[1] < two().end);
    for (what, forge, records, durable) in cases {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), &forge);
        let state = WalMonitor::open(dir.path()).unwrap().state();
        assert_eq!((state.records, state.durable), (records, durable), "{what}");
        assert!(state.durable <= state.end, "{what}");
    }
    // A chunk that has a successor is durable to its end, and of the successor nothing more.
    let dir = tempfile::tempdir().unwrap();
    let first = two().seal();
    put(dir.path(), &first);
    put(dir.path(), &first.next().checkpoint("a").action("b"));
    let state = WalMonitor::open(dir.path()).unwrap().state();
    assert_eq!((state.chunks, state.records, state.durable), (2, 4, first.end));
    assert!(state.end > state.durable);
}

#[test]
fn a_write_under_way_is_waited_for() {
    let whole = Forge::chunk(0).checkpoint("").action("a").synced().action("a longer word").mark();
    let before = whole.at[2] as usize;
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), &Forge { bytes: whole.bytes[..before].to_vec(), ..whole.clone() });
    let mut monitor = WalMonitor::open(dir.path()).unwrap();
    let mut records = vec![monitor.state().records];
    for end in before..=whole.bytes.len() {
        // As a writer has it: space ahead, bytes in it that come one after the other.
        let mut bytes = whole.bytes[..end].to_vec();
        bytes.resize(4096, 0);
        put(dir.path(), &Forge { bytes, ..whole.clone() });
        let event = monitor.check_for_changes().unwrap();
        assert!(event.is_none_or(|event| event.changes.shrunk == 0), "at {end}");
        records.push(monitor.state().records);
    }
    records.dedup();
    assert_eq!(records, [2, 3]);
    assert_eq!(monitor.state().durable, whole.end);
}

#[test]
fn an_end_that_moves_back_is_reported() {
    let words = ["a", "b", "c", "d"];
    let long = Forge::chunk(0).checkpoint("").actions(&words);
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), &long);
    let mut monitor = WalMonitor::open(dir.path()).unwrap();

    put(dir.path(), &Forge::chunk(0).checkpoint("").action("a"));
    let cut = monitor.check_for_changes().unwrap().unwrap();
    assert_eq!((cut.changes.shrunk, cut.changes.records, cut.state.records), (1, 0, 2));

    put(dir.path(), &long);
    let grown = monitor.check_for_changes().unwrap().unwrap();
    assert_eq!((grown.changes.shrunk, grown.changes.records, grown.state.records), (0, 3, 5));

    // Others in the same place, with zeros where the last one was: a server lost what wasn't synced.
    put(dir.path(), &Forge::chunk(0).checkpoint("").actions(&["a", "x"]).zeros(512));
    let other = monitor.check_for_changes().unwrap().unwrap();
    assert_eq!((other.changes.shrunk, other.state.records), (1, 3));

    // A whole chunk less.
    let first = Forge::chunk(0).checkpoint("").actions(&words).seal();
    put(dir.path(), &first);
    put(dir.path(), &first.next().checkpoint(""));
    assert_eq!(monitor.check_for_changes().unwrap().unwrap().changes.rotated_chunks, 1);
    fs::remove_file(dir.path().join(ChunkId(first.end).file_name())).unwrap();
    let less = monitor.check_for_changes().unwrap().unwrap();
    assert_eq!((less.changes.shrunk, less.changes.removed_chunks, less.state.chunks), (1, 1, 1));
    assert_eq!((less.state.end, less.state.durable), (first.end, first.end));
}

#[test]
fn a_bad_chunk_is_reported_once_and_then_followed_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = Forge::chunk(0).checkpoint("").action("a").seal();
    put(dir.path(), &first);
    let mut monitor = polling().open(dir.path()).unwrap();
    let before = monitor.state();
    let next = first.next().checkpoint("a");
    type Expected = fn(&Error) -> bool;
    let bad: Vec<(Forge, Expected)> = vec![
        (Forge { bytes: b"nonsense".to_vec(), ..next.clone() }, |e| matches!(e, Error::NotAChunk { .. })),
        (Forge { bytes: Vec::new(), ..next.clone() }, |e| matches!(e, Error::NotAChunk { .. })),
        (next.clone().cut(70), |e| matches!(e, Error::Corrupt { .. })),
        (next.clone().header(8, &[2]), |e| matches!(e, Error::Unsupported { .. })),
        (next.clone().header(16, &[7]), |e| matches!(e, Error::ForeignChunk { .. })),
    ];
    for (forge, expected) in bad {
        put(dir.path(), &forge);
        let error = monitor.wait().unwrap_err();
        assert!(expected(&error), "{error}");
        assert!(monitor.check_for_changes().unwrap().is_none(), "told once");
        assert_eq!(monitor.state(), before);
        put(dir.path(), &next);
        let event = monitor.check_for_changes().unwrap().unwrap();
        assert_eq!((event.changes.rotated_chunks, event.state.chunks), (1, 2));
        fs::remove_file(dir.path().join(ChunkId(first.end).file_name())).unwrap();
        assert!(monitor.check_for_changes().unwrap().is_some());
    }
    // Only opening can return the error.
    put(dir.path(), &Forge { bytes: b"nonsense".to_vec(), ..next.clone() });
    assert!(matches!(WalMonitor::open(dir.path()), Err(Error::NotAChunk { .. })));
    // Two logs in one directory.
    put(dir.path(), &next.header(32, b"another log's id"));
    assert!(matches!(WalMonitor::open(dir.path()), Err(Error::ForeignChunk { .. })));
}

/// Wakes a thread, and counts.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The next item of a stream, on this thread.
fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let deadline = Instant::now() + LONG;
    loop {
        if let Poll::Ready(item) = Pin::new(&mut *stream).poll_next(&mut Context::from_waker(&waker)) {
            return item;
        }
        assert!(Instant::now() < deadline, "never woken");
        std::thread::park_timeout(LONG);
    }
}

#[test]
fn it_can_be_awaited() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, mut list) = open(dir.path());
    let mut monitor = told_by_the_system().open(dir.path()).unwrap();
    let writer = std::thread::spawn(move || {
        for _ in 0..20 {
            wal.append_and_apply("word".to_string(), &mut list).unwrap();
            wal.sync().unwrap();
        }
        wal.close().unwrap();
    });
    let mut records = 1;
    while records < 21 || monitor.state().durable < monitor.state().end {
        let event = next(&mut monitor).unwrap().unwrap();
        records += event.changes.records;
        assert_eq!(event.state.records, records);
    }
    writer.join().unwrap();
    monitor.stop_handle().stop();
    // What is left to take, and then the end, for good.
    while next(&mut monitor).is_some() {}
    assert!(next(&mut monitor).is_none());
}

#[test]
fn waiting_ends_when_it_is_stopped_and_threads_with_the_monitor() {
    let dir = tempfile::tempdir().unwrap();
    let mut monitor = told_by_the_system().open(dir.path()).unwrap();
    let stop = monitor.stop_handle();
    let waiting = std::thread::spawn(move || {
        let events = monitor.events().count();
        (monitor, events)
    });
    drop(open(dir.path()));
    while !waiting.is_finished() {
        stop.stop();
        std::thread::yield_now();
    }
    let (mut monitor, events) = waiting.join().unwrap();
    assert!(events <= 3, "{events} events of one change");
    assert!(monitor.wait().unwrap().is_none());

    for options in [told_by_the_system(), polling().poll_interval(Duration::MAX)] {
        let mut monitor = options.open(dir.path()).unwrap();
        assert!(monitor.wait_timeout(Duration::from_millis(1)).unwrap().is_none());
        let started = Instant::now();
        let stop = monitor.stop_handle();
        drop(monitor);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        // The monitor is gone, and with it what could be stopped.
        stop.stop();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn threads_and_watches_do_not_pile_up() {
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..200 {
        let mut monitor = told_by_the_system().open(dir.path()).unwrap();
        assert!(monitor.wait_timeout(Duration::from_micros(100)).unwrap().is_none());
    }
    // Other tests have some of their own.
    let deadline = Instant::now() + LONG;
    while threads() > 100 {
        assert!(Instant::now() < deadline, "{} threads are left", threads());
        std::thread::yield_now();
    }
}

#[test]
fn an_odd_interval_is_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let mut monitor = MonitorOptions::new().poll_interval(interval).open(dir.path()).unwrap();
        assert!(monitor.wait_timeout(Duration::from_millis(3)).unwrap().is_none());
    }
    assert!(MonitorOptions::new().open_sqlite("/").is_err());
}

/// The directory, if this process is a child that is to write.
fn writing() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// Appends numbers forever, rotates and removes as it goes, and prints its progress.
fn write_until_killed(dir: &Path) -> ! {
    let (mut wal, mut list) = open(dir);
    let mut out = std::io::stdout().lock();
    for n in 0u64.. {
        wal.append_and_apply("word".repeat(1 + n as usize % 50), &mut list).unwrap();
        if n.is_multiple_of(3) {
            wal.sync().unwrap();
            list.words.clear();
            wal.try_close_full_chunk(&list).unwrap();
            writeln!(out, "! {}", wal.progress().synced).unwrap();
        }
        if wal.closed_chunk_stats().len() > 4 {
            let mut left = 2;
            let drained = wal.drain_closed_chunks_while(|_| {
                left -= 1;
                left >= 0
            });
            wal.remove_chunks(drained).unwrap();
        }
    }
    unreachable!()
}

#[test]
fn a_writer_in_another_process_is_followed_over_rotations_until_it_is_killed() {
    if let Some(dir) = writing() {
        write_until_killed(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut monitor = told_by_the_system().open(dir.path()).unwrap();
    let name = "monitor::a_writer_in_another_process_is_followed_over_rotations_until_it_is_killed";
    let mut child = again(name).env(DIR, dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut total = Changes::default();
    let mut said = 0;
    while total.rotated_chunks < 20 || total.removed_chunks < 10 {
        // Synced numbers are in the files at once, if not yet their proof.
        let line = lines.by_ref().find_map(|line| Some(line.unwrap().split_once("! ")?.1.to_string()));
        said = line.unwrap().parse::<u64>().unwrap();
        if let Some(event) = monitor.check_for_changes().unwrap() {
            let Changes { rotated_chunks, removed_chunks, shrunk, gone, reset, .. } = event.changes;
            total.rotated_chunks += rotated_chunks;
            total.removed_chunks += removed_chunks;
            assert_eq!((shrunk, gone, reset), (0, 0, 0), "{event:?}");
            assert!(event.state.durable <= event.state.end);
        }
        assert!(monitor.state().end >= said, "{said} is written: {:?}", monitor.state());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    monitor.check_for_changes().unwrap();
    let state = monitor.state();
    assert!(state.end >= said);

    // What recovery finds is what was seen.
    let lock = Wal::acquire_lock(&config(dir.path())).unwrap();
    assert_eq!(dumped(&lock, dir.path()), state.records);
    drop(lock);
    let (mut wal, mut list) = open(dir.path());
    wal.append_and_apply("on".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    let events = wait_until(&mut monitor, |state| state.durable == wal.progress().synced);
    assert_eq!(sum(&events, |changes| changes.shrunk + changes.reset + changes.gone), 0, "{events:?}");
}

fn dumped(lock: &WalLock, dir: &Path) -> u64 {
    let mut records = 0;
    Wal::dump_records::<Error>(&config(dir), lock, |_, _, record| {
        records += u64::from(record.is_ok());
        Ok(())
    })
    .unwrap();
    records
}
