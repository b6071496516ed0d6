//! The actions of `Groups.tla`: each returns the state after it, or `None` where its guards don't hold.

use std::rc::Rc;

use super::{Change, Kind, Pc, Place, Process, Record, State, Truth};

impl Truth {
    /// The changes that the group allows.
    pub fn changes(&self) -> Vec<Change> {
        let indexes = self.ids.len();
        let next = if self.has { self.next } else { 1 };
        let mut changes = vec![Change::State];
        changes.extend((next <= indexes).then_some(Change::Append(next)));
        if self.has {
            changes.extend((self.first..self.next).map(Change::Truncate));
        }
        let may_purge = |first: &usize| !self.has || *first > self.first && *first <= self.next + 1;
        changes.extend((2..=indexes + 1).filter(may_purge).map(Change::Purge));
        changes.extend((self.has || self.state != 0).then_some(Change::Destroy));
        changes
    }

    /// The group after a change.
    pub fn after(&self, change: Change, id: usize) -> Self {
        let mut group = self.clone();
        match change {
            Change::Append(index) => {
                group.first = if self.has { self.first } else { index };
                (group.has, group.next) = (true, index + 1);
                group.ids[index - 1] = id;
            }
            Change::Truncate(from) => {
                group.next = from;
                group.ids[from - 1..].fill(0);
            }
            Change::Purge(first) => {
                (group.has, group.first, group.next) = (true, first, self.next.max(first));
                let dead = group.ids.len().min(first - 1);
                group.ids[..dead].fill(0);
            }
            Change::State => group.state = id,
            Change::Destroy => group = Truth::none(self.ids.len()),
        }
        group
    }
}

impl State {
    /// The id of the next commit, in a model with few of them.
    pub fn id(&self) -> usize {
        100 * self.downs + self.versions.len()
    }

    /// The chunk of the next record, if a chunk with this many records is full. A batch is in one chunk.
    pub fn open_chunk(&self, full: usize) -> usize {
        let newest = self.newest();
        if self.places_in(newest).count() >= full { newest + 1 } else { newest }
    }

    /// The records of a change, as the index is before it.
    fn records_of(&self, group: usize, change: Change, id: usize) -> Vec<(usize, Kind)> {
        let found = &self.m.index[group];
        let kinds = match change {
            Change::Append(index) if found.bounds == 0 => {
                vec![Kind::Bounds { first: index, next: index }, Kind::Entry { index, id }]
            }
            Change::Append(index) => vec![Kind::Entry { index, id }],
            Change::Truncate(from) => vec![Kind::Truncate { from }],
            Change::Purge(first) => vec![Kind::Bounds { first, next: found.next.max(first) }],
            Change::State => vec![Kind::State { id }],
            Change::Destroy => vec![Kind::Destroy],
        };
        kinds.into_iter().map(|kind| (group, kind)).collect()
    }

    /// Appends a batch, and applies it to the index.
    fn append(&mut self, records: &[(usize, Kind)], chunk: usize) {
        for (i, (group, kind)) in records.iter().enumerate() {
            let left = records.len() - 1 - i;
            self.records.push(Record { group: *group, kind: *kind, chunk, more: left > 0, left });
        }
        let first = self.records.len() + 1 - records.len();
        self.apply_all(records, first);
    }

    fn apply_all(&mut self, records: &[(usize, Kind)], first: Place) {
        for (place, (group, kind)) in (first..).zip(records) {
            Rc::make_mut(&mut self.m.index[*group]).apply(*kind, place);
        }
    }

    /// `Commit`, of one change, and `CommitBatch`, of two.
    pub fn commit(mut self, changes: &[(usize, Change)], id: usize, chunk: usize) -> Option<State> {
        let mut groups = (**self.truth()).clone();
        let (mut records, mut planned) = (Vec::new(), self.clone());
        for (group, change) in changes {
            let added = planned.records_of(*group, *change, id);
            planned.apply_all(&added, self.records.len() + 1 + records.len());
            records.extend(added);
            groups[*group] = Rc::new(groups[*group].after(*change, id));
        }
        self.append(&records, chunk);
        self.versions.push((self.records.len(), Rc::new(groups)));
        (self.m.pc == Pc::Up).then_some(self)
    }

    /// `Sync`, up to this place. In `Groups.tla` that is always the last one.
    pub fn sync(mut self, upto: Place) -> Option<State> {
        if self.m.pc != Pc::Up || self.durable >= upto {
            return None;
        }
        self.durable = upto;
        self.acked = self.versions.iter().filter(|(end, _)| *end <= upto).count();
        Some(self)
    }

    /// `ReadAlive`
    pub fn read_alive(mut self) -> Option<State> {
        if self.m.pc != Pc::Up {
            return None;
        }
        let oldest = self.oldest()?;
        let alive = self.places_in(oldest).find(|place| *place > self.m.read && self.is_alive(*place))?;
        self.m.step.push(alive);
        self.m.read = alive;
        Some(self)
    }

    /// The record that says the same from its new place on.
    fn again(&self, place: Place) -> (usize, Kind) {
        let Record { group, kind, .. } = *self.record(place);
        let now = &self.m.index[group];
        let again = match kind {
            Kind::Entry { index, id } => Kind::Moved { index, id },
            Kind::Bounds { .. } => Kind::Bounds { first: now.first, next: now.next },
            other => other,
        };
        (group, again)
    }

    /// `MoveAlive`
    pub fn move_alive(mut self, chunk: usize) -> Option<State> {
        if self.m.pc != Pc::Up || self.m.step.is_empty() {
            return None;
        }
        let step = std::mem::take(&mut self.m.step);
        let alive = step.into_iter().filter(|place| self.is_alive(*place));
        let records: Vec<_> = alive.map(|place| self.again(place)).collect();
        self.append(&records, chunk);
        Some(self)
    }

    /// `LetGo`
    pub fn let_go(mut self) -> Option<State> {
        if self.m.pc != Pc::Up || !self.m.step.is_empty() {
            return None;
        }
        let oldest = self.oldest()?;
        if self.places_in(oldest).any(|place| self.is_alive(place)) {
            return None;
        }
        self.m.removals.push((oldest, self.records.len()));
        self.m.read = 0;
        Some(self)
    }

    /// `Remove`
    pub fn remove(mut self) -> Option<State> {
        let (chunk, asked) = *self.m.removals.first()?;
        if self.m.pc != Pc::Up || self.durable < asked {
            return None;
        }
        self.gone.insert(chunk);
        self.m.removals.remove(0);
        Some(self)
    }

    /// `Crash`, after which the log ends there.
    pub fn crash(mut self, end: Place) -> Option<State> {
        let is_whole = end == 0 || end <= self.records.len() && !self.record(end).more;
        if self.m.pc != Pc::Up || end < self.durable || !is_whole {
            return None;
        }
        self.records.truncate(end);
        self.versions.retain(|(at, _)| *at <= end);
        self.downs += 1;
        self.m = Process::down(self.m.index.len(), self.m.index.first()?.at.len());
        Some(self)
    }

    /// `Open`
    pub fn open(mut self) -> Option<State> {
        if self.m.pc != Pc::Down {
            return None;
        }
        let mut index = self.m.index.clone();
        for (place, record) in (1..).zip(&self.records) {
            if !self.gone.contains(&record.chunk) {
                Rc::make_mut(&mut index[record.group]).apply(record.kind, place);
            }
        }
        if index.iter().any(|group| group.has_hole() || group.twice) {
            self.m.pc = Pc::Refused;
            return Some(self);
        }
        self.m = Process { pc: Pc::Up, index, ..self.m };
        self.durable = self.records.len();
        self.acked = self.acked.max(self.versions.len());
        Some(self)
    }
}
