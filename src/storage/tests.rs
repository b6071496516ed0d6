//! Tests of all storages, run on each of them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsString;
use std::io;
use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;

/// Runs a test on an empty directory of each storage.
fn on_each(test: impl Fn(&dyn Storage, &Path)) {
    let temp = tempfile::tempdir().unwrap();
    test(&DiskStorage, &temp.path().canonicalize().unwrap());
    let memory = MemoryStorage::default();
    test(&memory, &memory.create_dir(Path::new("/some/where")).unwrap());
}

fn put(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> Arc<dyn StorageFile> {
    let file = storage.create(path).unwrap();
    write_all_at(&*file, &mut [IoSlice::new(bytes)], 0).unwrap();
    file
}

fn read_all(file: &dyn StorageFile) -> Vec<u8> {
    let mut buf = vec![0xEE; file.len().unwrap() as usize + 10];
    let n = read_full_at(file, &mut buf, 0).unwrap();
    assert_eq!(n as u64, file.len().unwrap());
    buf.truncate(n);
    buf
}

fn names(storage: &dyn Storage, dir: &Path) -> Vec<OsString> {
    let mut names = storage.list(dir).unwrap();
    names.sort();
    names
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().unwrap().kind()
}

#[test]
fn reads_what_was_written() {
    on_each(|storage, dir| {
        let file = storage.create(&dir.join("a")).unwrap();
        assert_eq!((file.len().unwrap(), file.is_empty().unwrap()), (0, true));

        let parts = [IoSlice::new(b""), IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two!")];
        write_all_at(&*file, &mut parts.clone(), 4094).unwrap(); // over the end of a page
        assert_eq!(file.len().unwrap(), 4101);
        let bytes = read_all(&*file);
        assert_eq!((&bytes[..4094], &bytes[4094..]), (&[0; 4094][..], &b"onetwo!"[..]));

        let mut buf = [0xEE; 8];
        assert_eq!(read_full_at(&*file, &mut buf, 4097).unwrap(), 4);
        assert_eq!(&buf[..5], b"two!\xEE");
        assert_eq!(file.read_at(&mut buf, 4101).unwrap(), 0, "at the end");
        assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0, "after the end");
        assert_eq!(file.write_at(&[], 9000).unwrap(), 0);
        assert_eq!(file.write_at(&[IoSlice::new(b"")], 9000).unwrap(), 0);
        assert_eq!(file.len().unwrap(), 4101, "writing nothing doesn't grow a file");
    });
}

#[test]
fn takes_more_slices_than_one_call_can() {
    on_each(|storage, dir| {
        let bytes: Vec<[u8; 3]> = (0..3000u32).map(|i| [i as u8, (i >> 8) as u8, 7]).collect();
        let mut slices: Vec<IoSlice<'_>> = bytes.iter().map(|b| IoSlice::new(b)).collect();
        let file = storage.create(&dir.join("a")).unwrap();
        write_all_at(&*file, &mut slices, 5).unwrap();
        assert_eq!(read_all(&*file)[5..], bytes.concat());
        file.sync().unwrap();
    });
}

#[test]
fn cuts_and_extends_by_zeros() {
    on_each(|storage, dir| {
        let file = put(storage, &dir.join("a"), &[9; 10_000]);
        file.set_len(5000).unwrap();
        file.set_len(12_000).unwrap();
        let bytes = read_all(&*file);
        assert_eq!((&bytes[..5000], &bytes[5000..]), (&[9; 5000][..], &[0; 7000][..]));
        file.set_len(0).unwrap();
        assert!(file.is_empty().unwrap());
    });
}

#[test]
fn allocates_without_harm() {
    on_each(|storage, dir| {
        let file = put(storage, &dir.join("a"), b"before");
        file.allocate(0).unwrap();
        file.allocate(10_000).unwrap();
        assert_eq!(file.len().unwrap(), 10_000);
        assert!(read_all(&*file).starts_with(b"before\0\0"));
        file.allocate(3).unwrap();
        assert_eq!(file.len().unwrap(), 10_000, "never shrinks");
        file.allocate(10_001).unwrap();
        assert_eq!(file.len().unwrap(), 10_001);
    });
}

#[test]
fn only_zeros_are_holes() {
    const BLOCK: u64 = 64 << 10;
    on_each(|storage, dir| {
        let file = put(storage, &dir.join("a"), b"first");
        file.allocate(20 * BLOCK).unwrap();
        file.write_at(&[IoSlice::new(b"last")], 15 * BLOCK - 2).unwrap();
        file.set_len(40 * BLOCK).unwrap();
        let bytes = read_all(&*file);
        for position in (0..41 * BLOCK).step_by(1000).chain([15 * BLOCK - 1, 15 * BLOCK + 1, u64::MAX / 4]) {
            let next = file.next_data(position).unwrap().unwrap_or(bytes.len() as u64);
            let hole = bytes.get(position as usize..next as usize).unwrap_or_default();
            assert!(hole.iter().all(|b| *b == 0), "from {position} to {next}");
        }
        assert_eq!(file.next_data(0).unwrap(), Some(0));
        assert!(file.next_data(2 * BLOCK).unwrap().is_some_and(|next| next < 15 * BLOCK));
    });
    let disk = MemoryStorage::default();
    let file = disk.create(Path::new("/a")).unwrap();
    assert_eq!(file.next_data(0).unwrap(), None);
    file.allocate(40 * BLOCK).unwrap();
    file.write_at(&[IoSlice::new(b"x")], 10 * BLOCK).unwrap();
    assert_eq!(file.next_data(0).unwrap(), Some(10 * BLOCK));
    assert_eq!(file.next_data(11 * BLOCK).unwrap(), None);
}

#[test]
fn hints_change_no_byte() {
    on_each(|storage, dir| {
        let file = put(storage, &dir.join("a"), &[7; 100_000]);
        file.allocate(1 << 20).unwrap();
        let bytes = read_all(&*file);
        for position in [0, 1, 4096, 99_999, 1 << 20, 1 << 30, u64::MAX] {
            file.write_back(position, 50_000).unwrap();
            file.write_back(position, u64::MAX).unwrap();
            file.forget_cached(position);
            assert_eq!(read_all(&*file), bytes);
        }
    });
}

#[test]
fn creates_only_what_is_not_there() {
    on_each(|storage, dir| {
        put(storage, &dir.join("a"), b"kept");
        assert_eq!(kind(storage.create(&dir.join("a"))), ErrorKind::AlreadyExists);
        assert_eq!(kind(storage.create(&dir.join("no/a"))), ErrorKind::NotFound);
        assert_eq!(kind(storage.open(&dir.join("b"), Access::ReadWrite)), ErrorKind::NotFound);
        assert_eq!(read_all(&*storage.open(&dir.join("a"), Access::Read).unwrap()), b"kept");
    });
}

#[test]
fn a_reader_cannot_write() {
    on_each(|storage, dir| {
        put(storage, &dir.join("a"), b"kept");
        let reader = storage.open(&dir.join("a"), Access::Read).unwrap();
        assert!(reader.write_at(&[IoSlice::new(b"x")], 0).is_err());
        assert!(reader.set_len(0).is_err());
        assert!(reader.allocate(100).is_err());
        assert_eq!(read_all(&*reader), b"kept");
        reader.sync().unwrap();

        let writer = storage.open(&dir.join("a"), Access::ReadWrite).unwrap();
        writer.write_at(&[IoSlice::new(b"K")], 0).unwrap();
        assert_eq!(read_all(&*reader), b"Kept");
    });
}

#[test]
fn a_handle_outlives_the_name() {
    on_each(|storage, dir| {
        let (a, b) = (dir.join("a"), dir.join("b"));
        let (first, second) = (put(storage, &a, b"first"), put(storage, &b, b"second"));
        storage.rename(&a, &b).unwrap();
        storage.sync_dir(dir).unwrap();
        assert_eq!(names(storage, dir), ["b"]);
        assert_eq!(read_all(&*storage.open(&b, Access::Read).unwrap()), b"first");
        assert_eq!(read_all(&*second), b"second", "replaced, and still open");

        storage.remove(&b).unwrap();
        storage.sync_dir(dir).unwrap();
        assert!(names(storage, dir).is_empty());
        first.write_at(&[IoSlice::new(b"F")], 0).unwrap();
        first.sync().unwrap();
        assert_eq!(read_all(&*first), b"First");

        put(storage, &b, b"new");
        storage.rename(&b, &b).unwrap();
        assert_eq!(read_all(&*storage.open(&b, Access::Read).unwrap()), b"new");
        assert_eq!(kind(storage.rename(&a, &b)), ErrorKind::NotFound);
        assert_eq!(kind(storage.remove(&a)), ErrorKind::NotFound);
    });
}

#[test]
fn lists_files_and_directories() {
    on_each(|storage, dir| {
        put(storage, &dir.join("file"), b"");
        storage.create_dir(&dir.join("dir")).unwrap();
        assert_eq!(names(storage, dir), ["dir/", "file"]);
        assert_eq!(kind(storage.list(&dir.join("no"))), ErrorKind::NotFound);
        assert_eq!(kind(storage.list(&dir.join("file"))), ErrorKind::NotADirectory);
        assert_eq!(kind(storage.sync_dir(&dir.join("no"))), ErrorKind::NotFound);
    });
}

#[test]
fn makes_directories_all_the_way() {
    on_each(|storage, dir| {
        let deep = dir.join("a/b/../c/./d");
        storage.create_dir(&dir.join("a/b")).unwrap();
        let made = storage.create_dir(&deep).unwrap();
        assert_eq!(made, dir.join("a/c/d"));
        assert_eq!(storage.create_dir(&deep).unwrap(), made, "a second time is fine");
        assert_eq!(storage.resolve_dir(&deep).unwrap(), made);
        assert_eq!(names(storage, &dir.join("a")), ["b/", "c/"]);

        put(storage, &dir.join("file"), b"");
        assert_eq!(kind(storage.resolve_dir(&dir.join("file"))), ErrorKind::NotADirectory);
        assert_eq!(kind(storage.resolve_dir(&dir.join("no"))), ErrorKind::NotFound);
        assert_eq!(kind(storage.create_dir(&dir.join("file"))), ErrorKind::NotADirectory);
        assert_eq!(kind(storage.create_dir(&dir.join("file/x"))), ErrorKind::NotADirectory);
    });
}

#[test]
fn a_lock_is_held_once() {
    on_each(|storage, dir| {
        let path = dir.join("LOCK");
        let held = storage.lock(&path).unwrap().unwrap();
        assert!(storage.lock(&path).unwrap().is_none());
        drop(held);
        let held = storage.lock(&path).unwrap().unwrap();
        assert_eq!(names(storage, dir), ["LOCK"]);

        // The lock belongs to the file, not to the name; real directories are locked with it.
        storage.rename(&path, &dir.join("moved")).unwrap();
        assert!(storage.lock(&dir.join("moved")).unwrap().is_none());
        drop(held);
        assert!(storage.lock(&path).unwrap().is_some());
        assert_eq!(kind(storage.lock(&dir.join("no/LOCK"))), ErrorKind::NotFound);
    });
}

#[test]
fn a_lock_does_not_empty_its_file() {
    on_each(|storage, dir| {
        let file = put(storage, &dir.join("LOCK"), b"pid 7");
        let _held = storage.lock(&dir.join("LOCK")).unwrap().unwrap();
        assert_eq!(read_all(&*file), b"pid 7");
    });
}

#[test]
fn a_link_leads_to_the_directory() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().canonicalize().unwrap();
    std::fs::create_dir(dir.join("real")).unwrap();
    std::os::unix::fs::symlink(dir.join("real"), dir.join("link")).unwrap();
    assert_eq!(DiskStorage.create_dir(&dir.join("link")).unwrap(), dir.join("real"));
    assert_eq!(DiskStorage.create_dir(&dir.join("link/new")).unwrap(), dir.join("real/new"));
    assert_eq!(DiskStorage.resolve_dir(&dir.join("link/new")).unwrap(), dir.join("real/new"));

    std::os::unix::fs::symlink(dir.join("nowhere"), dir.join("dangling")).unwrap();
    assert_eq!(kind(DiskStorage.create_dir(&dir.join("dangling"))), ErrorKind::NotFound);
}

#[test]
fn a_relative_directory_becomes_absolute() {
    let here: PathBuf = DiskStorage.create_dir(Path::new(".")).unwrap();
    assert_eq!(here, std::env::current_dir().unwrap().canonicalize().unwrap());
}

/// A file that takes one byte at a time, is interrupted before each, and stops after ten.
#[derive(Debug, Default)]
struct Slow {
    bytes: parking_lot::Mutex<(Vec<u8>, bool)>,
}

impl StorageFile for Slow {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let (bytes, interrupted) = &mut *self.bytes.lock();
        *interrupted = !*interrupted;
        match bytes.get(position as usize) {
            _ if *interrupted => Err(ErrorKind::Interrupted.into()),
            Some(byte) => {
                buf[0] = *byte;
                Ok(1)
            }
            None => Ok(0),
        }
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let (bytes, interrupted) = &mut *self.bytes.lock();
        assert_eq!(position, bytes.len() as u64);
        *interrupted = !*interrupted;
        match bytes.len() {
            _ if *interrupted => Err(ErrorKind::Interrupted.into()),
            10 => Ok(0),
            _ => {
                bytes.push(bufs[0][0]);
                Ok(1)
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().0.len() as u64)
    }
}

#[test]
fn goes_on_until_all_is_done() {
    let file = Slow::default();
    let mut parts = [IoSlice::new(b"abc"), IoSlice::new(b""), IoSlice::new(b"defg")];
    write_all_at(&file, &mut parts, 0).unwrap();
    assert_eq!(file.bytes.lock().0, b"abcdefg");

    let mut buf = [0; 5];
    assert_eq!(read_full_at(&file, &mut buf, 1).unwrap(), 5);
    assert_eq!(&buf, b"bcdef");
    assert_eq!(read_full_at(&file, &mut buf, 5).unwrap(), 2);
    assert_eq!(kind(write_all_at(&file, &mut [IoSlice::new(b"hijkl")], 7)), ErrorKind::WriteZero);
}
