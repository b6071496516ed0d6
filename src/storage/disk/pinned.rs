//! One directory of the disk, held open: names are looked up from its descriptor.
//!
//! - A directory that is renamed while a log is open stays the log's directory, and a new directory
//!   under the old name is never touched.
//! - Making a name durable takes no new descriptor: with no descriptors left, a log that has its files
//!   open goes on.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::directories;
use super::file::{DiskFile, regular};
use super::lock::lock_in;
use crate::storage::{Access, Storage, StorageFile};

/// Real files in one directory.
#[derive(Debug)]
pub(super) struct PinnedDir {
    path: PathBuf,
    dir: File,
    file_mode: Mode,
}

impl PinnedDir {
    pub(super) fn open(path: &Path, file_mode: u32) -> io::Result<Self> {
        let dir = File::open(path)?;
        Ok(PinnedDir { path: path.to_owned(), dir, file_mode: Mode::from_raw_mode(file_mode as _) })
    }

    /// The path from this directory on, of a file in it or below it.
    fn name<'a>(&self, path: &'a Path) -> io::Result<&'a OsStr> {
        match path.strip_prefix(&self.path) {
            Ok(name) if name != Path::new("") => Ok(name.as_os_str()),
            _ => {
                let what = format!("'{}' is not in '{}'", path.display(), self.path.display());
                Err(io::Error::new(ErrorKind::InvalidInput, what))
            }
        }
    }

    fn open_at(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        loop {
            match rustix::fs::openat(&self.dir, name, flags | OFlags::CLOEXEC, self.file_mode) {
                Ok(fd) => return Ok(File::from(fd)),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// A directory below this one.
    fn open_dir(&self, dir: &Path) -> io::Result<File> {
        self.open_at(self.name(dir)?, OFlags::RDONLY | OFlags::DIRECTORY)
    }
}

impl Storage for PinnedDir {
    fn create_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        let Ok(below) = dir.strip_prefix(&self.path) else { return directories::create(dir) };
        let mut parent = None;
        for name in below {
            parent = Some(make_dir(parent.as_ref().unwrap_or(&self.dir), name)?);
        }
        Ok(dir.to_owned())
    }

    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        if dir == self.path { Ok(self.path.clone()) } else { directories::resolve(dir) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let below;
        let handle = if dir == self.path {
            &self.dir
        } else {
            // A missing one is found missing also by a process that has no descriptor left.
            rustix::fs::statat(&self.dir, self.name(dir)?, AtFlags::SYMLINK_NOFOLLOW)?;
            below = self.open_dir(dir)?;
            &below
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(handle)? {
            let entry = entry?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let mut name = OsStr::from_bytes(bytes).to_owned();
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(handle, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                known => known,
            };
            if kind == FileType::Directory {
                name.push("/");
            }
            names.push(name);
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        Ok(Arc::new(DiskFile::from(self.open_at(self.name(path)?, flags)?)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let access = if access == Access::Read { OFlags::RDONLY } else { OFlags::RDWR };
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(Arc::new(DiskFile::from(regular(self.open_at(self.name(path)?, flags))?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.dir, self.name(from)?, &self.dir, self.name(to)?)?)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.name(from)?, self.name(to)?);
        match rename_new_at(&self.dir, from, to) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                // The file system or operating system lacks it. The lock keeps others from making names
                // here.
                rustix::fs::statat(&self.dir, from, AtFlags::SYMLINK_NOFOLLOW)?;
                match rustix::fs::statat(&self.dir, to, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(_) => Err(ErrorKind::AlreadyExists.into()),
                    Err(Errno::NOENT) => Ok(rustix::fs::renameat(&self.dir, from, &self.dir, to)?),
                    Err(e) => Err(e.into()),
                }
            }
            renamed => Ok(renamed?),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.dir, self.name(path)?, AtFlags::empty())?)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if dir == self.path { self.dir.sync_all() } else { self.open_dir(dir)?.sync_all() }
    }

    fn in_dir(&self, dir: &Path, file_mode: u32) -> io::Result<Option<Arc<dyn Storage>>> {
        let file_mode = Mode::from_raw_mode(file_mode as _);
        Ok(Some(Arc::new(PinnedDir { path: dir.to_owned(), dir: self.open_dir(dir)?, file_mode })))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let name = self.name(path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        // A descriptor of its own: `flock` belongs to the open file description, and this lock ends
        // before the pin.
        let dir =
            File::from(rustix::fs::openat(&self.dir, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
        lock_in(
            dir,
            || regular(self.open_at(name, flags)),
            || {
                let stat = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                Ok((stat.st_dev as u64, stat.st_ino as u64))
            },
        )
    }
}

/// Makes one directory, if it is missing, and makes its name durable.
fn make_dir(parent: &File, name: &OsStr) -> io::Result<File> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
        Err(e) if e != Errno::EXIST => return Err(e.into()),
        _ => {} // made, by this call or another process
    }
    // As in `directories`: the next call makes the name again, unless the directory has files by now.
    parent.sync_all().inspect_err(|_| {
        let _also_failed = rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
    })?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(parent, name, flags, Mode::empty())?))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn rename_new_at(dir: &File, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(dir, from, dir, to, rustix::fs::RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn rename_new_at(_: &File, _: &OsStr, _: &OsStr) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}
