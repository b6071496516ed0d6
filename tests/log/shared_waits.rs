//! What waits for what in a shared log: nothing for itself, and nothing for ever.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use chunked_wal::{Batch, ChunkId, Error, Flush, Segment, SharedWal, StateMachine};

use crate::common::*;

type Shared = SharedWal<Words, List>;

fn share(disk: &Disk) -> Shared {
    let (wal, list) = disk.open();
    SharedWal::new(wal, list)
}

/// A thread that hangs is left behind.
fn ends(what: &str, work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = channel();
    thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    assert!(is_done.recv_timeout(Duration::from_secs(20)).is_ok(), "hangs or panics: {what}");
}

#[test]
fn reads_do_not_starve_commits() {
    let wal = share(&Disk::default());
    let stop = Arc::new(AtomicBool::new(false));
    for i in 0..8 {
        let (wal, stop) = (wal.clone(), stop.clone());
        thread::spawn(move || {
            // One or the other always reads.
            thread::sleep(Duration::from_millis(3 * i));
            while !stop.load(SeqCst) {
                wal.read(|_| {
                    thread::sleep(Duration::from_millis(20));
                    wal.read(|_| ());
                });
            }
        });
    }
    thread::sleep(Duration::from_millis(100));
    ends("a commit", move || {
        wal.commit("x".into()).unwrap().wait().unwrap();
    });
    stop.store(true, SeqCst);
}

/// Its durable chunks are told by a callback that reads.
fn share_with_a_callback_that_reads(disk: &Disk) -> Shared {
    let shared = Arc::new(OnceLock::<Shared>::new());
    let reads = shared.clone();
    let mut list = List::default();
    let options = disk.options().on_chunk_persisted(move |_, _| {
        if let Some(wal) = reads.get() {
            wal.read(|list| assert!(!list.words.is_empty()));
        }
    });
    let log = options.open(&mut list).unwrap();
    list.words.push("first".into());
    shared.get_or_init(|| SharedWal::new(log, list)).clone()
}

#[test]
fn with_log_may_wait_while_a_callback_reads() {
    let wal = share_with_a_callback_that_reads(&Disk::default());
    ends("with_log", move || {
        let work = |log: &mut Wal| {
            log.append(&action("a")).unwrap();
            log.sync().unwrap();
            log.append(&action("a")).unwrap();
            log.flush(Flush::Sync, None).unwrap();
            log.wait_idle().unwrap();
        };
        wal.with_log(|log, _| work(log)).unwrap();
    });
}

#[test]
fn a_rotation_in_with_log_may_wait_while_a_callback_reads() {
    let disk = Disk::with(|config| config.flush_queue_max_bytes = 200);
    let wal = share_with_a_callback_that_reads(&disk);
    ends("with_log", move || {
        for round in 1..30 {
            let words = wal.with_log(|log, state| {
                log.append_and_apply("x".repeat(150), state).unwrap();
                log.flush(Flush::Sync, None).unwrap();
                log.close_open_chunk(state).unwrap();
                state.change(|list| list.words.push("by hand".into()));
                assert!(matches!(state.change(|_| log.wait_idle()), Err(Error::WouldDeadlock { .. })));
                log.wait_idle().unwrap();
                wal.read(|list| list.words.len())
            });
            assert_eq!(words.unwrap(), 1 + 2 * round);
        }
    });
}

/// Reads its own state while it is changed.
struct Curious(OnceLock<SharedWal<Words, Curious>>);

impl StateMachine<Words> for Curious {
    type Error = String;

    fn apply(&mut self, _: &Record, _: ChunkId, _: Segment) -> Result<(), String> {
        if let Some(wal) = self.0.get() {
            wal.read(|_| ());
        }
        Ok(())
    }

    fn checkpoint(&self) -> String {
        String::new()
    }
}

#[test]
fn a_read_that_would_wait_for_itself_panics() {
    let disk = Disk::default();
    let mut state = Curious(OnceLock::new());
    let log = disk.options().open(&mut state).unwrap();
    let wal = SharedWal::new(log, state);
    wal.read(|state| state.0.get_or_init(|| wal.clone()).read(|_| ()));
    ends("a read", move || {
        let panics = |work: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
        panics(&|| drop(wal.commit("a".into())));
        panics(&|| wal.with_log(|_, state| state.change(|_| wal.read(|_| ()))).unwrap());
        panics(&|| wal.with_log(|_, state| wal.read(|_| state.change(|_| ()))).unwrap());
        panics(&|| {
            let _panics = wal.with_log(|log, state| log.append_and_apply("a".into(), state));
        });
        assert_eq!(wal.reader().records().count(), 1, "the first checkpoint alone");
        // The cycle would keep it open.
        wal.with_log(|_, state| state.change(|state| drop(state.0.take()))).unwrap();
        wal.commit("b".into()).unwrap().wait().unwrap();
        wal.close().unwrap();
    });
}

#[test]
fn a_read_may_wait_for_the_disk_while_a_commit_waits_for_it_and_a_callback_reads() {
    let disk = Disk::default();
    let wal = share_with_a_callback_that_reads(&disk);
    ends("a read that waits", move || {
        for _ in 0..20 {
            disk.storage.pause_syncs(true);
            let commit = wal.commit("a".into()).unwrap();
            let (reads, is_read) = channel();
            let reader = thread::spawn({
                let wal = wal.clone();
                move || {
                    wal.read(|_| {
                        reads.send(()).unwrap();
                        commit.wait().unwrap();
                    })
                }
            });
            is_read.recv().unwrap();
            let committer = thread::spawn({
                let wal = wal.clone();
                move || wal.commit("b".into()).unwrap().wait().unwrap()
            });
            thread::sleep(Duration::from_millis(5));
            disk.storage.pause_syncs(false);
            reader.join().unwrap();
            committer.join().unwrap();
        }
    });
}

#[test]
fn a_batch_is_committed_once_however_often_its_future_is_polled() {
    let wal = share(&Disk::default());
    let batch: Batch<Words> = ["a", "b"].into_iter().map(action).collect();
    let mut commit = pin!(wal.commit_batch_async(batch));
    let mut poll = || commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(poll(), Poll::Ready(Ok(_))));
    assert!(matches!(poll(), Poll::Ready(Err(Error::Closed))));
    assert_eq!(wal.read(|list| list.words.clone()), ["a", "b"]);
}
