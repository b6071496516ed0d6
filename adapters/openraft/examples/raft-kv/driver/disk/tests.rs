//! A disk in another process, here in the same one, is a disk: what is written survives the process, and
//! what is synced survives the power.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use chunked_wal::storage::{Access, Storage, StorageFile};
use tempfile::TempDir;

use super::*;

/// A disk, and the directory of its sockets.
struct Setup {
    disk: Disk,
    sockets: TempDir,
    starts: u64,
}

impl Setup {
    fn new() -> Self {
        Setup { disk: Disk::new(), sockets: tempfile::tempdir().unwrap(), starts: 0 }
    }

    /// The disk as the next process sees it.
    fn start(&mut self) -> RemoteDisk {
        self.starts += 1;
        let socket = self.sockets.path().join(self.starts.to_string());
        self.disk.attach(&socket).unwrap();
        RemoteDisk::new(socket)
    }
}

fn write(file: &Arc<dyn StorageFile>, bytes: &[u8], position: u64) {
    assert_eq!(file.write_at(&[IoSlice::new(bytes)], position).unwrap(), bytes.len());
}

fn read(disk: &RemoteDisk, path: &str) -> Vec<u8> {
    let file = disk.open(Path::new(path), Access::Read).unwrap();
    let mut bytes = vec![0; 100];
    let n = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(n);
    bytes
}

/// Makes a file with synced and with unsynced bytes.
fn write_and_sync(disk: &RemoteDisk) {
    disk.create_dir(Path::new("/node")).unwrap();
    let file = disk.create(Path::new("/node/new")).unwrap();
    write(&file, b"synced", 0);
    file.sync().unwrap();
    disk.rename(Path::new("/node/new"), Path::new("/node/log")).unwrap();
    disk.sync_dir(Path::new("/node")).unwrap();
    write(&file, b" and not", 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_and_the_power_what_was_not_synced() {
    let mut setup = Setup::new();
    let first = setup.start();
    write_and_sync(&first);
    let lock = first.lock(Path::new("/node/LOCK")).unwrap();
    assert!(lock.is_some());
    assert!(first.lock(Path::new("/node/LOCK")).unwrap().is_none());

    setup.disk.killed();
    let second = setup.start();
    assert_eq!(read(&second, "/node/log"), b"synced and not");
    assert!(second.lock(Path::new("/node/LOCK")).unwrap().is_some());

    // The bytes of the first process are still not synced.
    setup.disk.killed();
    setup.disk.power_off(0);
    let third = setup.start();
    assert_eq!(read(&third, "/node/log"), b"synced");
    assert_eq!(third.list(Path::new("/node")).unwrap(), ["log"]);
    let missing = third.open(Path::new("/node/new"), Access::Read).unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_says_so_until_there_is_space() {
    let mut setup = Setup::new();
    let disk = setup.start();
    write_and_sync(&disk);
    let file = disk.open(Path::new("/node/log"), Access::ReadWrite).unwrap();
    setup.disk.fill();
    // The first page is there already.
    write(&file, b"again", 0);
    let full = file.allocate(1 << 20).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    setup.disk.free();
    file.allocate(1 << 20).unwrap();
    assert_eq!((file.len().unwrap(), file.next_data(4096).unwrap()), (1 << 20, None));
    file.set_len(3).unwrap();
    assert_eq!(read(&disk, "/node/log"), b"aga");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_acknowledges_early_loses_what_it_acknowledged() {
    let mut setup = Setup::new();
    let disk = setup.start();
    write_and_sync(&disk);
    let file = disk.open(Path::new("/node/log"), Access::ReadWrite).unwrap();
    setup.disk.acknowledge_early();
    write(&file, b"SYNCED", 0);
    file.sync().unwrap();
    assert_eq!(read(&disk, "/node/log"), b"SYNCED and not");
    setup.disk.power_off(0);
    assert_eq!(read(&setup.start(), "/node/log"), b"synced");
}
