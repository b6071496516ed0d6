//! [`Reserve`]: space that is given up once the disk is full, so that groups can be purged and space be reclaimed.
//!
//! ```text
//! no space for a record ─► remove the file ─► purges, and what is alive in the oldest chunks, have space
//!                                                    │
//! entries are taken again ◄─ make the file again ◄───┘ chunks are removed
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};

use chunked_wal::storage::{Access, Storage};
use chunked_wal::{Config as WalConfig, Error as WalError};
use parking_lot::Mutex;

/// The file's name, in the log's directory.
const NAME: &str = "groups.reserve";

#[derive(Debug)]
pub(crate) struct Reserve {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    bytes: u64,
    is_given_up: AtomicBool,
    /// The error because of which the file was given up.
    full: Mutex<Option<WalError>>,
}

impl Reserve {
    /// The reserve of a log whose directory exists. Makes the file if it is missing and there is space for it.
    pub(crate) fn of(config: &WalConfig, storage: Arc<dyn Storage>) -> Result<Self, WalError> {
        // The next chunk's file, which has up to 64 KiB more for its last record, and the records of a few purges.
        let more = config.chunk_max_size.clamp(4 << 10, 64 << 10).saturating_add(config.chunk_max_size / 4);
        let bytes = config.chunk_max_size.saturating_add(more);
        let resolved = storage.resolve_dir(&config.dir);
        let path = resolved.map_err(|source| io_error("resolve", &config.dir, source))?.join(NAME);
        let is_given_up = AtomicBool::new(false);
        let reserve = Reserve { storage, path, bytes, is_given_up, full: Mutex::new(None) };
        match reserve.make() {
            Ok(()) => {}
            Err(source) if is_full(&source) => {
                let (path, source) = (reserve.path.clone(), Arc::new(source));
                reserve.give_up(WalError::StorageFull { path, needed: bytes, source });
            }
            Err(source) => return Err(io_error("allocate", &reserve.path, source)),
        }
        Ok(reserve)
    }

    /// Why entries are refused now, if they are.
    pub(crate) fn full(&self) -> Option<WalError> {
        if self.is_given_up.load(Acquire) { self.full.lock().clone() } else { None }
    }

    /// Gives the space up, because of this error.
    pub(crate) fn give_up(&self, error: WalError) {
        let mut full = self.full.lock();
        if full.is_some() {
            return;
        }
        if let Err(e) = self.storage.remove(&self.path) {
            log::warn!("the reserve '{}' can't be removed: {e}", self.path.display());
        }
        *full = Some(error);
        self.is_given_up.store(true, Release);
    }

    /// Takes the space again, if it was given up; false if there isn't enough.
    pub(crate) fn take(&self) -> bool {
        let mut full = self.full.lock();
        if full.is_none() {
            return true;
        }
        if let Err(e) = self.make() {
            if !is_full(&e) {
                log::warn!("the reserve '{}' can't be made: {e}", self.path.display());
            }
            // A file of less than the whole.
            let _none = self.storage.remove(&self.path);
            return false;
        }
        *full = None;
        self.is_given_up.store(false, Release);
        true
    }

    fn make(&self) -> io::Result<()> {
        let file = match self.storage.create(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.storage.open(&self.path, Access::ReadWrite)?
            }
            made => made?,
        };
        file.allocate(self.bytes)
    }
}

fn io_error(op: &'static str, path: &Path, source: io::Error) -> WalError {
    WalError::Io { op, path: path.to_owned(), source: Arc::new(source) }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
