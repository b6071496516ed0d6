//! Who keeps the log: pins and subscribers stop drains, break at their caps and at the budget, and are seen.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use chunked_wal::snapshot::{Restored, Snapshots};
use chunked_wal::storage::{Fault, FaultHow, OpKind, Storage};
use chunked_wal::{
    Error, HolderKind, PinFault, PinOptions, PinState, Segment, SubscribeOptions, Subscriber, WalReader,
};

use crate::common::*;

/// Appends records of about a quarter of a chunk, and starts a chunk after each four; returns the records' places.
fn fill(wal: &mut Wal, list: &mut List, chunks: usize) -> Vec<Segment> {
    let mut places = Vec::new();
    for _ in 0..chunks {
        for _ in 0..4 {
            places.push(wal.append_and_apply("x".repeat(900), list).unwrap());
            // The state stays short, because every chunk begins with it.
            list.words.clear();
        }
        wal.close_open_chunk(list).unwrap();
    }
    wal.sync().unwrap();
    places
}

fn drain(wal: &mut Wal) -> usize {
    wal.drain_closed_chunks_while(|_| true).len()
}

fn subscribe(disk: &Disk, name: &str) -> SubscribeOptions {
    Subscriber::options("/log", name).storage(Arc::new(disk.storage.clone()))
}

fn fault(error: Error) -> PinFault {
    match error {
        Error::Pin { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn end(segment: &Segment) -> u64 {
    segment.offset + segment.size
}

#[test]
fn a_drain_goes_up_to_the_oldest_pin_and_says_whose_it_is() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let places = fill(&mut wal, &mut list, 3);
    let follower = wal.pin("follower", places[5].offset, PinOptions::new()).unwrap();
    let indexer = wal.subscriber("indexer").from(places[9].offset).open().unwrap();
    let reader = wal.pinned_reader();

    let holders = wal.holders().unwrap();
    let seen: Vec<_> = holders.iter().map(|holder| (holder.kind, holder.offset)).collect();
    let expected = [
        (HolderKind::Readers, 0),
        (HolderKind::Pin, places[5].offset),
        (HolderKind::Subscriber, places[9].offset),
    ];
    assert_eq!(seen, expected);
    assert_eq!(holders[1].name, "follower");
    assert_eq!(holders[1].bytes, wal.progress().appended - places[5].offset);
    assert!(
        holders.iter().all(|holder| holder.state == PinState::Holds && holder.age < Duration::from_secs(60))
    );
    drop(reader);

    assert_eq!(drain(&mut wal), 1, "the follower needs the second");
    assert_eq!(wal.read_record(places[5]).unwrap(), action(&"x".repeat(900)));
    assert_eq!(wal.flush_metrics().pin_count, 2);
    assert_eq!(wal.flush_metrics().pinned_bytes, wal.progress().appended - places[5].offset);
    follower.advance(end(&places[7])).unwrap();
    assert_eq!(drain(&mut wal), 1, "the indexer needs the third");
    drop(follower);
    indexer.remove().unwrap();
    assert_eq!(drain(&mut wal), 1);
    assert_eq!(wal.holders().unwrap(), []);
}

#[test]
fn a_pin_is_refused_where_nothing_is_and_moves_forward_only() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let places = fill(&mut wal, &mut list, 2);
    assert_eq!(drain(&mut wal), 2);
    for offset in [0, places[3].offset, wal.progress().appended + 1, u64::MAX] {
        assert!(matches!(wal.pin("p", offset, PinOptions::new()), Err(Error::NotInLog { .. })), "{offset}");
    }
    let pin = wal.pin("p", wal.progress().appended, PinOptions::new()).unwrap();
    let at = pin.offset();
    pin.advance(at + 1).unwrap();
    assert_eq!(fault(pin.advance(at).unwrap_err()), PinFault::Backwards { offset: at, current: at + 1 });
    let mut subscriber = wal.subscriber("s").open().unwrap();
    subscriber.advance(wal.progress().appended).unwrap();
    let current = subscriber.offset();
    assert_eq!(fault(subscriber.advance(0).unwrap_err()), PinFault::Backwards { offset: 0, current });
    let PinFault::NotDurable { synced, .. } = fault(subscriber.advance(u64::MAX).unwrap_err()) else {
        panic!()
    };
    assert_eq!(synced, wal.progress().synced);
}

#[test]
fn a_pin_behind_its_cap_breaks_and_no_other_does() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let places = fill(&mut wal, &mut list, 2);
    let slow = wal.pin("slow", places[0].offset, PinOptions::new().max_bytes(20_000)).unwrap();
    let patient = wal.pin("patient", places[4].offset, PinOptions::new()).unwrap();
    let mut far = wal.subscriber("far").pin(PinOptions::new().max_bytes(20_000)).open().unwrap();
    assert_eq!(drain(&mut wal), 0);
    fill(&mut wal, &mut list, 4);
    assert_eq!(drain(&mut wal), 1, "the second chunk is needed by the patient one");
    assert_eq!((slow.state(), patient.state()), (PinState::Broken, PinState::Holds));
    assert_eq!(far.state().unwrap(), PinState::Broken);
    assert_eq!(wal.flush_metrics().broken_pin_count, 2);

    assert_eq!(
        fault(slow.advance(places[7].offset).unwrap_err()),
        PinFault::Broken { offset: places[0].offset }
    );
    let error = far.advance(places[7].offset).unwrap_err();
    assert!(error.to_string().contains("pin 'far': it broke at offset 0"), "{error}");
    assert_eq!(fault(error), PinFault::Broken { offset: 0 });
    drop(far);
    // It stays broken until somebody starts over.
    assert_eq!(fault(wal.subscriber("far").open().unwrap_err()), PinFault::Broken { offset: 0 });
    let again = wal.subscriber("far").start_over().open().unwrap();
    assert_eq!((again.offset(), again.state().unwrap()), (wal.reader().start(), PinState::Holds));
}

#[test]
fn a_pin_that_stands_still_breaks_after_its_time_and_one_that_waits_for_records_does_not() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let wait = Duration::from_millis(50);
    let options = PinOptions::new().max_age(wait);
    let idle = wal.pin("idle", wal.progress().appended, options).unwrap();
    std::thread::sleep(wait * 2);
    // Only now there is something to read.
    let started = Instant::now();
    fill(&mut wal, &mut list, 1);
    let drained = wal.drain_closed_chunks_while(|_| true);
    // On a machine that stood still meanwhile, it has had its time.
    assert!(drained.is_empty() || started.elapsed() >= wait);
    std::thread::sleep(wait * 2);
    assert_eq!(drain(&mut wal) + drained.len(), 1);
    assert_eq!(idle.state(), PinState::Broken);
}

#[test]
fn nothing_breaks_while_another_pin_holds_the_same_chunk() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let places = fill(&mut wal, &mut list, 3);
    let capped = wal.pin("capped", places[0].offset, PinOptions::new().max_bytes(1)).unwrap();
    let strong = wal.pin("strong", places[1].offset, PinOptions::new()).unwrap();
    assert_eq!(drain(&mut wal), 0);
    assert_eq!(capped.state(), PinState::Holds);
    drop(strong);
    assert_eq!(drain(&mut wal), 3);
    assert_eq!(capped.state(), PinState::Broken);
}

// Subscribers --------------------------------------------------------------------------------------

#[test]
fn a_subscriber_goes_on_where_it_was_whoever_is_killed() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let places = fill(&mut wal, &mut list, 3);
    let mut subscriber = subscribe(&disk, "indexer").open().unwrap();
    assert_eq!(subscriber.offset(), 0);
    subscriber.advance(end(&places[5])).unwrap();

    // Both at once; then each alone.
    let disk = disk.on(disk.storage.kill());
    let (mut wal2, _) = disk.open();
    assert_eq!(drain(&mut wal2), 1, "also without the subscriber");
    let mut subscriber2 = subscribe(&disk, "indexer").from(7777).open().unwrap();
    assert_eq!(subscriber2.offset(), end(&places[5]));
    subscriber2.advance(end(&places[8])).unwrap();
    wal2.close().unwrap();
    let (mut wal3, _) = disk.open();
    assert_eq!(drain(&mut wal3), 2, "the first is back, as it was not removed");
    subscriber2.advance(end(&places[10])).unwrap();
    drop(subscriber2);
    assert_eq!(subscribe(&disk, "indexer").open().unwrap().offset(), end(&places[10]));
    assert!(wal3.recovery().foreign_names.is_empty());
}

#[test]
fn a_subscriber_reads_each_record_once_with_a_follower_of_another_process() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let mut read = Vec::new();
    for round in 0..10 {
        let word = format!("word {round}");
        wal.append_and_apply(word, &mut list).unwrap();
        wal.close_open_chunk(&list).unwrap();
        wal.sync().unwrap();
        let mut subscriber = subscribe(&disk, "reader").open().unwrap();
        let options = WalReader::<Words>::read_only_options("/log").storage(Arc::new(disk.storage.clone()));
        let mut records = options.open().unwrap().follow(subscriber.offset());
        while let Some((_, segment, record)) = records.next_timeout(Duration::ZERO).unwrap() {
            if let chunked_wal::WalRecord::Action(word) = record {
                read.push(word);
            }
            subscriber.advance(end(&segment)).unwrap();
        }
        let drained = wal.drain_closed_chunks_while(|_| true);
        assert!(!drained.is_empty());
        wal.remove_chunks(drained).unwrap();
    }
    assert_eq!(read, (0..10).map(|round| format!("word {round}")).collect::<Vec<_>>());
}

#[test]
fn a_subscriber_is_open_once_and_has_a_name_for_a_directory() {
    let disk = Disk::default();
    assert!(matches!(subscribe(&disk, "a").open(), Err(Error::NotFound { .. })));
    let (wal, _) = disk.open();
    let first = wal.subscriber("a").open().unwrap();
    assert!(matches!(fault(subscribe(&disk, "a").open().unwrap_err()), PinFault::InUse { .. }));
    let _other = subscribe(&disk, "b").open().unwrap();
    drop(first);
    subscribe(&disk, "a").open().unwrap();
    let long = "x".repeat(65);
    for name in ["", ".", "..", "a/b", "a b", "a.b", "ü", "a\0", &long] {
        assert_eq!(fault(subscribe(&disk, name).open().unwrap_err()), PinFault::Name, "{name:?}");
    }
    subscribe(&disk, &long[1..]).open().unwrap();
}

#[test]
fn a_file_of_another_log_holds_nothing_and_a_damaged_one_everything() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let places = fill(&mut wal, &mut list, 2);
    let mut subscriber = wal.subscriber("s").open().unwrap();
    subscriber.advance(places[1].offset).unwrap();
    drop(subscriber);
    let path = "/log/subscribers/s/cursor";
    let whole = disk.storage.read_file(path).unwrap();

    disk.storage.write_file(path, &vec![7; whole.len()]).unwrap();
    let holders = wal.holders().unwrap();
    assert_eq!((holders.len(), holders[0].offset), (1, 0));
    assert_eq!(drain(&mut wal), 0);
    let error = wal.subscriber("s").open().unwrap_err();
    assert!(error.to_string().contains("remove the file to start with the oldest record"), "{error}");
    assert!(matches!(fault(error), PinFault::Damaged { .. }));
    let anew = wal.subscriber("s").start_over().open().unwrap();
    assert_eq!(anew.offset(), 0);
    drop(anew);

    let (mut other, mut list) = Disk::default().open();
    fill(&mut other, &mut list, 1);
    let elsewhere = Disk::default();
    let (mut other, mut list) = elsewhere.open();
    fill(&mut other, &mut list, 2);
    drop(other.subscriber("s").open().unwrap());
    elsewhere.storage.write_file(path, &whole).unwrap();
    assert!(matches!(fault(other.subscriber("s").open().unwrap_err()), PinFault::OtherLog { .. }));
    assert_eq!(drain(&mut other), 2);
}

#[test]
fn a_subscriber_that_cannot_be_read_or_told_stops_the_drain() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let places = fill(&mut wal, &mut list, 2);
    let mut subscriber = wal.subscriber("s").open().unwrap();
    subscriber.advance(end(&places[7])).unwrap();
    for kind in [OpKind::List, OpKind::Write, OpKind::Sync] {
        disk.storage.fail(Fault::new(kind, 0, FaultHow::Error(std::io::ErrorKind::Other)));
        assert_eq!(drain(&mut wal), 0, "{kind:?}");
    }
    assert_eq!(drain(&mut wal), 2);
    wal.sync().unwrap();
}

// The budget ---------------------------------------------------------------------------------------

/// Of 20 chunks, with 3 of them reserved.
fn on_a_budget(soft: u64, hard: u64) -> Disk {
    Disk::with(|config| {
        config.soft_budget = soft.saturating_mul(4096);
        config.hard_budget = hard.saturating_mul(4096);
    })
}

#[test]
fn over_the_soft_budget_the_oldest_breakable_pin_breaks() {
    let disk = on_a_budget(20, u64::MAX);
    let (mut wal, mut list) = disk.open();
    let places = fill(&mut wal, &mut list, 4);
    let oldest = wal.pin("oldest", places[1].offset, PinOptions::new()).unwrap();
    let subscriber = wal.subscriber("subscriber").from(places[6].offset).open().unwrap();
    assert_eq!(drain(&mut wal), 0);
    assert_eq!(subscriber.state().unwrap(), PinState::Holds);
    while oldest.state() != PinState::Broken {
        fill(&mut wal, &mut list, 1);
        assert!(wal.on_disk_size() < 20 * 4096);
        drain(&mut wal);
    }
    assert!(wal.on_disk_size() > 12 * 4096, "{}", wal.on_disk_size());
    // With the first chunk gone the log was within its budget again.
    assert_ne!(subscriber.state().unwrap(), PinState::Broken);
    let strong = PinOptions::new().unbreakable();
    let strong = wal.pin("strong", wal.reader().start(), strong).unwrap();
    fill(&mut wal, &mut list, 20);
    assert_eq!(drain(&mut wal), 0);
    assert_eq!((strong.state(), subscriber.state().unwrap()), (PinState::OverBudget, PinState::OverBudget));
    drop(strong);
    assert!(drain(&mut wal) > 10);
    assert_eq!(subscriber.state().unwrap(), PinState::Broken);
}

#[test]
fn at_the_hard_budget_actions_are_refused_until_chunks_are_removed() {
    let disk = on_a_budget(u64::MAX, 20);
    let (mut wal, mut list) = disk.open();
    let pin = wal.pin("archive", 0, PinOptions::new()).unwrap();
    let mut words = 0;
    let error = loop {
        match wal.append_and_apply("x".repeat(900), &mut list) {
            Ok(_) => words += 1,
            Err(error) => break error,
        }
        list.words.clear();
        wal.sync().unwrap();
        wal.wait_idle().unwrap();
        assert!(on_disk(&disk) <= 20 * 4096, "{}", on_disk(&disk));
    };
    assert!(words > 50, "{words}");
    let Error::OverBudget { used, budget, held_by, .. } = &error else { panic!("{error:?}") };
    assert!(*used >= *budget && *budget == 20 * 4096, "{error}");
    assert_eq!(held_by.as_deref(), Some("archive"));
    assert!(
        error.to_string().contains("Remove old chunks, which pin 'archive' keeps (see `holders`)"),
        "{error}"
    );
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::QuotaExceeded);

    // Each way of appending an action; nothing has changed after it.
    let end = wal.progress().appended;
    assert!(matches!(wal.append(&action("a")), Err(Error::OverBudget { .. })));
    let batch = chunked_wal::Batch::of(["a".to_string()]);
    assert!(matches!(wal.append_batch(&batch), Err(Error::OverBudget { .. })));
    assert!(matches!(wal.append_and_apply_batch(&batch, &mut list), Err(Error::OverBudget { .. })));
    let encoded = chunked_wal::Encoded::new(&action("a")).unwrap();
    assert!(matches!(wal.append_encoded(&encoded), Err(Error::OverBudget { .. })));
    assert_eq!(wal.progress().appended, end);

    // What leads to removals is not refused.
    wal.append(&checkpoint("")).unwrap();
    wal.close_open_chunk(&list).unwrap();
    wal.ignore_budget(true);
    wal.append(&action("a purge")).unwrap();
    wal.ignore_budget(false);
    assert!(matches!(wal.append(&action("a")), Err(Error::OverBudget { .. })));
    pin.advance(wal.open_chunk_id().offset()).unwrap();
    let mut left = 4;
    let drained = wal.drain_closed_chunks_while(|_| {
        left -= 1;
        left >= 0
    });
    // Drained chunks still take their space.
    assert!(matches!(wal.append(&action("a")), Err(Error::OverBudget { .. })));
    wal.remove_chunks(drained).unwrap();
    // The append waits for the removals.
    wal.append(&action("a")).unwrap();
    wal.close().unwrap();
}

/// The bytes of all files of the log.
fn on_disk(disk: &Disk) -> u64 {
    let names = disk.storage.list("/log".as_ref()).unwrap();
    let files =
        names.iter().filter_map(|name| disk.storage.read_file(format!("/log/{}", name.to_str().unwrap())));
    files.map(|bytes| bytes.len() as u64).sum()
}

#[test]
fn a_budget_too_small_for_the_log_is_refused() {
    for change in [
        |config: &mut chunked_wal::Config| config.hard_budget = 1 << 20,
        |config: &mut chunked_wal::Config| config.soft_budget = 0,
    ] {
        let mut config = chunked_wal::Config::new("/log");
        change(&mut config);
        let error = config.validate().unwrap_err();
        assert!(
            matches!(error, Error::InvalidConfig { .. }) && error.to_string().contains("spare_chunks"),
            "{error}"
        );
    }
    chunked_wal::Config::new("/log").hard_budget(6 << 26).validate().unwrap();
}

#[test]
fn snapshots_keep_what_they_need_from_other_drains() {
    let disk = Disk::default();
    let restore = |_: Option<&[u8]>| Ok::<_, String>(List::default());
    let opened = Snapshots::open("/snapshots", disk.options::<Words>(), restore).unwrap();
    let Restored { log: mut wal, state: mut list, snapshots, .. } = opened;
    let write = |file: &mut dyn std::io::Write| file.write_all(b"state");
    for _ in 0..2 {
        fill(&mut wal, &mut list, 2);
        snapshots.take(&mut wal, &list, write).unwrap();
    }
    let unneeded = snapshots.unneeded_before();
    assert!(unneeded > 0);
    fill(&mut wal, &mut list, 1);
    drain(&mut wal);
    assert_eq!(wal.reader().start(), unneeded);
    assert_eq!(wal.holders().unwrap()[0].name, "snapshots");
}
