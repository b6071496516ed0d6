//! A log on another storage than the disk, looked at and repaired by everything that looks at a log on the disk.
#![allow(clippy::unwrap_used, reason = "tests")]

use chunked_wal::raw::{ChunkEnd, Listing, MendableChunk, RawChunk};
use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkId, Error, raw};

use crate::common::{Disk, Forge, List, Wal, Words};

/// Two chunks, the first one's seal damaged by one bit.
fn disk() -> (Disk, MemoryStorage, ChunkId) {
    let first = Forge::chunk(0).checkpoint("").action("a").action("b").seal();
    let second = first.next().checkpoint("a,b").action("c").mark();
    let mut bytes = first.bytes.clone();
    *bytes.last_mut().unwrap() ^= 1;
    let disk = Disk::with(|_| {});
    let storage = disk.storage.clone();
    storage.write_file(disk.config.chunk_path(ChunkId(0)), &bytes).unwrap();
    storage.write_file(disk.config.chunk_path(ChunkId(second.id)), &second.bytes).unwrap();
    (disk, storage, ChunkId(second.id))
}

#[test]
fn it_is_listed_read_and_mended() {
    let (disk, storage, second) = disk();
    let dir = &disk.config.dir;
    let listing = Listing::of_storage(&storage, dir).unwrap();
    assert_eq!(listing.chunks, [ChunkId(0), second]);
    assert!(raw::log_id_on(&storage, dir, &listing.chunks).is_some());
    let chunk = RawChunk::open_on(&storage, dir, second).unwrap();
    let mut records = chunk.records(listing.place(1));
    while records.next().unwrap().is_some() {}
    assert!(matches!(records.end(), Some(ChunkEnd::Clean { marked: true, .. })), "{:?}", records.end());
    let mendable = raw::mendable_on(&storage, dir, ChunkId(0), Some(second)).unwrap();
    assert!(matches!(mendable, Some(MendableChunk { records: 3, .. })), "{mendable:?}");

    let lock = disk.options::<Words>().acquire_lock().unwrap();
    let locked = disk.options::<Words>().acquire_lock();
    assert!(matches!(locked, Err(Error::Locked { .. })), "{locked:?}");
    let mut dumped = Vec::new();
    Wal::dump_records::<Error>(&disk.config, &lock, |_, _, record| {
        dumped.push(record.is_ok());
        Ok(())
    })
    .unwrap();
    assert_eq!(dumped, [true, true, true, false, true, true], "the seal is the error");
    raw::mend_chunk(&lock, ChunkId(0), Some(second)).unwrap();
    drop(lock);
    let (_, list) = disk.open();
    assert_eq!(list.words, ["a", "b", "c"]);
}

#[test]
fn it_is_cut() {
    let (disk, storage, second) = disk();
    let lock = disk.options::<Words>().acquire_lock().unwrap();
    let checkpoint = RawChunk::open_on(&storage, &disk.config.dir, second).unwrap();
    let mut records = checkpoint.records(raw::ChunkPlace::Newest);
    let first = records.next().unwrap().unwrap();
    let end = first.offset + first.size;
    raw::mend_chunk(&lock, ChunkId(0), Some(second)).unwrap();
    raw::cut_chunk(&lock, second, end).unwrap();
    let mut list = List::default();
    drop(disk.options::<Words>().lock(lock).open(&mut list).unwrap());
    assert_eq!(list.words, ["a", "b"]);
}

#[cfg(feature = "monitor")]
#[test]
fn it_is_followed() {
    use chunked_wal::monitor::{MonitorOptions, Watch};

    let disk = Disk::with(|_| {});
    let options = MonitorOptions::new().watch(Watch::Poll).storage(std::sync::Arc::new(disk.storage.clone()));
    let mut monitor = options.open(&disk.config.dir).unwrap();
    assert!(!monitor.state().exists());
    let (mut wal, _) = disk.open();
    wal.append(&crate::common::action("a")).unwrap();
    wal.sync().unwrap();
    wal.close().unwrap();
    let event = monitor.check_for_changes().unwrap().expect("a log");
    assert_eq!((event.state.records, event.state.durable), (2, event.state.end));
}
