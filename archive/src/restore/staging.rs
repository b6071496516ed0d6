//! The directory in which a log is put together.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use chunked_wal::ChunkId;

use super::Chunks;
use crate::error::{Error, Result};

const LOCK: &str = "restoring.lock";

/// The directory in which a log is put together, beside its place.
pub(super) struct Staging {
    pub(super) dir: PathBuf,
    lock: File,
}

impl Staging {
    pub(super) fn begin(dir: &Path) -> Result<Self> {
        let is_taken = match fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            // It is a file.
            Err(_) => true,
        };
        if is_taken {
            return Err(Error::Exists { path: dir.to_owned() });
        }
        let mut name = OsString::from(dir);
        name.push(".restoring");
        let staging = PathBuf::from(name);
        fs::create_dir_all(&staging).map_err(Error::io("create directory", &staging))?;
        let path = staging.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(Error::io("create", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Staging { dir: staging, lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path }),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        }
    }

    /// Removes what an interrupted restore of another range has left.
    pub(super) fn keep_only(&self, chunks: &Chunks) -> Result<()> {
        let entries = fs::read_dir(&self.dir).map_err(Error::io("list", &self.dir))?;
        for entry in entries {
            let path = entry.map_err(Error::io("list", &self.dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_wanted = ChunkId::parse_file_name(name).is_some_and(|id| chunks.contains_key(&id.0));
            if !is_wanted && name != LOCK {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Gives the directory its name, durably.
    pub(super) fn finish(self, dir: &Path) -> Result<()> {
        let lock = self.dir.join(LOCK);
        fs::remove_file(&lock).map_err(Error::io("remove", &lock))?;
        sync_dir(&self.dir)?;
        fs::rename(&self.dir, dir).map_err(Error::io("rename", &self.dir))?;
        drop(self.lock);
        match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
            _ => sync_dir(Path::new(".")),
        }
    }
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", dir))
}
