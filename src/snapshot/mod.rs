//! Snapshots of the whole state, in files beside the log.
//!
//! ```text
//! DIR/snapshots/  s-…_840.snap         s-…_977.snap
//!                 │ kept for the case  │ the newest: loaded when the log is opened
//!                 │ that the newest    │
//!                 ▼ is damaged         ▼
//! DIR/log/        r-…_840.wal          r-…_977.wal ─────► replayed after it
//! ```
//!
//! A log whose checkpoint is not the whole state needs its old records until the state is stored elsewhere. This module
//! stores the state: [`Snapshots::open`] loads the newest snapshot and replays the records after it;
//! [`Snapshots::take`] writes the next snapshot and removes the chunks that no snapshot needs any more.
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::io::Write;
//!
//! use chunked_wal::snapshot::{Restored, Snapshots};
//! use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord, WalTypes};
//!
//! struct Log;
//! impl WalTypes for Log {
//!     type Action = String;
//!     type Checkpoint = (); // the state is in the snapshots
//!     type Callback = ();
//! }
//!
//! struct Words(BTreeSet<String>);
//! impl StateMachine<Log> for Words {
//!     type Error = std::convert::Infallible;
//!     fn apply(&mut self, record: &WalRecord<Log>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
//!         if let WalRecord::Action(word) = record {
//!             self.0.insert(word.clone());
//!         }
//!         Ok(())
//!     }
//!     fn checkpoint(&self) {}
//! }
//!
//! /// The state in a snapshot; without one, that of a new log.
//! fn restore(bytes: Option<&[u8]>) -> Result<Words, std::str::Utf8Error> {
//!     let text = std::str::from_utf8(bytes.unwrap_or_default())?;
//!     Ok(Words(text.lines().map(str::to_string).collect()))
//! }
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let options = || ChunkedWal::<Log>::options(Config::new(dir.join("log")));
//! let Restored { mut log, state: mut words, snapshots, .. } =
//!     Snapshots::open(dir.join("snapshots"), options(), restore)?;
//! for word in ["one", "two"] {
//!     log.append_and_apply(word.to_string(), &mut words)?;
//!     // Durable on return; from the second on, old chunks go.
//!     snapshots.take(&mut log, &words, |file| words.0.iter().try_for_each(|word| writeln!(file, "{word}")))?;
//! }
//! log.append_and_apply("three".to_string(), &mut words)?;
//! log.close()?;
//!
//! let again = Snapshots::open(dir.join("snapshots"), options(), restore)?;
//! assert_eq!(again.state.0.len(), 3); // two of a snapshot, one replayed
//! assert!(again.loaded.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a crash leaves
//!
//! A snapshot is written to a temporary file. The file is synced and renamed, and its directory is synced; only then
//! are chunks removed. So after any crash there is the newest snapshot whose `take` has returned, or a newer one, and
//! the log has every record after it.
//!
//! The two newest snapshots are kept, and the log from the older one on. If the newest snapshot is damaged later, the
//! older one and the records after it give the same state; [`Restored::damaged`] reports the damage. So the first
//! snapshot removes no chunks. A [pin](ChunkedWal::pin) named `snapshots` keeps other drains from removing them.
//!
//! # On a full disk
//!
//! Taking a snapshot needs space for a new chunk and for the snapshot's file, and the first snapshot frees no space. On
//! a file system that only the log fills, take snapshots long before it is full; once it is full, the log can't free
//! space itself. For example, take a snapshot whenever [`on_disk_size`](ChunkedWal::on_disk_size) has grown by some
//! chunks.
//!
//! # Where the files are
//!
//! The snapshots have their own directory, best beside the log's directory: `DIR/log` and `DIR/snapshots`. A directory
//! of snapshots inside the log's directory is left alone, but [`RecoveryReport::foreign_names`](crate::RecoveryReport)
//! and `chunked-wal` report its name. The log's lock covers both directories. For a backup, copy the snapshots first,
//! then the log, because a log that ends before a snapshot is refused. Files that are not named like snapshots are left
//! alone.

mod file;
mod open;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use self::file::FileName;
use crate::directory::WalLock;
use crate::error::{Error, Result, SnapshotFault};
use crate::flush::{Inside, ProgressHandle};
use crate::pin::WalPin;
use crate::position::ChunkId;
use crate::record::{StateMachine, WalTypes};
use crate::shared::SharedWal;
use crate::storage::Storage;
use crate::wal::ChunkedWal;

pub use open::{Loaded, Restored};

/// The snapshots of one log; see the [module](self). [`open`](Self::open) returns them together with the log.
///
/// `Send + Sync`: any thread may take a snapshot, one at a time. The closure that writes a snapshot must not wait for a
/// thread that takes another snapshot. If the closure itself takes another snapshot, it gets [`Error::WouldDeadlock`].
///
/// `Snapshots` does not keep the log open. After the log is closed, the methods return [`Error::Closed`] and touch no
/// file, because another owner may have opened the log. A snapshot that is being written holds the log's lock, so a log
/// that is closed meanwhile can be opened again only once that snapshot is durable.
#[derive(Debug)]
pub struct Snapshots {
    files: Files,
    log_id: [u8; 16],
    progress: ProgressHandle,
    /// Upgraded while files change. Weak, because forgotten snapshots must not keep the log locked.
    lock: Weak<WalLock>,
    /// At [`unneeded_before`](Self::unneeded_before), so that no drain takes what a snapshot needs.
    pin: WalPin,
    /// Held while a snapshot is written.
    turn: Mutex<()>,
    /// Locked only for a moment, never while the program's closure runs.
    kept: Mutex<Kept>,
}

/// The snapshots that are kept, by the offsets that they cover, at most two, oldest first.
#[derive(Debug)]
struct Kept {
    offsets: Vec<u64>,
    /// Whether this process has written the newest snapshot. The name of a snapshot found by an open may not be durable
    /// yet, so nothing is removed because of it.
    is_certain: bool,
}

impl Kept {
    /// The newest snapshot's offset, and whether this process has written it.
    fn newest(&self) -> (Option<u64>, bool) {
        (self.offsets.last().copied(), self.is_certain)
    }

    /// Adds a snapshot that this process has written, not older than the others. Returns all kept offsets.
    fn add(&mut self, offset: u64) -> Vec<u64> {
        self.offsets.retain(|kept| *kept != offset);
        self.offsets.push(offset);
        self.is_certain = true;
        let superfluous = self.offsets.len().saturating_sub(2);
        self.offsets.drain(..superfluous);
        self.offsets.clone()
    }
}

impl Snapshots {
    /// Takes a snapshot of the state, keeps the two newest snapshots, and removes the chunks before the older of the
    /// two. Returns the ids of the removed chunks.
    ///
    /// Starts a new chunk, unless the open chunk has no record yet; the snapshot covers all records before the new
    /// chunk. `state` must have applied all of these records, and `write` must write that state. The bytes are written
    /// to the disk in pieces of 256 KiB.
    ///
    /// Blocks until the log is synced and the snapshot is durable. The removal follows in the background;
    /// [`ChunkedWal::wait_idle`] waits for it.
    ///
    /// # Errors
    ///
    /// As [`ChunkedWal::close_open_chunk`], [`ChunkedWal::sync`] and [`write`](Self::write); then nothing is removed.
    /// [`Error::Snapshot`] with [`SnapshotFault::OtherLog`] if `log` was not opened with these snapshots. As
    /// [`ChunkedWal::remove_chunks`]; then the snapshot is durable, and the next snapshot removes the chunks.
    pub fn take<W: WalTypes, SM: StateMachine<W>>(
        &self,
        log: &mut ChunkedWal<W>,
        state: &SM,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Vec<ChunkId>> {
        self.refuse_inside("Snapshots::take")?;
        self.check_log(log)?;
        let chunk_id = log.begin_chunk_for_snapshot(|| state.checkpoint())?;
        log.sync()?;
        self.write(chunk_id.offset(), write)?;
        log.remove_chunks_before(self.unneeded_before())
    }

    /// As [`take`](Self::take), for a shared log: commits don't wait while the snapshot is written.
    ///
    /// `copy` copies from the state what the snapshot needs, for example with `SM::clone`; commits wait only for
    /// `copy`. `write` writes the copy.
    ///
    /// ```
    /// # use std::io::Write;
    /// # use chunked_wal::snapshot::Snapshots;
    /// # use chunked_wal::{Error, SharedWal, StateMachine, WalTypes};
    /// # trait Words { fn words(&self) -> Vec<String>; }
    /// # fn snapshot<W: WalTypes, SM: StateMachine<W> + Words>(snapshots: &Snapshots, log: &SharedWal<W, SM>) -> Result<(), Error> {
    /// snapshots.take_shared(log, |state| state.words(), |words, file| {
    ///     words.iter().try_for_each(|word| writeln!(file, "{word}"))
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As `take` and [`SharedWal::snapshot_and_drain`].
    pub fn take_shared<W: WalTypes, SM: StateMachine<W>, S>(
        &self,
        log: &SharedWal<W, SM>,
        copy: impl FnOnce(&SM) -> S,
        write: impl FnOnce(S, &mut dyn Write) -> io::Result<()>,
    ) -> Result<Vec<ChunkId>> {
        self.refuse_inside("Snapshots::take_shared")?;
        log.with_log(|log, _| self.check_log(log))??;
        log.snapshot_and_drain_to(copy, |copied, chunk_id| {
            self.write(chunk_id.offset(), |file| write(copied, file))?;
            Ok(self.unneeded_before())
        })
    }

    /// Writes a snapshot of a state that has applied the records before the global offset `offset` and no others. The
    /// snapshot is durable on return. Removes all older snapshots except the newest of them, and nothing from the log.
    ///
    /// For programs that copy their state in their own way; otherwise use [`take`](Self::take). Afterwards the program
    /// can drain the chunks that end at or before [`unneeded_before`](Self::unneeded_before).
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] with [`SnapshotFault::AheadOfLog`] if the log is not durable up to `offset`, or with
    /// [`SnapshotFault::NotNewer`] if an existing snapshot covers more; [`Error::Closed`] after the log is closed;
    /// [`Error::WouldDeadlock`] inside the closure of another snapshot; [`Error::StorageFull`]; [`Error::Io`], also for
    /// errors of `write`. Existing snapshots are kept. A file whose name could not be synced may be left; a later
    /// snapshot removes it.
    pub fn write(&self, offset: u64, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        self.refuse_inside("Snapshots::write")?;
        let _turn = self.turn.lock();
        let _lock = self.lock()?;
        let fault = |reason| Error::Snapshot { path: self.files.dir.join(file::name(offset)), reason };
        let synced = self.progress.progress().synced;
        if synced < offset {
            return Err(fault(SnapshotFault::AheadOfLog { offset, synced }));
        }
        let (newest, is_certain) = self.kept.lock().newest();
        match newest {
            Some(newest) if newest > offset => return Err(fault(SnapshotFault::NotNewer { newest })),
            // The same records make the same state.
            Some(newest) if newest == offset && is_certain => return Ok(()),
            _ => {}
        }
        self.files.write(self.log_id, offset, |file| {
            let _inside = Inside::enter(self.identity());
            write(file)
        })?;
        let kept = self.kept.lock().add(offset);
        self.pin.advance(self.unneeded_before().max(self.pin.offset()))?;
        self.files.remove_older_but(&kept);
        Ok(())
    }

    /// Returns the global offset before which no snapshot needs the log, because the older of the two kept snapshots
    /// covers those records. 0 until two snapshots are kept and this process has written the newer one.
    pub fn unneeded_before(&self) -> u64 {
        match *self.kept.lock() {
            Kept { ref offsets, is_certain: true } if offsets.len() == 2 => offsets[0],
            _ => 0,
        }
    }

    /// An error if `log` was not opened with these snapshots. Compares locks, because a copy of a log has the same id.
    fn check_log<W: WalTypes>(&self, log: &ChunkedWal<W>) -> Result<()> {
        if Arc::ptr_eq(&self.lock()?, log.lock()) {
            return Ok(());
        }
        Err(Error::Snapshot { path: self.files.dir.clone(), reason: SnapshotFault::OtherLog })
    }

    /// The log's lock; an error once the log is closed.
    fn lock(&self) -> Result<Arc<WalLock>> {
        self.lock.upgrade().ok_or(Error::Closed)
    }

    /// Distinguishes the threads that write one of these snapshots.
    fn identity(&self) -> usize {
        std::ptr::from_ref(&self.turn).addr()
    }

    /// An error inside the closure that writes a snapshot, because `method` would wait for that snapshot.
    fn refuse_inside(&self, method: &'static str) -> Result<()> {
        Inside::refuse_wait(self.identity(), method)
    }
}

/// The directory of the snapshots.
#[derive(Debug)]
struct Files {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
}

impl Files {
    /// Writes a snapshot. On return it is durable under its name.
    fn write(
        &self,
        log_id: [u8; 16],
        offset: u64,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        let (temp, path) = (self.dir.join(file::temp_name(offset)), self.dir.join(file::name(offset)));
        match self.storage.remove(&temp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", temp, e)),
            _ => {}
        }
        let len = file::write(&*self.storage, &temp, (log_id, offset), fill).inspect_err(|_| {
            // What is left is removed with the next snapshot.
            let _gone = self.storage.remove(&temp);
        })?;
        // The bytes are durable before they have the name, and the name before anything relies on it.
        self.storage.rename(&temp, &path).map_err(|e| Error::no_space("rename", &path, 0, e))?;
        self.storage.sync_dir(&self.dir).map_err(|e| Error::no_space("sync directory", &self.dir, 0, e))?;
        log::info!("wrote snapshot '{}', {len} bytes", path.display());
        Ok(())
    }

    /// Removes unfinished snapshots, and those that are older than the newest of `kept` and not among these. A newer
    /// one stays until a snapshot that is newer still is durable. What can't be removed costs space only, so a failure
    /// is logged.
    fn remove_older_but(&self, kept: &[u64]) {
        let is_newer = |offset: u64| kept.last().is_some_and(|newest| offset > *newest);
        let names = match list(&*self.storage, &self.dir) {
            Ok(names) => names,
            Err(error) => return log::warn!("old snapshots are left: {error}"),
        };
        for (name, kind) in names {
            if !matches!(kind, FileName::Snapshot(offset) if kept.contains(&offset) || is_newer(offset)) {
                let path = self.dir.join(name);
                if let Err(error) = self.storage.remove(&path) {
                    log::warn!("an old snapshot is left: remove '{}' failed: {error}", path.display());
                }
            }
        }
    }
}

/// The files in a directory that are named like snapshots.
fn list(storage: &dyn Storage, dir: &Path) -> Result<Vec<(OsString, FileName)>> {
    let names = storage.list(dir).map_err(|e| Error::io("list", dir, e))?;
    let parsed = names.into_iter().filter_map(|name| {
        let kind = FileName::parse(name.to_str()?)?;
        Some((name, kind))
    });
    Ok(parsed.collect())
}

/// The offsets of the snapshots in a directory, newest first.
fn offsets(storage: &dyn Storage, dir: &Path) -> Result<Vec<u64>> {
    let offset = |(_, kind)| match kind {
        FileName::Snapshot(offset) => Some(offset),
        FileName::Temp => None,
    };
    let mut offsets: Vec<_> = list(storage, dir)?.into_iter().filter_map(offset).collect();
    offsets.sort_unstable_by(|a, b| b.cmp(a));
    Ok(offsets)
}
