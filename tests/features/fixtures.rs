//! What released versions have written into regions and blob stores, and what every later version must read there.
//! `tests/log/fixtures.rs` has the same for logs.
//!
//! ```text
//! tests/fixtures/v1/ring.bin      a file: the host's checkpoint in 16 bytes, then a region
//! tests/fixtures/v1/ring.txt      its records, one in a line: sequence, bytes
//! tests/fixtures/v1/blobs/        the files of a blob store
//! tests/fixtures/v1/blobs.txt     its blobs, one in a line: the reference in hex, the length, the CRC-32C
//! ```
//!
//! A fixture is never written again. New ones are added by
//! `cargo test --all-features --test features fixtures -- --ignored`, which writes those that are missing.
#![cfg(all(feature = "blob", feature = "embedded"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use chunked_wal::blob::{BlobConfig, BlobRef, BlobStore};
use chunked_wal::codeq::{Decode, Encode};
use chunked_wal::embedded::{Checkpoint, EmbeddedWal, Region};

use crate::common::crc32c;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(name)
}

const REGION: Region = Region { offset: 16, len: 1029 };

/// A host's file, and the checkpoint that it stores.
fn open_ring(path: &Path) -> EmbeddedWal {
    let bytes = fs::read(path).unwrap();
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let checkpoint = Checkpoint { position: number(0), sequence: number(8) };
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    EmbeddedWal::open(file, REGION, checkpoint).unwrap()
}

fn lines_of_ring(ring: &EmbeddedWal) -> String {
    let mut lines = String::new();
    for record in ring.pending() {
        let (sequence, bytes) = record.unwrap();
        writeln!(lines, "{sequence} {}", String::from_utf8(bytes).unwrap()).unwrap();
    }
    lines
}

#[test]
fn a_region_of_version_1() {
    let expected = fs::read_to_string(fixture("ring.txt")).unwrap();
    assert!(expected.lines().count() > 5, "it shows nothing");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::copy(fixture("ring.bin"), file.path()).unwrap();

    let mut ring = open_ring(file.path());
    assert_eq!(lines_of_ring(&ring), expected);
    // This version continues the log.
    let sequence = ring.append(b"new").unwrap();
    drop(ring);
    assert_eq!(lines_of_ring(&open_ring(file.path())), format!("{expected}{sequence} new\n"));
}

fn blob_config(dir: impl Into<PathBuf>) -> BlobConfig {
    let mut config = BlobConfig::new(dir);
    config.chunk_max_size = 70 << 10;
    config
}

fn line_of_blob(store: &BlobStore, blob: BlobRef) -> String {
    let mut reference = Vec::new();
    blob.encode(&mut reference).unwrap();
    let hex = reference.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let bytes = store.read(blob).unwrap();
    format!("{hex} {} {:08x}", bytes.len(), crc32c(&[&bytes]))
}

fn reference_in(line: &str) -> BlobRef {
    let hex = line.split(' ').next().unwrap();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    BlobRef::decode(&bytes[..]).unwrap()
}

#[test]
fn a_blob_store_of_version_1() {
    let expected = fs::read_to_string(fixture("blobs.txt")).unwrap();
    assert!(expected.lines().count() > 5, "it shows nothing");
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture("blobs")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }

    let mut store = BlobStore::open(blob_config(dir.path())).unwrap();
    let newer = store.append(b"new").unwrap();
    store.close().unwrap();
    let store = BlobStore::open(blob_config(dir.path())).unwrap();
    assert_eq!(*store.read(newer).unwrap(), *b"new");
    for line in expected.lines() {
        let blob = reference_in(line);
        assert_eq!(line_of_blob(&store, blob), line);
        let middle = blob.length / 3..blob.length / 2;
        let (from, to) = (middle.start as usize, middle.end as usize);
        assert_eq!(store.read_range(blob, middle).unwrap(), store.read(blob).unwrap()[from..to]);
    }
}

#[test]
#[ignore = "writes fixtures, once for each format"]
fn write_fixtures_that_are_missing() {
    if !fixture("ring.bin").exists() {
        write_ring();
    }
    if !fixture("blobs").exists() {
        write_blobs();
    }
}

/// A region in its third lap, with a batch that reaches its end.
fn write_ring() {
    let path = fixture("ring.bin");
    fs::write(&path, vec![0; (REGION.offset + REGION.len) as usize]).unwrap();
    let mut ring = open_ring(&path);
    let store = |checkpoint: Checkpoint| {
        let mut bytes = fs::read(&path).unwrap();
        bytes[..8].copy_from_slice(&checkpoint.position.to_le_bytes());
        bytes[8..16].copy_from_slice(&checkpoint.sequence.to_le_bytes());
        fs::write(&path, bytes).unwrap();
    };
    for round in 0..40 {
        ring.append(format!("{round}{}", "-".repeat(round % 11)).as_bytes()).unwrap();
        ring.append_batch(&["in", "a", "batch"]).unwrap();
        if round % 5 == 0 {
            let checkpoint = ring.checkpoint().unwrap();
            store(checkpoint);
            ring.checkpoint_stored(checkpoint).unwrap();
        }
    }
    fs::write(fixture("ring.txt"), lines_of_ring(&ring)).unwrap();
}

/// Blobs in several chunks, of sizes around that of a block, with one that has several.
fn write_blobs() {
    let mut store = BlobStore::open(blob_config(fixture("blobs"))).unwrap();
    let block = 64 << 10;
    let mut lines = String::new();
    for len in [0, 1, 7, 300, 5000, block, block + 1, 2 * block + 77] {
        let bytes: Vec<u8> = (0..len).map(|i| (i / 61 + len) as u8).collect();
        let blob = store.append(&bytes).unwrap();
        writeln!(lines, "{}", line_of_blob(&store, blob)).unwrap();
    }
    store.close().unwrap();
    for entry in fs::read_dir(fixture("blobs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wal") {
            fs::remove_file(path).unwrap();
        }
    }
    fs::write(fixture("blobs.txt"), lines).unwrap();
}
