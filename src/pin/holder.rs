//! [`Holder`]: one that keeps the log from shrinking, as the owner or a person sees it.

use std::fmt;
#[cfg(feature = "cli")]
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(feature = "cli")]
use super::file;
#[cfg(feature = "cli")]
use crate::error::{Error, Result};
use crate::format::NoticeKind;
#[cfg(feature = "cli")]
use crate::format::{Cursor, CursorFile};
#[cfg(feature = "cli")]
use crate::storage::Storage;

/// One that keeps the log from a cursor on; from [`ChunkedWal::holders`](crate::ChunkedWal::holders).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The name that the pin was given. Several may have the same.
    pub name: String,
    /// What it is.
    pub kind: HolderKind,
    /// The log is kept from this global offset on; 0 if the holder's cursor can't be read.
    pub offset: u64,
    /// Bytes of the log from the offset to the last record.
    pub bytes: u64,
    /// How long ago the pin was set or moved. Of a subscriber that has not moved since the log was opened: for how
    /// long the log has seen it there.
    pub age: Duration,
    /// Whether the log is kept for it.
    pub state: PinState,
}

/// What a [`Holder`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HolderKind {
    /// A [`WalPin`](crate::WalPin): it ends with its process.
    Pin,
    /// A [`Subscriber`](crate::Subscriber): it outlives its process.
    Subscriber,
    /// [Pinned readers](crate::PinnedReader) that begin in the same chunk. Drains pass them; removals wait for them.
    Readers,
}

/// Whether the log is kept for a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinState {
    /// It is.
    Holds,
    /// It is, but the log was over its [soft budget](crate::Config::soft_budget) when it last drained: unless the pin
    /// is [unbreakable](crate::PinOptions::unbreakable), the next drain that meets it breaks it.
    OverBudget,
    /// It is no longer. Records from the pin's offset on may be gone.
    Broken,
}

impl fmt::Display for PinState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PinState::Holds => "holds",
            PinState::OverBudget => "over budget",
            PinState::Broken => "broken",
        })
    }
}

impl fmt::Display for HolderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HolderKind::Pin => "pin",
            HolderKind::Subscriber => "subscriber",
            HolderKind::Readers => "readers",
        })
    }
}

/// What a subscriber was told.
pub(super) fn state_of(kind: NoticeKind) -> PinState {
    match kind {
        NoticeKind::Within => PinState::Holds,
        NoticeKind::Over => PinState::OverBudget,
        NoticeKind::Broken => PinState::Broken,
    }
}

/// A subscriber as its file alone shows it.
#[cfg(feature = "cli")]
#[derive(Debug)]
pub(crate) struct StoredHolder {
    pub(crate) name: String,
    /// `None`: damaged.
    pub(crate) cursor: Option<Cursor>,
    pub(crate) state: PinState,
}

/// The subscribers to the log in `dir`, the one that is farthest behind first.
#[cfg(feature = "cli")]
pub(crate) fn stored_holders(storage: &dyn Storage, dir: &Path) -> Result<Vec<StoredHolder>> {
    let holder = |dir: PathBuf| {
        let (cursor, state) = match file::read(storage, &dir) {
            Ok(CursorFile::New) => return Ok(None),
            Ok(CursorFile::Stored(cursor, notice)) => {
                (Some(cursor), notice.map_or(PinState::Holds, |notice| state_of(notice.kind)))
            }
            Ok(CursorFile::Damaged) => (None, PinState::Holds),
            Err(e) => return Err(Error::io("read", file::cursor_path(&dir), e)),
        };
        Ok(Some(StoredHolder { name: file::name_of(&dir), cursor, state }))
    };
    let read: Result<Vec<_>> = file::directories(storage, dir)?.into_iter().map(holder).collect();
    let mut holders: Vec<_> = read?.into_iter().flatten().collect();
    holders.sort_by_key(|holder| holder.cursor.map_or(0, |cursor| cursor.offset));
    Ok(holders)
}
