//! The one seam to the disk: every file operation of the log goes through [`Storage`] and
//! [`StorageFile`].
//!
//! ```text
//! recovery, flush, chunk ──► Storage / StorageFile ──► DiskStorage     real files
//!                                                  └─► MemoryStorage   a disk in memory (feature `testing`)
//! ```
//!
//! - Positions are bytes from the start of a file; no file has a cursor.
//! - Nothing here retries a failed sync or hides an error.
//! - [`StorageFile::write_at`] and [`StorageFile::read_at`] may do less than asked and may be
//!   interrupted; `write_all_at` and `read_full_at` handle that, once for all storages.

mod disk;
#[cfg(any(test, feature = "testing"))]
mod memory;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

pub use disk::{DiskFile, DiskStorage};
#[cfg(any(test, feature = "testing"))]
pub use memory::*;

/// Directories and names: a storage makes, opens, renames and removes files.
///
/// Every call blocks until the operating system has answered. A name that was made, changed or removed
/// is durable only after [`sync_dir`](Self::sync_dir) on its directory.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Makes `dir` and its missing parents, one directory at a time. Makes each new name durable, by
    /// syncing its parent, before it makes the next directory. Returns the directory's absolute path,
    /// links resolved.
    ///
    /// The name of the lowest existing directory, perhaps `dir` itself, is made durable too, because a
    /// process may have been killed between making it and syncing its parent. If that parent may not be
    /// opened, it is skipped: this log made nothing in it.
    fn create_dir(&self, dir: &Path) -> io::Result<PathBuf>;

    /// Returns the absolute path of an existing directory, links resolved.
    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf>;

    /// Returns the names in `dir`, in any order. A directory's name ends in `/`.
    fn list(&self, dir: &Path) -> io::Result<Vec<std::ffi::OsString>>;

    /// Makes a new, empty file for reading and writing; an error if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens an existing file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>>;

    /// Renames the file at `from` to `to`, in the same directory; replaces a file at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames the file at `from` to `to`, in the same directory, if no file has that name.
    ///
    /// The default checks first, and then [renames](Self::rename).
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists), and nothing has changed.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.open(from, Access::Read)?;
        match self.open(to, Access::Read) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.rename(from, to),
            _ => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Removes a name; the file's bytes are freed with its last handle.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the advisory lock at `path`; makes the file if it is missing. Returns `None` if this
    /// process or another one holds the lock. Dropping the returned guard releases it. Where a file may
    /// be removed while it is locked, its directory is locked as well.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;

    /// Returns the same storage for one existing directory, whose path is resolved, and the files in
    /// it. That storage keeps the directory itself, even if it is renamed, and makes files with the
    /// permissions `file_mode`, less the process's umask. An open log uses no other storage, so that it
    /// needs no descriptor to make a name durable.
    ///
    /// The default is `None`: this storage uses paths, and gives files its own permissions.
    fn in_dir(&self, _dir: &Path, _file_mode: u32) -> io::Result<Option<Arc<dyn Storage>>> {
        Ok(None)
    }
}

/// The access that a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// An open file, shared by its users, and closed with its last reference.
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// Reads into `buf` from `position`; returns the number of bytes, 0 only at the end of the file (or
    /// for an empty `buf`). May read less than there is.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;

    /// Returns the first position from `position` on where something may have been written; `None` if
    /// nothing was, up to the end. Everything before that is a hole, and reads as zeros. So a log finds
    /// its end without reading space that was only reserved.
    ///
    /// The default reports no hole, which is always right. A storage that reports holes must never skip
    /// bytes that [`read_at`](Self::read_at) returns as anything but zeros.
    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        Ok(Some(position))
    }

    /// Starts to write `len` bytes from `position` on to stable storage, without waiting. A hint: only
    /// [`sync`](Self::sync) makes bytes durable.
    ///
    /// The default does nothing, which is always right.
    ///
    /// # Errors
    ///
    /// A failure that the next [`sync`](Self::sync) may not report again: it ends the log. A storage
    /// that can't do this returns no error.
    fn write_back(&self, position: u64, len: u64) -> io::Result<()> {
        let _ = (position, len);
        Ok(())
    }

    /// [Writes back](Self::write_back) `len` bytes from `position` on, and waits until they are written. Not a sync:
    /// what is needed to read them back may be missing. So a thread that has time writes much, and leaves little to
    /// do for the next sync.
    ///
    /// The default only starts, which is always right.
    ///
    /// # Errors
    ///
    /// A failure that the next [`sync`](Self::sync) may not report again.
    fn finish_write_back(&self, position: u64, len: u64) -> io::Result<()> {
        self.write_back(position, len)
    }

    /// Hints that bytes from `position` on won't be read. Changes no byte: a storage that caches need
    /// not keep that part.
    ///
    /// The default does nothing, which is always right. The hint matters where reserved space no longer
    /// counts as a hole once it was read.
    fn forget_cached(&self, position: u64) {
        let _ = position;
    }

    /// Returns the file's first `len` bytes as a file that is read in memory, if this storage can do
    /// that and the file has as many bytes. The log asks for it only where
    /// [`ClosedReads`](crate::ClosedReads) says so, and neither changes these bytes nor cuts the file
    /// until it has dropped the result. Closing the log waits for that, so keep no clone of it.
    ///
    /// The default is `None`: the file is read by [`read_at`](Self::read_at).
    fn map(&self, _len: u64) -> io::Result<Option<Arc<dyn StorageFile>>> {
        Ok(None)
    }

    /// Writes the buffers one after the other at `position`; returns the number of bytes, which may be
    /// fewer than given. The file grows as needed.
    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Makes the file's bytes durable, and the metadata needed to read them back (such as its size).
    fn sync(&self) -> io::Result<()>;

    /// Reserves space for the first `len` bytes, so that writing them can't fail for lack of space, and
    /// grows the file to `len` if it is shorter. New bytes read as zeros.
    ///
    /// Where the file system can't reserve, the file only grows.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts or extends the file to `len` bytes; new bytes are zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Whether the file has more than one name, for example a hard link that serves as a copy: the log
    /// reuses no such file.
    ///
    /// The default is `false`.
    fn has_other_names(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// Returns the file's size in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Writes all of `bufs` at `position`, however many calls that takes.
pub(crate) fn write_all_at(
    file: &dyn StorageFile,
    mut bufs: &mut [IoSlice<'_>],
    mut position: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut bufs, 0); // drops empty buffers at the front
    while !bufs.is_empty() {
        match file.write_at(bufs, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                IoSlice::advance_slices(&mut bufs, n);
                position += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Fills `buf` from `position`; returns the number of bytes read, fewer only at the end of the file.
#[inline]
pub(crate) fn read_full_at(file: &dyn StorageFile, buf: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], position + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
