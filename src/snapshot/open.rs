//! Opening: the newest whole snapshot, and the log's records after it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Files, Kept, Snapshots, file, offsets};
use crate::error::{Error, Result, SnapshotFault};
use crate::pin::PinOptions;
use crate::position::{ChunkId, Segment};
use crate::record::{StateMachine, WalRecord, WalTypes};
use crate::recovery::Replay;
use crate::storage::Storage;
use crate::wal::{ChunkedWal, Located, OpenOptions};

/// An open log, and the state after its last record.
#[derive(Debug)]
#[non_exhaustive]
pub struct Restored<W: WalTypes, SM> {
    /// The log.
    pub log: ChunkedWal<W>,
    /// The state: restored from a snapshot, then replayed.
    pub state: SM,
    /// Takes further snapshots.
    pub snapshots: Snapshots,
    /// The snapshot that the state was restored from; `None` if there was no sound one, and the whole log was replayed.
    pub loaded: Option<Loaded>,
    /// Newer snapshots that were damaged, each as [`Error::Snapshot`]. Nothing is lost, because the log has all records
    /// after the loaded snapshot. A damaged snapshot is removed once a newer snapshot is durable.
    pub damaged: Vec<Error>,
}

/// A snapshot that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The snapshot's file.
    pub path: PathBuf,
    /// The snapshot covers the records before this global offset.
    pub offset: u64,
    /// The size of the snapshot's contents, in bytes.
    pub len: u64,
}

impl Snapshots {
    /// Opens a log, and restores the state from the newest sound snapshot in `dir` and the records after it. Creates
    /// `dir` if it is missing.
    ///
    /// `restore` gets the snapshot's bytes, or `None` if there is no sound snapshot and the log has all its records,
    /// and returns the state. Then the records that the snapshot does not cover are applied: the replay is always
    /// [`Replay::All`], regardless of `options`. The whole snapshot is in memory meanwhile. The log reads and checks
    /// all of its chunks.
    ///
    /// # Errors
    ///
    /// On an error neither the log nor a snapshot is changed. [`Error::Snapshot`] if no snapshot can be used
    /// ([`SnapshotFault::Missing`], [`SnapshotFault::OtherLog`], [`SnapshotFault::Unsupported`]), or if `restore` fails
    /// ([`SnapshotFault::Restore`]). [`Error::EndMissing`] if the log ends before the newest snapshot, because its
    /// newest chunks are missing; this includes an empty log. [`Error::NotFound`] if there is no log, but a snapshot
    /// that covers no records. As [`OpenOptions::open`].
    pub fn open<W: WalTypes, SM: StateMachine<W>, E>(
        dir: impl Into<PathBuf>,
        mut options: OpenOptions<W>,
        restore: impl FnOnce(Option<&[u8]>) -> Result<SM, E>,
    ) -> Result<Restored<W, SM>>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let dir = dir.into();
        let storage = options.storage.clone();
        // Before the log's directory is made: a log that lost its directory must not look new.
        let existing = existing(&*storage, &dir)?;
        let newest = existing.first().copied().unwrap_or(0);
        options.must_reach = options.must_reach.max(newest);
        // A snapshot of no records is of a log too: a new log would have another id, and be refused from then on.
        if existing == [0] {
            options = options.must_exist();
        }
        options.replay = Replay::All;
        let mut located = options.locate()?;
        let files = Files::open(storage, dir, located.options.config.file_mode)?;
        let Chosen { loaded, found, damaged } = files.choose(&located)?;
        let newest = found.first().copied().unwrap_or(0);
        located.options.must_reach = located.options.must_reach.max(newest);
        let state = restore(loaded.as_ref().map(|(_, bytes)| bytes.as_slice())).map_err(|error| {
            let path = loaded.as_ref().map_or(&files.dir, |(loaded, _)| &loaded.path);
            let reason = SnapshotFault::Restore { source: Arc::from(error.into()) };
            Error::Snapshot { path: path.clone(), reason }
        })?;
        let loaded = loaded.map(|(loaded, _)| loaded);
        let from = loaded.as_ref().map_or(0, |loaded| loaded.offset);
        let mut after = After { state, from };
        let log = located.open(&mut after)?;
        // The loaded snapshot and the one before it, which was not read. Newer ones are damaged.
        let mut kept: Vec<_> = found.into_iter().filter(|offset| *offset <= from).take(2).collect();
        kept.reverse();
        let pin = log.pin("snapshots", log.reader().start(), PinOptions::new().unbreakable())?;
        let snapshots = Snapshots {
            files,
            log_id: log.log_id(),
            progress: log.progress_handle(),
            lock: Arc::downgrade(log.lock()),
            turn: Mutex::default(),
            pin,
            kept: Mutex::new(Kept { offsets: kept, is_certain: false }),
        };
        if let Some(Loaded { path, offset, len }) = &loaded {
            log::info!("restored from '{}', {len} bytes, and replayed from offset {offset}", path.display());
        }
        Ok(Restored { log, state: after.state, snapshots, loaded, damaged })
    }
}

/// The offsets of the snapshots in a directory that may be missing, newest first.
fn existing(storage: &dyn Storage, dir: &Path) -> Result<Vec<u64>> {
    match storage.resolve_dir(dir) {
        Ok(dir) => offsets(storage, &dir),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io("open directory", dir, e)),
    }
}

/// The snapshot to begin with.
struct Chosen {
    loaded: Option<(Loaded, Vec<u8>)>,
    /// The offsets of all snapshots in the directory, newest first.
    found: Vec<u64>,
    damaged: Vec<Error>,
}

impl Files {
    /// Opens the directory. Creates a missing directory.
    fn open(storage: Arc<dyn Storage>, dir: PathBuf, file_mode: u32) -> Result<Self> {
        let dir = storage.create_dir(&dir).map_err(|e| Error::io("create directory", &dir, e))?;
        let pinned = storage.in_dir(&dir, file_mode).map_err(|e| Error::io("open directory", &dir, e))?;
        Ok(Files { storage: pinned.unwrap_or(storage), dir })
    }

    /// Loads the newest snapshot that is whole, and checks that the log has all records after it.
    fn choose<W: WalTypes>(&self, log: &Located<W>) -> Result<Chosen> {
        let found = offsets(&*self.storage, &self.dir)?;
        let (log_id, start) = (log.log_id(), log.start());
        let (mut loaded, mut damaged) = (None, Vec::new());
        for offset in &found {
            let path = self.dir.join(file::name(*offset));
            match file::read(&*self.storage, &path, *offset, log_id) {
                Ok(bytes) => {
                    loaded = Some((Loaded { path, offset: *offset, len: bytes.len() as u64 }, bytes));
                    break;
                }
                Err(error @ Error::Snapshot { reason: SnapshotFault::Damaged { .. }, .. }) => {
                    log::warn!("{error}");
                    damaged.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        let covered = loaded.as_ref().map_or(0, |(loaded, _)| loaded.offset);
        if covered < start {
            let path = found.first().map_or(self.dir.clone(), |newest| self.dir.join(file::name(*newest)));
            return Err(Error::Snapshot { path, reason: SnapshotFault::Missing { covered, start } });
        }
        Ok(Chosen { loaded, found, damaged })
    }
}

/// A state that has applied the records before `from` already.
struct After<SM> {
    state: SM,
    from: u64,
}

impl<W: WalTypes, SM: StateMachine<W>> StateMachine<W> for After<SM> {
    type Error = SM::Error;

    fn apply(
        &mut self,
        record: &WalRecord<W>,
        chunk_id: ChunkId,
        segment: Segment,
    ) -> Result<(), Self::Error> {
        if segment.offset < self.from { Ok(()) } else { self.state.apply(record, chunk_id, segment) }
    }

    fn checkpoint(&self) -> W::Checkpoint {
        self.state.checkpoint()
    }
}
