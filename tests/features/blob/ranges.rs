//! Parts of blobs: what comes back, how much is read for it, and what is said of damage.

use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;

use chunked_wal::blob::{BlobConfig, BlobRef, BlobStore};
use chunked_wal::storage::{MemoryStorage, OpKind};
use chunked_wal::{Damage, Error, NoBlob};

const BLOCK: u64 = 64 << 10;

fn blob(len: u64) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn open(disk: &MemoryStorage, cache_bytes_max: u64) -> BlobStore {
    let mut config = BlobConfig::new("/blobs");
    config.chunk_max_size = 1 << 20;
    config.cache_bytes_max = cache_bytes_max;
    BlobStore::open_on(config, Arc::new(disk.clone())).unwrap()
}

fn slice(blob: &[u8], range: &Range<u64>) -> Vec<u8> {
    blob[range.start as usize..range.end as usize].to_vec()
}

/// Ranges that begin and end around every seam.
fn ranges(len: u64) -> Vec<Range<u64>> {
    let mut places: Vec<u64> =
        (0..=len / BLOCK + 1).flat_map(|n| [n * BLOCK, n * BLOCK + 1, n * BLOCK + 77]).collect();
    places.extend((1..=len / BLOCK + 1).map(|n| n * BLOCK - 1));
    places.push(len);
    places.retain(|place| *place <= len);
    let of = |start: u64| places.iter().filter(move |end| **end >= start).map(move |end| start..*end);
    places.iter().flat_map(|start| of(*start)).collect()
}

#[test]
fn any_range_of_any_blob_comes_back_from_memory_file_and_cache() {
    let disk = MemoryStorage::default();
    let lens = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 500];
    let mut store = open(&disk, 0);
    let refs: Vec<BlobRef> = lens.iter().map(|len| store.append(&blob(*len)).unwrap()).collect();
    for state in ["in memory", "written", "opened again", "cached"] {
        match state {
            "written" => store.sync().unwrap(),
            "opened again" | "cached" => {
                store.close().unwrap();
                store = open(&disk, if state == "cached" { 64 << 20 } else { 0 });
                refs.iter().for_each(|blob| drop(store.read(*blob).unwrap()));
            }
            _ => {}
        }
        for (reference, len) in refs.iter().zip(lens) {
            assert_eq!(reference.length, len);
            assert_eq!(*store.read(*reference).unwrap(), blob(len), "{state}, whole");
            for range in ranges(len) {
                let found = store.read_range(*reference, range.clone()).unwrap();
                assert_eq!(found, slice(&blob(len), &range), "{state}, {range:?} of {len}");
            }
        }
    }
}

#[test]
fn only_the_blocks_of_the_range_count() {
    let disk = MemoryStorage::default();
    let mut store = open(&disk, 64 << 20);
    let film = store.append(&blob(100 * BLOCK)).unwrap();
    store.close().unwrap();
    let store = open(&disk, 64 << 20);
    let name = disk.files("/blobs").into_iter().find(|name| name.starts_with("r-")).unwrap();
    let path = format!("/blobs/{name}");
    let whole = disk.read_file(&path).unwrap();
    let reads = Arc::new(Mutex::new(0));
    let counted = reads.clone();
    disk.on_operation(move |op| *counted.lock().unwrap() += usize::from(op.kind == OpKind::Read));
    for range in [10 * BLOCK..10 * BLOCK + 5, 7 * BLOCK - 1..8 * BLOCK + 1, 99 * BLOCK..100 * BLOCK] {
        // All else is overwritten: the other blocks, and their checksums.
        let mut file = whole.clone();
        let payload = film.offset as usize + 16;
        let (first, last) = (range.start / BLOCK, (range.end - 1) / BLOCK);
        for n in (0..100).filter(|n| !(first..=last).contains(n)) {
            file[payload + (n * BLOCK) as usize..][..BLOCK as usize].fill(0xEE);
            file[payload + (100 * BLOCK + n * 4) as usize..][..4].fill(0xEE);
        }
        disk.write_file(&path, &file).unwrap();
        *reads.lock().unwrap() = 0;
        assert_eq!(store.read_range(film, range.clone()).unwrap(), slice(&blob(100 * BLOCK), &range));
        assert!(*reads.lock().unwrap() <= 3, "header, blocks, table");
    }
}

#[test]
fn a_range_outside_its_blob_or_of_no_blob_says_so() {
    let disk = MemoryStorage::default();
    let mut store = open(&disk, 0);
    for len in [10, 3 * BLOCK] {
        let known = store.append(&blob(len)).unwrap();
        #[allow(clippy::reversed_empty_ranges, reason = "it is refused")]
        for range in [len..len + 1, 0..u64::MAX, u64::MAX..u64::MAX, 5..4] {
            let error = store.read_range(known, range.clone()).unwrap_err();
            let Error::OutOfBlob { start, end, length } = error else { panic!("{error}") };
            assert_eq!((start..end, length), (range, len));
            assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::InvalidInput);
        }
        for wrong in [
            BlobRef { length: len + 1, ..known },
            BlobRef { length: 2 * BLOCK, ..known },
            BlobRef { offset: known.offset + 8, ..known },
            BlobRef { chunk_id: known.chunk_id.wrapping_add(1), ..known },
            BlobRef { length: u64::MAX, ..known },
        ] {
            let error = store.read_range(wrong, 0..1).unwrap_err();
            assert!(matches!(error, Error::NotABlob { .. }), "{wrong:?}: {error}");
        }
    }
}

#[test]
fn damage_is_reported_with_its_block_and_only_to_reads_of_it() {
    let disk = MemoryStorage::default();
    let mut store = open(&disk, 0);
    store.append(&blob(100)).unwrap();
    let len = 3 * BLOCK + 500;
    let known = store.append(&blob(len)).unwrap();
    store.close().unwrap();
    let store = open(&disk, 0);
    let name = disk.files("/blobs").into_iter().find(|name| name.starts_with("r-")).unwrap();
    let path = format!("/blobs/{name}");
    let payload = known.offset + 16;
    let places = (0..4)
        .flat_map(|n| [(n, n * BLOCK), (n, (n * BLOCK + BLOCK - 1).min(len - 1)), (n, len + n * 4 + 1)]);
    for (block, at) in places {
        disk.flip_bit(&path, (payload + at) * 8 + 5).unwrap();
        assert!(matches!(store.read(known), Err(Error::Corrupt { damage: Damage::FrameChecksum, .. })));
        for n in 0..4 {
            let range = n * BLOCK + 3..n * BLOCK + 300;
            match store.read_range(known, range.clone()) {
                Ok(found) => assert_eq!((n == block, found), (false, slice(&blob(len), &range))),
                Err(Error::Corrupt { damage: Damage::BlobBlock, offset, chunk_id, .. }) => {
                    assert_eq!((n, offset - chunk_id.0), (block, payload + block * BLOCK), "byte {at}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        disk.flip_bit(&path, (payload + at) * 8 + 5).unwrap();
    }
    // Of the frame's header the CRC is not looked at; all else is.
    for at in 0..16 {
        disk.flip_bit(&path, (known.offset + at) * 8 + at % 8).unwrap();
        match store.read_range(known, 5..BLOCK) {
            Ok(found) => assert_eq!((at < 4, found), (true, slice(&blob(len), &(5..BLOCK)))),
            Err(Error::NotABlob { reason: NoBlob::NotThere, .. }) => assert!(at >= 4),
            Err(other) => panic!("{at}: {other}"),
        }
        disk.flip_bit(&path, (known.offset + at) * 8 + at % 8).unwrap();
    }
    let mut cut = disk.read_file(&path).unwrap();
    cut.truncate((payload + 2 * BLOCK) as usize);
    disk.write_file(&path, &cut).unwrap();
    let error = store.read_range(known, 0..1).unwrap_err();
    assert!(
        matches!(error, Error::Corrupt { damage: Damage::FrameCutShort, .. }),
        "the table is gone: {error}"
    );
}
