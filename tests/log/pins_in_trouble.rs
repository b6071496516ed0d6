//! Pins and subscribers where something goes wrong: a file is damaged, a disk fails, a directory is renamed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chunked_wal::storage::{Fault, FaultHow, OpKind};
use chunked_wal::{Error, PinFault, PinOptions, PinState, Subscriber};

use crate::common::*;

/// Appends records of about a quarter of a chunk, and starts a chunk after each four.
fn fill(wal: &mut Wal, list: &mut List, chunks: usize) {
    for _ in 0..chunks {
        for _ in 0..4 {
            wal.append_and_apply("x".repeat(900), list).unwrap();
            list.words.clear();
        }
        wal.close_open_chunk(list).unwrap();
    }
    wal.sync().unwrap();
}

fn drain(wal: &mut Wal) -> usize {
    wal.drain_closed_chunks_while(|_| true).len()
}

/// In another process than the log's, too: a place that was never written would let go of all records to come.
#[test]
fn a_subscriber_does_not_move_past_what_is_durable() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    fill(&mut wal, &mut list, 2);
    let storage = Arc::new(disk.storage.clone());
    let options = || Subscriber::options("/log", "s").storage(storage.clone());
    let past = wal.progress().appended + 1;
    let ahead = |error| matches!(error, Error::Pin { reason: PinFault::AheadOfLog { .. }, .. });
    assert!(ahead(options().from(past).open().unwrap_err()));
    assert!(ahead(wal.subscriber("s").from(past).open().unwrap_err()));
    let mut subscriber = options().open().unwrap();
    for offset in [past, u64::MAX] {
        let error = subscriber.advance(offset).unwrap_err();
        assert!(matches!(error, Error::Pin { reason: PinFault::NotDurable { .. }, .. }), "{error}");
    }
    // What becomes durable later is found by another look.
    fill(&mut wal, &mut list, 1);
    subscriber.advance(past - 1).unwrap();
    assert_eq!(drain(&mut wal), 2);
}

#[test]
fn a_subscriber_after_the_end_of_an_older_copy_is_told() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    fill(&mut wal, &mut list, 1);
    let copy = disk.on(disk.storage.kill());
    fill(&mut wal, &mut list, 2);
    let end = wal.progress().synced;
    let mut subscriber = wal.subscriber("s").open().unwrap();
    subscriber.advance(end).unwrap();
    let place = "/log/subscribers/s/cursor";
    let (wal, _) = copy.open();
    drop(wal.subscriber("s").open().unwrap());
    copy.storage.write_file(place, &disk.storage.read_file(place).unwrap()).unwrap();
    let elsewhere = || Subscriber::options("/log", "s").storage(Arc::new(copy.storage.clone()));
    for options in [wal.subscriber("s"), elsewhere()] {
        let error = options.open().unwrap_err();
        assert!(error.to_string().contains("was the log restored from an older copy?"), "{error}");
    }
    assert_eq!(elsewhere().start_over().open().unwrap().offset(), 0);
}

#[test]
fn a_bit_that_flips_in_the_file_of_a_new_subscriber_is_noticed() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    fill(&mut wal, &mut list, 2);
    drop(wal.subscriber("s").open().unwrap());
    let path = "/log/subscribers/s/cursor";
    let whole = disk.storage.read_file(path).unwrap();
    for bit in 0..8 * whole.len() as u64 {
        disk.storage.write_file(path, &whole).unwrap();
        disk.storage.flip_bit(path, bit).unwrap();
        let holders = wal.holders().unwrap();
        assert_eq!(holders.len(), 1, "nobody holds the log with bit {bit} flipped");
    }
    disk.storage.flip_bit(path, 0).unwrap();
    assert_eq!(drain(&mut wal), 0);
}

#[test]
fn a_subscriber_whose_file_cannot_be_opened_for_once_does_not_lose_its_records() {
    let disk = Disk::with(|config| config.soft_budget = 20 * 4096);
    let (mut wal, mut list) = disk.open();
    let strong = PinOptions::new().unbreakable();
    let subscriber = wal.subscriber("strong").pin(strong).open().unwrap();
    fill(&mut wal, &mut list, 30);
    for kind in [OpKind::List, OpKind::Open, OpKind::Read] {
        disk.storage.fail(Fault::new(kind, 0, FaultHow::Error(std::io::ErrorKind::Other)));
        assert_eq!(drain(&mut wal), 0, "{kind:?}");
        disk.storage.heal();
    }
    assert_eq!(wal.reader().start(), subscriber.offset());
    assert_eq!(wal.flush_metrics().broken_pin_count, 0);
}

#[test]
fn a_subscriber_that_is_only_opened_again_stands_still() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let wait = Duration::from_millis(40);
    let open = |wal: &Wal| wal.subscriber("loops").pin(PinOptions::new().max_age(wait)).open();
    drop(open(&wal).unwrap());
    fill(&mut wal, &mut list, 1);
    // Its program starts, fails, and starts again, without end.
    let mut drained = 0;
    for _ in 0..10 {
        drained += drain(&mut wal);
        std::thread::sleep(wait / 2);
        let _started = open(&wal);
    }
    assert_eq!(drained, 1);
    let Err(Error::Pin { reason, .. }) = open(&wal) else { panic!() };
    assert_eq!(reason, PinFault::Broken { offset: 0 });
}

#[test]
fn no_pin_breaks_if_a_subscriber_then_cannot_be_told() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    fill(&mut wal, &mut list, 2);
    let capped = wal.pin("capped", 0, PinOptions::new().max_bytes(1)).unwrap();
    let mut subscriber = wal.subscriber("s").open().unwrap();
    subscriber.advance(wal.progress().synced).unwrap();
    disk.storage.fail(Fault::new(OpKind::Write, 0, FaultHow::Io));
    assert_eq!(drain(&mut wal), 0);
    assert_eq!(capped.state(), PinState::Holds);
    assert_eq!(drain(&mut wal), 2);
    assert_eq!(capped.state(), PinState::Broken);
}

#[test]
fn a_subscriber_that_moves_on_during_the_drain_does_not_break() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    fill(&mut wal, &mut list, 2);
    let mut first = wal.subscriber("first").open().unwrap();
    first.advance(wal.progress().synced).unwrap();
    let capped = wal.subscriber("second").pin(PinOptions::new().max_bytes(1)).open().unwrap();
    let (to, second) = (wal.progress().synced, Mutex::new(Some(capped)));
    let moved = Arc::new(Mutex::new(None));
    let keep = moved.clone();
    // While the drain tells the first one.
    disk.storage.on_operation(move |op| {
        if op.kind == OpKind::Write {
            // Unlocked first, because moving writes too.
            let taken = second.lock().unwrap().take();
            if let Some(mut subscriber) = taken {
                subscriber.advance(to).unwrap();
                *keep.lock().unwrap() = Some(subscriber);
            }
        }
    });
    assert_eq!(drain(&mut wal), 2);
    let second = moved.lock().unwrap().take().unwrap();
    assert_eq!(second.state().unwrap(), PinState::Holds);
    assert_eq!(wal.flush_metrics().broken_pin_count, 0);
}

#[test]
fn a_subscriber_opens_and_goes_on_in_a_directory_that_was_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let mut config = chunked_wal::Config::new(&old);
    config.chunk_max_size = 4096;
    let mut list = List::default();
    let mut wal = Wal::open(config, &mut list).unwrap();
    fill(&mut wal, &mut list, 2);
    std::fs::rename(&old, &new).unwrap();
    let opened = wal.subscriber("s").open();
    assert!(!old.exists(), "a directory was made where the log is no longer");
    let subscriber = opened.unwrap();
    assert_eq!(drain(&mut wal), 0);
    drop(subscriber);
    assert_eq!(Subscriber::options(&new, "s").open().unwrap().offset(), 0);
}

#[test]
fn a_subscriber_whose_directory_is_a_link_to_another_disk_holds_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, elsewhere) = (dir.path().join("log"), dir.path().join("elsewhere"));
    let mut config = chunked_wal::Config::new(&log);
    config.chunk_max_size = 4096;
    let mut list = List::default();
    let mut wal = Wal::open(config, &mut list).unwrap();
    fill(&mut wal, &mut list, 2);
    std::fs::create_dir_all(log.join("subscribers")).unwrap();
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, log.join("subscribers/s")).unwrap();
    std::fs::write(log.join("subscribers/readme"), "not a subscriber").unwrap();
    let subscriber = Subscriber::options(&log, "s").open().unwrap();
    assert_eq!(wal.holders().unwrap().len(), 1);
    assert_eq!(drain(&mut wal), 0);
    drop(subscriber);
    drop(wal.subscriber("s").open().unwrap());
}
