//! A disk that hangs is seen while it hangs.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use chunked_wal::storage::OpKind;
use chunked_wal::{Flush, SharedWal};

use crate::common::*;

const THRESHOLD: Duration = Duration::from_millis(20);

/// The calls of `on_slow_sync`.
type Calls = Arc<Mutex<Vec<Duration>>>;

fn open_watched(disk: &Disk) -> (Wal, Calls) {
    let calls = Calls::default();
    let seen = calls.clone();
    let options = disk.options().on_slow_sync(THRESHOLD, move |age| seen.lock().unwrap().push(age));
    (options.open(&mut List::default()).unwrap(), calls)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_sync_that_hangs_is_told_once_while_it_hangs_and_its_age_grows() {
    let disk = Disk::default();
    let (mut wal, calls) = open_watched(&disk);
    wal.wait_idle().unwrap();
    // Those of the open, on a busy machine.
    calls.lock().unwrap().clear();
    assert_eq!(wal.flush_metrics().sync_age_us, 0);
    for round in 1..3 {
        let done = wal.flush_metrics().sync_batch_count;
        disk.storage.pause_syncs(true);
        wal.append(&action("a")).unwrap();
        wal.flush(Flush::Sync, None).unwrap();
        wait_until("called", || calls.lock().unwrap().len() == round);
        let age = wal.flush_metrics().sync_age_us;
        assert!(age >= THRESHOLD.as_micros() as u64, "{age}");
        thread::sleep(3 * THRESHOLD);
        let metrics = wal.flush_metrics();
        assert!(metrics.sync_age_us >= age + 3 * THRESHOLD.as_micros() as u64);
        assert_eq!(metrics.sync_batch_count, done, "it counts only once it is done");
        disk.storage.pause_syncs(false);
        wal.wait_idle().unwrap();
        assert_eq!(wal.flush_metrics().sync_age_us, 0);
        assert_eq!(calls.lock().unwrap().len(), round, "once for each");
    }
    assert!(calls.lock().unwrap().iter().all(|age| *age >= THRESHOLD));
}

#[test]
fn it_does_not_matter_which_sync_hangs_on_which_thread() {
    for kind in ["on the caller's thread", "the old chunk's", "the directory's", "the last"] {
        let disk = Disk::default();
        let (mut wal, calls) = open_watched(&disk);
        // Half full, so that the next chunk's file is ready.
        wal.append(&action(&"a".repeat(3000))).unwrap();
        wal.wait_idle().unwrap();
        calls.lock().unwrap().clear();
        match kind {
            "the directory's" => {
                let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::SyncDir);
                wal.close_open_chunk(&List::default()).unwrap();
                wait_until(kind, || !calls.lock().unwrap().is_empty());
                assert!(wal.flush_metrics().sync_age_us > 0);
                gate.open();
                wal.wait_idle().unwrap();
            }
            "the old chunk's" => {
                disk.storage.pause_syncs(true);
                wal.close_open_chunk(&List::default()).unwrap();
                wait_until(kind, || !calls.lock().unwrap().is_empty());
                disk.storage.pause_syncs(false);
                wal.wait_idle().unwrap();
            }
            _ => {
                disk.storage.pause_syncs(true);
                let caller = thread::spawn(move || match kind {
                    "the last" => wal.close().unwrap(),
                    _ => {
                        wal.sync().unwrap();
                        assert_eq!(wal.flush_metrics().sync_age_us, 0);
                    }
                });
                wait_until(kind, || !calls.lock().unwrap().is_empty());
                disk.storage.pause_syncs(false);
                caller.join().unwrap();
            }
        }
    }
}

#[test]
fn syncs_that_are_fast_enough_are_not_told() {
    let disk = Disk::default();
    let calls = Calls::default();
    let seen = calls.clone();
    let options =
        disk.options().on_slow_sync(Duration::from_secs(60), move |age| seen.lock().unwrap().push(age));
    let mut wal: Wal = options.open(&mut List::default()).unwrap();
    for _ in 0..200 {
        wal.append(&action("a")).unwrap();
        wal.sync().unwrap();
    }
    let begun = Instant::now();
    wal.close().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30), "the watch doesn't sleep on");
    assert!(calls.lock().unwrap().is_empty());
}

#[test]
fn a_watcher_that_panics_or_holds_the_log_harms_nobody() {
    let disk = Disk::default();
    let calls = Calls::default();
    let log: Arc<Mutex<Option<Wal>>> = Arc::default();
    let (held, told) = (log.clone(), calls.clone());
    let options = disk.options().on_slow_sync(Duration::ZERO, move |age| {
        told.lock().unwrap().push(age);
        if told.lock().unwrap().len() == 1 {
            panic!("asked to");
        }
        // Its drop waits for the sync, and for no watch that is itself.
        drop(held.lock().unwrap().take());
    });
    let mut wal: Wal = options.open(&mut List::default()).unwrap();
    wal.wait_idle().unwrap();
    disk.storage.pause_syncs(true);
    wal.append(&action("a")).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    wait_until("the first call", || calls.lock().unwrap().len() == 1);
    disk.storage.pause_syncs(false);
    wal.wait_idle().unwrap();
    wait_until("the panic is counted", || wal.flush_metrics().callback_panic_count == 1);
    let mut place = log.lock().unwrap();
    let before = calls.lock().unwrap().len();
    disk.storage.pause_syncs(true);
    wal.append(&action("b")).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    wait_until("the next call", || calls.lock().unwrap().len() > before);
    *place = Some(wal);
    drop(place);
    disk.storage.pause_syncs(false);
    wait_until("the log is dropped", || log.try_lock().is_ok_and(|log| log.is_none()));
    let open = || disk.try_open();
    wait_until("the lock is free", || open().is_ok());
}

#[test]
fn a_directory_that_hangs_for_a_removal_is_told_once_a_rotation_waits_for_it() {
    let disk = Disk::default();
    let (mut wal, calls) = open_watched(&disk);
    wal.append(&action("a")).unwrap();
    wal.close_open_chunk(&List::default()).unwrap();
    // The next chunk's file is made before, since the housekeeper will hang.
    while !wal.is_open_chunk_full() {
        wal.append(&action("b")).unwrap();
    }
    wal.wait_idle().unwrap();
    calls.lock().unwrap().clear();
    let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::SyncDir);
    let ids = wal.drain_closed_chunks_while(|_| true);
    wal.remove_chunks(ids).unwrap();
    gate.wait_for(1);
    assert_eq!(wal.flush_metrics().sync_age_us, 0, "nothing waits for the removal");
    wal.close_open_chunk(&List::default()).unwrap();
    let begun = Instant::now();
    while calls.lock().unwrap().is_empty() && begun.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(1));
    }
    let age = wal.flush_metrics().sync_age_us;
    gate.open();
    assert_eq!(calls.lock().unwrap().len(), 1);
    assert!(age > 0);
    wal.wait_idle().unwrap();
}

#[test]
fn a_slow_sync_may_close_the_log_that_is_closing() {
    let disk = Disk::default();
    let shared = Arc::new(OnceLock::<SharedWal<Words, List>>::new());
    let called = Arc::new(AtomicBool::new(false));
    let (closes, calls) = (shared.clone(), called.clone());
    let options = disk.options().on_slow_sync(THRESHOLD, move |_| {
        if let Some(wal) = closes.get() {
            calls.store(true, SeqCst);
            wal.close().unwrap();
        }
    });
    let log = options.open(&mut List::default()).unwrap();
    let wal = shared.get_or_init(|| SharedWal::new(log, List::default())).clone();
    wal.commit("a".into()).unwrap().wait().unwrap();
    disk.storage.pause_syncs(true);
    let closer = thread::spawn(move || wal.close().unwrap());
    wait_until("called", || called.load(SeqCst));
    thread::sleep(THRESHOLD);
    disk.storage.pause_syncs(false);
    wait_until("closed", || closer.is_finished());
    closer.join().unwrap();
    disk.try_open().unwrap();
}
