//! [`Indexer`]: the [index](ChunkIndex) of each checkpoint, from the actions of the chunk before it alone.
//!
//! The store's own index follows from all of its log. Both are the same: see [`Places`].

use std::io;
use std::io::Write;
use std::sync::Arc;

use chunked_wal::{ChunkId, Segment};

use crate::places::{ChunkIndex, Places};
use crate::record::{Action, write_index};
use crate::types::RaftTypes;

/// What an action changes in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The entry with this index is appended.
    Entry(u64),
    /// The entries from this index on are void.
    Truncate(u64),
    /// The entries up to this index are in a snapshot.
    Purge(u64),
    /// Nothing: a vote, a commit, or user data.
    Nothing,
}

impl Change {
    pub(crate) fn of<R: RaftTypes>(action: &Action<R>) -> Self {
        match action {
            Action::Entry(entry) => Change::Entry(R::index(&R::log_id(entry))),
            Action::Truncate { since, .. } => Change::Truncate(*since),
            Action::Purge(upto) => Change::Purge(R::index(upto)),
            Action::Vote(_) | Action::Committed(_) | Action::UserData(_) => Change::Nothing,
        }
    }
}

/// Makes the indexes of checkpoints, for a program that writes the records of a [`LogStore`](crate::LogStore)
/// itself, as an importer of other logs does.
///
/// Call [`apply`](Self::apply) for each action of the log, in order, and write the index after the
/// [`Meta`](crate::Meta) of each checkpoint. A log whose checkpoints have no indexes opens too, but each open reads all
/// of it.
#[derive(Debug, Default)]
pub struct Indexer {
    places: Places,
    /// The chunk of the last action.
    chunk_id: Option<ChunkId>,
}

impl Indexer {
    /// Applies an action that is in the log at `place`.
    pub fn apply(&mut self, change: Change, chunk_id: ChunkId, place: Segment) {
        if self.chunk_id.replace(chunk_id) != Some(chunk_id) {
            self.places = Places::default();
        }
        match change {
            Change::Entry(index) => self.places.push(index, place),
            Change::Truncate(since) => self.places.truncate(since),
            Change::Purge(upto) => self.places.purge(upto.saturating_add(1)),
            Change::Nothing => {}
        }
    }

    /// Writes the index of the chunk of the last action, as the next checkpoint has it after the state. Returns its
    /// length.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write(&self, writer: impl Write) -> io::Result<usize> {
        write_index(&self.index(), writer)
    }

    pub(crate) fn index(&self) -> Arc<ChunkIndex> {
        self.places.open_index().unwrap_or_default()
    }
}
