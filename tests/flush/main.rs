//! The promises of a flush to callbacks, tickets and waiting threads; and full queues.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod idle_mark;
mod panics;
mod poison;
mod queue;
mod room;
mod slow_sync;
mod sync_here;
mod taken_back;
mod tickets;
mod unsynced;
mod zeros;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use chunked_wal::storage::{Fault, FaultHow, MemoryStorage, OpKind};
use chunked_wal::{
    ChunkId, ChunkPersisted, Error, Flush, ProgressHandle, Segment, StateMachine, TryFlushError, WalRecord,
};
use common::*;

/// A gate for every sync of a file.
fn sync_gate(disk: &Disk) -> Arc<Gate> {
    Gate::new(&disk.storage, |op| op.kind == OpKind::Sync)
}

/// The words that a log opened on this disk gives back.
fn words_on(disk: &Disk, storage: MemoryStorage) -> Vec<String> {
    let (_wal, list) = disk.on(storage).try_open().unwrap();
    list.words
}

// Write and Sync -----------------------------------------------------------------------------------

#[test]
fn a_write_flush_reaches_written_and_a_sync_flush_synced() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    let start = wal.progress().synced;
    for word in ["a", "b"] {
        wal.append(&action(word)).unwrap();
        wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
    }
    wal.wait_idle().unwrap();
    let progress = wal.progress();
    assert_eq!((progress.written, progress.synced), (progress.appended, start));
    assert!(words_on(&disk, disk.storage.crash(0)).is_empty(), "written is not durable");

    wal.flush_ticket(Flush::Sync).unwrap().wait().unwrap();
    assert_eq!(wal.progress().synced, progress.appended);
    assert_eq!(words_on(&disk, disk.storage.crash(0)), ["a", "b"], "earlier write flushes as well");
}

#[test]
fn write_callbacks_fire_at_written_and_sync_callbacks_at_synced() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    let gate = sync_gate(&disk);
    let (write_told, write_done) = channel();
    let (sync_told, sync_done) = channel();
    wal.append(&action("a")).unwrap();
    wal.flush(Flush::Write, Some(write_told)).unwrap();
    write_done.recv().unwrap().unwrap();
    wal.append(&action("b")).unwrap();
    wal.flush(Flush::Sync, Some(sync_told)).unwrap();
    gate.wait_for(1);
    let progress = wal.progress();
    assert_eq!(progress.written, progress.appended);
    assert!(progress.synced < progress.written);
    assert!(sync_done.try_recv().is_err(), "not before the sync has returned");
    gate.open();
    sync_done.recv().unwrap().unwrap();
    assert_eq!(wal.progress().synced, progress.appended);
}

#[test]
fn callbacks_come_once_each_in_the_order_of_their_flushes() {
    let disk = Disk::default();
    let mut wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    let seen = Seen::default();
    for i in 0..300 {
        if i % 3 != 0 {
            wal.append(&spell("word")).unwrap();
        }
        if i % 70 == 69 {
            wal.close_open_chunk_with(Spell::new("all")).unwrap();
        }
        let seen = seen.clone();
        let mode = if i % 5 == 0 { Flush::Sync } else { Flush::Write };
        wal.flush(mode, callback(move |result| seen.lock().unwrap().push((i, result.is_ok())))).unwrap();
    }
    wal.close().unwrap();
    let expected: Vec<_> = (0..300).map(|i| (i, true)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn acknowledged_records_survive_any_crash_over_rotations_and_removals() {
    let disk = Disk::with(|config| config.chunk_max_size = 256);
    let (mut wal, mut list) = disk.open();
    let mut acknowledged = 0;
    let mut rotated = false;
    for step in 0..60_u64 {
        for word in 0..=step % 3 {
            wal.append_and_apply(format!("word-{step}-{word}"), &mut list).unwrap();
        }
        match step % 5 {
            0 | 3 => wal.flush(Flush::Write, None).unwrap(),
            1 => wal.sync().unwrap(),
            2 => wal.flush_ticket(Flush::Sync).unwrap().wait().unwrap(),
            _ => {
                let oldest = wal.closed_chunk_stats().first().map(|stat| stat.chunk_id);
                rotated |= oldest.is_some();
                let mut first = true;
                let ids = wal.drain_closed_chunks_while(|_| std::mem::take(&mut first));
                wal.remove_chunks(ids).unwrap();
            }
        }
        if matches!(step % 5, 1 | 2) {
            acknowledged = list.words.len();
        }
        for seed in [0, 1, 2 * step, 2 * step + 1] {
            let found = words_on(&disk, disk.storage.crash(seed));
            assert!(
                found.len() >= acknowledged,
                "step {step}, seed {seed}: {} lost",
                acknowledged - found.len()
            );
            assert_eq!(found, list.words[..found.len()], "step {step}, seed {seed}");
        }
    }
    assert!(rotated);
}

#[test]
fn a_batch_shares_one_write_and_one_sync() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    let gate = sync_gate(&disk);
    let before = wal.flush_metrics();
    wal.append(&action("first")).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    gate.wait_for(1);
    for _ in 0..5 {
        wal.append(&action("more")).unwrap();
        wal.flush(Flush::Sync, None).unwrap();
    }
    gate.open();
    wal.wait_idle().unwrap();
    let after = wal.flush_metrics();
    assert_eq!(after.batch_count - before.batch_count, 2);
    assert_eq!(after.sync_batch_count - before.sync_batch_count, 2);
    assert_eq!(after.flush_count - before.flush_count, 6);
    assert_eq!(after.batch_items_max, 5);
}

#[test]
fn flush_batch_wait_waits_for_more_flushes_and_no_longer_than_needed() {
    let hour = Duration::from_secs(60);
    let disk = Disk::with(|config| {
        config.flush_batch_wait = hour;
        config.flush_batch_max_items = 3;
    });
    let started = Instant::now();
    // A new chunk is a batch by itself, which waits in vain; an existing one begins with none.
    Disk { storage: disk.storage.clone(), config: Disk::default().config }.open().0.close().unwrap();
    let (mut wal, _) = disk.open();
    let tickets: Vec<_> = (0..3)
        .map(|_| {
            wal.append(&action("word")).unwrap();
            // The worker waits by now.
            std::thread::sleep(Duration::from_millis(20));
            wal.flush_ticket(Flush::Sync).unwrap()
        })
        .collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let metrics = wal.flush_metrics();
    assert_eq!((metrics.batch_count, metrics.batch_items_max), (1, 3));
    wal.append(&action("alone")).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    wal.close().unwrap();
    assert!(started.elapsed() < hour, "closing waits for nobody");
    assert_eq!(words_on(&Disk::default(), disk.storage.crash(0)).len(), 4);
}

#[test]
fn a_sync_after_a_waiting_write_is_a_sync() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    wal.wait_idle().unwrap();
    disk.storage.pause_syncs(true);
    wal.append(&action("what the worker is busy with")).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    wal.append(&action("written")).unwrap();
    wal.flush(Flush::Write, None).unwrap();
    wal.append(&action("durable")).unwrap();
    let ticket = wal.flush_ticket(Flush::Sync).unwrap();
    disk.storage.pause_syncs(false);
    ticket.wait_timeout(Duration::from_secs(20)).expect("it was not synced").unwrap();
    let progress = wal.progress();
    assert_eq!(progress.appended, progress.synced);
}

#[test]
fn a_batch_keeps_to_its_bytes_with_and_without_callbacks() {
    for is_called in [false, true] {
        let disk = Disk::with(|config| config.flush_batch_max_bytes = 64 << 10);
        let (mut wal, _) = disk.open();
        wal.wait_idle().unwrap();
        let before = wal.flush_metrics().batch_count;
        disk.storage.pause_syncs(true);
        wal.append(&action("what the worker is busy with")).unwrap();
        wal.flush(Flush::Sync, None).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let (told, _done) = channel();
        for _ in 0..20 {
            wal.append(&action(&"x".repeat(32 << 10))).unwrap();
            wal.flush(Flush::Sync, is_called.then(|| told.clone())).unwrap();
        }
        disk.storage.pause_syncs(false);
        wal.wait_idle().unwrap();
        let batches = wal.flush_metrics().batch_count - before;
        assert!((10..=13).contains(&batches), "{batches} batches, callbacks: {is_called}");
    }
}

#[test]
fn metrics_count_a_flush_before_its_callback() {
    let disk = Disk::default();
    let wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    let wal = Arc::new(Mutex::new(wal));
    for flushes in 1..=20 {
        let (told, done) = channel();
        let mut owner = wal.lock().unwrap();
        owner.append(&spell("word")).unwrap();
        let shared = wal.clone();
        let mode = if flushes % 2 == 0 { Flush::Sync } else { Flush::Write };
        let look = move |_| told.send(shared.lock().unwrap().flush_metrics()).unwrap();
        owner.flush(mode, callback(look)).unwrap();
        drop(owner);
        let metrics = done.recv().unwrap();
        assert_eq!(metrics.flush_count, flushes);
        assert_eq!(metrics.write.count, flushes);
        assert_eq!(metrics.sync_batch_count, flushes / 2);
    }
}

// on_chunk_persisted -------------------------------------------------------------------------------

/// Notes what is applied, next to what is persisted.
struct Noting(Seen<String>);

impl StateMachine<Words> for Noting {
    type Error = String;

    fn apply(&mut self, record: &Record, _: ChunkId, _: Segment) -> Result<(), String> {
        self.0.lock().unwrap().push(format!("{record:?}"));
        Ok(())
    }

    fn checkpoint(&self) -> String {
        "all".to_string()
    }
}

#[test]
fn persisted_is_reported_after_each_sync_before_waiters_wake() {
    let disk = Disk::default();
    let seen = Seen::<String>::default();
    let progress = Arc::new(OnceLock::<ProgressHandle>::new());
    let (noted, handle) = (seen.clone(), progress.clone());
    let persisted = move |persisted: ChunkPersisted, checkpoint: Option<&String>| {
        let ChunkPersisted { chunk_id, start, synced } = persisted;
        if let Some(handle) = handle.get() {
            assert!(handle.progress().synced < synced, "waiters would wake already");
        }
        noted.lock().unwrap().push(format!("{} {start}..{synced} after {checkpoint:?}", chunk_id.0));
    };
    let mut wal: Wal = disk.options().on_chunk_persisted(persisted).open(&mut Noting(seen.clone())).unwrap();
    progress.set(wal.progress_handle()).unwrap();
    let mut step = |f: &mut dyn FnMut(&mut Wal)| {
        seen.lock().unwrap().clear();
        f(&mut wal);
        wal.wait_idle().unwrap();
        seen.lock().unwrap().clone()
    };
    assert_eq!(
        step(&mut |wal| {
            wal.append(&action("a")).unwrap();
            wal.sync().unwrap();
            wal.sync().unwrap();
        }),
        ["0 0..112 after None"],
        "nothing new is no sync"
    );
    assert_eq!(
        step(&mut |wal| {
            wal.append(&action("b")).unwrap();
            wal.close_open_chunk_with("a,b".to_string()).unwrap();
        }),
        ["0 0..136 after None", "136 136..224 after Some(\"a,b\")"],
        "the end of the old chunk, then the beginning of the new one"
    );
    assert_eq!(
        step(&mut |wal| {
            wal.append(&action("c")).unwrap();
            wal.flush(Flush::Write, None).unwrap();
        }),
        [""; 0],
        "a write is not durable"
    );
    assert_eq!(step(&mut |wal| wal.sync().unwrap()), ["136 136..248 after Some(\"a,b\")"]);
}

#[test]
fn opening_reports_sealed_chunks_before_their_records_and_the_newest_once_it_is_durable() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    for word in ["a", "b", "c"] {
        wal.append_and_apply(word.to_string(), &mut list).unwrap();
        if word != "c" {
            wal.close_open_chunk(&list).unwrap();
        }
    }
    // The first flush in a chunk makes it durable, the second does not.
    wal.sync().unwrap();
    wal.append_and_apply("d".to_string(), &mut list).unwrap();
    wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
    let disk = disk.on(disk.storage.kill());

    let seen = Seen::<String>::default();
    let (noted, storage) = (seen.clone(), disk.storage.clone());
    let newest = disk.config.chunk_path(ChunkId(224));
    let persisted = move |persisted: ChunkPersisted, checkpoint: Option<&String>| {
        let records = |storage: &MemoryStorage| storage.read_file(&newest).map(|bytes| bytes[..136].to_vec());
        let durable = records(&storage.crash(0)) == records(&storage);
        let ChunkPersisted { chunk_id, synced, .. } = persisted;
        let told = format!("{} ..{synced} after {checkpoint:?}, durable: {durable}", chunk_id.0);
        noted.lock().unwrap().push(told);
    };
    let _wal: Wal = disk.options().on_chunk_persisted(persisted).open(&mut Noting(seen.clone())).unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "0 ..112 after None, durable: false",
            "Checkpoint(\"\")",
            "Action(\"a\")",
            "112 ..224 after Some(\"a\"), durable: false",
            "Checkpoint(\"a\")",
            "Action(\"b\")",
            "Checkpoint(\"a,b\")",
            "Action(\"c\")",
            "Action(\"d\")",
            "224 ..360 after Some(\"a,b\"), durable: true",
        ]
    );
}

// Waiting ------------------------------------------------------------------------------------------

#[test]
fn waiting_for_an_unreachable_offset_is_an_error() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    let handle = wal.progress_handle();
    wal.append(&action("a")).unwrap();
    let end = wal.progress().appended;
    assert!(matches!(handle.wait_synced(end + 1), Err(Error::NotInLog { offset, .. }) if offset == end + 1));
    let waiter = thread::spawn({
        let handle = handle.clone();
        move || handle.wait_synced(end)
    });
    wal.sync().unwrap();
    waiter.join().unwrap().unwrap();

    let before = wal.append(&action("b")).unwrap();
    let waiter = thread::spawn({
        let handle = handle.clone();
        move || handle.wait_synced(before.offset + before.size)
    });
    drop(wal);
    waiter.join().unwrap().unwrap();
    assert_eq!(handle.progress().synced, before.offset + before.size, "it outlives the log");
    handle.wait_synced(handle.progress().synced).unwrap();
    assert!(matches!(handle.wait_synced(u64::MAX), Err(Error::Closed)));
}

#[test]
fn closing_and_dropping_flush_and_sync_appended_records() {
    for close in [true, false] {
        let disk = Disk::default();
        let (mut wal, _) = disk.open();
        wal.append(&action("a")).unwrap();
        if close {
            wal.close().unwrap();
        } else {
            drop(wal);
        }
        assert_eq!(words_on(&disk, disk.storage.crash(0)), ["a"]);
    }
}

// Panics and calls back into the log ---------------------------------------------------------------

#[test]
fn a_panicking_callback_harms_no_other() {
    let disk = Disk::default();
    let seen = Seen::default();
    let noted = seen.clone();
    let persisted = move |_: ChunkPersisted, _: Option<&Spell>| {
        noted.lock().unwrap().push("persisted");
        if noted.lock().unwrap().len() > 1 {
            panic!("asked to");
        }
    };
    let mut wal: SpellWal = disk.options().on_chunk_persisted(persisted).open(&mut Book::default()).unwrap();
    let gate = sync_gate(&disk);
    wal.append(&spell("a")).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    gate.wait_for(1);
    wal.append(&spell("b")).unwrap();
    for name in ["before", "panics", "after"] {
        let seen = seen.clone();
        let call = move |result: Result<(), Error>| {
            result.unwrap();
            seen.lock().unwrap().push(name);
            assert_ne!(name, "panics");
        };
        wal.flush(Flush::Sync, callback(call)).unwrap();
    }
    gate.open();
    wal.wait_idle().unwrap();
    assert_eq!(*seen.lock().unwrap(), ["persisted", "persisted", "persisted", "before", "panics", "after"]);
    assert_eq!(wal.flush_metrics().callback_panic_count, 3);
    wal.append(&spell("c")).unwrap();
    wal.close().unwrap();
    assert_eq!(disk.storage.crash(0).files("/log").len(), 2, "LOCK and one chunk");
}

/// What a method said to a call from a callback.
fn verdict<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(Error::WouldDeadlock { .. }) => "would deadlock",
        Err(_) => "other",
    }
}

#[test]
fn callbacks_may_use_the_log_but_not_wait_for_it() {
    let disk = Disk::with(|config| config.flush_queue_max_bytes = 1000);
    let wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    let wal = Arc::new(Mutex::new(wal));
    let (told, done) = channel();
    let shared = wal.clone();
    let call = move |_| {
        let mut wal = shared.lock().unwrap();
        let segment = wal.append(&spell("inside")).unwrap();
        let end = segment.offset + segment.size;
        let ticket = wal.flush_ticket(Flush::Sync).unwrap();
        let mut said = vec![
            ("flush", verdict(wal.flush(Flush::Sync, None))),
            ("read_record", verdict(wal.read_record(segment))),
            ("records", verdict(wal.records().collect::<Result<Vec<_>, _>>())),
            ("wait_synced, of what is synced", verdict(wal.wait_synced(segment.offset))),
            ("wait_synced", verdict(wal.wait_synced(end))),
            ("progress_handle", verdict(wal.progress_handle().wait_synced(end))),
            ("sync", verdict(wal.sync())),
            ("wait_idle", verdict(wal.wait_idle())),
            ("ticket", verdict(ticket.wait_timeout(Duration::MAX).unwrap())),
            ("ticket, to the end", verdict(ticket.wait())),
        ];
        wal.append(&spell(&"x".repeat(1000))).unwrap();
        said.push(("flush into a full queue", verdict(wal.flush(Flush::Write, None))));
        said.push(("rotation with a full queue", verdict(wal.close_open_chunk_with(Spell::new("all")))));
        told.send((end, said)).unwrap();
    };
    {
        let mut wal = wal.lock().unwrap();
        wal.append(&spell("outside")).unwrap();
        wal.flush(Flush::Sync, callback(call)).unwrap();
    }
    let (end, said) = done.recv().unwrap();
    assert_eq!(
        said,
        [
            ("flush", "ok"),
            ("read_record", "ok"),
            ("records", "ok"),
            ("wait_synced, of what is synced", "ok"),
            ("wait_synced", "would deadlock"),
            ("progress_handle", "would deadlock"),
            ("sync", "would deadlock"),
            ("wait_idle", "would deadlock"),
            ("ticket", "would deadlock"),
            ("ticket, to the end", "would deadlock"),
            ("flush into a full queue", "would deadlock"),
            ("rotation with a full queue", "would deadlock"),
        ]
    );
    let wal = wal.lock().unwrap();
    wal.wait_synced(end).unwrap();
    assert_eq!(wal.records().count(), 4);
}

#[test]
fn a_callback_of_one_log_may_wait_for_another() {
    let (one, other) = (Disk::default(), Disk::default());
    let mut wal: SpellWal = one.options().open(&mut Book::default()).unwrap();
    let mut another: SpellWal = other.options().open(&mut Book::default()).unwrap();
    let (told, done) = channel();
    wal.append(&spell("a")).unwrap();
    let call = move |_| {
        another.append(&spell("b")).unwrap();
        told.send((verdict(another.sync()), verdict(another.close()))).unwrap();
    };
    wal.flush(Flush::Sync, callback(call)).unwrap();
    assert_eq!(done.recv().unwrap(), ("ok", "ok"));
}

#[test]
fn the_last_handle_may_be_dropped_or_closed_in_a_callback() {
    for close in [true, false] {
        let disk = Disk::default();
        let wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
        let wal = Arc::new(Mutex::new(Some(wal)));
        let (told, done) = channel();
        let shared = wal.clone();
        let call = move |_| {
            let mut wal = shared.lock().unwrap().take().unwrap();
            wal.append(&spell("last words")).unwrap();
            let closed = match close {
                true => wal.close(),
                false => {
                    drop(wal);
                    Ok(())
                }
            };
            told.send(verdict(closed)).unwrap();
        };
        let mut owner = wal.lock().unwrap();
        owner.as_mut().unwrap().flush(Flush::Sync, callback(call)).unwrap();
        drop(owner);
        assert_eq!(done.recv().unwrap(), if close { "would deadlock" } else { "ok" });

        // The log's threads release the directory by themselves, soon.
        let mut book = Book::default();
        let started = Instant::now();
        let reopened: Result<SpellWal, Error> = loop {
            match disk.options().open(&mut book) {
                Err(Error::Locked { .. }) if started.elapsed() < Duration::from_secs(10) => {
                    thread::yield_now()
                }
                opened => break opened,
            }
        };
        reopened.unwrap();
        assert_eq!(book.0, ["last words"]);
    }
}
