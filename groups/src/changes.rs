//! [`Plan`]: what callers ask for becomes records.
//!
//! ```text
//! changes ─► Plan: the bounds of each group, as the changes before leave them ─► records, or the first refusal
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use chunked_wal::{Batch, WalRecord};

use crate::error::{Error, Result};
use crate::index::{Group, Index};
use crate::record::{GroupWal, Record};

/// What a caller asks for.
#[derive(Debug)]
pub(crate) enum Change {
    Append {
        group: u64,
        index: u64,
        payload: Vec<u8>,
    },
    State {
        group: u64,
        payload: Vec<u8>,
    },
    /// The entries from an index on become void.
    Truncate {
        group: u64,
        index: u64,
    },
    /// The first index becomes this one.
    Purge {
        group: u64,
        first: u64,
    },
    Destroy {
        group: u64,
    },
}

/// The index after this one.
pub(crate) fn after(group: u64, index: u64) -> Result<u64> {
    index.checked_add(1).ok_or(Error::IndexTooLarge { group })
}

/// Whether the changes make records void, and append no entries. They may set states too, which say what was purged.
pub(crate) fn free_space(changes: &[Change]) -> bool {
    let is_state = |change: &Change| matches!(change, Change::State { .. });
    let appends = |change: &Change| matches!(change, Change::Append { .. });
    !changes.iter().any(appends) && (changes.is_empty() || !changes.iter().all(is_state))
}

/// Makes records of changes, as the index will be after the changes before each.
pub(crate) struct Plan<'i> {
    index: &'i Index,
    /// The bounds of each group that the batch has changed so far.
    bounds: BTreeMap<u64, Option<Range<u64>>>,
    records: Vec<WalRecord<GroupWal>>,
}

impl<'i> Plan<'i> {
    /// Returns the records of the changes, which may be none.
    ///
    /// # Errors
    ///
    /// The first change that can't be made.
    pub(crate) fn of(changes: Vec<Change>, index: &'i Index) -> Result<Batch<GroupWal>> {
        let records = Vec::with_capacity(changes.len());
        let mut plan = Plan { index, bounds: BTreeMap::new(), records };
        changes.into_iter().try_for_each(|change| plan.add(change))?;
        Ok(plan.records.into())
    }

    fn add(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Append { group, index, payload } => {
                let next = after(group, index)?;
                match self.bounds(group).clone() {
                    Some(bounds) if bounds.end != index => {
                        return Err(Error::NotNext { group, found: index, expected: bounds.end });
                    }
                    Some(_) => {}
                    None => self.set_bounds(group, index..index),
                }
                if let Some(bounds) = self.bounds(group) {
                    bounds.end = next;
                }
                self.push(Record::Entry { group, index, payload });
            }
            Change::State { group, payload } => self.push(Record::State { group, payload }),
            Change::Truncate { group, index } => match self.bounds(group) {
                Some(bounds) if index < bounds.start => {
                    return Err(Error::Purged { group, index, first: bounds.start });
                }
                Some(bounds) if index < bounds.end => {
                    bounds.end = index;
                    self.push(Record::Truncate { group, index });
                }
                _ => {}
            },
            Change::Purge { group, first } => match self.bounds(group).clone() {
                Some(bounds) if first <= bounds.start => {}
                Some(bounds) => self.set_bounds(group, first..bounds.end.max(first)),
                None => self.set_bounds(group, first..first),
            },
            Change::Destroy { group } => {
                // Its state may be of this batch, so it isn't looked for.
                self.bounds.insert(group, None);
                self.push(Record::Destroy { group });
            }
        }
        Ok(())
    }

    fn bounds(&mut self, group: u64) -> &mut Option<Range<u64>> {
        match self.bounds.entry(group) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.index.group(group).and_then(Group::bounds)),
        }
    }

    fn set_bounds(&mut self, group: u64, bounds: Range<u64>) {
        self.push(Record::Bounds { group, first: bounds.start, next: bounds.end });
        *self.bounds(group) = Some(bounds);
    }

    fn push(&mut self, record: Record) {
        self.records.push(WalRecord::Action(record));
    }
}
