//! One file of the disk, and the system calls that it takes.

use std::fs::{File, OpenOptions};
use std::io;
use std::io::{ErrorKind, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
#[cfg(feature = "mmap")]
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::storage::StorageFile;

/// The most slices that one vectored write takes: `IOV_MAX` of all known systems.
const SLICES_MAX: usize = 1024;

/// The most bytes passed to one vectored write; macOS refuses more than `INT_MAX`.
const WRITE_BYTES_MAX: usize = 1 << 30;

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
        write_back(&self.0, position, len, Until::Started)
    }

    fn finish_write_back(&self, position: u64, len: u64) -> io::Result<()> {
        write_back(&self.0, position, len, Until::Done)
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

/// Opens a file that the log found: only a regular file, never the target of a symbolic link, and
/// without waiting for the other end of a pipe.
pub(super) fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
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

/// How long a write-back is waited for.
enum Until {
    Started,
    Done,
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "neither std nor rustix has this call")]
fn write_back(file: &File, position: u64, len: u64, until: Until) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let flags = match until {
        Until::Started => libc::SYNC_FILE_RANGE_WRITE,
        // A page that is being written already is written again only after the wait.
        Until::Done => {
            libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER
        }
    };
    let (Ok(position), Ok(len)) = (position.try_into(), len.try_into()) else { return Ok(()) };
    // SAFETY: the descriptor is open as long as `file` is borrowed; the rest are numbers.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), position, len, flags) };
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
fn write_back(_file: &File, _position: u64, _len: u64, _until: Until) -> io::Result<()> {
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
