//! Big payloads beside the log: reads, wrong references, damage, and files changed by other programs.
#![cfg(feature = "blob")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod crash;
mod ranges;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunked_wal::blob::{BlobConfig, BlobRef, BlobStore};
use chunked_wal::codeq::{Decode, Encode};
use chunked_wal::storage::MemoryStorage;
use chunked_wal::{Damage, Error, NoBlob};

fn config(dir: impl Into<PathBuf>) -> BlobConfig {
    let mut config = BlobConfig::new(dir);
    config.chunk_max_size = 16 << 10;
    config
}

/// A blob that no other number has.
fn payload(number: usize) -> Vec<u8> {
    let len = [0, 1, 7, 8, 9, 300, 5000, 1, 40_000, 200][number % 10];
    (0..len).map(|i| (number * 31 + i * 7) as u8).collect()
}

/// A store of `count` blobs in a directory, and where they are.
fn filled(dir: &Path, count: usize) -> (BlobStore, Vec<BlobRef>) {
    let mut store = BlobStore::open(config(dir)).unwrap();
    let refs = (0..count).map(|n| store.append(&payload(n)).unwrap()).collect();
    (store, refs)
}

fn reason(result: Result<chunked_wal::blob::Blob, Error>) -> NoBlob {
    match result {
        Err(Error::NotABlob { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// The files of chunks, oldest first.
fn chunk_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    files
}

#[test]
fn blobs_come_back_before_and_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut refs) = filled(dir.path(), 100);
    assert!(store.chunks().len() >= 10);
    for round in 0..3 {
        for (n, blob) in refs.iter().enumerate() {
            assert_eq!(blob.length, payload(n).len() as u64);
            assert_eq!(*store.read(*blob).unwrap(), payload(n), "{n} in round {round}");
        }
        store.close().unwrap();
        store = BlobStore::open(config(dir.path())).unwrap();
        refs.push(store.append(&payload(refs.len())).unwrap());
    }
    // One that is larger than a chunk has its own.
    let large = store.append(&[3; 100_000]).unwrap();
    assert_eq!(store.read(large).unwrap().len(), 100_000);
}

#[test]
fn a_reference_is_a_codec() {
    let blob = BlobRef { chunk_id: 1, offset: 2, length: 3 };
    let mut bytes = Vec::new();
    assert_eq!(blob.encode(&mut bytes).unwrap(), 20);
    assert_eq!(bytes.len(), 20);
    assert_eq!(BlobRef::decode(&bytes[..]).unwrap(), blob);
    assert!(BlobRef::decode(&bytes[..19]).is_err());
}

#[test]
fn clones_and_cached_reads_share_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, refs) = filled(dir.path(), 30);
    let first = store.read(refs[8]).unwrap();
    assert_eq!(first.as_ptr(), first.clone().as_ptr());
    assert_eq!(first.as_ptr(), store.reader().read(refs[8]).unwrap().as_ptr());
    drop(store);
    let mut config = config(dir.path());
    config.cache_bytes_max = 0;
    let store = BlobStore::open(config).unwrap();
    let first = store.read(refs[8]).unwrap();
    assert_ne!(first.as_ptr(), store.read(refs[8]).unwrap().as_ptr(), "without a cache");
}

#[test]
fn readers_on_other_threads_see_what_is_appended() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = filled(dir.path(), 0);
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel::<(usize, BlobRef)>();
        let reader = store.reader();
        scope.spawn(move || {
            for (n, blob) in receiver {
                assert_eq!(*reader.read(blob).unwrap(), payload(n));
            }
        });
        for n in 0..300 {
            sender.send((n, store.append(&payload(n)).unwrap())).unwrap();
        }
    });
    let reader = store.reader();
    let blob = store.append(b"not read yet").unwrap();
    store.close().unwrap();
    assert!(matches!(reader.read(blob), Err(Error::Closed)));
}

#[test]
fn references_that_lead_nowhere_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let (store, refs) = filled(dir.path(), 100);
    let known = refs[50];
    let with = |change: &dyn Fn(&mut BlobRef)| {
        let mut blob = known;
        change(&mut blob);
        reason(store.read(blob))
    };
    assert_eq!(with(&|b| b.chunk_id = refs[0].chunk_id.wrapping_sub(1)), NoBlob::UnknownChunk);
    assert_eq!(with(&|b| b.chunk_id = refs[99].chunk_id.wrapping_add(1)), NoBlob::UnknownChunk);
    assert_eq!(with(&|b| b.offset += 1 << 20), NoBlob::OutOfRange);
    assert_eq!(with(&|b| b.offset = u64::MAX), NoBlob::OutOfRange);
    assert_eq!(with(&|b| b.length = u64::MAX), NoBlob::OutOfRange);
    assert_eq!(with(&|b| b.length = u64::MAX / 2), NoBlob::OutOfRange);
    assert_eq!(with(&|b| b.offset = 0), NoBlob::OutOfRange, "the header");
    assert_eq!(with(&|b| *b = BlobRef { offset: 64, length: 9, ..*b }), NoBlob::NotThere, "the number");
    assert_eq!(with(&|b| b.length += 1), NoBlob::NotThere);
    assert_eq!(with(&|b| b.length = 1 << 20), NoBlob::OutOfRange);
    // Only references that the store returned lead to a blob, read before or not.
    let mut found = 0;
    for offset in 0..2000 {
        for length in [0, 1, 7, 8, 9, 200, 300, 5000] {
            let blob = BlobRef { chunk_id: refs[60].chunk_id, offset, length };
            match store.read(blob) {
                Ok(_) => found += 1,
                Err(Error::NotABlob { .. }) => assert!(!refs.contains(&blob)),
                Err(other) => panic!("{other}"),
            }
        }
    }
    let expected = refs.iter().filter(|b| b.chunk_id == refs[60].chunk_id && b.offset < 2000).count();
    assert_eq!(found, expected);
}

#[test]
fn references_of_another_store_are_refused() {
    let dirs: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    // Alike in everything but their ids.
    let stores: Vec<_> = dirs.iter().map(|dir| filled(dir.path(), 40)).collect();
    for (i, (store, _)) in stores.iter().enumerate() {
        for (j, (_, refs)) in stores.iter().enumerate() {
            for (n, blob) in refs.iter().enumerate() {
                match i == j {
                    true => assert_eq!(*store.read(*blob).unwrap(), payload(n)),
                    false => assert_eq!(reason(store.read(*blob)), NoBlob::UnknownChunk),
                }
            }
        }
    }
    // A file of one store in the directory of another is seen when it is opened.
    drop(stores);
    let (from, to) = (chunk_files(dirs[0].path()), chunk_files(dirs[1].path()));
    fs::copy(&from[2], &to[2]).unwrap();
    assert!(matches!(BlobStore::open(config(dirs[1].path())), Err(Error::ForeignChunk { .. })));
}

#[test]
fn chunks_are_removed_oldest_first_and_stay_away() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, refs) = filled(dir.path(), 100);
    let held = store.read(refs[8]).unwrap();
    let before = store.chunks();
    assert!(store.remove_chunks_before(before[0].chunk_id).unwrap().is_empty());
    let removed = store.remove_chunks_before(refs[50].chunk_id).unwrap();
    assert_eq!(removed, before[..removed.len()].iter().map(|chunk| chunk.chunk_id).collect::<Vec<_>>());
    assert!(removed.len() >= 4);
    assert_eq!(chunk_files(dir.path()).len(), store.chunks().len());
    assert_eq!(*held, payload(8), "what was read stays");
    for reopen in [false, true] {
        if reopen {
            store.close().unwrap();
            store = BlobStore::open(config(dir.path())).unwrap();
        }
        for (n, blob) in refs.iter().enumerate() {
            match removed.contains(&blob.chunk_id) {
                true => assert_eq!(reason(store.read(*blob)), NoBlob::Removed),
                false => assert_eq!(*store.read(*blob).unwrap(), payload(n)),
            }
        }
    }
    let unknown = store.remove_chunks_before(removed[0]).unwrap_err();
    assert!(matches!(unknown, Error::NotABlob { .. }), "{unknown}");
    // All but the open one.
    let newest = store.chunks().last().unwrap().chunk_id;
    store.remove_chunks_before(newest).unwrap();
    assert_eq!(store.chunks().len(), 1);
    let blob = store.append(b"more").unwrap();
    store.close().unwrap();
    let store = BlobStore::open(config(dir.path())).unwrap();
    assert_eq!(*store.read(blob).unwrap(), *b"more");
    assert_eq!(reason(store.read(refs[0])), NoBlob::Removed);
}

/// Each of these would kill a process that reads through a memory map, by SIGBUS.
#[test]
fn files_cut_or_removed_under_the_store_are_errors_and_take_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, refs) = filled(dir.path(), 100);
    store.sync().unwrap();
    let read: Vec<_> = (0..10).map(|n| store.read(refs[n]).unwrap()).collect();
    let files = chunk_files(dir.path());
    for path in &files {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
    }
    for (n, blob) in read.iter().enumerate() {
        assert_eq!(**blob, payload(n), "held");
        assert_eq!(*store.read(refs[n]).unwrap(), payload(n), "cached");
    }
    let mut cut = 0;
    for blob in &refs[10..] {
        match store.read(*blob) {
            Ok(bytes) => assert!(blob.offset + 16 + bytes.len() as u64 <= 100),
            Err(Error::Corrupt { damage: Damage::FrameCutShort, .. }) => cut += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(cut > 70, "{cut}");
    for path in &files {
        fs::remove_file(path).unwrap();
    }
    for blob in &refs[10..] {
        // A file that was open stays readable as far as it went; another is not there.
        assert!(!matches!(store.read(*blob), Err(Error::NotABlob { .. })));
    }
    assert_eq!(*read[8], payload(8));
}

#[test]
fn every_damaged_byte_of_a_blob_is_noticed() {
    let disk = MemoryStorage::default();
    let open = || {
        let mut config = config("/blobs");
        config.cache_bytes_max = 0;
        BlobStore::open_on(config, Arc::new(disk.clone())).unwrap()
    };
    let mut store = open();
    let refs: Vec<_> = (0..30).map(|n| store.append(&payload(n)).unwrap()).collect();
    store.sync().unwrap();
    store.append(b"newest").unwrap();
    store.close().unwrap();
    let store = open();
    let blob = refs[5];
    let path =
        format!("/blobs/{}", disk.files("/blobs").into_iter().find(|name| name.starts_with("r-")).unwrap());
    assert_eq!(blob.chunk_id, store.chunks()[0].chunk_id);
    for at in blob.offset..blob.offset + 16 + blob.length.next_multiple_of(8) {
        disk.flip_bit(&path, at * 8 + at % 8).unwrap();
        match store.read(blob) {
            Err(Error::Corrupt { damage: Damage::FrameChecksum, .. }) => {}
            Err(Error::NotABlob { reason: NoBlob::NotThere, .. }) => assert!(at < blob.offset + 16),
            other => panic!("{at}: {other:?}"),
        }
        disk.flip_bit(&path, at * 8 + at % 8).unwrap();
    }
    assert_eq!(*store.read(blob).unwrap(), payload(5));
}

#[test]
fn a_record_that_is_too_large_or_finds_no_room_changes_nothing() {
    let disk = MemoryStorage::default();
    let mut config = config("/blobs");
    config.max_blob_size = 50_000;
    let mut store = BlobStore::open_on(config, Arc::new(disk.clone())).unwrap();
    let first = store.append(&payload(8)).unwrap();
    assert!(matches!(store.append(&[0; 50_001]), Err(Error::RecordTooLarge { max: 50_000 })));
    store.sync().unwrap();
    disk.set_capacity(Some(disk.used()));
    let error = loop {
        if let Err(error) = store.append(&payload(8)) {
            break error;
        }
    };
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    assert_eq!(*store.read(first).unwrap(), payload(8));
    disk.set_capacity(None);
    let second = store.append(&payload(8)).unwrap();
    store.sync().unwrap();
    assert_eq!(*store.read(second).unwrap(), payload(8));
}

#[test]
fn one_store_in_a_directory_and_not_the_logs() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, _) = filled(dir.path(), 1);
    assert!(matches!(BlobStore::open(config(dir.path())), Err(Error::Locked { .. })));
}

#[test]
fn files_are_for_the_owner_alone_unless_the_config_says_otherwise() {
    use std::os::unix::fs::PermissionsExt;

    for (mode, expected) in [(None, 0o600), (Some(0o640), 0o640)] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.file_mode = mode.unwrap_or(config.file_mode);
        let mut blobs = BlobStore::open(config).unwrap();
        blobs.append(&payload(1)).unwrap();
        blobs.close().unwrap();
        let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap()).collect();
        assert!(files.len() >= 2, "{files:?}");
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, expected, "{file:?}");
        }
    }
}
