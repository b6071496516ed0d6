//! Real files: [`DiskStorage`], a thin layer over the operating system's calls.
//!
//! - A sync is `fdatasync` (`F_FULLFSYNC` on Apple's systems); a directory's sync is `fsync`.
//! - Space is reserved by `fallocate` where the system has it; otherwise files only grow.
//! - Directories are made one level at a time, and the name of each is durable before the next is made.

#[cfg(not(unix))]
compile_error!("chunked-wal needs positional reads and writes and directory syncs: only Unix is supported");

mod directories;
mod file;
mod lock;
#[cfg(feature = "mmap")]
mod map;
mod pinned;

use std::any::Any;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use self::file::open_regular;
use self::pinned::PinnedDir;
use crate::storage::{Access, Storage, StorageFile};

pub use self::file::DiskFile;

/// The files of the operating system.
#[derive(Debug, Default, Clone, Copy)]
pub struct DiskStorage;

impl Storage for DiskStorage {
    fn create_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        directories::create(dir)
    }

    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        directories::resolve(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        directories::list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(DiskFile::from(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::ReadWrite);
        Ok(Arc::new(DiskFile::from(open_regular(&mut options, path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        directories::sync(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let Some(dir) = path.parent() else { return Err(ErrorKind::InvalidInput.into()) };
        let open = || {
            let mut options = OpenOptions::new();
            open_regular(options.read(true).write(true).create(true).truncate(false), path)
        };
        lock::lock_in(File::open(dir)?, open, || {
            fs::symlink_metadata(path).map(|named| (named.dev(), named.ino()))
        })
    }

    fn in_dir(&self, dir: &Path, file_mode: u32) -> io::Result<Option<Arc<dyn Storage>>> {
        Ok(Some(Arc::new(PinnedDir::open(dir, file_mode)?)))
    }
}
