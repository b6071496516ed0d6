//! The advisory lock that keeps a log to one writer.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::names::LOCK_NAME;
use crate::error::{Error, Result};
use crate::storage::Storage;

/// The exclusive lock of a log's directory; free again once dropped, or once the process ends.
///
/// Opening a log takes it by itself. Take it before, with
/// [`ChunkedWal::acquire_lock`](crate::ChunkedWal::acquire_lock), to do something else first and hand
/// it over to [`OpenOptions::lock`](crate::OpenOptions::lock), or to
/// [dump](crate::ChunkedWal::dump_records) a log.
pub struct WalLock {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    _held: Box<dyn Any + Send + Sync>,
}

impl WalLock {
    /// Locks `dir`, which exists and is resolved.
    pub(crate) fn acquire(storage: Arc<dyn Storage>, dir: PathBuf) -> Result<Self> {
        let path = dir.join(LOCK_NAME);
        match storage.lock(&path) {
            Ok(Some(held)) => {
                log::debug!("locked '{}'", path.display());
                Ok(WalLock { storage, dir, _held: held })
            }
            Ok(None) => Err(Error::Locked { path }),
            Err(e) => Err(Error::io("lock", path, e)),
        }
    }

    /// The storage that the directory is on.
    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The directory that is locked: absolute, links resolved.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl fmt::Debug for WalLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalLock").field("dir", &self.dir).finish_non_exhaustive()
    }
}
