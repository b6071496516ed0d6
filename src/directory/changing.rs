//! A directory that another process may be changing: listed until two listings agree, and looked at again after an
//! error that a change under way explains.
//!
//! ```text
//! list ─► the chunks known already? ─► done
//!   ▲ no                └─ no ─► the same chunks as the listing before? ─► done
//!   └────────────── no, at most 8 times ◄──────────────┘
//! ```
//!
//! - A listing isn't one instant: a name that is added or removed meanwhile may be missing, or be there
//!   twice. A name that no one touches is always there.
//! - So two listings in a row that agree miss no name: a name that the first could have missed is not touched during
//!   the second.
//! - A log that is read by polling knows its chunks, and a listing that agrees with them is enough.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::chunk_file::open_by_either_name;
use super::listing::{Listing, list};
use crate::error::{Error, Result};
use crate::position::ChunkId;
use crate::storage::{DiskStorage, Storage};

/// How many listings in a row may differ. A log would have to begin or remove a chunk during each.
const LISTINGS_MAX: u32 = 8;

/// How many looks in a row may find the directory in the middle of a change. The directory is sound at any instant;
/// a look takes longer than that, so each has a chance of its own.
const LOOKS_MAX: u32 = 8;

/// The pause before the second of those looks; doubled before each later one.
const PAUSE: Duration = Duration::from_micros(50);

impl Listing {
    /// Lists `dir`, in which a log may be at work, without leaving out a chunk: it lists again until two
    /// listings agree.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn of(dir: &Path) -> Result<Self> {
        Self::of_storage(&DiskStorage, dir)
    }

    /// As [`of`](Self::of), for a directory of another storage.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn of_storage(storage: &dyn Storage, dir: &Path) -> Result<Self> {
        list_changing(storage, dir, &[])
    }
}

/// Lists a resolved directory in which a log may be at work, without leaving out a chunk. `known` are the
/// chunks that the last call returned; empty for none.
pub(crate) fn list_changing(storage: &dyn Storage, dir: &Path, known: &[ChunkId]) -> Result<Listing> {
    let is_known = |found: &Listing| !known.is_empty() && found.chunks == known;
    let mut before = list(storage, dir)?;
    if is_known(&before) {
        return Ok(before);
    }
    for _ in 1..LISTINGS_MAX {
        let found = list(storage, dir)?;
        if found.chunks == before.chunks || is_known(&found) {
            return Ok(found);
        }
        before = found;
    }
    let found = list(storage, dir)?;
    Ok(merged(storage, dir, before, found))
}

/// Merges two listings that differ: the log as it was at the first of them, without the chunks removed since.
fn merged(storage: &dyn Storage, dir: &Path, before: Listing, mut found: Listing) -> Listing {
    let Some(newest) = before.chunks.last() else { return found };
    found.chunks.extend(&before.chunks);
    found.chunks.sort_unstable();
    found.chunks.dedup();
    // A chunk started since then may be missing while its successor is listed.
    found.chunks.retain(|id| id <= newest);
    // Chunks are removed oldest first.
    let removed = found.chunks.partition_point(|id| is_removed(storage, dir, *id));
    found.chunks.drain(..removed);
    // A log that has none of its chunks left is shown as it was.
    if found.chunks.is_empty() { before } else { found }
}

fn is_removed(storage: &dyn Storage, dir: &Path, id: ChunkId) -> bool {
    let opened = open_by_either_name(storage, &dir.join(id.file_name()), Some(id));
    matches!(opened, Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// The looks that are left at a directory that may be in the middle of a change.
#[derive(Debug)]
pub(crate) struct Looks {
    left: u32,
    pause: Duration,
}

impl Looks {
    pub(crate) fn new() -> Self {
        Looks { left: LOOKS_MAX - 1, pause: PAUSE }
    }

    /// Pauses before another look.
    ///
    /// # Errors
    ///
    /// `error` itself, if no change explains it or no look is left.
    pub(crate) fn again_after(&mut self, error: Error) -> Result<()> {
        if self.left == 0 || !may_pass(&error) {
            return Err(error);
        }
        log::debug!("a directory in the middle of a change, looking again: {error}");
        std::thread::sleep(self.pause);
        self.left -= 1;
        self.pause *= 2;
        Ok(())
    }
}

/// Repeats a look while it finds the directory in the middle of a change.
pub(crate) fn settled<T>(mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let mut looks = Looks::new();
    loop {
        match look() {
            Err(error) => looks.again_after(error)?,
            found => return found,
        }
    }
}

/// Whether an error may be no more than a chunk being removed, its file used again, or its end cut off,
/// while it was looked at.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => {
            matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        }
        Error::NotAChunk { .. }
        | Error::Unsupported { .. }
        | Error::Corrupt { .. }
        | Error::Gap { .. }
        | Error::NotInLog { .. }
        | Error::ForeignChunk { .. } => true,
        _ => false,
    }
}
