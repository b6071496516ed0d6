//! Errors as a newcomer meets them: each says what happened, where, and what to do.

use std::any::Any;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use chunked_wal::storage::{Access, DiskStorage, MemoryStorage};
use chunked_wal::{
    ChunkId, ChunkedWal, Config, Error, Segment, StateMachine, Storage, StorageFile, WalRecord,
};

use crate::common::*;

/// The sentence contains all of these, and no name of a type.
#[track_caller]
fn says(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
    assert!(!text.contains("ChunkId("), "{text}");
}

fn open(dir: &Path) -> Result<Wal, Error> {
    Wal::open(Config::new(dir), &mut List::default())
}

struct Picky;

impl StateMachine<Words> for Picky {
    type Error = &'static str;

    fn apply(&mut self, record: &WalRecord<Words>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        match record {
            WalRecord::Action(_) => Err("the account is empty"),
            WalRecord::Checkpoint(_) => Ok(()),
        }
    }

    fn checkpoint(&self) -> String {
        Default::default()
    }
}

#[test]
fn a_refused_record_was_not_appended() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = ChunkedWal::<Words>::open(Config::new(dir.path()), &mut Picky).unwrap();
    let end = wal.progress().appended;
    let error = wal.append_and_apply("pay".to_string(), &mut Picky).unwrap_err();
    let name = ChunkId(0).file_name();
    says(&error, &["refused the record", &name, "the account is empty", "nothing was appended"]);
    assert_eq!(wal.progress().appended, end);
    // Appended without being applied, it is refused when the log is opened.
    wal.append(&action("pay")).unwrap();
    wal.close().unwrap();
    let error = ChunkedWal::<Words>::open(Config::new(dir.path()), &mut Picky).unwrap_err();
    says(&error, &["refused the record", &name, "the account is empty", "when opening: use a state machine"]);
}

#[test]
fn chunks_have_the_names_of_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = open(dir.path()).unwrap();
    says(
        &wal.remove_chunks(vec![ChunkId(0)]).unwrap_err(),
        &[&ChunkId(0).file_name(), "no chunk is drained"],
    );
}

#[test]
fn an_empty_file_is_called_empty() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(ChunkId(0).file_name()), "").unwrap();
    let error = open(dir.path()).unwrap_err();
    says(&error, &[&ChunkId(0).file_name(), "is not a chunk: the file is empty;", "restore it from a copy"]);
    assert!(!error.to_string().contains('['), "{error}");
}

#[test]
fn a_newer_version_needs_no_feature() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close().unwrap();
    let path = dir.path().join(ChunkId(0).file_name());
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    fs::write(&path, bytes).unwrap();
    let error = open(dir.path()).unwrap_err();
    says(&error, &["has format version 2", "reads up to 1", "open it with a newer version"]);
    assert!(!error.to_string().contains("feature"), "{error}");
}

#[test]
fn a_feature_that_the_build_lacks_is_named() {
    let unsupported =
        |what, found, known| Error::Unsupported { path: "x".into(), offset: 0, what, found, known };
    let error = unsupported("features (cargo feature `lz4`)", 3, 1);
    says(&error, &["'x' at offset 0", "0x3", "with a build that has the cargo feature `lz4`"]);
    assert!(!error.to_string().contains("newer"), "{error}");
    let error = unsupported("frame kind", 9, 7);
    says(&error, &["needs frame kind 0x9", "open it with a newer version"]);
}

#[test]
fn a_file_in_the_place_of_the_directory_is_called_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("log")] {
        let error = open(&path).unwrap_err();
        says(&error, &[&path.display().to_string(), "a log is a directory, and this is a file"]);
    }
}

#[test]
fn the_process_that_has_the_log_open_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let _wal = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    let who =
        if cfg!(target_os = "linux") { "this process has this log open already" } else { "another writer" };
    says(&error, &["LOCK' is locked", who, "close it first", "`WalReader::open_read_only`"]);
}

#[test]
fn a_full_disk_names_the_setting_that_asked_for_the_space() {
    let disk = MemoryStorage::default();
    disk.set_capacity(Some(1 << 20));
    let options = Wal::options(Config::new("/log")).storage(Arc::new(disk));
    let error = options.open(&mut List::default()).unwrap_err();
    assert!(matches!(error, Error::StorageFull { .. }), "{error:?}");
    says(&error, &["no space for '/log/", "67174400 bytes", "reserves `chunk_max_size` bytes ahead"]);
}

/// A file system that can only be read.
#[derive(Debug)]
struct ReadOnly;

impl ReadOnly {
    fn refuse<T>() -> io::Result<T> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl Storage for ReadOnly {
    fn create_dir(&self, _: &Path) -> io::Result<PathBuf> {
        Self::refuse()
    }
    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        DiskStorage.resolve_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        DiskStorage.list(dir)
    }
    fn create(&self, _: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Self::refuse()
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        if access == Access::Read { DiskStorage.open(path, access) } else { Self::refuse() }
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Self::refuse()
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Self::refuse()
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Self::refuse()
    }
    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        Self::refuse()
    }
}

#[test]
fn a_log_that_can_only_be_read_is_opened_in_another_way() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close().unwrap();
    let options = Wal::options(Config::new(dir.path())).storage(Arc::new(ReadOnly));
    let error = options.open(&mut List::default()).unwrap_err();
    says(&error, &["lock '", "to only read it, use `WalReader::open_read_only`"]);
    // As that says.
    let reader = chunked_wal::WalReader::<Words>::read_only_options(dir.path()).storage(Arc::new(ReadOnly));
    assert_eq!(reader.open().unwrap().records().count(), 1);
    // Neither allowed to write.
    let refused = |op, path: &str| Error::Io {
        op,
        path: path.into(),
        source: Arc::new(io::ErrorKind::PermissionDenied.into()),
    };
    says(&refused("lock", "log/LOCK"), &["lock 'log/LOCK' failed", "`WalReader::open_read_only`"]);
    says(&refused("create directory", "log"), &["make the directory first"]);
    assert!(!refused("read", "log").to_string().contains(';'));
}
