use std::path::Path;

use super::file::{FileName, Header, name, read, temp_name, write};
use crate::error::{Error, SnapshotFault};
use crate::storage::MemoryStorage;

const LOG: [u8; 16] = [7; 16];

#[test]
fn each_name_that_is_made_is_known_again_and_no_other() {
    assert_eq!(name(324), "s-00_000_000_000_000_000_324.snap");
    for offset in [0, 324, u64::MAX] {
        assert_eq!(FileName::parse(&name(offset)), Some(FileName::Snapshot(offset)));
        assert_eq!(FileName::parse(&temp_name(offset)), Some(FileName::Temp));
    }
    for text in ["", "s-.snap", "s-324.snap", "s-00_000_000_000_000_000_324.snap.tmp.tmp", "LOCK"] {
        assert_eq!(FileName::parse(text), None, "{text}");
    }
}

/// A disk with one snapshot, and the file's bytes.
fn one_snapshot(path: &Path) -> (MemoryStorage, Vec<u8>) {
    let disk = MemoryStorage::default();
    write(&disk, path, (LOG, 24), |file| file.write_all(b"the state")).unwrap();
    let bytes = disk.read_file(path).unwrap();
    (disk, bytes)
}

#[test]
fn what_is_written_is_read() {
    let path = Path::new("/a.snap");
    let (disk, bytes) = one_snapshot(path);
    assert_eq!(read(&disk, path, 24, Some(LOG)).unwrap(), b"the state");
    assert_eq!(read(&disk, path, 24, None).unwrap(), b"the state");
    let header = Header::decode(bytes.first_chunk().unwrap()).unwrap();
    assert_eq!((header.log_id, header.offset, header.len), (LOG, 24, 9));
    let other = read(&disk, path, 24, Some([8; 16])).unwrap_err();
    assert!(matches!(other, Error::Snapshot { reason: SnapshotFault::OtherLog, .. }), "{other}");
}

#[test]
fn no_flipped_bit_and_no_missing_or_added_byte_goes_unnoticed() {
    let path = Path::new("/a.snap");
    let (disk, bytes) = one_snapshot(path);
    let check = |bytes: &[u8]| {
        disk.write_file(path, bytes).unwrap();
        let error = read(&disk, path, 24, Some(LOG)).unwrap_err();
        assert!(matches!(error, Error::Snapshot { reason: SnapshotFault::Damaged { .. }, .. }), "{error}");
    };
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        check(&flipped);
    }
    for len in 0..bytes.len() {
        check(&bytes[..len]);
    }
    check(&[&bytes[..], b"x"].concat());
    check(b"");
}

#[test]
fn a_later_version_is_refused_not_taken_for_damage() {
    let path = Path::new("/a.snap");
    let (disk, mut bytes) = one_snapshot(path);
    bytes[8] = 2;
    let crc = crate::format::Crc::of(&bytes[..52]);
    bytes[52..56].copy_from_slice(&crc.to_le_bytes());
    disk.write_file(path, &bytes).unwrap();
    let error = read(&disk, path, 24, Some(LOG)).unwrap_err();
    let Error::Snapshot { reason: SnapshotFault::Unsupported { found: 2, known: 1 }, .. } = error else {
        panic!("{error}")
    };
}
