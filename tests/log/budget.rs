//! The hard budget: what counts, whom its error names, and that a refusal costs nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use chunked_wal::storage::{Fault, FaultHow, OpKind, Storage};
use chunked_wal::{Error, PinOptions, SharedWal};

use crate::common::*;

/// Of 20 chunks, with 3 of them reserved.
fn on_a_budget() -> Disk {
    Disk::with(|config| config.hard_budget = 20 * 4096)
}

/// The bytes of all chunks and spares.
fn on_disk(disk: &Disk) -> u64 {
    let names = disk.storage.list("/log".as_ref()).unwrap();
    let paths = names.iter().map(|name| format!("/log/{}", name.to_str().unwrap()));
    paths.filter_map(|path| disk.storage.read_file(path)).map(|bytes| bytes.len() as u64).sum()
}

/// Appends until the budget is used up.
fn exhaust(wal: &mut Wal, list: &mut List) -> Error {
    loop {
        let appended = wal.append_and_apply("x".repeat(900), list);
        list.words.clear();
        if let Err(error) = appended {
            wal.sync().unwrap();
            wal.wait_idle().unwrap();
            return error;
        }
    }
}

#[test]
fn removals_that_a_reader_puts_off_take_their_space_until_they_are_done() {
    let disk = on_a_budget();
    let (mut wal, mut list) = disk.open();
    exhaust(&mut wal, &mut list);
    let reader = wal.pinned_reader();
    let drained = wal.drain_closed_chunks_while(|_| true);
    assert!(drained.len() > 10);
    wal.append(&checkpoint("")).unwrap();
    // The removals are behind this sync in the queue.
    disk.storage.pause_syncs(true);
    wal.remove_chunks(drained).unwrap();
    let (storage, wait) = (disk.storage.clone(), Duration::from_millis(100));
    let goes_on = std::thread::spawn(move || {
        std::thread::sleep(wait);
        storage.pause_syncs(false);
    });
    let refused = wal.append(&action("a"));
    goes_on.join().unwrap();
    exhaust(&mut wal, &mut list);
    assert!(on_disk(&disk) <= 21 * 4096, "{} bytes", on_disk(&disk));
    assert!(matches!(refused, Err(Error::OverBudget { .. })), "{refused:?}");
    drop(reader);
    wal.wait_idle().unwrap();
    wal.append(&action("a")).unwrap();
}

#[test]
fn the_error_names_no_pin_that_keeps_nothing_but_the_open_chunk() {
    let disk = on_a_budget();
    let (mut wal, mut list) = disk.open();
    let pin = wal.pin("up to date", wal.progress().appended, PinOptions::new()).unwrap();
    exhaust(&mut wal, &mut list);
    pin.advance(wal.progress().appended).unwrap();
    let Err(Error::OverBudget { held_by, .. }) = wal.append(&action("a")) else { panic!() };
    assert_eq!(held_by, None);
}

#[test]
fn commits_that_are_refused_start_no_chunks_however_large_the_state_is() {
    let disk = on_a_budget();
    let (log, list) = disk.open();
    let wal = SharedWal::new(log, list);
    // The state does not fit into a chunk: each chunk is full from its start on.
    let error = loop {
        if let Err(error) = wal.commit("x".repeat(6000)) {
            break error;
        }
    };
    assert!(matches!(error, Error::OverBudget { .. }), "{error:?}");
    let end = wal.progress().appended;
    for _ in 0..5 {
        assert!(matches!(wal.commit("a".to_string()), Err(Error::OverBudget { .. })));
        let batch = chunked_wal::Batch::of(["a".to_string()]);
        assert!(matches!(wal.commit_batch(batch), Err(Error::OverBudget { .. })));
    }
    assert_eq!(wal.progress().appended, end);
}

#[test]
fn many_small_chunks_stay_within_the_budget() {
    let mut disk = on_a_budget();
    disk.config.chunk_max_records = 2;
    let (mut wal, mut list) = disk.open();
    let error = loop {
        match wal.append_and_apply("x".to_string(), &mut list) {
            Ok(_) => list.words.clear(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::OverBudget { .. }), "{error:?}");
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    assert!(on_disk(&disk) <= 20 * 4096, "{} bytes", on_disk(&disk));
}

#[test]
fn a_removal_that_failed_once_is_tried_again_before_appends_are_refused_for_ever() {
    let disk = on_a_budget();
    let (mut wal, mut list) = disk.open();
    exhaust(&mut wal, &mut list);
    let drained = wal.drain_closed_chunks_while(|_| true);
    disk.storage.fail(Fault::new(OpKind::Rename, 0, FaultHow::Io));
    disk.storage.fail(Fault::new(OpKind::Remove, 0, FaultHow::Io));
    wal.remove_chunks(drained).unwrap();
    // All that this program does is to try again.
    let taken = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        wal.append(&action("a")).is_ok()
    });
    assert!(taken, "{:?}", wal.append(&action("a")));
}
