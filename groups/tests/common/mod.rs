//! Entries for tests, random changes of groups, and a model of what the groups then have.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::io::{Read, Write};

use chunked_wal::FlushTicket;
use chunked_wal::codeq::{Decode, Encode};
use chunked_wal_groups::{Error, GroupLog, LogEntry};

/// An entry of any size, which says when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    pub index: u64,
    pub made: u64,
    pub size: u64,
}

impl LogEntry for Entry {
    type State = u64;

    fn index(&self) -> u64 {
        self.index
    }
}

impl Encode for Entry {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let head = self.index.encode(&mut w)? + self.made.encode(&mut w)?;
        w.write_all(&vec![self.made as u8; self.size as usize])?;
        Ok(head + self.size as usize)
    }
}

impl Decode for Entry {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let (index, made) = (u64::decode(&mut r)?, u64::decode(&mut r)?);
        let mut rest = Vec::new();
        let size = r.read_to_end(&mut rest)? as u64;
        if rest.iter().any(|byte| *byte != made as u8) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the bytes of another entry"));
        }
        Ok(Entry { index, made, size })
    }
}

pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Group {
    pub bounds: Option<(u64, u64)>,
    pub entries: BTreeMap<u64, Entry>,
    pub state: Option<u64>,
}

/// What the groups should have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Model {
    pub groups: BTreeMap<u64, Group>,
    made: u64,
}

#[derive(Debug, Clone)]
pub enum Change {
    Append(u64, Vec<Entry>),
    State(u64, u64),
    /// The entries from this index on are void.
    Truncate(u64, u64),
    Purge(u64, u64),
    Destroy(u64),
}

impl Model {
    /// Draws changes that are allowed, and makes them here.
    pub fn draw(&mut self, dice: &mut Dice, groups: u64, size_max: u64) -> Vec<Change> {
        (0..1 + dice.below(3) * dice.below(3)).map(|_| self.draw_one(dice, groups, size_max)).collect()
    }

    fn draw_one(&mut self, dice: &mut Dice, groups: u64, size_max: u64) -> Change {
        // Half of the changes are those of one busy group.
        let group = if dice.below(2) == 0 { 0 } else { dice.below(groups) };
        let found = self.groups.entry(group).or_default();
        let (first, next) = found.bounds.unwrap_or((1, 1));
        let change = match dice.below(20) {
            0..10 => {
                let from = if found.bounds.is_none() { dice.below(5) } else { next };
                let entries = (from..=from + dice.below(4)).map(|index| {
                    self.made += 1;
                    Entry { index, made: self.made, size: dice.below(size_max) }
                });
                Change::Append(group, entries.collect())
            }
            10..13 => {
                self.made += 1;
                Change::State(group, self.made)
            }
            13..15 if found.bounds.is_some() => {
                Change::Truncate(group, next.saturating_sub(dice.below(4)).max(first))
            }
            15..19 => Change::Purge(group, (first + dice.below(8)).min(next + 2)),
            19 => Change::Destroy(group),
            _ => Change::State(group, 0),
        };
        self.make(&change);
        change
    }

    fn make(&mut self, change: &Change) {
        match change {
            Change::Append(group, entries) => {
                let group = self.groups.entry(*group).or_default();
                for entry in entries {
                    let first = group.bounds.map_or(entry.index, |(first, _)| first);
                    group.bounds = Some((first, entry.index + 1));
                    group.entries.insert(entry.index, entry.clone());
                }
            }
            Change::State(group, state) => self.groups.entry(*group).or_default().state = Some(*state),
            Change::Truncate(group, from) => {
                let group = self.groups.entry(*group).or_default();
                group.entries.split_off(from);
                group.bounds = group.bounds.map(|(first, next)| (first, next.min(*from)));
            }
            Change::Purge(group, upto) => {
                let group = self.groups.entry(*group).or_default();
                group.entries = group.entries.split_off(&(upto + 1));
                let (first, next) = group.bounds.unwrap_or((0, 0));
                group.bounds = Some((first.max(upto + 1), next.max(upto + 1)));
            }
            Change::Destroy(group) => drop(self.groups.remove(group)),
        }
        self.groups.retain(|_, group| group.bounds.is_some() || group.state.is_some());
    }

    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.groups.hash(&mut hasher);
        hasher.finish()
    }

    /// What a log has.
    pub fn of(log: &GroupLog<Entry>) -> Result<Self, Error> {
        let mut groups = BTreeMap::new();
        for id in log.groups() {
            let bounds = log.bounds(id).map(|bounds| (bounds.start, bounds.end));
            let range = bounds.map_or(0..0, |(first, next)| first..next);
            let entries = log.entries(id, range.clone(), u64::MAX)?;
            assert_eq!(entries.len() as u64, range.end - range.start, "a hole in group {id}");
            let entries = entries.into_iter().map(|entry| (entry.index, entry)).collect();
            groups.insert(id, Group { bounds, entries, state: log.state(id)? });
        }
        Ok(Model { groups, made: 0 })
    }
}

/// Makes the changes in the log.
pub fn commit(log: &GroupLog<Entry>, changes: &[Change]) -> Result<FlushTicket, Error> {
    let mut batch = log.batch();
    for change in changes {
        match change {
            Change::Append(group, entries) => batch.append(*group, entries)?,
            Change::State(group, state) => batch.set_state(*group, state)?,
            // In either of the two ways.
            Change::Truncate(group, from) if from % 2 == 1 => batch.truncate_after(*group, from - 1)?,
            Change::Truncate(group, from) => batch.truncate_from(*group, *from),
            Change::Purge(group, upto) => batch.purge(*group, *upto)?,
            Change::Destroy(group) => batch.destroy(*group),
        }
    }
    batch.ticket()
}
