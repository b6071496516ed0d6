//! [`State`]: what the log is replayed into, the index among it.
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
//! - Once a log is open, `places` begins with the first. While it is replayed they may begin later: the
//!   oldest chunk tells of entries that went with the chunks before it, because a later record has made
//!   them void.
//! - A record is refused before anything changes, or it is taken whole.

use std::collections::VecDeque;
use std::sync::Arc;

use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord};
use openraft::{LogId, RaftLogId, RaftTypeConfig};

use crate::recent::Recent;
use crate::record::{Action, Meta, RaftWal};

/// What raft stores, and where its entries stand.
#[derive(Debug)]
pub(crate) struct State<C: RaftTypeConfig> {
    meta: Meta<C>,
    /// 16 bytes for each entry.
    places: VecDeque<Segment>,
    recent: Recent<C::Entry>,
    /// Whether replay has met its first checkpoint, from which on everything follows from records.
    grounded: bool,
}

/// Why a record doesn't fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("entry {index} can't stand behind {last:?}: it would leave a hole, or overwrite")]
    NotConsecutive { index: u64, last: Option<u64> },

    #[error("the index {index} is the largest there is: no entry could follow")]
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

    /// Ends replay: a log without a chunk has had no checkpoint.
    pub(crate) fn opened(&mut self) {
        self.grounded = true;
    }

    pub(crate) fn meta(&self) -> &Meta<C> {
        &self.meta
    }

    /// How many entries there should be and are not.
    pub(crate) fn missing(&self) -> u64 {
        let indexes = self.meta.indexes();
        (indexes.end - indexes.start).saturating_sub(self.places.len() as u64)
    }

    /// The global offset of the oldest entry.
    pub(crate) fn oldest_offset(&self) -> Option<u64> {
        self.places.front().map(|place| place.offset)
    }

    /// The entry at an index.
    pub(crate) fn find(&self, index: u64) -> Option<(Found<C::Entry>, u64)> {
        let behind = usize::try_from(self.meta.indexes().end.checked_sub(index)?.checked_sub(1)?).ok()?;
        let place = *self.places.get(self.places.len().checked_sub(behind)?.checked_sub(1)?)?;
        let found = match self.recent.nth_last(behind) {
            Some(entry) => Found::Here(entry.clone()),
            None => Found::At { index, place },
        };
        Some((found, place.size))
    }

    /// Whether an action fits.
    pub(crate) fn admit(&self, action: &Action<C>) -> Result<(), Refused> {
        let last = self.meta.last.as_ref().map(|last| last.index);
        match action {
            Action::Vote(_) | Action::Committed(_) => Ok(()),
            Action::Entry(entry) => match entry.get_log_id().index {
                index @ u64::MAX => Err(Refused::IndexesUsedUp { index }),
                // A log that has no entry begins with any.
                index if last.is_none_or(|last| last.checked_add(1) == Some(index)) => Ok(()),
                index => Err(Refused::NotConsecutive { index, last }),
            },
            Action::Truncate { since, last: left } => {
                let left = left.as_ref().map(|left| left.index);
                let purged = self.meta.purged.as_ref().map(|purged| purged.index);
                let all = left == purged && *since <= self.meta.first;
                let some = left.is_some_and(|left| left.checked_add(1) == Some(*since));
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

    /// The oldest chunk's checkpoint brings what went before. Each later one says what is known.
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
