//! `spec/Groups.tla` once more, in Rust.
//!
//! ```text
//! mod      records, the index that they are replayed into, what the program has made of the groups
//! steps    the actions, as functions from a state to the next
//! bounds   all steps from a state, and the promises
//! ```

mod bounds;
mod steps;

use std::collections::BTreeSet;
use std::rc::Rc;

pub use self::bounds::Bounds;

/// A record's place: its number in the log, from 1. 0 where there is none.
pub type Place = usize;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named as in Groups.tla")]
pub enum Kind {
    Entry { index: usize, id: usize },
    Moved { index: usize, id: usize },
    State { id: usize },
    Bounds { first: usize, next: usize },
    Truncate { from: usize },
    Destroy,
}

/// A record, as it is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// The group, from 0.
    pub group: usize,
    /// What it says.
    pub kind: Kind,
    /// The chunk, from 1.
    pub chunk: usize,
    /// The flag of a batch.
    pub more: bool,
    /// How much of the batch follows: no part of the system.
    pub left: usize,
}

/// A group in the index. Entry `i` is at `at[i - 1]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named as in Groups.tla")]
pub struct Group {
    pub first: usize,
    pub next: usize,
    pub bounds: Place,
    pub state: Place,
    pub at: Vec<Place>,
    pub twice: bool,
}

impl Group {
    fn none(indexes: usize) -> Self {
        Group { first: 0, next: 0, bounds: 0, state: 0, at: vec![0; indexes], twice: false }
    }

    /// Applies a record at a place.
    fn apply(&mut self, kind: Kind, place: Place) {
        match kind {
            Kind::Entry { index, .. } => {
                self.twice |= self.at[index - 1] != 0;
                self.next = index + 1;
                self.at[index - 1] = place;
            }
            Kind::Moved { index, .. } => {
                self.next = self.next.max(index + 1);
                self.at[index - 1] = place;
            }
            Kind::State { .. } => self.state = place,
            Kind::Bounds { first, next } => {
                (self.first, self.next, self.bounds) = (first, next, place);
                let dead = self.at.len().min(first - 1);
                self.at[..dead].fill(0);
            }
            Kind::Truncate { from } => {
                self.next = self.next.min(from);
                self.at[from - 1..].fill(0);
                if self.bounds == 0 && self.state == 0 && self.at.iter().all(|place| *place == 0) {
                    *self = Group::none(self.at.len());
                }
            }
            Kind::Destroy => *self = Group::none(self.at.len()),
        }
    }

    fn has_hole(&self) -> bool {
        let there: Vec<usize> = (1..=self.at.len()).filter(|i| self.at[i - 1] != 0).collect();
        if self.bounds == 0 {
            !there.is_empty()
        } else {
            there != (self.first..self.next).collect::<Vec<_>>()
        }
    }
}

/// What the program has made of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named as in Groups.tla")]
pub struct Truth {
    pub has: bool,
    pub first: usize,
    pub next: usize,
    pub ids: Vec<usize>,
    pub state: usize,
}

impl Truth {
    fn none(indexes: usize) -> Self {
        Truth { has: false, first: 0, next: 0, ids: vec![0; indexes], state: 0 }
    }
}

/// A change that the program makes of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in Groups.tla")]
pub enum Change {
    Append(usize),
    Truncate(usize),
    Purge(usize),
    State,
    Destroy,
}

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pc {
    /// There is none.
    Down,
    /// The log is open.
    Up,
    /// An open has found a hole.
    Refused,
}

/// The process: `m` in `Groups.tla`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    /// What it is doing.
    pub pc: Pc,
    /// The groups, by their numbers from 0.
    pub index: Vec<Rc<Group>>,
    /// The last place that the thread which reclaims space has read.
    pub read: Place,
    /// The records to be appended anew next.
    pub step: Vec<Place>,
    /// Chunks that are drained, and the end of the log when their removal was asked for.
    pub removals: Vec<(usize, Place)>,
}

/// Groups after a commit, and the end of the log then.
pub type Version = (Place, Rc<Vec<Rc<Truth>>>);

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The records.
    pub records: Vec<Record>,
    /// How far they are durable.
    pub durable: Place,
    /// The chunks that are gone.
    pub gone: BTreeSet<usize>,
    /// The process.
    pub m: Process,
    /// The groups after each commit.
    pub versions: Vec<Version>,
    /// How many of them are acknowledged.
    pub acked: usize,
    /// Crashes so far.
    pub downs: usize,
}

impl State {
    /// An empty log of so many groups with so many indexes.
    pub fn new(groups: usize, indexes: usize) -> Self {
        let truth = (0..groups).map(|_| Rc::new(Truth::none(indexes))).collect();
        State {
            records: Vec::new(),
            durable: 0,
            gone: BTreeSet::new(),
            m: Process { pc: Pc::Up, ..Process::down(groups, indexes) },
            versions: vec![(0, Rc::new(truth))],
            acked: 1,
            downs: 0,
        }
    }

    /// The groups, as the program has made them.
    pub fn truth(&self) -> &Rc<Vec<Rc<Truth>>> {
        &self.versions[self.versions.len() - 1].1
    }

    fn record(&self, place: Place) -> &Record {
        &self.records[place - 1]
    }

    /// Whether the index has the place of the record there.
    fn is_alive(&self, place: Place) -> bool {
        let record = self.record(place);
        let group = &self.m.index[record.group];
        match record.kind {
            Kind::Entry { index, .. } | Kind::Moved { index, .. } => group.at[index - 1] == place,
            Kind::State { .. } => group.state == place,
            Kind::Bounds { .. } => group.bounds == place,
            Kind::Truncate { .. } | Kind::Destroy => false,
        }
    }

    fn places_in(&self, chunk: usize) -> impl Iterator<Item = Place> {
        (1..=self.records.len()).filter(move |place| self.record(*place).chunk == chunk)
    }

    fn newest(&self) -> usize {
        self.records.last().map_or(1, |record| record.chunk)
    }

    /// The oldest chunk that is not given up, if a later one has begun.
    pub fn oldest(&self) -> Option<usize> {
        let is_given_up = |chunk| self.gone.contains(&chunk) || self.is_drained(chunk);
        let mut kept = self.records.iter().map(|record| record.chunk).filter(|chunk| !is_given_up(*chunk));
        kept.next().filter(|chunk| *chunk < self.newest())
    }

    fn is_drained(&self, chunk: usize) -> bool {
        self.m.removals.iter().any(|(drained, _)| *drained == chunk)
    }

    /// What a program reads at a place: 0 without a record, `None` if the record is gone.
    pub fn read(&self, place: Place) -> Option<usize> {
        if place == 0 {
            return Some(0);
        }
        let record = self.records.get(place - 1)?;
        if self.gone.contains(&record.chunk) || self.is_drained(record.chunk) {
            return None;
        }
        match record.kind {
            Kind::Entry { id, .. } | Kind::Moved { id, .. } | Kind::State { id } => Some(id),
            Kind::Bounds { .. } | Kind::Truncate { .. } | Kind::Destroy => Some(0),
        }
    }
}

impl Process {
    fn down(groups: usize, indexes: usize) -> Self {
        let index = (0..groups).map(|_| Rc::new(Group::none(indexes))).collect();
        Process { pc: Pc::Down, index, read: 0, step: Vec::new(), removals: Vec::new() }
    }
}
