//! The steps of `Groups.tla` within a model's bounds, and its promises.

use super::{Change, Pc, State};
use crate::explore::{Model, constant, flag, number, upto};

/// The constants of a model.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named as in Groups.tla")]
pub struct Bounds {
    pub groups: usize,
    pub indexes: usize,
    pub changes: String,
    pub batches: bool,
    pub records: usize,
    pub full: usize,
    pub step: usize,
    pub downs: usize,
}

impl Bounds {
    /// The constants in a `.cfg` file.
    pub fn parse(model: &str) -> Option<Self> {
        Some(Bounds {
            groups: upto(model, "Groups")?,
            indexes: upto(model, "Indexes")?,
            changes: constant(model, "Changes")?.to_string(),
            batches: flag(model, "Batches")?,
            records: number(model, "Records")?,
            full: number(model, "Full")?,
            step: number(model, "Step")?,
            downs: number(model, "Downs")?,
        })
    }

    fn makes(&self, change: Change) -> bool {
        let name = match change {
            Change::Append(_) => "\"append\"",
            Change::Truncate(_) => "\"truncate\"",
            Change::Purge(_) => "\"purge\"",
            Change::State => "\"state\"",
            Change::Destroy => "\"destroy\"",
        };
        self.changes.contains(name)
    }

    /// The changes of each group, as the program may make them in this state.
    fn changes(&self, s: &State) -> Vec<(usize, Change)> {
        let of = |group: usize| s.truth()[group].changes().into_iter().map(move |change| (group, change));
        (0..self.groups).flat_map(of).filter(|(_, change)| self.makes(*change)).collect()
    }

    fn commits(&self, s: &State, visit: &mut dyn FnMut(&'static str, State)) {
        if s.m.pc != Pc::Up {
            return;
        }
        let chunk = s.open_chunk(self.full);
        for change in self.changes(s) {
            let Some(one) = s.clone().commit(&[change], s.id(), chunk) else { continue };
            if self.batches {
                for second in self.changes(&one) {
                    let both = s.clone().commit(&[change, second], s.id(), chunk);
                    self.bounded("CommitBatch", both, visit);
                }
            }
            self.bounded("Commit", Some(one), visit);
        }
    }

    fn bounded(
        &self,
        action: &'static str,
        state: Option<State>,
        visit: &mut dyn FnMut(&'static str, State),
    ) {
        if let Some(state) = state.filter(|state| state.records.len() <= self.records) {
            visit(action, state);
        }
    }
}

impl Model for Bounds {
    type State = State;

    fn first(&self) -> State {
        State::new(self.groups, self.indexes)
    }

    fn steps(&self, s: &State, visit: &mut dyn FnMut(&'static str, State)) {
        self.commits(s, visit);
        self.bounded("Sync", s.clone().sync(s.records.len()), visit);
        if s.m.step.len() < self.step {
            self.bounded("ReadAlive", s.clone().read_alive(), visit);
        }
        self.bounded("MoveAlive", s.clone().move_alive(s.open_chunk(self.full)), visit);
        self.bounded("LetGo", s.clone().let_go(), visit);
        self.bounded("Remove", s.clone().remove(), visit);
        if s.downs < self.downs {
            let ends = s.durable..=s.records.len();
            ends.for_each(|end| self.bounded("Crash", s.clone().crash(end), visit));
        }
        self.bounded("Open", s.clone().open(), visit);
    }

    fn broken(state: &State) -> Option<&'static str> {
        PROMISES.iter().find(|(_, holds)| !holds(state)).map(|(name, _)| *name)
    }
}

/// A promise: its name, and whether it holds in a state.
type Promise = (&'static str, fn(&State) -> bool);

const PROMISES: [Promise; 6] = [
    ("AcknowledgedIsDurable", |s| s.versions.len() >= s.acked),
    ("NoBatchIsTorn", |s| s.m.pc != Pc::Up || s.records.last().is_none_or(|record| record.left == 0)),
    ("NoHole", |s| s.m.pc != Pc::Refused),
    ("NothingIsLost", |s| s.m.pc != Pc::Up || nothing_is_lost(s)),
    ("NothingComesBack", |s| s.m.pc != Pc::Up || nothing_comes_back(s)),
    ("BoundsAreKept", |s| {
        let mut groups = s.truth().iter().zip(&s.m.index);
        s.m.pc != Pc::Up
            || groups
                .all(|(truth, found)| !truth.has || (truth.first, truth.next) == (found.first, found.next))
    }),
];

fn nothing_is_lost(s: &State) -> bool {
    s.truth().iter().zip(&s.m.index).all(|(truth, found)| {
        let mut entries = truth.ids.iter().zip(&found.at);
        entries.all(|(id, at)| *id == 0 || s.read(*at) != Some(0))
            && (truth.state == 0 || found.state != 0)
            && (!truth.has || found.bounds != 0 && s.read(found.bounds) == Some(0))
    })
}

fn nothing_comes_back(s: &State) -> bool {
    s.truth().iter().zip(&s.m.index).all(|(truth, found)| {
        let mut entries = truth.ids.iter().zip(&found.at);
        entries.all(|(id, at)| *at == 0 || s.read(*at) == Some(*id))
            && (found.state == 0 || s.read(found.state) == Some(truth.state))
            && (found.bounds == 0 || truth.has)
    })
}
