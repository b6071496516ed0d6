#![allow(clippy::unwrap_used, reason = "tests")]

mod by_hand;
mod bytes;
mod crashes;
mod faults;
mod names;
mod watching;

use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::storage::{Access, Storage, StorageFile};

const A: &str = "/a";
const SEEDS: u64 = 3000;

fn root() -> &'static Path {
    Path::new("/")
}

fn write(file: &dyn StorageFile, bytes: &[u8], position: u64) {
    assert_eq!(file.write_at(&[IoSlice::new(bytes)], position).unwrap(), bytes.len());
}

/// A disk whose file `/a` holds `bytes` for certain, and that file, open.
fn disk_with(bytes: &[u8]) -> (MemoryStorage, Arc<dyn StorageFile>) {
    let disk = MemoryStorage::default();
    disk.write_file(A, bytes).unwrap();
    let file = disk.open(Path::new(A), Access::ReadWrite).unwrap();
    (disk, file)
}

/// What the crashes of many seeds leave of `/a`.
fn left(disk: &MemoryStorage) -> BTreeSet<Option<Vec<u8>>> {
    (0..SEEDS).map(|seed| disk.crash(seed).read_file(A)).collect()
}

/// What all crashes leave of `/a`.
fn all_left(disk: &MemoryStorage) -> BTreeSet<Option<Vec<u8>>> {
    disk.crash_states(1000).unwrap().iter().map(|disk| disk.read_file(A)).collect()
}

fn set(cases: &[&[u8]]) -> BTreeSet<Option<Vec<u8>>> {
    cases.iter().map(|case| Some(case.to_vec())).collect()
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().unwrap().kind()
}

/// `old` with the sectors in `kept` taken from `new`.
fn sectors(old: &[u8], new: &[u8], kept: &[usize]) -> Vec<u8> {
    let mut bytes = old.to_vec();
    for sector in kept {
        bytes[sector * 512..][..512].copy_from_slice(&new[sector * 512..][..512]);
    }
    bytes
}
