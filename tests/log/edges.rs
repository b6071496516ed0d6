//! Edge cases found by reading the code: each of these once broke a promise.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use chunked_wal::storage::{Fault, FaultHow, OpKind, TornRenames};
use chunked_wal::{ChunkId, Error, Flush, FlushTicket, Replay, Segment, StateMachine, WalRecord, WalTypes};

use crate::common::*;

const SOON: Duration = Duration::from_secs(5);

/// A task that does something when it is woken.
struct OnWake(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for OnWake {
    fn wake(self: Arc<Self>) {
        if let Some(f) = self.0.lock().unwrap().take() {
            f();
        }
    }
}

/// Polls a ticket that isn't resolved, with a waker that does `f`.
fn poll_once(ticket: &mut FlushTicket, f: impl FnOnce() + Send + 'static) {
    let waker = Waker::from(Arc::new(OnWake(Mutex::new(Some(Box::new(f))))));
    assert!(Pin::new(ticket).poll(&mut Context::from_waker(&waker)).is_pending());
}

#[test]
fn a_waker_may_drop_the_last_handle() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    wal.append_and_apply("a".into(), &mut list).unwrap();
    disk.storage.pause_syncs(true);
    let mut ticket = wal.flush_ticket(Flush::Sync).unwrap();
    let (callback, called) = channel();
    let (ran, ended) = channel();
    let last_handle = Arc::new(Mutex::new(None));
    let holder = last_handle.clone();
    poll_once(&mut ticket, move || {
        let wal: Option<Wal> = holder.lock().unwrap().take();
        ran.send(catch_unwind(AssertUnwindSafe(|| drop(wal))).is_ok()).unwrap();
    });
    wal.flush(Flush::Sync, Some(callback)).unwrap();
    *last_handle.lock().unwrap() = Some(wal);
    disk.storage.pause_syncs(false);
    assert!(ended.recv_timeout(SOON).unwrap(), "dropping it joins no thread of its own");
    assert!(called.recv_timeout(SOON).unwrap().is_ok());
    assert!(matches!(ticket.wait_timeout(SOON), Some(Ok(()))));
}

#[test]
fn a_waker_that_panics_at_the_poison_loses_no_completion() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    wal.wait_idle().unwrap();
    wal.append_and_apply("a".into(), &mut list).unwrap();
    wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
    disk.storage.pause_syncs(true);
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    let (callback, called) = channel();
    wal.flush(Flush::Sync, Some(callback)).unwrap();
    let mut ticket = wal.flush_ticket(Flush::Sync).unwrap();
    poll_once(&mut ticket, || panic!("a waker panics"));
    disk.storage.pause_syncs(false);
    assert!(matches!(called.recv_timeout(SOON).unwrap(), Err(Error::Io { .. })));
    let (waited, idle) = channel();
    thread::spawn(move || waited.send(wal.wait_idle()).unwrap());
    assert!(matches!(idle.recv_timeout(SOON).unwrap(), Err(Error::Poisoned { .. })));
}

#[test]
fn waiting_in_a_waker_is_refused() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    wal.wait_idle().unwrap();
    let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::Sync);
    wal.append_and_apply("a".into(), &mut list).unwrap();
    let mut ticket = wal.flush_ticket(Flush::Sync).unwrap();
    // The next sync is another one.
    gate.wait_for(1);
    wal.append_and_apply("b".into(), &mut list).unwrap();
    let later = wal.flush_ticket(Flush::Sync).unwrap();
    let (ran, ended) = channel();
    poll_once(&mut ticket, move || ran.send(later.wait_timeout(SOON)).unwrap());
    gate.open();
    assert!(matches!(ended.recv_timeout(SOON * 2).unwrap(), Some(Err(Error::WouldDeadlock { .. }))));
}

/// Clones to go until one panics.
static CLONES: AtomicI64 = AtomicI64::new(i64::MAX);
/// A checkpoint whose `clone` may panic.
#[derive(Debug, PartialEq)]
struct Fragile(u64);
impl Clone for Fragile {
    fn clone(&self) -> Self {
        if CLONES.fetch_sub(1, Ordering::SeqCst) == 0 {
            panic!("clone")
        }
        Fragile(self.0)
    }
}
impl codeq::Encode for Fragile {
    fn encode<W: std::io::Write>(&self, w: W) -> std::io::Result<usize> {
        self.0.encode(w)
    }
}
impl codeq::Decode for Fragile {
    fn decode<R: std::io::Read>(r: R) -> std::io::Result<Self> {
        Ok(Fragile(u64::decode(r)?))
    }
}
struct FragileLog;
impl WalTypes for FragileLog {
    type Action = String;
    type Checkpoint = Fragile;
    type Callback = ();
}
#[derive(Default)]
struct Log(Vec<String>);
impl StateMachine<FragileLog> for Log {
    type Error = String;
    fn apply(&mut self, r: &WalRecord<FragileLog>, _: ChunkId, _: Segment) -> Result<(), String> {
        if let WalRecord::Action(a) = r {
            self.0.push(a.clone())
        }
        Ok(())
    }
    fn checkpoint(&self) -> Fragile {
        Fragile(self.0.len() as u64)
    }
}
#[test]
fn a_clone_that_panics_in_a_rotation_loses_nothing() {
    for nth in 0..4 {
        let disk = Disk::default();
        let mut log = Log::default();
        let mut wal = disk.options::<FragileLog>().open(&mut log).unwrap();
        wal.append_and_apply("first".into(), &mut log).unwrap();
        wal.sync().unwrap();
        wal.append_and_apply("second".into(), &mut log).unwrap();
        CLONES.store(nth, Ordering::SeqCst);
        let _panicked = catch_unwind(AssertUnwindSafe(|| wal.close_open_chunk(&log).map(|_| ())));
        CLONES.store(i64::MAX, Ordering::SeqCst);
        wal.append_and_apply("third".into(), &mut log).unwrap();
        wal.sync().unwrap();
        let mut again = Log::default();
        disk.on(disk.storage.crash(0)).options::<FragileLog>().open(&mut again).unwrap();
        assert_eq!(again.0, ["first", "second", "third"], "clone {nth}");
    }
}

#[test]
fn a_storage_that_panics_in_an_append_leaves_no_trace() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    wal.wait_idle().unwrap();
    wal.append_and_apply("a".into(), &mut list).unwrap();
    let armed = AtomicBool::new(true);
    disk.storage.on_operation(move |op| {
        assert!(op.kind != OpKind::Allocate || !armed.swap(false, Ordering::SeqCst), "a storage panics");
    });
    let large = "x".repeat(9000);
    assert!(catch_unwind(AssertUnwindSafe(|| wal.append(&action(&large)))).is_err());
    wal.append(&action("b")).unwrap();
    wal.sync().unwrap();
    assert_eq!(wal.read_record(wal.last_segment()).unwrap(), action("b"));
    let (_, again) = disk.on(disk.storage.crash(0)).open();
    assert_eq!(again.words, ["a", "b"]);
}

/// A record fits its chunk, but the seal after it doesn't, so the file is extended. A crash keeps the record and loses
/// the extension; then the disk is full.
#[test]
fn the_space_of_a_seal_that_a_crash_took_back_is_asked_for_again() {
    let mut refused = 0;
    for seed in 0..100 {
        // No spare that the crash leaves is used again.
        let disk = Disk::with(|config| config.spare_chunks = 0);
        let (mut wal, mut list) = disk.open();
        wal.append_and_apply("a".into(), &mut list).unwrap();
        wal.sync().unwrap();
        wal.wait_idle().unwrap();
        let overhead = wal.append(&action("b")).unwrap().size;
        let left = 8192 - 8 - wal.progress().appended;
        wal.append(&action(&"x".repeat((left - overhead) as usize))).unwrap();
        wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
        let end = wal.progress().appended;
        let crashed = disk.on(disk.storage.crash(seed));
        let (mut wal, list) = crashed.open();
        if wal.progress().appended != end {
            continue;
        }
        crashed.storage.set_capacity(Some(crashed.storage.used()));
        match wal.close_open_chunk(&list) {
            Ok(_) => {}
            Err(Error::StorageFull { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        wal.sync().unwrap();
        wal.close().unwrap();
    }
    assert!(refused > 0);
}

#[test]
fn a_full_disk_at_open_does_not_fail_the_mark() {
    for seed in 0..100 {
        let disk = Disk::default();
        let (mut wal, mut list) = disk.open();
        wal.append_and_apply("a".into(), &mut list).unwrap();
        wal.sync().unwrap();
        let overhead = wal.append(&action("b")).unwrap().size;
        let left = 8192 - 8 - wal.progress().appended;
        wal.append(&action(&"x".repeat((left - overhead) as usize))).unwrap();
        wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
        let crashed = disk.on(disk.storage.crash(seed));
        crashed.storage.set_capacity(Some(crashed.storage.used()));
        let (wal, list) = crashed.open();
        wal.close().unwrap();
        assert_eq!(crashed.open().1.words, list.words, "seed {seed}");
    }
}

#[test]
fn a_seal_that_counts_nonsense_is_no_panic() {
    let forge = |mut chunk: Forge| {
        chunk.records = u64::MAX;
        chunk.seal()
    };
    let first = forge(Forge::chunk(0).checkpoint("").action("a"));
    let second = forge(first.next().checkpoint("a").action("b"));
    let third = second.next().checkpoint("a,b").mark();
    let disk = Disk::default();
    for chunk in [&first, &second, &third] {
        disk.storage.write_file(disk.config.chunk_path(ChunkId(chunk.id)), &chunk.bytes).unwrap();
    }
    let (wal, list) = disk.try_open_with::<List>(Replay::FromLastCheckpoint).unwrap();
    assert_eq!((wal.recovery().records, list.words.len()), (u64::MAX, 2));
    drop(wal);
    assert!(matches!(disk.try_open(), Err(Error::Corrupt { .. })));
}

/// The name of a spare that a crash in the middle of a rename left beside the chunk's own.
#[test]
fn a_chunk_is_not_overwritten_under_its_spare_name() {
    for seed in 0..100 {
        let disk = Disk::default();
        disk.storage.set_torn_renames(TornRenames::Possible);
        let (mut wal, mut list) = disk.open();
        wal.append_and_apply("a".into(), &mut list).unwrap();
        wal.sync().unwrap();
        wal.wait_idle().unwrap();
        let caught = Arc::new(Mutex::new(None));
        let (crashed, storage) = (caught.clone(), disk.storage.clone());
        disk.storage.on_operation(move |op| {
            if op.kind == OpKind::SyncDir {
                crashed.lock().unwrap().get_or_insert_with(|| storage.crash(seed));
            }
        });
        wal.close_open_chunk(&list).unwrap();
        wal.sync().unwrap();
        let crashed = disk.on(caught.lock().unwrap().take().unwrap());
        let (mut wal, mut list) = crashed.open();
        wal.append_and_apply("acknowledged".into(), &mut list).unwrap();
        wal.sync().unwrap();
        wal.close_open_chunk(&list).unwrap();
        wal.append_and_apply("more".into(), &mut list).unwrap();
        wal.close().unwrap();
        let (_, again) = crashed.open();
        assert_eq!(again.words, list.words, "seed {seed}");
    }
}

#[test]
fn appending_in_a_callback_is_bounded_too() {
    let disk = Disk::with(|config| {
        config.flush_queue_max_bytes = 64;
        config.open_buffer_max_bytes = 1024;
        config.chunk_max_size = 1 << 30;
    });
    let wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    let wal = Arc::new(Mutex::new(wal));
    let (told, tell) = channel();
    let (go, wait) = channel::<()>();
    let shared = wal.clone();
    let mut owner = wal.lock().unwrap();
    owner.append(&spell("a")).unwrap();
    let appending = move |_| {
        wait.recv().unwrap();
        let mut wal = shared.lock().unwrap();
        let refused = (0..50).find_map(|_| wal.append(&spell(&"x".repeat(2000))).err());
        let progress = wal.progress();
        told.send((refused, progress.appended - progress.written)).unwrap();
    };
    owner.flush(Flush::Write, callback(appending)).unwrap();
    while owner.progress().written < owner.progress().appended {
        thread::yield_now();
    }
    owner.append(&spell(&"y".repeat(500))).unwrap();
    owner.flush(Flush::Write, None).unwrap();
    drop(owner);
    go.send(()).unwrap();
    let (refused, waiting) = tell.recv_timeout(SOON).unwrap();
    assert!(matches!(refused, Some(Error::WouldDeadlock { .. })), "{refused:?}");
    assert!(waiting < 5000, "{waiting} bytes in memory");
}
