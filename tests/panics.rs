//! Panics that come where they can do most harm: in the logger, and when a panic's payload is dropped. A
//! process of its own, because a process has one logger.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::time::Duration;

use chunked_wal::Error;
use chunked_wal::Flush;
use chunked_wal::storage::Fault;
use chunked_wal::storage::FaultHow;
use chunked_wal::storage::OpKind;
use common::*;

/// A logger whose standard error is gone.
struct Broken;

static IS_BROKEN: AtomicBool = AtomicBool::new(false);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl log::Log for Broken {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &log::Record<'_>) {
        assert!(!IS_BROKEN.load(SeqCst), "failed printing to stderr");
    }

    fn flush(&self) {}
}

fn with_logger() -> MutexGuard<'static, ()> {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    static LOGGER: Broken = Broken;
    let _set_before = log::set_logger(&LOGGER);
    log::set_max_level(log::LevelFilter::Trace);
    guard
}

/// Fails if `done` is not told within a minute: without it, a hang would be a hang.
fn within_a_minute(run: impl FnOnce() + Send + 'static) {
    let (told, done) = channel();
    let thread = std::thread::spawn(move || {
        run();
        told.send(()).unwrap();
    });
    done.recv_timeout(Duration::from_secs(60)).expect("it hangs, or has panicked");
    thread.join().unwrap();
}

#[test]
fn a_logger_that_panics_keeps_no_completion_back() {
    let _one = with_logger();
    for kind in [OpKind::Sync, OpKind::Write] {
        within_a_minute(move || {
            let disk = Disk::default();
            let (mut wal, _) = disk.open();
            wal.wait_idle().unwrap();
            disk.storage.fail(Fault::new(kind, 0, FaultHow::Io));
            IS_BROKEN.store(true, SeqCst);
            let (told, done) = channel();
            for i in 0..5 {
                if wal.append(&action("word")).is_ok() {
                    let _refused = wal.flush(Flush::Sync, Some(told.clone()));
                }
                assert!(i > 0 || wal.progress().appended > 0);
            }
            drop(told);
            let results: Vec<_> = done.iter().collect();
            IS_BROKEN.store(false, SeqCst);
            assert!(!results.is_empty() && results.iter().all(Result::is_err), "{results:?}");
            assert!(matches!(wal.wait_idle(), Err(Error::Poisoned { .. })));
            drop(wal);
        });
    }
}

#[test]
fn a_removal_that_can_not_be_logged_hangs_nobody() {
    let _one = with_logger();
    within_a_minute(|| {
        let disk = Disk::default();
        let (mut wal, mut list) = disk.open();
        wal.append_and_apply("a".to_string(), &mut list).unwrap();
        wal.close_open_chunk(&list).unwrap();
        wal.wait_idle().unwrap();
        let drained = wal.drain_closed_chunks_while(|_| true);
        IS_BROKEN.store(true, SeqCst);
        wal.remove_chunks(drained).unwrap();
        let told = wal.wait_idle();
        IS_BROKEN.store(false, SeqCst);
        assert!(told.is_err(), "{told:?}");
        wal.append_and_apply("b".to_string(), &mut list).unwrap();
        wal.sync().unwrap();
        drop(wal);
        assert_eq!(disk.open().1.words, ["a", "b"]);
    });
}

/// A panic's payload that panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a payload was dropped");
    }
}

#[test]
fn a_payload_that_panics_when_it_is_dropped_harms_nobody_else() {
    let _one = with_logger();
    within_a_minute(|| {
        let disk = Disk::default();
        let mut wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
        let (told, done) = channel();
        for i in 0..6 {
            wal.append(&spell("word")).unwrap();
            let told = told.clone();
            let bombed = callback(move |result| {
                told.send(result).unwrap();
                if i == 0 {
                    std::panic::panic_any(Bomb);
                }
            });
            wal.flush(Flush::Sync, bombed).unwrap();
        }
        drop(told);
        wal.wait_idle().unwrap();
        assert_eq!(done.iter().filter(Result::is_ok).count(), 6);
        wal.close().unwrap();
    });
}
