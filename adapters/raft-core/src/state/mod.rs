//! [`State`]: the state that the log is replayed into, with the index of entries.
//!
//! ```text
//! removed chunks │ chunks kept
//!                │   meta.first                    meta.last
//!                │       ▼                             ▼
//!   entries  … x x x x x 6   7   8   9   10   11   12
//!                            └── places: one for each entry that a chunk kept has ──┘
//!                                         └── recent: in memory, too ──┘
//! ```
//!
//! - `places` and `recent` both end with the last entry and have no gap.
//! - Once a log is open, `places` starts with the first entry. During replay it may start later: entries of older
//!   chunks are added by [`State::opened`].
//! - A record is refused before anything changes, or applied as a whole.
//!
//! # Opening without reading all chunks
//!
//! ```text
//! chunk 1              chunk 2                  chunk 3                  chunk 4, the newest
//! ┌──────────────────┐ ┌──────────────────────┐ ┌──────────────────────┐ ┌──────────────────────┐
//! │ … │ 1 2 3 4 5    │ │ index of 1 │ 6 7 8   │ │ index of 2 │ 7 8 9   │ │ index of 3 │ 10 11   │
//! └──────────────────┘ └──────────────────────┘ └──────────────────────┘ └──────────────────────┘
//!   not read             the checkpoint is read   the checkpoint is read   replayed
//! ```
//!
//! A checkpoint has the [`ChunkIndex`] of the chunk before it: the entries that this chunk's actions leave in the log.
//! All of them are at the end of the log then. [`Places::add_chunk`] adds the chunks' entries in order, and lets each
//! chunk void the entries from its first one on. What replay of the newest chunk gave comes last. So every entry of
//! the log is found where it was appended last: a later chunk with an entry of a lower or the same index would have
//! voided it.
//!
//! - *A truncation of entries in older chunks* takes effect with the next entry, which is in the same chunk or a later
//!   one. If no entry has followed, [`Meta::last`] bounds the entries.
//! - *A purge* moves [`Meta::first`], below which entries are ignored. A purge beyond the last entry empties the index,
//!   so that the entries of an index have no hole.
//! - *A chunk without entries* has an empty index. *A chunk without actions* has the index of the chunk before it once
//!   more: the state doesn't know of a rotation until an action follows. Adding an index twice does nothing.
//! - *Removed chunks* may be in the index of the oldest kept chunk's checkpoint, and [`Meta`] may count their entries,
//!   because only a later record voids them. At the end of replay, the entries before the log's start are dropped. If
//!   one of them is not void, or if there is a hole, [`State::missing`] counts it: chunk files are lost.
//! - *After a crash*, the newest chunk is replayed as far as it is whole. A new chunk that recovery starts gets a
//!   checkpoint of that state, with the index of the entries that are left.
//! - *A checkpoint without an index* comes from a program that doesn't know the positions, or from a log whose
//!   `max_record_size` is too small for the index. Then the store reads the chunk before it. The store rotates before
//!   an index has [`INDEX_LEN_MAX`] or half of `max_record_size`, so its own chunks of many small entries have one.
//! - *Each later checkpoint that is replayed* must have the state and the index that the records before it give. The
//!   index depends on nothing but the actions of one chunk, so replay from any chunk gives the same.

use std::ops::Range;
use std::sync::Arc;

use chunked_wal::codeq::{Encode, Span};
use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord};

use crate::places::{ChunkIndex, Places};
use crate::recent::Recent;
use crate::record::{Action, Checkpoint, Meta, RaftWal};
use crate::types::RaftTypes;

/// The store rotates when a chunk's index has this many bytes, so that a rotation takes a few milliseconds at most.
const INDEX_LEN_MAX: u64 = 4 << 20;

/// Raft's state, and the positions of its entries.
#[derive(Debug)]
pub(crate) struct State<R: RaftTypes> {
    meta: Meta<R>,
    places: Places,
    recent: Recent<R::Entry>,
    /// The chunk of the last action.
    chunk_id: Option<ChunkId>,
    /// The chunk of the first checkpoint that replay has seen; after that, everything follows from records.
    replayed_from: Option<ChunkId>,
    checkpoint_len_max: u64,
}

/// Why a record doesn't fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("entry {index} can't follow {last:?}: it would leave a hole, or overwrite an entry")]
    NotConsecutive { index: u64, last: Option<u64> },

    #[error("the index {index} is the largest possible one: no entry could follow")]
    IndexesUsedUp { index: u64 },

    #[error("a truncation since {since} can't leave {left:?} as the last entry")]
    Truncation { since: u64, left: Option<u64> },

    #[error("a checkpoint says {found}, the records before it {expected}")]
    Checkpoint { found: String, expected: String },

    #[error("a checkpoint's index has the entries {found:?}, but the last entry is {last:?}")]
    Index { found: Range<u64>, last: Option<u64> },
}

/// An entry, or where to read it.
#[derive(Debug)]
pub(crate) enum Found<E> {
    Here(Arc<E>),
    At { index: u64, place: Segment },
}

impl<R: RaftTypes> State<R> {
    /// The state of a new log. It keeps recent entries of `recent_bytes_max` bytes, and makes checkpoints of up to
    /// `checkpoint_len_max` bytes, if they are that small without their index.
    pub(crate) fn new(recent_bytes_max: u64, checkpoint_len_max: u64) -> Self {
        State {
            meta: Meta::default(),
            places: Places::default(),
            recent: Recent::new(recent_bytes_max),
            chunk_id: None,
            replayed_from: None,
            checkpoint_len_max,
        }
    }

    /// Returns the oldest chunk that was replayed.
    pub(crate) fn replayed_from(&self) -> Option<ChunkId> {
        self.replayed_from
    }

    /// Ends replay, with the entries of the chunks that were not replayed, oldest first. The log starts at the global
    /// offset `start`.
    pub(crate) fn opened(&mut self, older: Vec<Arc<ChunkIndex>>, start: u64) {
        let mut before = Places::default();
        older.into_iter().for_each(|index| before.add_chunk(index));
        let indexes = self.meta.indexes();
        self.places.prepend(before, indexes.end);
        self.places.purge(indexes.start);
        self.places.forget_before(start);
    }

    pub(crate) fn meta(&self) -> &Meta<R> {
        &self.meta
    }

    /// Returns the number of missing entries.
    pub(crate) fn missing(&self) -> u64 {
        let indexes = self.meta.indexes();
        let found = self.places.entries();
        (indexes.end - indexes.start).saturating_sub(found.end - found.start)
    }

    /// Returns the global offset of the oldest entry.
    pub(crate) fn oldest_offset(&self) -> Option<u64> {
        self.places.get(self.places.entries().start).map(|place| place.offset)
    }

    /// Whether the chunk has so many entries that their index calls for a rotation.
    pub(crate) fn is_index_full(&self, chunk_id: ChunkId) -> bool {
        let max = INDEX_LEN_MAX.min(self.checkpoint_len_max / 2);
        self.places.open_index_len() as u64 >= max && self.chunk_id == Some(chunk_id)
    }

    /// Returns the entry at an index.
    pub(crate) fn find(&self, index: u64) -> Option<(Found<R::Entry>, u64)> {
        let after = usize::try_from(self.meta.indexes().end.checked_sub(index)?.checked_sub(1)?).ok()?;
        if let Some((entry, size)) = self.recent.nth_last(after) {
            return Some((Found::Here(entry.clone()), *size));
        }
        let place = self.places.get(index)?;
        Some((Found::At { index, place }, place.size))
    }

    /// Drops the entries up to an index from memory, but none that ends after the offset `synced`.
    pub(crate) fn evict(&mut self, upto: u64, synced: u64) {
        let end = self.meta.indexes().end;
        let is_durable = |index| self.places.get(index).is_some_and(|place| *place.end() <= synced);
        let first = end.saturating_sub(self.recent.len() as u64);
        // From the end: most are durable, and so is what is before a durable one.
        let last = (first..end.min(upto.saturating_add(1))).rev().find(|index| is_durable(*index));
        self.recent.keep_last((end - last.map_or(first, |last| last + 1)) as usize);
    }

    pub(crate) fn recent(&self) -> &Recent<R::Entry> {
        &self.recent
    }

    /// Checks whether an action fits.
    pub(crate) fn admit(&self, action: &Action<R>) -> Result<(), Refused> {
        let last = self.meta.last_index();
        match action {
            Action::Vote(_) | Action::Committed(_) | Action::UserData(_) => Ok(()),
            Action::Entry(entry) => match R::index(&R::log_id(entry)) {
                index @ u64::MAX => Err(Refused::IndexesUsedUp { index }),
                // A log without entries may start with any index.
                index if last.is_none_or(|last| last.checked_add(1) == Some(index)) => Ok(()),
                index => Err(Refused::NotConsecutive { index, last }),
            },
            Action::Truncate { since, last: left } => {
                let (since, left) = (*since, left.as_ref().map(R::index));
                let purged = self.meta.purged_index();
                let all = left == purged && since <= self.meta.first;
                let some =
                    left.is_some_and(|left| left >= self.meta.first && left.checked_add(1) == Some(since));
                if (all || some) && last >= left && left >= purged {
                    return Ok(());
                }
                Err(Refused::Truncation { since, left })
            }
            Action::Purge(upto) if R::index(upto) == u64::MAX => {
                Err(Refused::IndexesUsedUp { index: u64::MAX })
            }
            Action::Purge(_) => Ok(()),
        }
    }

    fn push(&mut self, entry: &Arc<R::Entry>, place: Segment) {
        let log_id = R::log_id(entry);
        let index = R::index(&log_id);
        if self.meta.indexes().is_empty() {
            // It may be below the first entry of before, if that was truncated.
            self.meta.first = index;
        }
        self.meta.last = Some(log_id);
        self.places.push(index, place);
        self.recent.push(entry.clone(), place.size);
    }

    fn truncate(&mut self, since: u64, last: Option<R::LogId>) {
        let void = self.meta.indexes().end.saturating_sub(since);
        let void = usize::try_from(void).unwrap_or(usize::MAX);
        self.places.truncate(since);
        self.recent.drop_last(void);
        self.meta.last = last;
    }

    fn purge(&mut self, upto: R::LogId) {
        let index = R::index(&upto);
        self.meta.first = self.meta.first.max(index + 1);
        if self.meta.last_index().is_none_or(|last| last < index) {
            self.meta.last = Some(upto.clone());
        }
        if self.meta.purged_index().is_none_or(|purged| purged < index) {
            self.meta.purged = Some(upto);
        }
        let indexes = self.meta.indexes();
        let left = usize::try_from(indexes.end - indexes.start).unwrap_or(usize::MAX);
        self.places.purge(indexes.start);
        self.recent.keep_last(left);
    }

    /// The first checkpoint sets the state before it. Each later one must match the replayed state.
    fn ground(&mut self, checkpoint: &Checkpoint<R>, chunk_id: ChunkId) -> Result<(), Refused> {
        let Checkpoint { meta, index } = checkpoint;
        if self.replayed_from.is_none() {
            let places = Places::of_checkpoint(index.clone());
            let found = places.entries();
            if !found.is_empty() && found.end != meta.indexes().end {
                return Err(Refused::Index { found, last: meta.last_index() });
            }
            (self.meta, self.places, self.replayed_from) = (meta.clone(), places, Some(chunk_id));
            self.places.purge(meta.first);
            return Ok(());
        }
        let expected = Checkpoint { meta: self.meta.clone(), index: self.places.open_index() };
        match index {
            None if *meta == expected.meta => Ok(()),
            Some(index) if *checkpoint == expected => {
                self.places.share(index.clone());
                Ok(())
            }
            _ => {
                let (found, expected) = (format!("{checkpoint:?}"), format!("{expected:?}"));
                Err(Refused::Checkpoint { found, expected })
            }
        }
    }
}

impl<R: RaftTypes> StateMachine<RaftWal<R>> for State<R> {
    type Error = Refused;

    fn apply(
        &mut self,
        record: &WalRecord<RaftWal<R>>,
        chunk_id: ChunkId,
        place: Segment,
    ) -> Result<(), Refused> {
        let action = match record {
            WalRecord::Checkpoint(checkpoint) => return self.ground(checkpoint, chunk_id),
            WalRecord::Action(action) => action,
        };
        self.admit(action)?;
        if self.chunk_id != Some(chunk_id) {
            self.places.start_chunk();
            self.chunk_id = Some(chunk_id);
        }
        match action {
            Action::Vote(vote) => self.meta.vote = Some(vote.clone()),
            Action::Committed(committed) => self.meta.committed = committed.clone(),
            Action::Entry(entry) => self.push(entry, place),
            Action::Truncate { since, last } => self.truncate(*since, last.clone()),
            Action::Purge(upto) => self.purge(upto.clone()),
            Action::UserData(data) => self.meta.user_data = data.clone(),
        }
        Ok(())
    }

    /// The checkpoint has no index if it would be too large with it.
    fn checkpoint(&self) -> Checkpoint<R> {
        let whole = Checkpoint { meta: self.meta.clone(), index: self.places.open_index() };
        match whole.encode(std::io::sink()) {
            Ok(len) if len as u64 > self.checkpoint_len_max => Checkpoint { index: None, ..whole },
            // The log gets the error of an encoding that fails.
            _ => whole,
        }
    }
}

#[cfg(test)]
mod tests;
