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
//! - Once a log is open, `places` starts with the first entry. During replay it may start later: the
//!   oldest chunk's checkpoint counts entries whose chunks are gone, because a later record has voided
//!   them.
//! - A record is refused before anything changes, or applied as a whole.

use std::collections::VecDeque;
use std::sync::Arc;

use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord};
use openraft::{LogId, RaftLogId, RaftTypeConfig};

use crate::recent::Recent;
use crate::record::{Action, Meta, RaftWal};

/// Raft's state, and the positions of its entries.
#[derive(Debug)]
pub(crate) struct State<C: RaftTypeConfig> {
    meta: Meta<C>,
    /// 16 bytes for each entry.
    places: VecDeque<Segment>,
    recent: Recent<C::Entry>,
    /// Whether replay has seen its first checkpoint; after that, everything follows from records.
    grounded: bool,
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
}

/// An entry, or where to read it.
#[derive(Debug)]
pub(crate) enum Found<E> {
    Here(Arc<E>),
    At { index: u64, place: Segment },
}

impl<C: RaftTypeConfig> State<C> {
    pub(crate) fn new(recent_bytes_max: u64) -> Self {
        State {
            meta: Meta::default(),
            places: VecDeque::new(),
            recent: Recent::new(recent_bytes_max),
            grounded: false,
        }
    }

    /// Ends replay: the log of a new node has had no checkpoint.
    pub(crate) fn opened(&mut self) {
        self.grounded = true;
    }

    pub(crate) fn meta(&self) -> &Meta<C> {
        &self.meta
    }

    /// Returns the number of missing entries.
    pub(crate) fn missing(&self) -> u64 {
        let indexes = self.meta.indexes();
        (indexes.end - indexes.start).saturating_sub(self.places.len() as u64)
    }

    /// Returns the global offset of the oldest entry.
    pub(crate) fn oldest_offset(&self) -> Option<u64> {
        self.places.front().map(|place| place.offset)
    }

    /// Returns the entry at an index.
    pub(crate) fn find(&self, index: u64) -> Option<(Found<C::Entry>, u64)> {
        let after = usize::try_from(self.meta.indexes().end.checked_sub(index)?.checked_sub(1)?).ok()?;
        let place = *self.places.get(self.places.len().checked_sub(after)?.checked_sub(1)?)?;
        let found = match self.recent.nth_last(after) {
            Some(entry) => Found::Here(entry.clone()),
            None => Found::At { index, place },
        };
        Some((found, place.size))
    }

    /// Checks whether an action fits.
    pub(crate) fn admit(&self, action: &Action<C>) -> Result<(), Refused> {
        let last = self.meta.last.as_ref().map(|last| last.index);
        match action {
            Action::Vote(_) | Action::Committed(_) => Ok(()),
            Action::Entry(entry) => match entry.get_log_id().index {
                index @ u64::MAX => Err(Refused::IndexesUsedUp { index }),
                // A log without entries may start with any index.
                index if last.is_none_or(|last| last.checked_add(1) == Some(index)) => Ok(()),
                index => Err(Refused::NotConsecutive { index, last }),
            },
            Action::Truncate { since, last: left } => {
                let left = left.as_ref().map(|left| left.index);
                let purged = self.meta.purged.as_ref().map(|purged| purged.index);
                let all = left == purged && *since <= self.meta.first;
                let some =
                    left.is_some_and(|left| left >= self.meta.first && left.checked_add(1) == Some(*since));
                if (all || some) && last >= left && left >= purged {
                    return Ok(());
                }
                Err(Refused::Truncation { since: *since, left })
            }
            Action::Purge(upto) if upto.index == u64::MAX => {
                Err(Refused::IndexesUsedUp { index: upto.index })
            }
            Action::Purge(_) => Ok(()),
        }
    }

    fn push(&mut self, entry: &Arc<C::Entry>, place: Segment) {
        let log_id = entry.get_log_id();
        if self.meta.last.is_none() {
            self.meta.first = log_id.index;
        }
        self.meta.last = Some(log_id.clone());
        self.places.push_back(place);
        self.recent.push(entry.clone(), place.size);
    }

    fn truncate(&mut self, since: u64, last: Option<LogId<C::NodeId>>) {
        let void = self.meta.indexes().end.saturating_sub(since);
        let void = usize::try_from(void).unwrap_or(usize::MAX);
        self.places.truncate(self.places.len().saturating_sub(void));
        self.recent.drop_last(void);
        self.meta.last = last;
    }

    fn purge(&mut self, upto: LogId<C::NodeId>) {
        self.meta.first = self.meta.first.max(upto.index + 1);
        if self.meta.last.as_ref().is_none_or(|last| last.index < upto.index) {
            self.meta.last = Some(upto.clone());
        }
        if self.meta.purged.as_ref().is_none_or(|purged| purged.index < upto.index) {
            self.meta.purged = Some(upto);
        }
        let indexes = self.meta.indexes();
        let left = usize::try_from(indexes.end - indexes.start).unwrap_or(usize::MAX);
        self.places.drain(..self.places.len().saturating_sub(left));
        self.recent.keep_last(left);
    }

    /// The oldest chunk's checkpoint sets the state before it. Each later one must match the replayed
    /// state.
    fn ground(&mut self, meta: &Meta<C>) -> Result<(), Refused> {
        if !self.grounded {
            self.meta = meta.clone();
            self.grounded = true;
        } else if self.meta != *meta {
            let (found, expected) = (format!("{meta:?}"), format!("{:?}", self.meta));
            return Err(Refused::Checkpoint { found, expected });
        }
        Ok(())
    }
}

impl<C: RaftTypeConfig> StateMachine<RaftWal<C>> for State<C> {
    type Error = Refused;

    fn apply(&mut self, record: &WalRecord<RaftWal<C>>, _: ChunkId, place: Segment) -> Result<(), Refused> {
        let action = match record {
            WalRecord::Checkpoint(meta) => return self.ground(meta),
            WalRecord::Action(action) => action,
        };
        self.admit(action)?;
        match action {
            Action::Vote(vote) => self.meta.vote = Some(vote.clone()),
            Action::Committed(committed) => self.meta.committed = committed.clone(),
            Action::Entry(entry) => self.push(entry, place),
            Action::Truncate { since, last } => self.truncate(*since, last.clone()),
            Action::Purge(upto) => self.purge(upto.clone()),
        }
        Ok(())
    }

    fn checkpoint(&self) -> Meta<C> {
        self.meta.clone()
    }
}

#[cfg(test)]
mod tests;
