//! A full disk is a state of the log, not an accident: nothing is half-done, and it goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

use chunked_wal::storage::{Fault, FaultHow, OpKind};
use chunked_wal::{ChunkId, Error, Flush, Segment};

use crate::common::*;

/// Space that one chunk's file is given with the configuration of [`Disk`].
const CHUNK: u64 = 8192;

fn fill(disk: &Disk) {
    disk.storage.set_capacity(Some(disk.storage.used()));
}

/// Appends large words until the disk is full; gives the error.
fn append_until_full(wal: &mut Wal, list: &mut List) -> Error {
    for i in 0..1000 {
        if let Err(error) = wal.append_and_apply(format!("{i}-{}", "x".repeat(500)), list) {
            return error;
        }
    }
    panic!("the disk is never full");
}

/// Drains the oldest chunks, at most this many.
fn drain(wal: &mut Wal, most: usize) -> Vec<ChunkId> {
    let mut drained = 0;
    wal.drain_closed_chunks_while(|_| {
        drained += 1;
        drained <= most
    })
}

#[track_caller]
fn assert_full<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::StorageFull { .. })), "{result:?}");
}

/// Everything appended can be flushed, read back, and is there after the power was lost.
#[track_caller]
fn assert_kept(disk: &Disk, wal: &mut Wal, list: &List) {
    wal.sync().unwrap();
    assert_eq!(wal.records().filter(|record| record.is_err()).count(), 0);
    for (_, segment) in &list.applied {
        let kept = wal.read_record(*segment);
        assert!(matches!(kept, Ok(_) | Err(Error::NotInLog { .. })), "{segment:?}: {kept:?}");
    }
    let again = disk.on(disk.storage.crash(0));
    assert_eq!(again.open().1.words, list.words);
}

#[test]
fn a_new_log_needs_space_and_leaves_nothing_if_there_is_none() {
    for capacity in [0, CHUNK - 1] {
        let disk = Disk::default();
        disk.storage.set_capacity(Some(capacity));
        let full = disk.try_open().map(drop);
        // What is needed, where, and nothing to be removed that isn't there.
        let words = full.as_ref().unwrap_err().to_string();
        assert!(words.contains("'/log/") && words.contains(&format!("({CHUNK} bytes)")), "{words}");
        assert!(words.contains("Make room on that file system"), "{words}");
        assert!(words.contains("remove old chunks if the log has any"), "{words}");
        assert_full(full);
        assert_eq!(disk.storage.files("/log"), ["LOCK"]);
        disk.storage.set_capacity(Some(CHUNK));
        let (mut wal, mut list) = disk.open();
        wal.append_and_apply("a".to_string(), &mut list).unwrap();
        wal.close().unwrap();
    }
}

#[test]
fn append_past_the_space_of_its_chunk_asks_for_more_first() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    fill(&disk);
    let kept = wal.append(&action("kept")).unwrap();
    let before = wal.progress();
    let large = action(&"x".repeat(CHUNK as usize));
    assert_full(wal.append(&large));
    assert_eq!((wal.progress(), wal.last_segment()), (before, kept));
    let next = wal.append(&action("next")).unwrap();
    assert_eq!(next.offset, kept.offset + kept.size, "nothing of the large one is left");
    wal.sync().unwrap();
    disk.storage.set_capacity(None);
    let segment = wal.append(&large).unwrap();
    assert_eq!(wal.read_record(segment).unwrap(), large);
    wal.close().unwrap();
    assert_eq!(disk.open().1.words.len(), 3);
}

#[test]
fn every_accepted_record_fits_with_the_seal_after_it() {
    // Records of all sizes around the end of what is allocated for their chunk.
    let mut fitted = std::collections::BTreeSet::new();
    for size in CHUNK - 200..CHUNK - 50 {
        let disk = Disk::default();
        let (mut wal, _) = disk.open();
        // Space for the next chunk, and for nothing else.
        disk.storage.set_capacity(Some(2 * CHUNK));
        let segment = wal.append(&action(&"x".repeat(size as usize))).unwrap();
        let rotated = wal.close_open_chunk_with("all".to_string());
        fitted.insert(rotated.is_ok());
        if rotated.is_err() {
            assert_full(rotated);
        }
        wal.sync().unwrap();
        wal.read_record(segment).unwrap();
        wal.close().unwrap_or_else(|e| panic!("{size} bytes: {e}"));
        disk.storage.set_capacity(None);
        assert_eq!(disk.open().1.words.len(), 1);
    }
    assert_eq!(fitted.len(), 2, "records on both sides of the end");
}

#[test]
fn rotation_without_space_changes_nothing() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    fill(&disk);
    let error = append_until_full(&mut wal, &mut list);
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    assert!(wal.is_open_chunk_full(), "it is the rotation that lacks space");
    let (words, chunk, progress) = (list.words.len(), wal.open_chunk_id(), wal.progress());
    assert_full(wal.close_open_chunk(&list));
    assert_full(wal.try_close_full_chunk(&list));
    assert_full(wal.append_and_apply("more".to_string(), &mut list));
    assert_eq!((list.words.len(), wal.open_chunk_id()), (words, chunk));
    assert_eq!(wal.progress().appended, progress.appended);
    assert_kept(&disk, &mut wal, &list);

    disk.storage.set_capacity(Some(disk.storage.used() + CHUNK));
    wal.append_and_apply("more".to_string(), &mut list).unwrap();
    assert_ne!(wal.open_chunk_id(), chunk);
    assert_kept(&disk, &mut wal, &list);
    wal.close().unwrap();
}

#[test]
fn removing_chunks_gives_space_to_append_at_once() {
    for spare_chunks in [0, 2] {
        for wait in [false, true] {
            let disk = Disk::with(|config| config.spare_chunks = spare_chunks);
            let (mut wal, mut list) = disk.open();
            disk.storage.set_capacity(Some(5 * CHUNK));
            for round in 0..20 {
                let error = append_until_full(&mut wal, &mut list);
                assert!(matches!(error, Error::StorageFull { .. }), "{error}");
                assert_kept(&disk, &mut wal, &list);
                // Every other time the oldest two, else all.
                let ids = drain(&mut wal, if round % 2 == 0 { 2 } else { usize::MAX });
                assert!(!ids.is_empty(), "round {round}");
                wal.remove_chunks(ids).unwrap();
                if wait {
                    let _a_spare_failed_before = wal.wait_idle();
                    wal.wait_idle().unwrap();
                }
                let appended = wal.append_and_apply("more".to_string(), &mut list);
                appended.unwrap_or_else(|e| panic!("round {round}, {spare_chunks} spares, wait {wait}: {e}"));
            }
            wal.close().unwrap();
            disk.storage.set_capacity(None);
            assert_eq!(disk.open().1.words, list.words);
        }
    }
}

#[test]
fn spares_give_their_space_to_records() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    for _ in 0..2 {
        wal.append_and_apply("x".repeat(4000), &mut list).unwrap();
        list.words.clear();
        wal.close_open_chunk(&list).unwrap();
    }
    let ids = drain(&mut wal, 2);
    wal.remove_chunks(ids).unwrap();
    wal.wait_idle().unwrap();
    let spares = || disk.storage.files("/log").into_iter().filter(|name| name.starts_with("spare")).count();
    assert_eq!(spares(), 2);
    fill(&disk);
    wal.append_and_apply("x".repeat(CHUNK as usize), &mut list).unwrap();
    assert_eq!(spares(), 1, "one was enough");
    assert_full(wal.append(&action(&"x".repeat(10 * CHUNK as usize))));
    assert_kept(&disk, &mut wal, &list);
}

/// A closed log with several chunks, whose last frames a crash tore, on a disk without space.
fn torn_on_a_full_disk(chunks: usize) -> (Disk, List) {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    while wal.closed_chunk_stats().len() + 1 < chunks {
        wal.append_and_apply("x".repeat(900), &mut list).unwrap();
    }
    wal.append_and_apply("last".to_string(), &mut list).unwrap();
    let id = wal.open_chunk_id();
    wal.close().unwrap();
    // Bytes after the last frame that are neither a sync mark nor zeros are a torn write.
    let path = disk.config.chunk_path(id);
    let mut bytes = disk.storage.read_file(&path).unwrap();
    let mark = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[mark - 4..mark + 300].fill(0xA5);
    disk.storage.write_file(&path, &bytes).unwrap();
    let spares = disk.storage.files("/log").into_iter().filter(|name| name.starts_with("spare"));
    for spare in spares {
        disk.storage.remove_file(disk.config.dir.join(spare)).unwrap();
    }
    disk.storage.set_capacity(Some(0));
    (disk, list)
}

#[test]
fn a_torn_tail_on_a_full_disk_opens_and_waits_for_space() {
    let (disk, words) = torn_on_a_full_disk(3);
    let (mut wal, mut list) = disk.open();
    assert!(wal.recovery().torn_tail.is_some());
    assert_eq!(list.words, words.words);
    let end = wal.progress();
    assert_eq!((end.appended, end.written, end.synced), (end.synced, end.synced, end.synced));
    assert_eq!(wal.open_chunk_id(), ChunkId(end.appended), "the one that will be");
    assert!(!wal.is_open_chunk_full());
    assert_eq!(wal.open_chunk_stat("now".to_string()).size, 0);

    for _ in 0..2 {
        assert_full(wal.append(&action("more")));
        assert_full(wal.append_and_apply("more".to_string(), &mut list));
        assert_full(wal.close_open_chunk(&list));
        wal.sync().unwrap();
        wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
        let (told, done) = std::sync::mpsc::channel();
        wal.flush(Flush::Sync, Some(told)).unwrap();
        done.recv().unwrap().unwrap();
        assert_eq!(wal.progress(), end);
        assert_kept(&disk, &mut wal, &list);
    }
    assert_eq!(list.words, words.words);
    wal.close().unwrap();

    // It opens again and again, and goes on once there is space.
    let (mut wal, mut list) = disk.open();
    assert_eq!(wal.recovery().torn_tail, None, "the first time has cut it");
    assert_full(wal.append(&action("more")));
    disk.storage.set_capacity(None);
    let segment = wal.append_and_apply("more".to_string(), &mut list).unwrap();
    assert!(segment.offset > end.appended, "behind the new chunk's checkpoint");
    assert_kept(&disk, &mut wal, &list);
    wal.close().unwrap();
}

#[test]
fn a_torn_tail_on_a_full_disk_gets_its_chunk_from_removing_others() {
    let (disk, _) = torn_on_a_full_disk(4);
    let (mut wal, mut list) = disk.open();
    // Only what the removal frees is free.
    fill(&disk);
    assert_full(wal.append(&action("more")));
    let ids = drain(&mut wal, 1);
    wal.remove_chunks(ids).unwrap();
    wal.append_and_apply("more".to_string(), &mut list).unwrap();
    assert_kept(&disk, &mut wal, &list);
    wal.close().unwrap();
    assert_eq!(disk.open().1.words, list.words);
}

#[test]
fn the_newest_chunk_is_kept_until_it_has_a_successor() {
    for chunks in [1, 3] {
        let (disk, _) = torn_on_a_full_disk(chunks);
        let (mut wal, list) = disk.open();
        let newest = wal.closed_chunk_stats().last().unwrap().chunk_id;
        let ids = wal.drain_closed_chunks_while(|_| true);
        assert!(!ids.contains(&newest), "nothing else on the disk knows the state");
        wal.remove_chunks(ids).unwrap();
        wal.wait_idle().unwrap();
        wal.close().unwrap();
        assert_eq!(disk.open().1.words, list.words);
    }
}

#[test]
fn no_space_at_any_allocation_or_creation_is_an_error_that_passes() {
    let mut struck = 0;
    for kind in [OpKind::Create, OpKind::Allocate] {
        for nth in 0..12 {
            let case = format!("{kind:?} number {nth}");
            let disk = Disk::with(|config| config.chunk_max_records = 4);
            let (mut wal, mut list) = disk.open();
            wal.wait_idle().unwrap();
            disk.storage.record(true);
            disk.storage.fail(Fault::new(kind, nth, FaultHow::NoSpace));
            for i in 0..30 {
                let progress = wal.progress();
                let word = "x".repeat(if i % 7 == 0 { 9000 } else { 10 });
                if let Err(error) = wal.append_and_apply(word.clone(), &mut list) {
                    assert!(matches!(error, Error::StorageFull { .. }), "{case}: {error}");
                    assert_eq!(wal.progress().appended, progress.appended, "{case}");
                    wal.append_and_apply(word, &mut list).unwrap();
                }
                match wal.wait_idle() {
                    Ok(()) | Err(Error::StorageFull { .. }) => {}
                    Err(error) => panic!("{case}: {error}"),
                }
                if i % 10 == 9 {
                    let ids = wal.drain_closed_chunks_while(|_| true);
                    wal.remove_chunks(ids).unwrap();
                }
            }
            struck += usize::from(disk.storage.take_log().iter().any(|line| line.ends_with("ENOSPC")));
            wal.close().unwrap();
            assert_eq!(disk.open().1.words, list.words, "{case}");
        }
    }
    assert!(struck >= 12, "{struck}");
}

#[test]
fn no_space_in_a_write_that_was_promised_space_poisons() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    wal.wait_idle().unwrap();
    disk.storage.fail(Fault::new(OpKind::Write, 0, FaultHow::NoSpace));
    let segment: Segment = wal.append(&action("a")).unwrap();
    assert!(matches!(wal.sync(), Err(Error::Io { op: "write", .. })));
    assert!(matches!(wal.append(&action("b")), Err(Error::Poisoned { .. })));
    assert_eq!(wal.read_record(segment).unwrap(), action("a"));
}

#[test]
fn a_file_that_could_not_be_made_before_room_was_is_no_error_of_a_later_rotation() {
    let disk = Disk::default();
    let (mut wal, list) = disk.open();
    wal.wait_idle().unwrap();
    disk.storage.fail(Fault::new(OpKind::Allocate, 0, FaultHow::NoSpace));
    let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::Create);
    // Half full: the next chunk's file is being made, and held.
    wal.append(&action(&"x".repeat(4200))).unwrap();
    gate.wait_for(1);
    let rotating = std::thread::spawn(move || {
        let rotated = wal.close_open_chunk(&list).map(drop);
        (wal, rotated)
    });
    std::thread::sleep(std::time::Duration::from_millis(50));
    gate.open();
    let (wal, rotated) = rotating.join().unwrap();
    rotated.unwrap();
    wal.close().unwrap();
}
