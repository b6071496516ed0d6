//! A chunk that has lost its name, with damage beside it: what was acknowledged is found, or the open fails.
#![allow(clippy::unwrap_used, reason = "tests")]

use chunked_wal::storage::{Fault, FaultHow, OpKind, UnreadableSectors};
use chunked_wal::{Damage, Error, Proof, raw};

use crate::common::*;

/// A disk after a power loss that took the newest chunk's name back, and the words that were acknowledged.
fn nameless() -> (Disk, Vec<String>) {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    for i in 0..20 {
        wal.append_and_apply(format!("one-{i}"), &mut list).unwrap();
    }
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    wal.close_open_chunk(&list).unwrap();
    let directory = Gate::new(&disk.storage, |op| op.kind == OpKind::SyncDir);
    wal.append_and_apply("acknowledged".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    let after = disk.on(disk.storage.crash(0));
    directory.open();
    drop(wal);
    assert!(file(&after, "spare-").is_some());
    (after, list.words)
}

/// The last file with such a name.
fn file(disk: &Disk, prefix: &str) -> Option<String> {
    let files = disk.storage.files("/log").into_iter();
    files.filter(|name| name.starts_with(prefix)).max().map(|name| format!("/log/{name}"))
}

/// Changes the file's bytes.
fn change(disk: &Disk, prefix: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = file(disk, prefix).unwrap();
    let mut bytes = disk.storage.read_file(&path).unwrap();
    change(&mut bytes);
    disk.storage.write_file(&path, &bytes).unwrap();
}

/// The position after the seal.
fn end(bytes: &[u8]) -> usize {
    let nonzero = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    (nonzero + 8) / 8 * 8
}

/// An open fails, leaves everything as it is, and fails again.
fn refused(disk: &Disk) -> Error {
    let files = disk.storage.files("/log");
    let error = disk.try_open().unwrap_err();
    assert_eq!(disk.storage.files("/log"), files);
    assert_eq!(disk.try_open().unwrap_err().to_string(), error.to_string());
    error
}

#[test]
fn a_chunk_that_lost_its_name_is_found() {
    let (disk, words) = nameless();
    assert_eq!(disk.open().1.words, words);
}

#[test]
fn a_head_that_proves_more_records_than_there_are_is_damage() {
    for cut in [48, 72, 200] {
        let (disk, _) = nameless();
        change(&disk, "r-", |bytes| {
            let end = end(bytes);
            bytes[end - cut..].fill(0);
        });
        let error = refused(&disk);
        assert!(matches!(error, Error::Corrupt { proof: Proof::Successor, .. }), "{cut}: {error}");
    }
}

#[test]
fn a_head_behind_a_gap_is_no_spare() {
    let (disk, words) = nameless();
    let other = disk.on(disk.storage.kill());
    let (mut wal, mut list) = other.open();
    wal.close_open_chunk(&list).unwrap();
    wal.append_and_apply("later".to_string(), &mut list).unwrap();
    wal.close().unwrap();
    let path = file(&other, "r-").unwrap();
    let later = other.storage.read_file(&path).unwrap();
    let spare = file(&disk, "spare-").unwrap();
    disk.storage.write_file(&spare, &later).unwrap();
    let error = refused(&disk);
    assert!(
        matches!(&error, Error::Gap { path, .. } if path == spare.as_ref() as &std::path::Path),
        "{error}"
    );
    assert!(words.len() < list.words.len());
}

#[test]
fn an_unreadable_spare_beside_a_damaged_seal_is_an_error() {
    let (disk, words) = nameless();
    let seal = {
        let path = file(&disk, "r-").unwrap();
        end(&disk.storage.read_file(&path).unwrap()) - 12
    };
    change(&disk, "r-", |bytes| bytes[seal] ^= 1);
    let mut refused = 0;
    for nth in 0..30 {
        let disk = disk.on(disk.storage.kill());
        disk.storage.fail(Fault::new(OpKind::Read, nth, FaultHow::Io));
        let Err(error) = disk.try_open() else { panic!("{nth}") };
        disk.storage.heal();
        assert!(matches!(error, Error::Io { .. } | Error::Corrupt { .. }), "{nth}: {error}");
        refused += u32::from(matches!(error, Error::Io { .. }));
        let mut list = List::default();
        disk.options().mend().open(&mut list).unwrap();
        assert_eq!(list.words, words, "{nth}");
    }
    assert!(refused > 2);
}

#[test]
fn a_chunk_is_named_whatever_is_damaged_before_its_predecessors_seal() {
    let (disk, words) = nameless();
    change(&disk, "r-", |bytes| bytes[300] ^= 1);
    let error = disk.try_open().unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert_eq!(disk.storage.files("/log").iter().filter(|name| name.starts_with("r-")).count(), 2);
    change(&disk, "r-00_000_000_000_000_000_000", |bytes| bytes[300] ^= 1);
    assert_eq!(disk.open().1.words, words);
}

#[test]
fn a_repair_puts_aside_what_does_not_follow_any_more() {
    let (disk, words) = nameless();
    let spare = file(&disk, "spare-").unwrap();
    // The seal too, so that nothing says where the chunk ended.
    change(&disk, "r-", |bytes| {
        let end = end(bytes);
        bytes[end - 60..].fill(0);
    });
    let Error::Corrupt { chunk_id, offset, .. } = refused(&disk) else { panic!() };
    let bytes = disk.storage.read_file(&spare).unwrap();
    let lock = disk.options::<Words>().acquire_lock().unwrap();
    raw::cut_chunk(&lock, chunk_id, offset).unwrap();
    drop(lock);
    assert_eq!(disk.storage.read_file(format!("{spare}.broken")).unwrap(), bytes);
    for _ in 0..2 {
        let (wal, list) = disk.open();
        assert!(list.words.len() < words.len() && words.starts_with(&list.words), "{:?}", list.words);
        wal.close().unwrap();
    }
}

/// Changes the spare's header, and makes its checksum right again.
fn change_header(disk: &Disk, change_it: impl FnOnce(&mut [u8])) {
    change(disk, "spare-", |bytes| {
        change_it(bytes);
        let crc = crc32c(&[&bytes[..60]]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    });
}

#[test]
fn a_chunk_of_a_later_build_is_no_spare() {
    // A later version, a feature.
    for (at, value) in [(8, 2), (14, 1)] {
        let (disk, _) = nameless();
        change_header(&disk, |bytes| bytes[at] = value);
        let error = refused(&disk);
        assert!(
            matches!(&error, Error::Unsupported { path, .. } if file(&disk, "spare-").unwrap() == path.display().to_string()),
            "{error}"
        );
    }
    // Torn after the magic: a spare.
    let (disk, words) = nameless();
    change(&disk, "spare-", |bytes| bytes[8..].fill(0));
    assert_eq!(disk.open().1.words, words[..words.len() - 1]);
    // Of another log: a spare.
    let (disk, words) = nameless();
    change_header(&disk, |bytes| {
        bytes[14] = 1;
        bytes[32] ^= 1;
    });
    assert_eq!(disk.open().1.words, words[..words.len() - 1]);
}

#[test]
fn a_first_record_of_a_later_build_is_no_torn_one() {
    let (disk, _) = nameless();
    let path = file(&disk, "r-").unwrap();
    let bytes = disk.storage.read_file(&path).unwrap();
    let (end, header) = (end(&bytes) - 40, &bytes[..64]);
    let crc = u32::from_le_bytes(bytes[end + 32..end + 36].try_into().unwrap());
    let later = Forge::chunk(end as u64).header(32, &header[32..48]).header(56, &crc.to_le_bytes());
    let later = later.record(99, b"later");
    disk.storage.write_file(file(&disk, "spare-").unwrap(), &later.bytes).unwrap();
    let error = refused(&disk);
    assert!(matches!(&error, Error::Unsupported { offset, .. } if *offset == end as u64 + 64), "{error}");
}

#[test]
fn a_header_bit_of_the_predecessor_is_mended() {
    let (disk, words) = nameless();
    disk.storage.flip_bit(file(&disk, "r-").unwrap(), 8 * 50).unwrap();
    let error = disk.try_open().unwrap_err();
    assert!(matches!(error, Error::Corrupt { damage: Damage::HeaderBit, .. }), "{error}");
    let mut list = List::default();
    let wal = disk.options().mend().open(&mut list).unwrap();
    assert_eq!((list.words, wal.recovery().mended.len()), (words.clone(), 1));
    wal.close().unwrap();
    assert_eq!(disk.open().1.words, words);
}

#[test]
fn an_unreadable_sector_after_the_head_is_cut_on_request() {
    let disk = Disk::default();
    disk.storage.set_unreadable_sectors(UnreadableSectors::Possible);
    let (mut wal, mut list) = disk.open();
    wal.append_and_apply("one".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    wal.close_open_chunk(&list).unwrap();
    let directory = Gate::new(&disk.storage, |op| op.kind == OpKind::SyncDir);
    wal.append_and_apply("acknowledged".repeat(80), &mut list).unwrap();
    wal.sync().unwrap();
    let durable = list.words.clone();
    for i in 0..3 {
        wal.append_and_apply(format!("{i:0600}"), &mut list).unwrap();
    }
    wal.flush(chunked_wal::Flush::Write, None).unwrap();
    while wal.progress().written < wal.progress().appended {
        std::thread::yield_now();
    }
    let mut cut = 0;
    for seed in 0..2000 {
        let after = disk.on(disk.storage.crash(seed));
        let is_named = after.storage.files("/log").iter().filter(|name| name.starts_with("r-")).count() > 1;
        let plain = after.on(after.storage.kill()).try_open();
        if is_named || !matches!(plain, Err(Error::Io { op: "read", .. })) {
            continue;
        }
        let mut kept = List::default();
        // A later frame may prove that the sector was durable.
        let Ok(wal) = after.options().cut_unreadable_tail().open(&mut kept) else { continue };
        assert!(kept.words.starts_with(&durable), "{seed}: {} of {}", kept.words.len(), durable.len());
        wal.close().unwrap();
        assert_eq!(after.open().1.words, kept.words);
        cut += 1;
    }
    directory.open();
    assert!(cut > 2, "{cut}");
}
