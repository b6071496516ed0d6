//! A [`MemoryStorage`] whose operations are on a tape.

use std::any::Any;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunked_wal::storage::{Access, MemoryStorage, Storage, StorageFile};

use crate::tape::{Act, Ended, Tape};

/// The storage.
#[derive(Debug)]
pub(crate) struct Recorded {
    disk: MemoryStorage,
    tape: Arc<Tape>,
}

impl Recorded {
    /// Records what happens on a disk.
    pub(crate) fn new(disk: MemoryStorage, tape: Arc<Tape>) -> Self {
        Recorded { disk, tape }
    }

    fn file(&self, path: &Path, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(RecordedFile { number: self.tape.file(name(path)), file, tape: self.tape.clone() })
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or("")
}

impl Storage for Recorded {
    fn create_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        // Not in the model: a log that is not there yet.
        self.disk.create_dir(dir).inspect_err(|_| drop(self.tape.end(Ended::Killed, 0)))
    }

    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        self.disk.resolve_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.tape.act(Act::Create(name(path)), || self.disk.create(path))?;
        Ok(self.file(path, file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(path, self.disk.open(path, access)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.tape.act(Act::Rename(name(from), name(to)), || self.disk.rename(from, to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.tape.act(Act::Rename(name(from), name(to)), || self.disk.rename_new(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tape.act(Act::Remove(name(path)), || self.disk.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.tape.act(Act::SyncDir, || self.disk.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        self.disk.lock(path)
    }
}

/// A file of it.
#[derive(Debug)]
struct RecordedFile {
    number: usize,
    file: Arc<dyn StorageFile>,
    tape: Arc<Tape>,
}

impl StorageFile for RecordedFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position)
    }

    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        self.file.next_data(position)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let bytes = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.tape.act(Act::Write(self.number, position, bytes), || self.file.write_at(bufs, position))
    }

    fn sync(&self) -> io::Result<()> {
        self.tape.act(Act::Sync(self.number), || self.file.sync())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.tape.act(Act::SetLen(self.number, len), || self.file.set_len(len))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
