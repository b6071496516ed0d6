//! Directories that released versions have written, and the records that every later version must read from them.
//!
//! ```text
//! tests/fixtures/v1/plain/       the files of a log
//! tests/fixtures/v1/plain.txt    its records, one in a line: chunk, offset, size, kind, payload
//! ```
//!
//! A fixture is never written again: a version that can't read one can't read the data of its users. New ones are
//! added by `cargo test --all-features --test log fixtures -- --ignored`, which writes those that are missing; their
//! checksums go into `tests/fixtures/v1.crc32c`. `tests/features/fixtures.rs` has those of regions and blob stores.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use chunked_wal::snapshot::Restored;
use chunked_wal::storage::{MemoryStorage, OpKind, Storage};
use chunked_wal::{Config, Error, Flush, Replay, WalRecord};

use crate::common::{Disk, Gate, List, Wal, crc32c, open_counted};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// A copy of a fixture, which may be written to.
fn copy(name: &str) -> (tempfile::TempDir, Config) {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(root().join(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let config = Config::new(dir.path());
    (dir, config)
}

/// Every record, sound or not, in a line.
fn dump(config: &Config) -> String {
    let lock = Wal::acquire_lock(config).unwrap();
    let mut lines = String::new();
    let visit = |chunk: chunked_wal::ChunkId,
                 _: u64,
                 record: Result<(chunked_wal::Segment, crate::common::Record), Error>| {
        match record {
            Ok((segment, WalRecord::Action(word))) => {
                writeln!(lines, "{} {} {} action {word}", chunk.0, segment.offset, segment.size).unwrap();
            }
            Ok((segment, WalRecord::Checkpoint(all))) => {
                writeln!(lines, "{} {} {} checkpoint {all}", chunk.0, segment.offset, segment.size).unwrap();
            }
            Err(Error::TornTail { data_end, lost, .. }) => {
                writeln!(lines, "{} {data_end} {lost} torn", chunk.0).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        Ok::<(), Error>(())
    };
    Wal::dump_records(config, &lock, visit).unwrap();
    lines
}

/// The checksum and the path of each file below a directory, a line each.
fn checksums(dir: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            checksums(&path, lines);
        } else {
            let name = path.strip_prefix(root()).unwrap().display();
            lines.push(format!("{:08x} {name}", crc32c(&[&fs::read(&path).unwrap()])));
        }
    }
}

#[test]
fn no_fixture_has_changed() {
    let listed = fs::read_to_string(root().with_extension("crc32c")).unwrap();
    let listed: BTreeSet<&str> = listed.lines().collect();
    let mut found = Vec::new();
    checksums(&root(), &mut found);
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    let lost: Vec<_> = listed.difference(&found).collect();
    assert!(lost.is_empty(), "files that have changed or are missing: {lost:#?}");
    let new: Vec<_> = found.difference(&listed).collect();
    assert!(new.is_empty(), "files that aren't in the list: {new:#?}");
    assert!(found.len() > 30, "they are {}", found.len());
}

fn open(config: &Config, replay: Replay) -> (Wal, List) {
    let mut list = List::default();
    let wal = Wal::options(config.clone()).replay(replay).open(&mut list).unwrap();
    (wal, list)
}

/// A dump without the torn write at its end, which opening cuts off.
fn sound(dump: &str) -> &str {
    let last = dump.trim_end().rfind('\n').map_or(0, |at| at + 1);
    if dump.ends_with(" torn\n") { &dump[..last] } else { dump }
}

/// The state according to a fixture's dump, and the number of records.
fn state_of(dump: &str) -> (Vec<String>, u64) {
    let mut words = Vec::new();
    for line in sound(dump).lines() {
        let mut parts = line.splitn(5, ' ').skip(3);
        match (parts.next().unwrap(), parts.next().unwrap_or("")) {
            ("action", word) => words.push(word.to_string()),
            (_, all) => words = crate::common::split(all),
        }
    }
    (words, sound(dump).lines().count() as u64)
}

fn reads_for_ever(name: &str) {
    reads_for_ever_without(name, 0);
}

/// The number of records that were taken out, of those that the log counts.
fn reads_for_ever_without(name: &str, voided: u64) {
    let expected = fs::read_to_string(root().join(name).with_extension("txt")).unwrap();
    let (words, records) = state_of(&expected);
    assert!(words.len() > 3 && records > words.len() as u64, "{name} shows nothing");

    let (_dir, config) = copy(name);
    assert_eq!(dump(&config), expected, "{name}");

    for replay in [Replay::FromLastCheckpoint, Replay::All] {
        let (_dir, config) = copy(name);
        let (mut wal, mut list) = open(&config, replay);
        assert_eq!(list.words, words, "{name}");
        assert_eq!(wal.recovery().records, records + voided);
        assert_eq!(wal.recovery().torn_tail.is_some(), expected.ends_with(" torn\n"));
        for read in wal.records().take(records as usize) {
            let (_, segment, record) = read.unwrap();
            assert_eq!(wal.read_record(segment).unwrap(), record);
        }
        // This version continues the log.
        wal.append_and_apply("new".to_string(), &mut list).unwrap();
        wal.close_open_chunk(&list).unwrap();
        wal.append_and_apply("newer".to_string(), &mut list).unwrap();
        wal.close().unwrap();
        let (_, again) = open(&config, Replay::All);
        assert_eq!(again.words, list.words);
        assert!(dump(&config).starts_with(sound(&expected)));
    }
}

#[test]
fn a_closed_log_of_version_1() {
    reads_for_ever("plain");
}

#[test]
fn a_log_of_version_1_with_a_torn_tail() {
    reads_for_ever("torn");
}

#[test]
fn a_log_of_version_1_from_which_records_were_taken_out() {
    reads_for_ever_without("voided", 2);
}

#[test]
fn a_log_of_version_1_with_batches_the_last_of_which_is_torn() {
    reads_for_ever("batches");
}

#[test]
fn a_log_of_version_1_in_files_used_before() {
    reads_for_ever("reused");
    let features = |path: PathBuf| fs::read(path).unwrap()[12];
    let chunks = fs::read_dir(root().join("reused")).unwrap().map(|entry| entry.unwrap().path());
    assert!(
        chunks
            .filter(|path| path.extension().is_some_and(|e| e == "wal"))
            .any(|path| features(path) & 2 != 0)
    );
}

/// Which chunks of a fixture have feature bit 0, oldest first.
#[cfg(feature = "lz4")]
fn lz4_bits(name: &str) -> Vec<bool> {
    let names = fs::read_dir(root().join(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut chunks: Vec<_> = names.filter(|path| path.extension().is_some_and(|e| e == "wal")).collect();
    chunks.sort();
    chunks.into_iter().map(|path| fs::read(path).unwrap()[12] & 1 != 0).collect()
}

/// Whether the frame at a global offset of a fixture's chunk is compressed.
#[cfg(feature = "lz4")]
fn is_compressed(name: &str, chunk: u64, offset: u64) -> bool {
    let path = Config::new(root().join(name)).chunk_path(chunked_wal::ChunkId(chunk));
    fs::read(path).unwrap()[(offset - chunk) as usize + 8] >> 4 == 1
}

#[cfg(feature = "lz4")]
#[test]
fn a_log_of_version_1_with_and_without_lz4() {
    reads_for_ever("lz4");
    assert_eq!(lz4_bits("lz4"), [false, true, false, true]);
    let lines = fs::read_to_string(root().join("lz4.txt")).unwrap();
    let mut found = std::collections::BTreeMap::<u64, (usize, usize)>::new();
    for line in lines.lines() {
        let numbers: Vec<u64> = line.split(' ').take(2).map(|n| n.parse().unwrap()).collect();
        let (compressed, plain) = found.entry(numbers[0]).or_default();
        *(if is_compressed("lz4", numbers[0], numbers[1]) { compressed } else { plain }) += 1;
    }
    let found: Vec<_> = found.into_values().collect();
    assert!(matches!(found[..], [(0, 1..), (2.., 2..), (0, 1..), (2.., 2..)]), "{found:?}");
}

#[test]
fn a_log_of_version_1_whose_newest_chunk_has_lost_its_name() {
    reads_for_ever("unnamed");
}

/// A disk in memory with the files of a log and its snapshots.
fn disk_with_snapshots(name: &str) -> MemoryStorage {
    let disk = MemoryStorage::default();
    for part in ["log", "snapshots"] {
        disk.create_dir(&Path::new("/db").join(part)).unwrap();
        for entry in fs::read_dir(root().join(name).join(part)).unwrap() {
            let path = entry.unwrap().path();
            let to = Path::new("/db").join(part).join(path.file_name().unwrap());
            disk.write_file(to, &fs::read(path).unwrap()).unwrap();
        }
    }
    disk
}

#[test]
fn snapshots_of_version_1() {
    for damaged in [false, true] {
        let disk = disk_with_snapshots("snapshots");
        let newest = disk.files("/db/snapshots").pop().unwrap();
        if damaged {
            disk.flip_bit(format!("/db/snapshots/{newest}"), 60 * 8).unwrap();
        }
        let Restored { mut log, state: mut all, snapshots, damaged: found, loaded, .. } =
            open_counted(&disk).unwrap();
        assert_eq!(all.numbers, (0..25).collect::<Vec<_>>());
        assert_eq!((all.applied, found.len()), if damaged { (15, 1) } else { (5, 0) });
        assert!(loaded.is_some());
        // This version continues the log and its snapshots.
        all.go_on(&mut log);
        snapshots.take(&mut log, &all, |file| all.write(file)).unwrap();
        log.close().unwrap();
        assert_eq!(open_counted(&disk).unwrap().state.numbers.len(), 26);
    }
}

/// Writes what a disk in memory holds, if the fixture isn't there yet.
fn write_fixture(name: &str, disk: &MemoryStorage) {
    let dir = root().join(name);
    if dir.exists() {
        return;
    }
    fs::create_dir_all(&dir).unwrap();
    for (path, bytes) in disk.snapshot() {
        // A spare that starts like a chunk is one that has lost its name.
        if path.extension().is_some_and(|extension| extension == "wal") || bytes.starts_with(b"CHNKWAL") {
            fs::write(dir.join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
    let (_copy, config) = copy(name);
    fs::write(dir.with_extension("txt"), dump(&config)).unwrap();
}

fn words(wal: &mut Wal, list: &mut List, range: std::ops::Range<usize>) {
    for n in range {
        // Of every length up to some, so that every padding is there.
        wal.append_and_apply(format!("{n}{}", "-".repeat(n % 11)), list).unwrap();
    }
}

/// Takes records out of a log that is closed.
fn take_out(disk: &Disk, records: &[(chunked_wal::ChunkId, chunked_wal::Segment)]) {
    let dir = tempfile::tempdir().unwrap();
    for (chunk, segment) in records {
        let (path, file) = (disk.config.chunk_path(*chunk), dir.path().join("chunk"));
        fs::write(&file, disk.storage.read_file(&path).unwrap()).unwrap();
        chunked_wal::raw::void_record(&file, segment.offset).unwrap();
        disk.storage.write_file(&path, &fs::read(&file).unwrap()).unwrap();
    }
}

#[test]
#[ignore = "writes fixtures, once for each format"]
fn write_fixtures_that_are_missing() {
    let disk = Disk::with(|config| config.chunk_max_size = 512);
    let (mut wal, mut list) = disk.open();
    words(&mut wal, &mut list, 0..40);
    wal.close().unwrap();
    write_fixture("plain", &disk.storage);
    let voided = disk.on(disk.storage.kill());
    take_out(&voided, &[list.applied[30], list.applied[list.applied.len() - 1]]);
    write_fixture("voided", &voided.storage);

    let (mut wal, mut list) = disk.open();
    words(&mut wal, &mut list, 40..42);
    wal.sync().unwrap();
    // Over several sectors, of which some are lost.
    wal.append_and_apply("long ".repeat(300), &mut list).unwrap();
    wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
    let torn = (0..1000).map(|seed| disk.storage.crash(seed)).find(|left| {
        let opened = disk.on(left.kill()).try_open();
        opened.is_ok_and(|(wal, _)| wal.recovery().torn_tail.is_some_and(|torn| torn.lost > 100))
    });
    write_fixture("torn", &torn.unwrap());
    drop(wal);

    let disk = Disk::with(|config| config.chunk_max_size = 512);
    let (mut wal, mut list) = disk.open();
    for round in 0..6 {
        words(&mut wal, &mut list, round * 20..round * 20 + 20);
        wal.sync().unwrap();
        if round < 5 {
            list.words.clear(); // as if they were in a snapshot
            wal.append(&crate::common::checkpoint("")).unwrap();
            wal.close_open_chunk(&list).unwrap();
            let ids = wal.drain_closed_chunks_while(|_| true);
            wal.remove_chunks(ids).unwrap();
            wal.wait_idle().unwrap();
        }
    }
    wal.close().unwrap();
    write_fixture("reused", &disk.storage);

    write_fixture("batches", &torn_batch());
    write_fixture("unnamed", &unnamed());
    write_snapshots();

    #[cfg(feature = "lz4")]
    write_fixture("lz4", &half_compressed().storage);
}

/// A log of two chunks, after a power loss before the second one's name was durable.
fn unnamed() -> MemoryStorage {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    words(&mut wal, &mut list, 0..10);
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    wal.close_open_chunk(&list).unwrap();
    let directory = Gate::new(&disk.storage, |op| op.kind == OpKind::SyncDir);
    words(&mut wal, &mut list, 10..20);
    wal.sync().unwrap();
    let after = disk.storage.crash(0);
    directory.open();
    assert!(after.read_file(disk.config.chunk_path(wal.open_chunk_id())).is_none());
    after
}

/// Two snapshots and the log from the first one on.
fn write_snapshots() {
    if root().join("snapshots").exists() {
        return;
    }
    let disk = MemoryStorage::default();
    let Restored { mut log, state: mut all, snapshots, .. } = open_counted(&disk).unwrap();
    for count in [10, 10, 5] {
        (0..count).for_each(|_| all.go_on(&mut log));
        if count == 10 {
            snapshots.take(&mut log, &all, |file| all.write(file)).unwrap();
        }
    }
    log.close().unwrap();
    for (path, bytes) in disk.snapshot() {
        let is_kept = path.extension().is_some_and(|extension| extension == "wal" || extension == "snap");
        if is_kept {
            let to = root().join("snapshots").join(path.strip_prefix("/db").unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, bytes).unwrap();
        }
    }
}

/// A log with batches in two chunks, and part of one at its end.
fn torn_batch() -> MemoryStorage {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let batch = |from: usize, len: usize| {
        let words = (from..from + len).map(|n| format!("{n} {}", "in a batch ".repeat(n % 4)));
        words.map(WalRecord::Action).collect::<chunked_wal::Batch<crate::common::Words>>()
    };
    words(&mut wal, &mut list, 0..2);
    wal.append_and_apply_batch(&batch(2, 5), &mut list).unwrap();
    wal.close_open_chunk(&list).unwrap();
    wal.append_and_apply_batch(&batch(7, 1), &mut list).unwrap();
    wal.append_and_apply_batch(&batch(8, 3), &mut list).unwrap();
    wal.sync().unwrap();
    let end = wal.progress().appended;
    wal.append_batch(&batch(11, 60)).unwrap();
    wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
    let torn = (0..1000).map(|seed| disk.storage.crash(seed)).find(|left| {
        let path = disk.config.chunk_path(wal.open_chunk_id());
        let at = (end - wal.open_chunk_id().0) as usize;
        // Its first record is whole, and a later one is not.
        let first = left.read_file(path).is_some_and(|bytes| bytes[at..at + 512].iter().any(|b| *b != 0));
        let opened = disk.on(left.kill()).try_open();
        first && opened.is_ok_and(|(wal, _)| wal.recovery().torn_tail.is_some_and(|torn| torn.lost > 600))
    });
    torn.unwrap()
}

/// A log whose second and fourth chunks were started with compression. The third was started without, so it stays
/// uncompressed although compression is on again when the log continues in it.
#[cfg(feature = "lz4")]
fn half_compressed() -> Disk {
    use chunked_wal::Compression::{Lz4, None};

    let long = |n: usize| format!("{n} {}", "is a long word and goes on ".repeat(4 + n));
    let mut disk = Disk::default();
    for (n, compression) in [None, Lz4 { min_len: 0 }, None, Lz4 { min_len: 100 }].into_iter().enumerate() {
        disk.config.compression = compression;
        let (mut wal, mut list) = disk.open();
        if n > 0 {
            // Records before the rotation are not compressed, because their chunk was started without.
            wal.append_and_apply(long(n), &mut list).unwrap();
            wal.close_open_chunk(&list).unwrap();
        }
        words(&mut wal, &mut list, n * 10..n * 10 + 5);
        for i in 0..3 {
            wal.append_and_apply(long(n * 3 + i), &mut list).unwrap();
        }
        wal.close().unwrap();
    }
    disk
}
