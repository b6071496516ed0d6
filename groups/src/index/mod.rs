//! [`Index`]: what is alive, and where. What the log is replayed into.
//!
//! ```text
//! Index ─► Group: first index, its record's place, the state's place, Places ─► Runs ─► items
//!   └────► Chunks: the bytes that are alive in each chunk
//! ```
//!
//! - A record is alive if the index has its place. Nothing else decides: an old copy of a record, and an entry that was
//!   truncated, purged or destroyed, are at places that the index does not have.
//! - The records of the log, applied in order, lead to the same index whether the oldest chunks are there or not.
//!   `docs/design/groups.md` says why.

mod chunks;
mod places;
mod run;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use chunked_wal::{ChunkId, Error as WalError, Segment};

use self::chunks::Chunks;
use self::places::Places;
use crate::error::{Error, Result};
use crate::record::Record;

/// Where a record is; its size is 0 if there is none. Half as large as an optional [`Segment`], because there are two in
/// each group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(Rust, packed(4))]
struct Place {
    offset: u64,
    size: u32,
}

impl Place {
    fn new(segment: Segment) -> Self {
        // A frame has less than 4 GiB.
        Place { offset: segment.offset, size: segment.size as u32 }
    }

    fn segment(self) -> Option<Segment> {
        (self.size > 0).then(|| Segment::new(self.offset, u64::from(self.size)))
    }
}

/// A group that exists: it has bounds, or a state, or both.
#[derive(Debug, Default)]
pub(crate) struct Group {
    first: u64,
    next: u64,
    /// Where the newest record is that says so; while a log is replayed, there may be none yet.
    bounds_at: Place,
    state_at: Place,
    places: Places,
}

impl Group {
    /// The indexes from the first entry to after the last one. `None` before the first entry or purge.
    pub(crate) fn bounds(&self) -> Option<Range<u64>> {
        self.bounds_at.segment().map(|_| self.first..self.next)
    }

    /// Where the state is.
    pub(crate) fn state(&self) -> Option<Segment> {
        self.state_at.segment()
    }

    /// The indexes and the places of the entries, from an index on.
    pub(crate) fn entries(&self, from: u64) -> impl Iterator<Item = (u64, Segment)> {
        self.places.from(from)
    }

    /// The bytes that are alive, and the offset of the oldest of them; `None` without any.
    pub(crate) fn held(&self) -> Option<(u64, u64)> {
        let records = [self.bounds_at, self.state_at].into_iter().filter_map(Place::segment);
        let runs = self.places.runs().map(|run| (run.bytes(), run.span().start));
        let held = records.map(|at| (at.size, at.offset)).chain(runs);
        held.reduce(|(bytes, oldest), (more, offset)| (bytes + more, oldest.min(offset)))
    }

    /// Returns the first index that must have an entry and has none.
    fn missing(&self) -> Option<u64> {
        let Some(bounds) = self.bounds() else {
            // The bounds themselves are missing.
            return self.places.range().map(|range| range.start.saturating_sub(1));
        };
        let range = self.places.range().unwrap_or(bounds.start..bounds.start);
        if range.start != bounds.start {
            return Some(bounds.start);
        }
        self.places.hole().or((range.end != bounds.end).then_some(range.end))
    }
}

/// All groups, and what is alive in each chunk.
#[derive(Debug, Default)]
pub(crate) struct Index {
    groups: HashMap<u64, Group>,
    chunks: Chunks,
}

impl Index {
    pub(crate) fn group(&self, group: u64) -> Option<&Group> {
        self.groups.get(&group)
    }

    pub(crate) fn groups(&self) -> &HashMap<u64, Group> {
        &self.groups
    }

    /// The bytes of all records that are alive.
    pub(crate) fn alive(&self) -> u64 {
        self.chunks.alive()
    }

    /// The bytes that are alive in the chunk.
    pub(crate) fn alive_in(&self, chunk: ChunkId) -> u64 {
        self.chunks.alive_in(chunk)
    }

    /// Whether the record at this place is alive.
    pub(crate) fn is_alive(&self, record: &Record, at: Segment) -> bool {
        let Some(group) = self.groups.get(&record.group()) else { return false };
        match record {
            Record::Entry { index, .. } | Record::Moved { index, .. } => {
                group.places.segment(*index) == Some(at)
            }
            Record::State { .. } => group.state_at == Place::new(at),
            Record::Bounds { .. } => group.bounds_at == Place::new(at),
            Record::Truncate { .. } | Record::Destroy { .. } => false,
        }
    }

    /// Applies a record of the log, whether it was just appended or is replayed.
    ///
    /// # Errors
    ///
    /// [`chunked_wal::Error::StateMachine`], if the record can't come after those before it.
    pub(crate) fn record(&mut self, record: &Record, chunk: ChunkId, at: Segment) -> Result<()> {
        let Index { groups, chunks } = self;
        match *record {
            Record::Entry { group, index, .. } => {
                let found = groups.entry(group).or_default();
                if let Some(old) = found.places.segment(index) {
                    let source = Arc::new(OutOfOrder { group, index, old: old.offset });
                    return Err(WalError::StateMachine { chunk_id: chunk, offset: at.offset, source }.into());
                }
                found.next = index.saturating_add(1);
                found.places.insert(index, at);
                chunks.add(chunk, at.size);
            }
            Record::Moved { group, index, .. } => {
                let found = groups.entry(group).or_default();
                let old = found.places.remove(index);
                found.next = found.next.max(index.saturating_add(1));
                found.places.insert(index, at);
                chunks.replace(old, chunk, at);
            }
            Record::State { group, .. } => {
                let found = groups.entry(group).or_default();
                let old = std::mem::replace(&mut found.state_at, Place::new(at));
                chunks.replace(old.segment(), chunk, at);
            }
            Record::Bounds { group, first, next } => {
                let found = groups.entry(group).or_default();
                let old = std::mem::replace(&mut found.bounds_at, Place::new(at));
                (found.first, found.next) = (first, next);
                chunks.replace(old.segment(), chunk, at);
                found.places.purge(first, |dead| chunks.subtract_run(dead));
            }
            Record::Truncate { group, index } => {
                let Entry::Occupied(mut entry) = groups.entry(group) else { return Ok(()) };
                let found = entry.get_mut();
                found.next = found.next.min(index);
                found.places.truncate(index, |dead| chunks.subtract_run(dead));
                // While a log is replayed, the group may have had entries only, and have been destroyed later.
                if found.held().is_none() {
                    entry.remove();
                }
            }
            Record::Destroy { group } => {
                let Some(mut gone) = groups.remove(&group) else { return Ok(()) };
                gone.places.truncate(0, |dead| chunks.subtract_run(dead));
                let others = [gone.bounds_at, gone.state_at].into_iter().filter_map(Place::segment);
                others.for_each(|dead| chunks.subtract(dead));
            }
        }
        Ok(())
    }

    /// The chunk has been removed.
    pub(crate) fn forget(&mut self, chunk: ChunkId) {
        self.chunks.forget(chunk);
    }

    /// Whether every group has all entries that it must have, now that the whole log has been replayed.
    ///
    /// # Errors
    ///
    /// [`Error::EntryMissing`], of the smallest group.
    pub(crate) fn check(&self) -> Result<()> {
        let missing = self.groups.iter().filter_map(|(group, found)| Some((*group, found.missing()?)));
        match missing.min() {
            Some((group, index)) => Err(Error::EntryMissing { group, index }),
            None => Ok(()),
        }
    }
}

/// A log has a record that none of its writers could have appended there.
#[derive(Debug, Clone, thiserror::Error)]
#[error("entry {index} of group {group} is a second one, the first is at {old}")]
struct OutOfOrder {
    group: u64,
    index: u64,
    old: u64,
}
