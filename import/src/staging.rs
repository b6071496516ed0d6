//! The new log until it is whole: in a directory beside its place, which a killed import may leave.
//!
//! ```text
//! NEW.importing/        made first, removed last
//!   IMPORT              shows that an import made the directory; locked while an import runs
//!   log/                the new log, while it is written and checked
//! NEW                   log/, renamed once the check is done
//! ```
//!
//! | a killed import left | the next one |
//! | --- | --- |
//! | no `IMPORT` in an empty directory, or `log/` | begins anew |
//! | NEW, and no `log/` | only checks NEW: the import was done |
//!
//! - A directory with other files and without `IMPORT` is not an import's, and is left alone.
//! - `IMPORT` is removed after everything else in the directory, so that each half of a removal can be removed, too.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::error::{Error, Result};

const MARK: &str = "IMPORT";
const LOG: &str = "log";

/// The directory that an import works in; removed with all in it when it is dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    /// The new log's place.
    new: PathBuf,
    dir: PathBuf,
    /// Whether an unfinished import was here.
    begins_anew: bool,
    /// Whether the log is in its place already: only the check is left.
    is_in_place: bool,
    /// The mark, locked.
    _mark: File,
}

impl Staging {
    /// Makes the directory, or takes over one that a killed import left.
    pub(crate) fn begin(new: &Path) -> Result<Self> {
        let parent = parent_of(new)?;
        let Some(name) = new.file_name() else { return Err(Error::Exists { path: new.to_owned() }) };
        let mut staging_name = OsString::from(name);
        staging_name.push(".importing");
        let dir = parent.join(staging_name);
        let is_taken = is_taken(new)?;
        if is_taken && !dir.join(MARK).exists() {
            return Err(Error::Exists { path: new.to_owned() });
        }
        let mark = take(&dir)?;
        let log = dir.join(LOG);
        let begins_anew = log.try_exists().map_err(Error::io("look at", &log))?;
        if is_taken && begins_anew {
            // Something else got the name while an import was unfinished.
            return Err(Error::Exists { path: new.to_owned() });
        }
        if begins_anew {
            fs::remove_dir_all(&log).map_err(Error::io("remove", &log))?;
        }
        Ok(Staging { new: new.to_owned(), dir, begins_anew, is_in_place: is_taken, _mark: mark })
    }

    /// Where the log is, or is to be written.
    pub(crate) fn log(&self) -> PathBuf {
        if self.is_in_place { self.new.clone() } else { self.dir.join(LOG) }
    }

    pub(crate) fn begins_anew(&self) -> bool {
        self.begins_anew
    }

    pub(crate) fn is_in_place(&self) -> bool {
        self.is_in_place
    }

    /// Gives the log its name, durably.
    pub(crate) fn finish(self) -> Result<()> {
        if self.is_in_place {
            return Ok(());
        }
        let log = self.log();
        sync_dir(&log)?;
        fs::rename(&log, &self.new).map_err(Error::io("rename", &log))?;
        sync_dir(&parent_of(&self.new)?)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What can't be removed is begun anew, or reported, by the next import.
        let _log_left = fs::remove_dir_all(self.dir.join(LOG));
        let _mark_left = fs::remove_file(self.dir.join(MARK));
        let _dir_left = fs::remove_dir(&self.dir);
    }
}

/// Makes the directory with its mark, or finds it, and locks the mark.
fn take(dir: &Path) -> Result<File> {
    let is_new = match fs::create_dir(dir) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(Error::io("create directory", dir)(error)),
    };
    let path = dir.join(MARK);
    if !is_new && !path.exists() && !is_empty_dir(dir)? {
        return Err(Error::NotOurs { path: dir.to_owned() });
    }
    let in_use = || Error::InUse { path: path.clone(), who: "imports into the same directory" };
    let mark = File::options().create(true).truncate(false).write(true).open(&path);
    let mark = mark.map_err(Error::io("create", &path))?;
    match mark.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use()),
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
    }
    // The import that had it may have removed it in between: then the lock is on a file without a name.
    let named = fs::metadata(&path).map(|found| found.ino()).ok();
    let locked = mark.metadata().map_err(Error::io("look at", &path))?.ino();
    if named == Some(locked) { Ok(mark) } else { Err(in_use()) }
}

/// The directory that a path is in, or is to be in.
pub(crate) fn parent_of(path: &Path) -> Result<PathBuf> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("/"),
    };
    if parent.is_dir() {
        return Ok(parent);
    }
    Err(Error::NoDirectory { path: parent, why: "is to have the new log, and is no directory" })
}

/// Whether there is something under the name, other than an empty directory: a rename replaces that.
fn is_taken(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(!is_empty_dir(path)?),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("look at", path)(error)),
    }
}

fn is_empty_dir(dir: &Path) -> Result<bool> {
    Ok(fs::read_dir(dir).map_err(Error::io("list", dir))?.next().is_none())
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", dir))
}
