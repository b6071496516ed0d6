//! The names in a log's directory: who changes one, and whether all are durable.

use std::path::PathBuf;
use std::sync::Arc;

use super::Positions;
use crate::error::{Error, Result};
use crate::panics::catch;
use crate::storage::Storage;
use crate::sync::Ordering::SeqCst;
use crate::sync::{AtomicBool, Mutex, MutexGuard};

/// Whether the directory's names are durable.
#[derive(Debug, Default)]
pub(crate) enum Names {
    #[default]
    Durable,
    /// A new chunk's name is not.
    Pending,
    /// Its sync has failed, which has stopped the log. A later sync would prove nothing.
    Lost(Error),
}

/// Lets one thread at a time change names.
pub(crate) struct Naming {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    positions: Arc<Positions>,
    /// Locked from a change of names to the sync that makes it durable; only a rotation leaves that sync to others.
    names: Mutex<Names>,
    /// Whether the names are anything but durable, without the lock: only a rotation sets it, and a removal may have the
    /// lock for long.
    pending: AtomicBool,
}

impl Naming {
    pub(crate) fn new(storage: Arc<dyn Storage>, dir: PathBuf, positions: Arc<Positions>) -> Self {
        Naming { storage, dir, positions, names: Mutex::default(), pending: AtomicBool::new(false) }
    }

    /// To be held from a change of names to the directory's sync: a sync that fails may drop the changes of
    /// both threads, and the next, the other's, would succeed without them. A new chunk's name is durable before any
    /// other name changes.
    ///
    /// # Errors
    ///
    /// The chunk's name can't be made durable, or the storage panicked: this has poisoned the log.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, Names>> {
        let mut names = self.names.lock();
        match &*names {
            Names::Durable => return Ok(names),
            Names::Lost(error) => return Err(error.clone()),
            Names::Pending => {}
        }
        match catch(|| self.sync_dir()).unwrap_or_else(|| Err(self.panicked())) {
            Ok(()) => {
                *names = Names::Durable;
                self.pending.store(false, SeqCst);
                Ok(names)
            }
            Err(error) => {
                *names = Names::Lost(error.clone());
                // What it calls is the user's.
                drop(names);
                self.positions.poison(error.clone());
                Err(error)
            }
        }
    }

    /// Makes a new chunk's name durable, if it is not.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub(crate) fn sync(&self) -> Result<()> {
        if self.pending.load(SeqCst) { self.lock().map(drop) } else { Ok(()) }
    }

    /// A chunk has been named, and the directory is still to be synced.
    pub(crate) fn set_pending(&self, mut names: MutexGuard<'_, Names>) {
        *names = Names::Pending;
        self.pending.store(true, SeqCst);
    }

    /// Syncs the directory, for whoever has changed a name.
    pub(crate) fn sync_dir(&self) -> Result<()> {
        self.storage.sync_dir(&self.dir).map_err(|e| Error::io("sync directory", &self.dir, e))
    }

    fn panicked(&self) -> Error {
        Error::io("housekeeping", &self.dir, std::io::Error::other("the storage panicked"))
    }
}
