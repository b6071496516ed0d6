//! Real files: [`DiskStorage`], a thin layer over the operating system's calls.
//!
//! - A sync is `fdatasync` (`F_FULLFSYNC` on Apple's systems); a directory's sync is `fsync`.
//! - Space is reserved by `fallocate` where the system has it; otherwise files only grow.
//! - Directories are made one level at a time, and the name of each is durable before the next is made.

#[cfg(not(unix))]
compile_error!("chunked-wal needs positional reads and writes and directory syncs: only Unix is supported");

use std::any::Any;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::pinned::PinnedDir;
use super::{Access, Storage, StorageFile};

/// The most slices that one vectored write takes: `IOV_MAX` of all known systems.
const SLICES_MAX: usize = 1024;

/// The most bytes passed to one vectored write; macOS refuses more than `INT_MAX`.
const WRITE_BYTES_MAX: usize = 1 << 30;

/// The files of the operating system.
#[derive(Debug, Default, Clone, Copy)]
pub struct DiskStorage;

impl Storage for DiskStorage {
    fn create_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        let dir = std::path::absolute(dir)?;
        let mut existing = dir.as_path();
        let mut missing = Vec::new();
        while let Err(e) = fs::metadata(existing) {
            let (ErrorKind::NotFound, Some(parent)) = (e.kind(), existing.parent()) else { return Err(e) };
            missing.push(existing);
            existing = parent;
        }

        let base = self.resolve_dir(existing)?;
        sync_name_of(&base)?;
        for path in missing.into_iter().rev() {
            make_dir(path)?;
        }
        self.resolve_dir(&dir)
    }

    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        let dir = fs::canonicalize(dir)?;
        match fs::metadata(&dir)?.is_dir() {
            true => Ok(dir),
            false => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let mut name = entry.file_name();
            if entry.file_type()?.is_dir() {
                name.push("/");
            }
            names.push(name);
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::ReadWrite);
        Ok(Arc::new(DiskFile(open_regular(&mut options, path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let Some(dir) = path.parent() else { return Err(ErrorKind::InvalidInput.into()) };
        let open = || {
            let mut options = OpenOptions::new();
            open_regular(options.read(true).write(true).create(true).truncate(false), path)
        };
        lock_in(File::open(dir)?, open, || fs::symlink_metadata(path).map(|named| (named.dev(), named.ino())))
    }

    fn in_dir(&self, dir: &Path, file_mode: u32) -> io::Result<Option<Arc<dyn Storage>>> {
        Ok(Some(Arc::new(PinnedDir::open(dir, file_mode)?)))
    }
}

/// Locks a directory and, by `open`, a file in it: both, because the file may be removed or replaced
/// while its lock is held. `named` returns the device and inode of the file that has the name now.
pub(super) fn lock_in(
    dir: File,
    open: impl Fn() -> io::Result<File>,
    named: impl Fn() -> io::Result<(u64, u64)>,
) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
    let dir = match HeldLock::take(dir) {
        Ok(None) => return Ok(None),
        Ok(held) => held,
        // A file system that can't lock directories: the file's lock must suffice.
        Err(e) if locks_no_directories(&e) => None,
        Err(e) => return Err(e),
    };
    loop {
        let file = open()?;
        let locked = file.metadata()?;
        let Some(file) = HeldLock::take(file)? else { return Ok(None) };
        match named() {
            Ok(named) if named == (locked.dev(), locked.ino()) => return Ok(Some(Box::new((file, dir)))),
            // The file was removed between opening and locking: another opener would lock another file.
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
}

/// Whether an error means that the file system can't lock directories. NFS, for example, wants a file
/// that is open for writing.
fn locks_no_directories(error: &io::Error) -> bool {
    let cannot = [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::BADF, Errno::NOLCK];
    Errno::from_io_error(error).is_some_and(|errno| cannot.contains(&errno))
}

/// Opens a file that the log found: only a regular file, never the target of a symbolic link, and
/// without waiting for the other end of a pipe.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    regular(options.custom_flags(flags.bits() as i32).open(path))
}

/// Checks that a file, opened without following links, is a regular file.
pub(super) fn regular(opened: io::Result<File>) -> io::Result<File> {
    let file = opened.map_err(|e| match Errno::from_io_error(&e) {
        Some(Errno::LOOP) => io::Error::new(ErrorKind::InvalidInput, "the file is a symbolic link"),
        _ => e,
    })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the file is not a regular file"));
    }
    Ok(file)
}

/// A lock that is held.
struct HeldLock(File);

impl HeldLock {
    /// Locks a file or directory; `None` if another handle has locked it.
    fn take(file: File) -> io::Result<Option<Self>> {
        match fs2::FileExt::try_lock_exclusive(&file) {
            Ok(()) => Ok(Some(HeldLock(file))),
            Err(e) if e.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        // Closing alone is not enough: a process that another thread starts just now has a copy of the
        // handle, and the lock with it, until it runs its program.
        if let Err(error) = fs2::FileExt::unlock(&self.0) {
            log::warn!("a lock could not be released: {error}");
        }
    }
}

/// Makes one directory whose parent exists, and makes its name durable.
///
/// The parent is opened first. If that fails, no directory is made, so that no later call finds a
/// directory whose name could not be made durable.
fn make_dir(path: &Path) -> io::Result<()> {
    let parent = path.parent().map(File::open).transpose()?;
    match fs::create_dir(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        _ => {} // made, by this call or another process
    }
    let synced = parent.map_or(Ok(()), |parent| parent.sync_all());
    // A second sync that succeeds would prove nothing about a name made before the first: so the next
    // call makes the directory again. A directory that has files by now stays.
    synced.inspect_err(|_| drop(fs::remove_dir(path)))
}

/// Makes the name of an existing directory durable.
///
/// Guards against a process that was killed between making the directory and syncing its parent. The
/// name of a mount point was not made by a log, and neither was one in a directory that this process
/// may not open.
fn sync_name_of(dir: &Path) -> io::Result<()> {
    let Some(parent) = dir.parent() else { return Ok(()) };
    let synced = || -> io::Result<()> {
        if fs::metadata(parent)?.dev() == fs::metadata(dir)?.dev() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    match synced() {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// An open file of the operating system.
///
/// Made from a [`File`], for functions that take a file opened elsewhere.
#[derive(Debug)]
pub struct DiskFile(File);

impl From<File> for DiskFile {
    fn from(file: File) -> Self {
        DiskFile(file)
    }
}

impl StorageFile for DiskFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buf, position)
    }

    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        seek_data(&self.0, position)
    }

    fn write_back(&self, position: u64, len: u64) -> io::Result<()> {
        write_back(&self.0, position, len)
    }

    fn forget_cached(&self, position: u64) {
        forget_cached(&self.0, position);
    }

    #[cfg(feature = "mmap")]
    fn map(&self, len: u64) -> io::Result<Option<Arc<dyn StorageFile>>> {
        let map = super::map::MappedFile::new(&self.0, len)?;
        Ok(map.map(|map| Arc::new(map) as Arc<dyn StorageFile>))
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut bytes = 0usize;
        let fits = |buf: &&IoSlice<'_>| {
            bytes = bytes.saturating_add(buf.len());
            bytes <= WRITE_BYTES_MAX
        };
        match bufs.iter().take(SLICES_MAX).take_while(fits).count() {
            0 | 1 => self.0.write_at(bufs.first().map_or(&[], |buf| &buf[..]), position),
            n => Ok(rustix::io::pwritev(&self.0, &bufs[..n], position)?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 || reserve(&self.0, len)? { Ok(()) } else { grow(&self.0, len) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn has_other_names(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.nlink() > 1)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Makes a file at least `len` bytes long.
fn grow(file: &File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() < len { file.set_len(len) } else { Ok(()) }
}

/// Reserves the first `len` bytes; `false` where the file system can't.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn reserve(file: &File, len: u64) -> io::Result<bool> {
    use rustix::fs::FallocateFlags;
    use rustix::io::Errno;

    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(false),
            Err(e) => return Err(e.into()),
        }
    }
}

/// On other systems the calls named like `fallocate` may shrink a file, or write zeros.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reserve(_file: &File, _len: u64) -> io::Result<bool> {
    Ok(false)
}

/// Finds the next written bytes, as [`StorageFile::next_data`] describes. Reserved space that was not
/// written counts as a hole. Moves the file's cursor, which nothing else uses.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn seek_data(file: &File, position: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(position)) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(Some(position)),
        Err(e) => Err(e.into()),
    }
}

/// On other systems holes are read.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn seek_data(_file: &File, position: u64) -> io::Result<Option<u64>> {
    Ok(Some(position))
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "neither std nor rustix has this call")]
fn write_back(file: &File, position: u64, len: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let (Ok(position), Ok(len)) = (position.try_into(), len.try_into()) else { return Ok(()) };
    // SAFETY: the descriptor is open as long as `file` is borrowed; the rest are numbers.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), position, len, libc::SYNC_FILE_RANGE_WRITE) };
    if done == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // The system or the file can't do it; this is only a hint.
        Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP | libc::ESPIPE) => Ok(()),
        // The file system may have dropped the pages that it failed to write, and the next sync would
        // not report that.
        _ => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn write_back(_file: &File, _position: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Drops whole pages from `position` on from the page cache. Reserved space that was read is in the
/// cache, and then [`seek_data`] doesn't report it as a hole; read-ahead caches more than was asked
/// for.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn forget_cached(file: &File, position: u64) {
    let _only_a_hint = rustix::fs::fadvise(file, position, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn forget_cached(_file: &File, _position: u64) {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fallback where the file system can't reserve.
    #[test]
    fn growing_never_shrinks() {
        let file = tempfile::tempfile().unwrap();
        for (len, expected) in [(0, 0), (10, 10), (3, 10), (11, 11)] {
            grow(&file, len).unwrap();
            assert_eq!(file.metadata().unwrap().len(), expected);
        }
    }
}
