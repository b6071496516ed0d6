//! The lock that keeps a log to one writer: on its directory and on a file in it.

use std::any::Any;
use std::fs::File;
use std::io;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;

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
