//! raft-log's state, as its records make it, with what the adapters' checkpoint needs beside it.
//!
//! raft-log orders log ids by leader and index, the adapters by index alone. A record after which the two would have
//! different states is refused.

use std::ops::Range;

use super::{OldState, OpenraftTypes};

/// The state after the records so far.
#[derive(Debug)]
pub(super) struct State<T: OpenraftTypes> {
    pub(super) vote: Option<T::Vote>,
    pub(super) committed: Option<T::LogId>,
    pub(super) purged: Option<T::LogId>,
    /// The last entry, or the last purged one.
    pub(super) last: Option<T::LogId>,
    pub(super) user_data: Option<T::UserData>,
    /// The index of the first entry, if there is one.
    pub(super) first: u64,
    /// How many of the entries were in the log; those of removed chunks were not.
    found: u64,
    /// Whether the log's first checkpoint was seen; after that, everything follows from records.
    pub(super) is_started: bool,
}

/// Why a record doesn't fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("entry {index} can't follow {last:?}: it would leave a hole, or overwrite an entry")]
    NotConsecutive { index: u64, last: Option<u64> },

    #[error("the index {index} is the largest possible one: no entry could follow")]
    IndexesUsedUp { index: u64 },

    #[error("a truncation can't leave {left:?} as the last entry: the log starts at {first}")]
    Truncation { left: Option<u64>, first: u64 },

    #[error("a purge up to {upto} doesn't fit the log, purged up to {purged:?} with the last entry {last:?}")]
    Purge { upto: u64, purged: Option<u64>, last: Option<u64> },

    #[error("the `{field}` of a checkpoint is {found}, but the records before it make it {expected}")]
    Checkpoint { field: &'static str, found: String, expected: String },

    #[error("{missing} entries from {first} to {last} are missing: the oldest chunks are lost")]
    Missing { first: u64, last: u64, missing: u64 },
}

impl<T: OpenraftTypes> Default for State<T> {
    fn default() -> Self {
        State {
            vote: None,
            committed: None,
            purged: None,
            last: None,
            user_data: None,
            first: 0,
            found: 0,
            is_started: false,
        }
    }
}

impl<T: OpenraftTypes> State<T> {
    /// The state that the log's first checkpoint says.
    pub(super) fn started(state: &OldState<T>) -> Self {
        State {
            vote: state.vote().cloned(),
            committed: state.committed().cloned(),
            purged: state.purged().cloned(),
            last: state.last().cloned(),
            user_data: state.user_data.clone(),
            first: next_index::<T>(state.purged()),
            found: 0,
            is_started: true,
        }
    }

    /// The indexes of the entries.
    pub(super) fn indexes(&self) -> Range<u64> {
        self.first..next_index::<T>(self.last.as_ref()).max(self.first)
    }

    pub(super) fn append(&mut self, log_id: T::LogId) -> Result<(), Refused> {
        let index = T::log_index(&log_id);
        let last = index_of::<T>(&self.last);
        if index == u64::MAX {
            return Err(Refused::IndexesUsedUp { index });
        }
        // A new log may start with any index.
        if last.is_some_and(|last| last.checked_add(1) != Some(index)) {
            return Err(Refused::NotConsecutive { index, last });
        }
        if self.indexes().is_empty() {
            // It may be below the first entry of before, if that was truncated.
            self.first = index;
        }
        self.last = Some(log_id);
        self.found += 1;
        Ok(())
    }

    /// Returns the index of the first void entry, if there is one.
    pub(super) fn truncate_after(&mut self, left: Option<T::LogId>) -> Result<Option<u64>, Refused> {
        if self.last <= left {
            return Ok(None);
        }
        let since = next_index::<T>(left.as_ref());
        let leaves_none = left == self.purged && since <= self.first;
        let leaves_some = left.is_some() && since > self.first && since <= self.indexes().end;
        if !leaves_none && !leaves_some {
            return Err(Refused::Truncation { left: index_of::<T>(&left), first: self.first });
        }
        self.found = self.found.saturating_sub(self.indexes().end.saturating_sub(since));
        self.last = left;
        Ok(Some(since))
    }

    /// Whether a purge up to this entry empties the log, although the log has entries with later indexes: they are of
    /// an earlier leader.
    pub(super) fn is_voided_by_purge(&self, upto: &T::LogId) -> bool {
        let index = T::log_index(upto);
        Some(upto) > self.last.as_ref() && self.indexes().contains(&index)
    }

    pub(super) fn void_all(&mut self) {
        self.last = self.purged.clone();
        self.found = 0;
    }

    pub(super) fn purge(&mut self, upto: T::LogId) -> Result<(), Refused> {
        let index = T::log_index(&upto);
        let (purged, last) = (index_of::<T>(&self.purged), index_of::<T>(&self.last));
        let upto = Some(upto);
        // The order of log ids and that of indexes must agree.
        let agree = |before: &Option<T::LogId>, before_index: Option<u64>| {
            (*before < upto) == (before_index < Some(index))
        };
        if index == u64::MAX || !agree(&self.purged, purged) || !agree(&self.last, last) {
            return Err(Refused::Purge { upto: index, purged, last });
        }
        self.first = self.first.max(index + 1);
        if self.last < upto {
            self.last.clone_from(&upto);
        }
        if self.purged < upto {
            self.purged = upto;
        }
        let indexes = self.indexes();
        self.found = self.found.min(indexes.end - indexes.start);
        Ok(())
    }

    /// Checks that a checkpoint says this state.
    pub(super) fn must_be(&self, state: &OldState<T>) -> Result<(), Refused> {
        same("vote", state.vote(), self.vote.as_ref())?;
        same("last", state.last(), self.last.as_ref())?;
        same("committed", state.committed(), self.committed.as_ref())?;
        same("purged", state.purged(), self.purged.as_ref())?;
        same("user_data", state.user_data.as_ref(), self.user_data.as_ref())
    }

    /// Checks that every entry that is not void was in the log.
    pub(super) fn must_be_complete(&self) -> Result<(), Refused> {
        let Range { start: first, end } = self.indexes();
        match (end - first).saturating_sub(self.found) {
            0 => Ok(()),
            missing => Err(Refused::Missing { first, last: end - 1, missing }),
        }
    }
}

fn index_of<T: OpenraftTypes>(log_id: &Option<T::LogId>) -> Option<u64> {
    log_id.as_ref().map(T::log_index)
}

fn next_index<T: OpenraftTypes>(log_id: Option<&T::LogId>) -> u64 {
    log_id.map_or(0, |log_id| T::log_index(log_id).saturating_add(1))
}

fn same<V: PartialEq + std::fmt::Debug>(
    field: &'static str,
    found: Option<&V>,
    expected: Option<&V>,
) -> Result<(), Refused> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
    Err(Refused::Checkpoint { field, found, expected })
}
