//! [`GroupLog`]: many groups in one log.
//!
//! ```text
//! GroupBatch ─► Shared::apply, the log's lock: plan ─► append ─► Index ─► ask for a sync ─► unlock
//! entries   ─► Index: places ─► WalReader                      ▲
//! Reclaimer, a thread: what is alive in the oldest chunk ─────►│ appended anew, then the chunk is removed
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use chunked_wal::{ChunkedWal, Error as WalError, Flush, OpenOptions, Progress};
use parking_lot::{Mutex, RwLock};

use crate::batch::GroupBatch;
use crate::config::Config;
use crate::entry::LogEntry;
use crate::error::Result;
use crate::index::Group;
use crate::open::open;
use crate::reclaim::Reclaimer;
use crate::record::GroupWal;
use crate::reserve::Reserve;
use crate::shared::Shared;
use crate::wake::Wake;

/// The logs of many groups in one log: one directory, one worker, one sync for all.
///
/// A group has entries with consecutive indexes, of which the oldest can be purged and the newest truncated, and a
/// state. Cheap to clone; any number of threads and tasks work on any groups at once.
///
/// # Space
///
/// A thread reclaims space in the background: it appends what is still alive in the oldest chunk anew, and removes the
/// chunk. So no group holds the space of another one, and nobody needs to compact a group that is idle. See
/// [`Config::space_factor`], [`space`](Self::space) and [`holders`](Self::holders).
///
/// # Closing
///
/// [`close`](Self::close) closes the log for all clones. Otherwise the drop of the last clone does, and blocks
/// meanwhile.
pub struct GroupLog<E: LogEntry> {
    shared: Arc<Shared>,
    /// Dropped with the last clone.
    reclaimer: Arc<Reclaimer>,
    entry: PhantomData<fn(E) -> E>,
}

impl<E: LogEntry> GroupLog<E> {
    /// Opens or creates the log in `config.wal.dir`. Reads the whole log, once.
    ///
    /// # Errors
    ///
    /// [`Error::Wal`](crate::Error::Wal), as [`ChunkedWal::open`]; [`Error::EntryMissing`](crate::Error::EntryMissing) if chunk files are missing;
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig).
    pub fn open(config: Config) -> Result<Self> {
        let options = ChunkedWal::options(config.wal.clone());
        Self::open_with(options, config.space_factor)
    }

    /// As [`open`](Self::open), with the log's own options, except [`replay`](OpenOptions::replay), and the
    /// [`space_factor`](Config::space_factor).
    ///
    /// # Errors
    ///
    /// As `open`.
    pub fn open_with(options: OpenOptions<GroupWal>, space_factor: f64) -> Result<Self> {
        let config = Config { wal: options.config().clone(), space_factor };
        config.validate()?;
        let storage = options.on_storage().clone();
        let (wal, index) = open(options)?;
        let reserve = Reserve::of(&config.wal, storage)?;
        let opened_at = wal.progress().appended;
        let shared = Arc::new(Shared {
            reader: wal.reader(),
            progress: wal.progress_handle(),
            wal: Mutex::new(Some(wal)),
            index: RwLock::new(index),
            config,
            opened_at,
            moved: AtomicU64::new(0),
            reserve,
            lags: AtomicBool::new(false),
            is_stuck: AtomicBool::new(false),
            is_over_budget: AtomicBool::new(false),
            wake: Wake::default(),
        });
        let reclaimer = Arc::new(Reclaimer::start(shared.clone())?);
        Ok(GroupLog { shared, reclaimer, entry: PhantomData })
    }

    /// Returns an empty batch, to be filled and committed.
    pub fn batch(&self) -> GroupBatch<'_, E> {
        GroupBatch::new(&self.shared)
    }

    /// Gives up a group, and waits until that is durable: as [`GroupBatch::destroy`] alone in a batch.
    ///
    /// # Errors
    ///
    /// As [`GroupBatch::commit`].
    pub fn destroy(&self, group: u64) -> Result<()> {
        let mut batch = self.batch();
        batch.destroy(group);
        Ok(batch.ticket()?.wait()?)
    }

    /// Returns the entries with these indexes, as they are at one moment: as many as have `max_bytes` on the disk, but
    /// at least one if there is any. Indexes after the last entry have none.
    ///
    /// # Errors
    ///
    /// [`Error::Purged`](crate::Error::Purged) if the first index is before the group's first; [`Error::Wal`](crate::Error::Wal); [`Error::Decode`](crate::Error::Decode).
    pub fn entries(&self, group: u64, indexes: Range<u64>, max_bytes: u64) -> Result<Vec<E>> {
        let find = || self.shared.places(group, indexes.clone(), max_bytes);
        self.shared.read_found(find, |places| self.shared.read_entries(group, places))
    }

    /// Returns a group's state; `None` if it has none, or doesn't exist.
    ///
    /// # Errors
    ///
    /// [`Error::Wal`](crate::Error::Wal); [`Error::Decode`](crate::Error::Decode).
    pub fn state(&self, group: u64) -> Result<Option<E::State>> {
        let find = || Ok(self.shared.index.read().group(group).and_then(Group::state));
        self.shared.read_found(find, |place| self.shared.read_state::<E>(group, *place))
    }

    /// Returns the indexes of a group's first and last entry; `None` without entries.
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn first_last(&self, group: u64) -> Result<Option<(u64, u64)>> {
        Ok(self
            .bounds(group)
            .filter(|bounds| !bounds.is_empty())
            .map(|bounds| (bounds.start, bounds.end - 1)))
    }

    /// Returns a group's indexes: from that of its first entry to that of its next one. `None` if the group has never
    /// had an entry and was never purged.
    pub fn bounds(&self, group: u64) -> Option<Range<u64>> {
        self.shared.index.read().group(group)?.bounds()
    }

    /// Returns all groups, in any order.
    pub fn groups(&self) -> Vec<u64> {
        self.shared.index.read().groups().keys().copied().collect()
    }

    /// Resolves once a commit would not have to wait for room in the log's queue, or for the file of the next chunk:
    /// for callers whose thread must not block.
    pub async fn room(&self) {
        let room = self.shared.wal.lock().as_ref().map(ChunkedWal::room);
        if let Some(room) = room {
            room.await;
        }
    }

    /// Makes everything appended so far durable, and waits for that.
    ///
    /// # Errors
    ///
    /// [`Error::Wal`](crate::Error::Wal).
    pub fn sync(&self) -> Result<()> {
        Ok(self.shared.apply(Vec::new(), |wal| wal.flush_ticket(Flush::Sync))?.wait()?)
    }

    /// Returns how far the log below is appended, written and synced.
    pub fn progress(&self) -> Progress {
        self.shared.progress.progress()
    }

    /// Makes all appended records durable, and releases the directory. All clones are closed.
    ///
    /// # Errors
    ///
    /// The first failure, of the close or earlier. [`chunked_wal::Error::Closed`] if it was closed before.
    pub fn close(self) -> Result<()> {
        self.reclaimer.stop();
        let wal = self.shared.wal.lock().take().ok_or(WalError::Closed)?;
        Ok(wal.close()?)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl<E: LogEntry> Clone for GroupLog<E> {
    fn clone(&self) -> Self {
        GroupLog { shared: self.shared.clone(), reclaimer: self.reclaimer.clone(), entry: PhantomData }
    }
}

impl<E: LogEntry> fmt::Debug for GroupLog<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupLog").field("progress", &self.progress()).finish_non_exhaustive()
    }
}
