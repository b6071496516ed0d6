//! The one seam to the disk: everything that the log does to files goes through [`Storage`] and
//! [`StorageFile`].
//!
//! ```text
//! recovery, flush, chunk ──► Storage / StorageFile ──► DiskStorage     real files
//!                                                  └─► MemoryStorage   a disk in memory (feature `testing`)
//! ```
//!
//! - Positions are bytes from the beginning of a file; no file has a cursor.
//! - Nothing here retries a failed sync or hides an error.
//! - [`StorageFile::write_at`] and [`StorageFile::read_at`] may do less than asked and may be
//!   interrupted; `write_all_at` and `read_full_at` deal with that, once for all storages.

mod disk;
#[cfg(feature = "mmap")]
mod map;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod pinned;
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

/// Directories and names: where files come from.
///
/// Every call blocks until the operating system has answered. A name made, changed or removed here
/// is durable only after [`sync_dir`](Self::sync_dir) on its directory.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Makes `dir` and what is missing above it, one directory at a time, and makes each new name
    /// durable, by syncing the directory that it stands in, before it makes the next. Returns the
    /// directory's absolute path, links resolved.
    ///
    /// The name of the lowest directory that exists already, `dir` itself perhaps, is made durable
    /// too: a process may have been killed between making it and syncing the directory above. A
    /// directory above that we may not open is passed over there: this log made nothing in it.
    fn create_dir(&self, dir: &Path) -> io::Result<PathBuf>;

    /// The absolute path of an existing directory, links resolved.
    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf>;

    /// The names in `dir`, in no order. A directory's name ends in `/`.
    fn list(&self, dir: &Path) -> io::Result<Vec<std::ffi::OsString>>;

    /// Makes a new, empty file for reading and writing; an error if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens an existing file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>>;

    /// Gives the file at `from` the name `to`, in the same directory; replaces what is at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives the file at `from` the name `to`, in the same directory, where no file has that name.
    ///
    /// The default looks first, and then [renames](Self::rename).
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

    /// Removes a name; the bytes go with the last handle.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the advisory lock at `path`, making the file if needed. `None` if somebody else holds
    /// it, in this process or another. It is free again once the returned guard is dropped. Where a file
    /// may be removed while it is locked, its directory is locked as well.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;

    /// The same storage for one existing directory, whose path is resolved, and the files in it: it keeps
    /// the directory itself, whatever becomes of its name, and makes files with the permissions
    /// `file_mode`, less the process's umask. A log that is open uses nothing else, so that it needs no
    /// descriptor to make a name durable.
    ///
    /// The default is `None`: this storage goes by paths, and gives its files permissions of its own.
    fn in_dir(&self, _dir: &Path, _file_mode: u32) -> io::Result<Option<Arc<dyn Storage>>> {
        Ok(None)
    }
}

/// What an opened file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// An open file, shared by its users; closed when the last of them lets go.
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// Reads into `buf` from `position`; returns how many bytes, 0 only at the end of the file (or
    /// for an empty `buf`). May read less than there is.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;

    /// The first position from `position` on where something may have been written; `None` if nothing
    /// was, from there to the end. Everything before it is a hole: it reads as zeros, which is what a
    /// hole is, so a log looks for its end without reading space that was only reserved.
    ///
    /// The default claims no hole, which is always right. A storage that tells of holes must never
    /// pass over bytes that [`read_at`](Self::read_at) returns and that are not zeros.
    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        Ok(Some(position))
    }

    /// Begins to put `len` bytes from `position` on onto stable storage, and doesn't wait for it. A hint: what
    /// is durable only [`sync`](Self::sync) tells.
    ///
    /// The default does nothing, which is always right.
    ///
    /// # Errors
    ///
    /// A failure that the next [`sync`](Self::sync) may not report again: it ends the log. That the
    /// storage can't do it is no error.
    fn write_back(&self, position: u64, len: u64) -> io::Result<()> {
        let _ = (position, len);
        Ok(())
    }

    /// Tells that what stands from `position` on is not going to be read. A hint, which changes no byte:
    /// a storage that caches need not keep that part.
    ///
    /// The default does nothing, which is always right. It matters where space that was only reserved
    /// no longer counts as a hole once it was read.
    fn forget_cached(&self, position: u64) {
        let _ = position;
    }

    /// The file's first `len` bytes as a file that is read in memory, if this storage does such things and
    /// the file has as many. The log asks for it only where [`ClosedReads`](crate::ClosedReads) says so,
    /// and then neither changes these bytes nor cuts the file before it has let go of what it got here.
    /// Closing the log waits for that, so keep no clone of it.
    ///
    /// The default is `None`: the file is read by [`read_at`](Self::read_at).
    fn map(&self, _len: u64) -> io::Result<Option<Arc<dyn StorageFile>>> {
        Ok(None)
    }

    /// Writes the buffers one behind the other at `position`; returns how many bytes, which may be
    /// fewer than given. The file grows as needed.
    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Makes the file's bytes, and what is needed to read them back (its size among it), durable.
    fn sync(&self) -> io::Result<()>;

    /// Reserves space for the first `len` bytes, so that writing them can't fail for want of it, and
    /// grows the file to `len` if it is shorter. New bytes read as zeros.
    ///
    /// Where the file system can't reserve, the file only grows.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts the file, or extends it by zeros, to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Whether the file has more names than one, such as a hard link that is somebody's copy of it: the log
    /// uses such a file for nothing new.
    ///
    /// The default is `false`.
    fn has_other_names(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// The file's size in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Writes all of `bufs` at `position`, whatever pieces the storage takes them in.
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

/// Fills `buf` from `position`; returns how many bytes there were, fewer only at the end of the file.
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
