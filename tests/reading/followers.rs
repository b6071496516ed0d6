//! Followers: what a look costs, how far they read, and what a busy directory shows them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chunked_wal::storage::{Access, Fault, FaultHow, MemoryStorage, OpKind, Storage, StorageFile};
use chunked_wal::{Error, Flush, Follow, ReadUpTo, WalReader};

use crate::common::*;

type Reader = WalReader<Words>;

/// A disk that counts the bytes read from it, and that can be replaced while a reader has it.
#[derive(Debug, Clone)]
struct Counted {
    disk: Arc<Mutex<MemoryStorage>>,
    read: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CountedFile(Arc<dyn StorageFile>, Arc<AtomicU64>);

impl Counted {
    fn of(disk: &Disk) -> Self {
        Counted { disk: Arc::new(Mutex::new(disk.storage.clone())), read: Arc::default() }
    }

    fn disk(&self) -> MemoryStorage {
        self.disk.lock().unwrap().clone()
    }

    fn reader(&self, read_up_to: ReadUpTo) -> Reader {
        Reader::read_only_options("/log").up_to(read_up_to).storage(Arc::new(self.clone())).open().unwrap()
    }

    /// The bytes read since the last call.
    fn taken(&self) -> u64 {
        self.read.swap(0, SeqCst)
    }
}

impl Storage for Counted {
    fn create_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        self.disk().create_dir(dir)
    }

    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        self.disk().resolve_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.disk().list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.disk().create(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(CountedFile(self.disk().open(path, access)?, self.read.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk().remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk().sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        self.disk().lock(path)
    }
}

impl StorageFile for CountedFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let n = self.0.read_at(buf, position)?;
        self.1.fetch_add(n as u64, SeqCst);
        Ok(n)
    }

    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        self.0.next_data(position)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.0.write_at(bufs, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

/// A follower's next record, which is there.
fn next(follow: &mut Follow<Words>) -> Record {
    follow.next_timeout(Duration::ZERO).unwrap().unwrap().2
}

fn is_none(follow: &mut Follow<Words>) -> bool {
    follow.next_timeout(Duration::ZERO).unwrap().is_none()
}

// What a look costs --------------------------------------------------------------------------------

#[test]
fn a_look_at_a_chunk_that_is_not_synced_reads_what_is_new() {
    let disk = Disk::with(|c| c.chunk_max_size = 16 << 20);
    let (mut wal, _) = disk.open();
    let counted = Counted::of(&disk);
    for read_up_to in [ReadUpTo::Written, ReadUpTo::Durable] {
        let reader = counted.reader(read_up_to);
        let mut follow = reader.follow(reader.end());
        let word = "w".repeat(16 << 10);
        for i in 0..100 {
            wal.append(&action(&word)).unwrap();
            wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
            counted.taken();
            if read_up_to == ReadUpTo::Written {
                assert_eq!(next(&mut follow), action(&word));
            }
            assert!(is_none(&mut follow));
            let taken = counted.taken();
            // The record for the look, once to check it and once to keep it, and for the reader, and the space ahead.
            assert!(taken <= 112 << 10, "look {i} read {taken} bytes, of {read_up_to:?}");
            assert!(is_none(&mut follow));
            assert!(counted.taken() <= 256, "nothing is new");
        }
    }
}

#[test]
fn a_log_that_lost_its_newest_records_is_not_continued() {
    let disk = Disk::with(|c| c.chunk_max_size = 1 << 20);
    let (mut wal, _) = disk.open();
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    let counted = Counted::of(&disk);
    let reader = counted.reader(ReadUpTo::Written);
    let durable = reader.end();
    for word in ["one", "two", "three"] {
        wal.append(&action(word)).unwrap();
        wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
        reader.refresh().unwrap();
    }
    assert!(reader.end() > durable);

    // The machine that has the files loses power; the reader is on another.
    let rest = disk.on(disk.storage.crash(0));
    *counted.disk.lock().unwrap() = rest.storage.clone();
    assert_eq!(reader.refresh().unwrap(), durable);

    let (mut wal, _) = rest.open();
    for word in ["other", "words"] {
        wal.append(&action(word)).unwrap();
    }
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    let mut follow = reader.follow(durable);
    assert_eq!([next(&mut follow), next(&mut follow)], [action("other"), action("words")]);
}

// How far ------------------------------------------------------------------------------------------

#[test]
fn a_follower_of_an_open_log_reads_up_to_its_limit() {
    let disk = Disk::with(|c| c.chunk_max_size = 200);
    let (mut wal, mut list) = disk.open();
    wal.sync().unwrap();
    let reader = wal.reader();
    let mut all = reader.follow(reader.end());
    let mut written = reader.follow(reader.end()).up_to(ReadUpTo::Written);
    let mut durable = reader.follow(reader.end()).up_to(ReadUpTo::Durable);

    disk.storage.pause_syncs(true);
    wal.append(&action("a")).unwrap();
    assert_eq!(next(&mut all), action("a"));
    assert!(is_none(&mut written) && is_none(&mut durable));
    let flushed = wal.flush_ticket(Flush::Write).unwrap();
    flushed.wait().unwrap();
    assert_eq!(next(&mut written), action("a"));
    let synced = wal.flush_ticket(Flush::Sync).unwrap();
    assert!(is_none(&mut durable));
    disk.storage.pause_syncs(false);
    synced.wait().unwrap();
    assert_eq!(next(&mut durable), action("a"));

    // Over many chunks.
    let words: Vec<_> = (0..20).map(|i| format!("{i}")).collect();
    for word in &words {
        wal.append_and_apply(word.clone(), &mut list).unwrap();
    }
    wal.sync().unwrap();
    for follow in [&mut all, &mut written, &mut durable] {
        let found: Vec<_> = std::iter::from_fn(|| follow.next_timeout(Duration::ZERO).unwrap()).collect();
        let actions = found.into_iter().map(|(_, _, record)| record).filter(|r| *r != checkpoint(""));
        let actions: Vec<_> = actions.filter(|r| words.iter().any(|word| *r == action(word))).collect();
        assert_eq!(actions, words.iter().map(|word| action(word)).collect::<Vec<_>>());
    }
    let outside = reader.follow(reader.end() + 8).up_to(ReadUpTo::Durable).next();
    assert!(matches!(outside, Some(Err(Error::NotInLog { .. }))));
}

#[test]
fn a_follower_of_a_directory_may_read_less_than_its_reader() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    let reader = Counted::of(&disk).reader(ReadUpTo::Written);
    let mut written = reader.follow(reader.end());
    let mut durable = reader.follow(reader.end()).up_to(ReadUpTo::Durable);
    wal.append(&action("a")).unwrap();
    wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
    assert_eq!(next(&mut written), action("a"));
    assert!(is_none(&mut durable));
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    assert_eq!(next(&mut durable), action("a"));
}

// A busy directory ---------------------------------------------------------------------------------

#[test]
fn a_listing_that_misses_a_name_or_has_one_twice_hides_no_record() {
    let disk = Disk::with(|c| c.chunk_max_size = 200);
    let (mut wal, mut list) = disk.open();
    for i in 0..20 {
        wal.append_and_apply(format!("{i}"), &mut list).unwrap();
    }
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    let expected = wal.records().count();
    let names = disk.storage.files("/log").len();
    for n in 0..names {
        for how in [FaultHow::MissesName(n), FaultHow::NameTwice(n)] {
            for nth in 0..6 {
                disk.storage.fail(Fault::new(OpKind::List, nth, how));
                let reader = Counted::of(&disk).reader(ReadUpTo::Durable);
                assert_eq!(reader.records().count(), expected, "{how:?} in listing {nth}");
                for _ in 0..4 {
                    reader.refresh().unwrap();
                    assert_eq!(reader.records().count(), expected, "{how:?} in listing {nth}");
                }
                disk.storage.heal();
            }
        }
    }
}
