//! Changes of names that fail: a directory's sync that fails and later claims success, a directory that has
//! no room for a name.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use chunked_wal::storage::{Access, Fault, FaultHow, MemoryStorage, OpKind, Storage, StorageFile};
use chunked_wal::{ChunkId, ChunkedWal, Error};

use crate::common::*;

/// Crashes that each case is tried with.
const CRASHES: u64 = 24;

fn lying() -> Fault {
    Fault::new(OpKind::SyncDir, 0, FaultHow::SyncLies)
}

/// At the next rotation, whose first sync of the directory is that of a new spare.
fn lying_about_a_chunk() -> Fault {
    Fault::new(OpKind::SyncDir, 1, FaultHow::SyncLies)
}

/// A log of some chunks, with one word in each, on a disk that is sound so far.
fn log_of(chunks: usize, spare_chunks: u64) -> (Disk, Wal, List) {
    let disk = Disk::with(|config| config.spare_chunks = spare_chunks);
    let (mut wal, mut list) = disk.open();
    for chunk in 0..chunks {
        fill_chunk(&mut wal, &mut list, &format!("word-{chunk}")).unwrap();
    }
    wal.wait_idle().unwrap();
    (disk, wal, list)
}

/// Appends a word and begins the next chunk, durably.
fn fill_chunk(wal: &mut Wal, list: &mut List, word: &str) -> Result<(), Error> {
    wal.append_and_apply(word.to_string(), list)?;
    wal.close_open_chunk(list)?;
    wal.sync()
}

fn drain(wal: &mut Wal, chunks: usize) -> Vec<ChunkId> {
    let mut left = chunks;
    wal.drain_closed_chunks_while(|_| left.checked_sub(1).inspect(|n| left = *n).is_some())
}

fn remove(wal: &mut Wal, chunks: usize) -> Result<Vec<ChunkId>, Error> {
    let ids = drain(wal, chunks);
    wal.remove_chunks(ids.clone())?;
    wal.wait_idle()?;
    Ok(ids)
}

/// After any power loss, a log with at least these words opens, and continues.
fn survives_crashes(what: &str, disk: &Disk, words: &[String]) {
    for seed in 0..CRASHES {
        let crashed = disk.on(disk.storage.crash(seed));
        let (mut wal, mut list) = crashed.try_open().unwrap_or_else(|e| panic!("{what}, crash {seed}: {e}"));
        assert!(list.words.starts_with(words), "{what}, crash {seed}: {:?} of {words:?}", list.words);
        wal.append_and_apply("later".to_string(), &mut list).unwrap();
        wal.close().unwrap();
        assert_eq!(crashed.open().1.words, list.words, "{what}, crash {seed}");
    }
}

#[test]
fn a_new_chunks_name_whose_sync_failed_is_made_again_before_it_is_trusted() {
    for appends in [0, 3] {
        let (disk, mut wal, mut list) = log_of(2, 2);
        disk.storage.fail(lying_about_a_chunk());
        // No commit waits for the sync that fails.
        let failed = fill_chunk(&mut wal, &mut list, "before");
        assert!(matches!(failed, Ok(()) | Err(Error::Poisoned { .. } | Error::Io { .. })), "{failed:?}");
        let closed = wal.close();
        let Err(Error::Poisoned { cause }) = closed else { panic!("{closed:?}") };
        assert!(matches!(*cause, Error::Io { op: "sync directory", .. }), "{cause}");

        // In the same boot: what the failed sync left is still seen.
        let disk = disk.on(disk.storage.kill());
        let (mut wal, mut list) = disk.open();
        assert_eq!(list.words, ["word-0", "word-1", "before"]);
        survives_crashes("as it was opened", &disk, &list.words);
        for i in 0..appends {
            wal.append_and_apply(format!("acknowledged-{i}"), &mut list).unwrap();
            wal.sync().unwrap();
            survives_crashes("while it goes on", &disk, &list.words);
        }
        fill_chunk(&mut wal, &mut list, "in the next").unwrap();
        survives_crashes("after a rotation", &disk, &list.words);
        wal.close().unwrap();
        survives_crashes("after a close", &disk, &list.words);
    }
}

#[test]
fn an_open_that_makes_a_name_again_survives_a_crash_at_every_operation() {
    let (disk, mut wal, mut list) = log_of(2, 2);
    disk.storage.fail(lying_about_a_chunk());
    let _may_be_ok = fill_chunk(&mut wal, &mut list, "before");
    wal.close().unwrap_err();
    for operations in 0.. {
        let disk = disk.on(disk.storage.kill());
        disk.storage.crash_after(operations);
        let opened = disk.try_open();
        let done = opened.is_ok();
        drop(opened);
        // What the rotation sealed is durable, and so is what came back from an open.
        let words = ["word-0", "word-1", "before"].map(str::to_string);
        survives_crashes(&format!("{operations} operations"), &disk, &words);
        // And after a kill at the same place.
        let killed = disk.on(disk.storage.kill());
        let (wal, list) = killed.open();
        assert_eq!(list.words, words);
        survives_crashes(&format!("{operations} operations, opened once more"), &killed, &words);
        wal.close().unwrap();
        if done {
            assert!(operations > 3);
            return;
        }
    }
}

#[test]
fn a_name_that_is_proven_is_not_made_again() {
    let (disk, mut wal, mut list) = log_of(2, 2);
    for word in ["a", "b"] {
        wal.append_and_apply(word.to_string(), &mut list).unwrap();
        wal.sync().unwrap();
    }
    // Not closed: the mark of a quiet moment proves it.
    wal.wait_idle().unwrap();
    let disk = disk.on(disk.storage.kill());
    disk.storage.record(true);
    disk.open().0.close().unwrap();
    let log = disk.storage.take_log();
    assert!(!log.iter().any(|line| line.starts_with("rename r-")), "{log:#?}");
}

#[test]
fn a_removal_whose_sync_failed_is_made_again_before_it_is_trusted() {
    for spare_chunks in [0, 2] {
        let (disk, mut wal, list) = log_of(5, spare_chunks);
        disk.storage.fail(lying());
        let told = remove(&mut wal, 3);
        assert!(matches!(told, Err(Error::Io { op: "sync directory", .. })), "{told:?}");
        survives_crashes("while the removal waits", &disk, &list.words);
        wal.wait_idle().unwrap();
        survives_crashes("once it is done", &disk, &list.words);
        let left = disk.storage.files("/log").iter().filter(|name| name.starts_with("r-")).count();
        assert_eq!(left, 3);
        wal.close().unwrap();
        survives_crashes("after a close", &disk, &list.words);
    }
}

#[test]
fn a_removal_whose_sync_failed_in_an_earlier_process_leaves_no_gap() {
    for spare_chunks in [0, 2] {
        for later in [0, 2] {
            let (disk, mut wal, list) = log_of(5, spare_chunks);
            disk.storage.fail(lying());
            let ids = drain(&mut wal, 1);
            disk.storage.fail(Fault::new(OpKind::SyncDir, 0, FaultHow::Io).sticky());
            wal.remove_chunks(ids).unwrap();
            wal.wait_idle().unwrap_err();
            let disk = disk.on(disk.storage.kill());
            // As the next process has it, with another number of spares perhaps.
            let disk = Disk { config: with_spares(&disk, later), ..disk };
            let (mut wal, _) = disk.open();
            survives_crashes("as it was opened", &disk, &list.words);
            remove(&mut wal, 2).unwrap();
            survives_crashes("after later removals", &disk, &list.words);
        }
    }
}

fn with_spares(disk: &Disk, spare_chunks: u64) -> chunked_wal::Config {
    let mut config = disk.config.clone();
    config.spare_chunks = spare_chunks;
    config
}

/// Opens the log after any power loss, and expects its oldest chunk to be the same each time.
fn starts_with(disk: &Disk, oldest: ChunkId, what: &str) {
    for seed in 0..CRASHES {
        let (wal, _) = disk.on(disk.storage.crash(seed)).open();
        assert_eq!(wal.closed_chunk_stats()[0].chunk_id, oldest, "{what}, crash {seed}");
    }
}

#[test]
fn a_removed_chunk_stays_removed_if_an_open_gives_its_file_up_and_its_sync_fails() {
    for spare_chunks in [0, 1] {
        let (disk, mut wal, _) = log_of(5, spare_chunks);
        // Killed between the rename and the sync.
        disk.storage.fail(Fault::new(OpKind::SyncDir, 0, FaultHow::Io).sticky());
        let removed = drain(&mut wal, 1);
        wal.remove_chunks(removed.clone()).unwrap();
        wal.wait_idle().unwrap_err();
        let disk = disk.on(disk.storage.kill());
        disk.storage.fail(lying());
        let failed = disk.try_open();
        assert!(matches!(failed, Err(Error::Io { op: "sync directory", .. })), "{failed:?}");
        drop(failed);

        let disk = disk.on(disk.storage.kill());
        let (wal, _) = disk.open();
        let oldest = wal.closed_chunk_stats()[0].chunk_id;
        assert!(oldest > removed[0]);
        starts_with(&disk, oldest, "as it was opened");
        let spares = disk.storage.files("/log").iter().filter(|name| name.starts_with("spare-")).count();
        assert!(spares <= 1, "{spares}");
        wal.close().unwrap();
        starts_with(&disk, oldest, "after a close");
    }
}

#[test]
fn failed_removals_leave_no_files() {
    for how in [FaultHow::Io, FaultHow::DoneButIo, FaultHow::SyncLies] {
        for kind in [OpKind::SyncDir, OpKind::Rename] {
            let (disk, mut wal, list) = log_of(8, 2);
            let ids = drain(&mut wal, 6);
            disk.storage.fail(Fault { kind: Some(kind), nth: 0, how, sticky: true });
            wal.remove_chunks(ids).unwrap();
            for _ in 0..5 {
                let told = wal.wait_idle();
                assert!(told.is_err() || how == FaultHow::SyncLies && kind == OpKind::Rename, "{told:?}");
            }
            disk.storage.heal();
            let _told = wal.wait_idle();
            wal.wait_idle().unwrap();
            let files = disk.storage.files("/log");
            let count = |prefix: &str| files.iter().filter(|name| name.starts_with(prefix)).count();
            assert_eq!((count("r-"), files.len()), (3, 3 + 1 + count("spare-")), "{files:?}");
            assert!(count("spare-") <= 3, "{how:?} of {kind:?}: {files:?}");
            survives_crashes("after them", &disk, &list.words);
        }
    }
}

#[test]
fn a_directory_whose_name_could_not_be_made_durable_is_made_again() {
    for nth in 0..4 {
        let mut disk = Disk::default();
        disk.config.dir = "/a/b/log".into();
        disk.storage.fail(Fault::new(OpKind::SyncDir, nth, FaultHow::SyncLies));
        // The first is the root's, in which nothing was made yet.
        let opened = disk.try_open();
        assert!(matches!(opened, Err(Error::Io { .. })), "{nth}: {opened:?}");
        let disk = disk.on(disk.storage.kill());
        let (mut wal, mut list) = disk.open();
        wal.append_and_apply("acknowledged".to_string(), &mut list).unwrap();
        wal.sync().unwrap();
        survives_crashes(&format!("sync {nth}"), &disk, &list.words);
    }
}

#[test]
fn a_directory_without_room_for_a_name_is_no_end_where_there_is_a_way() {
    // A removal needs no new name.
    let (disk, mut wal, list) = log_of(4, 2);
    disk.storage.fail(Fault::new(OpKind::Rename, 0, FaultHow::NoSpace).sticky());
    remove(&mut wal, 3).unwrap();
    disk.storage.heal();
    survives_crashes("after removals", &disk, &list.words);

    // A rotation takes the room of another spare.
    let (disk, mut wal, mut list) = log_of(4, 2);
    remove(&mut wal, 2).unwrap();
    disk.storage.fail(Fault::new(OpKind::Rename, 0, FaultHow::NoSpace));
    fill_chunk(&mut wal, &mut list, "more").unwrap();
    survives_crashes("after a rotation", &disk, &list.words);
    wal.close().unwrap();

    // A new log says what is wrong.
    let disk = Disk::on(&Disk::default(), MemoryStorage::default());
    disk.storage.fail(Fault::new(OpKind::Rename, 0, FaultHow::NoSpace).sticky());
    let refused = disk.try_open();
    let Err(Error::Io { op: "rename", source, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    disk.storage.heal();
    disk.open().0.close().unwrap();
}

/// Who syncs the directory first once both threads have changed a name in it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum First {
    Housekeeper,
    Worker,
}

/// What the worker and the housekeeper have done since they meet.
#[derive(Debug, Default)]
struct Meeting {
    first: Option<First>,
    removed: bool,
    named: bool,
    synced: [bool; 2],
}

/// Lets the two threads change names at once, if nothing keeps them from it, and sync one after the other.
#[derive(Debug)]
struct Meet {
    disk: MemoryStorage,
    state: Mutex<Meeting>,
    changed: Condvar,
}

impl Meet {
    fn note(&self, change: impl FnOnce(&mut Meeting)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait(&self, done: impl Fn(&Meeting) -> bool) {
        let state = self.state.lock().unwrap();
        let at_most = Duration::from_millis(500);
        drop(self.changed.wait_timeout_while(state, at_most, |s| s.first.is_some() && !done(s)).unwrap());
    }
}

impl Storage for Meet {
    fn create_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        self.disk.create_dir(dir)
    }
    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        self.disk.resolve_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(dir)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.disk.create(path)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        self.disk.open(path, access)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let is_chunk = to.file_name().unwrap().to_str().unwrap().starts_with("r-");
        if is_chunk {
            self.wait(|state| state.removed);
        }
        self.disk.rename_new(from, to)?;
        self.note(|state| if is_chunk { state.named = true } else { state.removed = true });
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let is_worker = std::thread::current().name() == Some("wal-flush");
        self.wait(|state| {
            let goes_first = (state.first == Some(First::Worker)) == is_worker;
            state.removed && state.named && (goes_first || state.synced[usize::from(!is_worker)])
        });
        let synced = self.disk.sync_dir(dir);
        self.note(|state| state.synced[usize::from(is_worker)] = true);
        synced
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        self.disk.lock(path)
    }
}

#[test]
fn a_failed_sync_of_one_thread_takes_no_name_from_the_other() {
    for first in [First::Worker, First::Housekeeper] {
        let disk = Disk::with(|config| config.spare_chunks = 2);
        let state = Mutex::default();
        let meet = Arc::new(Meet { disk: disk.storage.clone(), state, changed: Condvar::new() });
        let mut list = List::default();
        let options = ChunkedWal::options(disk.config.clone()).storage(meet.clone());
        let mut wal: Wal = options.open(&mut list).unwrap();
        for chunk in 0..5 {
            fill_chunk(&mut wal, &mut list, &format!("word-{chunk}")).unwrap();
        }
        // Leaves a spare, so that the rotation need not wait for one.
        remove(&mut wal, 1).unwrap();

        meet.note(|state| *state = Meeting { first: Some(first), ..Meeting::default() });
        disk.storage.fail(lying());
        let ids = drain(&mut wal, 2);
        wal.remove_chunks(ids).unwrap();
        let filled = fill_chunk(&mut wal, &mut list, "before");
        meet.note(|state| state.first = None);
        let mut acknowledged = list.words.clone();
        if filled.is_ok()
            && wal.append_and_apply("acknowledged".to_string(), &mut list).is_ok()
            && wal.sync().is_ok()
        {
            acknowledged.clone_from(&list.words);
        }
        // After any failure, the housekeeper finishes its work.
        let _told = wal.wait_idle();
        let _told = wal.close();
        survives_crashes(&format!("{first:?} first"), &disk, &acknowledged);
    }
}

#[test]
fn a_doubtful_name_that_can_not_be_made_again_is_a_full_disk_and_nothing_is_lost() {
    let (disk, mut wal, mut list) = log_of(2, 2);
    fill_chunk(&mut wal, &mut list, "before").unwrap();
    let disk = disk.on(disk.storage.kill());
    assert_eq!(wal.last_segment().offset, wal.open_chunk_id().0 + 64);
    disk.storage.fail(Fault::new(OpKind::Rename, 0, FaultHow::NoSpace).sticky());
    let opened = disk.try_open();
    assert!(matches!(opened, Err(Error::StorageFull { .. })), "{opened:?}");
    disk.storage.heal();
    survives_crashes("without room", &disk, &list.words);
    assert_eq!(disk.open().1.words, list.words);
}
